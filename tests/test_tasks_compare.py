"""`frostbert compare` and the earlier run in a report, on real runs."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from pipeline.errors import CacheError, ConfigError
from tasks import cli
from tasks.compare import compare
from tests.conftest import BIN, review_rows, runs, write_tsv


def report_of(job, name):
    path = job.artifacts / "runs" / name / "report.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_comparison_of_two_runs_holds_the_figures_of_their_reports(twice):
    first, second = runs(twice)

    found = compare(twice.artifacts, (first, "latest"))

    assert [run["name"] for run in found["runs"]] == [first, second]
    assert [run["C"] for run in found["runs"]] == [1.0, 0.001]
    for name, which in ((first, "a"), (second, "b")):
        metrics = report_of(twice, name)["metrics"]["test"]
        for metric, row in found["metrics"].items():
            assert row[which] == metrics[metric]
    assert found["n"] == report_of(twice, first)["split"]["n_test"]
    assert all(run["when"].startswith("20") for run in found["runs"])


def test_comparison_shows_the_texts_that_changed(twice):
    found = compare(twice.artifacts, runs(twice))

    texts = (twice.cwd / "reviews.tsv").read_text(encoding="utf-8").splitlines()
    for row in found["changed"]:
        assert texts[row["line"] - 1] == f"{row['text']}\t{row['label']}"
        assert row["a"] != row["b"]
    assert len(found["changed"]) == found["n_changed"]


def test_comparison_needs_nothing_but_the_reports(twice):
    before = compare(twice.artifacts, runs(twice))
    for folder in ("features", "models", "splits", "baselines", "datasets"):
        shutil.rmtree(twice.artifacts / folder)

    found = compare(twice.artifacts, runs(twice))

    assert found["metrics"] == before["metrics"]
    assert {row["text"] for row in found["changed"]} <= {None}


def test_comparison_with_a_run_that_is_not_there_names_those_that_are(twice):
    with pytest.raises(ConfigError, match="There is no run 'nope'") as caught:
        compare(twice.artifacts, ("nope", "latest"))

    assert runs(twice)[1] in str(caught.value)


def test_comparison_with_a_report_of_an_earlier_version_says_what_to_do(twice):
    from pipeline.storage import read_manifest
    from pipeline.storage.manifest import digest_of

    (folder,) = [
        path
        for path in (twice.artifacts / "reports").iterdir()
        if "0.001" in (path / "report.json").read_text(encoding="utf-8")
        and json.loads((path / "report.json").read_text(encoding="utf-8"))["head"]["C"]
        == 0.001
    ]
    manifest = read_manifest(folder)
    for name in ("scored", "labels", "keys", "rows", "clusters"):
        (folder / f"{name}.npy").unlink()
        del manifest["files"][f"{name}.npy"]
    manifest["digest"] = digest_of(manifest)
    (folder / "manifest.json").chmod(0o644)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    with pytest.raises(CacheError, match="Run its command again"):
        compare(twice.artifacts, runs(twice))


def compare_command(twice, *options):
    return cli.main(
        ["compare", *runs(twice), "--artifacts", str(twice.artifacts), *options]
    )


def test_compare_prints_markdown_and_writes_a_page(twice, capsys, monkeypatch):
    monkeypatch.chdir(twice.cwd)

    status = compare_command(twice)

    out = capsys.readouterr().out
    assert status == 0
    assert out.startswith(f"# {runs(twice)[0]} and")
    assert out.endswith("page  comparison.html\n")
    page = (twice.cwd / "comparison.html").read_text(encoding="utf-8")
    assert compare(twice.artifacts, runs(twice))["verdict"] in page
    assert not list(twice.cwd.glob(".comparison*"))


def test_a_page_that_cannot_be_written_is_a_clear_error(twice, capsys):
    status = compare_command(twice, "--html", str(twice.cwd / "nowhere" / "page.html"))

    assert status != 0
    assert "cannot be written (No such file or directory)" in capsys.readouterr().err


def test_compare_prints_any_text_on_an_ascii_terminal(job, tiny_encoder):
    rows = [(f"{text} \u597d", label) for text, label in review_rows()]
    write_tsv(job.cwd / "reviews.tsv", rows)
    for c in ("1", "0.0001"):
        assert job.train("reviews.tsv", tiny_encoder, "--C", c).status == 0

    done = subprocess.run(
        [BIN / "frostbert", "compare", *runs(job)],
        cwd=job.cwd,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_a_report_names_the_earlier_run_with_the_paired_difference(twice):
    first, second = runs(twice)

    found = report_of(twice, second)["run"]["previous"]

    assert report_of(twice, first)["run"]["previous"] is None
    both = compare(twice.artifacts, (first, second))
    assert found["difference"] == both["metrics"]["accuracy"]["difference"]
    assert found["mcnemar"] == both["mcnemar"]
    assert found["n_changed"] == both["n_changed"]
    assert found["when"] == both["runs"][0]["when"]
    assert found["accuracy"] == report_of(twice, first)["metrics"]["test"]["accuracy"]


def test_a_report_names_the_earlier_one_and_what_changed(twice):
    first, second = runs(twice)

    found = report_of(twice, second)["run"]["previous"]

    earlier = (twice.artifacts / "runs" / first / "report.json").resolve().parent
    assert found["report"] == f"reports/{earlier.name}"
    assert found["changed"] == ["C: 1.0 -> 0.001"]


def test_a_report_says_how_its_texts_were_encoded(twice):
    first, second = (report_of(twice, name)["run"]["encoding"] for name in runs(twice))
    texts = (twice.cwd / "reviews.tsv").read_text(encoding="utf-8").splitlines()

    assert first == second  # one feature list
    assert 0 < first["rows_encoded"] <= len(texts)
    assert first["rows_per_s"] > 0
    assert 0 <= first["padding_share"] < 1
    assert first["peak_mb"] > 50


def test_a_report_names_no_earlier_run_whose_report_is_gone(twice, tiny_encoder):
    shutil.rmtree(twice.artifacts / "reports")

    done = twice.train("reviews.tsv", tiny_encoder, "--C", "0.01")

    assert done.status == 0, done.err
    assert twice.report()["run"]["previous"] is None


def test_a_report_names_no_earlier_run_on_another_split(twice, tiny_encoder):
    done = twice.train("reviews.tsv", tiny_encoder, "--C", "1", "--seed", "9")

    assert done.status == 0, done.err
    assert twice.report()["run"]["previous"] is None


def test_scored_rows_lie_beside_the_report(twice):
    for folder in (twice.artifacts / "reports").iterdir():
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))

        proba, y, keys, rows, clusters = (
            np.load(folder / f"{name}.npy")
            for name in ("scored", "labels", "keys", "rows", "clusters")
        )

        n = report["split"]["n_test"]
        assert proba.shape == (n, 2)
        assert {len(column) for column in (y, keys, rows, clusters)} == {n}
        accuracy = (proba.argmax(axis=1) == y).mean()
        assert accuracy == report["metrics"]["test"]["accuracy"]["value"]


def test_a_run_may_be_named_by_its_path(twice):
    first, second = runs(twice)
    folder = twice.artifacts / "runs"

    by_name = compare(twice.artifacts, (first, second))
    by_path = compare(twice.artifacts, (str(folder / first), str(folder / second)))

    assert by_path["runs"] == by_name["runs"]

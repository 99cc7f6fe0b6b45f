"""The traps of Luigi's command line, each with the real command in a process of its own."""

import http.server
import json
import re
import threading
import time

import pytest

from tests.conftest import write_tsv

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


@WORKERS
def test_a_run_needs_no_scheduler_flag_or_folder_and_ends_with_its_figures(
    job, reviews, tiny_encoder, workers
):
    done = job.train(reviews, tiny_encoder, "--C", "1", "--workers", workers)

    assert done.status == 0, done.err
    *_, accuracy, f1, auc, loss, verdict, report, predictor = done.out.splitlines()
    assert accuracy.startswith("accuracy  ")
    assert [line.split("  ")[0] for line in (f1, auc, loss)] == [
        "macro F1",
        "ROC AUC",
        "log loss",
    ]
    assert "TF-IDF" in verdict
    assert report == "report     artifacts/latest/report.html"
    assert predictor == "predictor  artifacts/latest/predictor.joblib"
    assert (job.cwd / "artifacts/latest/predictor.joblib").is_file()
    assert re.search(r"rows/s \([\d,]+ tokens/s, \d+\.\d % padding\) on ", done.err)


@WORKERS
def test_a_run_notes_every_stage_in_the_ledger(job, reviews, tiny_encoder, workers):
    job.train(reviews, tiny_encoder, "--C", "1", "--workers", workers)

    (entry,) = job.ledger()

    assert sorted(entry["stages_run"]) == [
        "EvaluateModel",
        "ExportPredictor",
        "ExtractFeatures",
        "FitBaselines",
        "FitLogReg",
        "PrepareDataset",
        "SplitDataset",
    ]
    assert (entry["status"], entry["rows_encoded"], entry["rows_reused"]) == (
        "ok",
        120,
        0,
    )
    assert (
        entry["figures"]["accuracy"]["value"]
        == job.report()["metrics"]["test"]["accuracy"]["value"]
    )
    assert not list((job.artifacts / "tmp").iterdir())


@WORKERS
def test_a_second_run_does_nothing_and_prints_the_same(trained, tiny_encoder, workers):
    before = trained.ledger()

    done = trained.train("reviews.tsv", tiny_encoder, "--C", "1", "--workers", workers)

    entry = trained.ledger()[-1]
    assert done.status == 0
    assert done.out.splitlines()[-1] == "predictor  artifacts/latest/predictor.joblib"
    assert "Nothing to do: all 7 stages are up to date." in done.err
    assert len(trained.ledger()) == len(before) + 1
    assert (
        entry["status"],
        entry["stages_run"],
        entry["rows_encoded"],
        entry["rows_reused"],
    ) == ("noop", [], 0, 120)
    assert entry["figures"] == before[-1]["figures"]


@WORKERS
def test_a_failing_stage_gives_a_status_and_one_message(
    job, tmp_path, tiny_encoder, workers
):
    path = write_tsv(tmp_path / "one.tsv", [("good", "x"), ("bad", "x")])

    done = job.train(path, tiny_encoder, "--workers", workers)

    assert done.status == 30
    assert "Traceback" not in done.err
    assert done.err.count("at least two classes") == 1
    assert done.out == ""
    (entry,) = job.ledger()
    assert (entry["status"], entry["stages_run"]) == ("failed", [])
    assert "at least two classes" in entry["error"]
    assert not (job.artifacts / "latest").exists()
    assert job.stages() == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--C", "x"], "--C is 'x', expected 'auto' or a number."),
        (["--C", "-1"], "--C is -1.0, expected 'auto' or a number above 0"),
        (["--limit", "many"], "--limit is 'many', expected a whole number."),
        (
            ["--test-fraction", "1"],
            "--test-fraction is 1.0, expected a share strictly between 0 and 1",
        ),
        (
            ["--pooling", "first"],
            "--pooling is 'first', expected one of: auto, cls, mean, max, pooler.",
        ),
        (
            ["--batch-tokens", "0"],
            "--batch-tokens is 0, expected 'auto' or a whole number above 0.",
        ),
        (
            ["--backend", "cuda"],
            "--backend is 'cuda', expected one of: auto, openvino, onnxruntime, torch.",
        ),
        (["--precision", "int4"], "--precision is 'int4', expected one of: float32,"),
        (["--layer", "9"], "--layer is 9, but"),
        (["--dataset", "nowhere.tsv"], "Data set 'nowhere.tsv' not found"),
        (["--encoder", "./nowhere"], "Encoder './nowhere' not found"),
        (
            ["--encoder", "reviews.tsv"],
            "Encoder 'reviews.tsv' is a file, expected a folder",
        ),
    ],
)
def test_a_bad_option_is_refused_before_anything_runs(
    trained, tiny_encoder, options, message
):
    latest = (trained.artifacts / "latest").resolve()
    stages = trained.stages()

    done = trained.train("reviews.tsv", tiny_encoder, *options)

    assert done.status == 40
    assert message in done.err
    assert "Traceback" not in done.err
    assert (trained.artifacts / "latest").resolve() == latest
    assert trained.stages() == stages


def test_a_refused_run_has_its_line_in_the_ledger(trained, tiny_encoder):
    trained.train("nowhere.tsv", tiny_encoder)

    entry = trained.ledger()[-1]

    assert (entry["status"], entry["stages_run"]) == ("failed", [])
    assert "'nowhere.tsv' not found" in entry["error"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "No rows in"),
        ("text\tlabel\n", "only a header line"),
        ("a\tb\tc\n1\t2\t3\n", "Which column of"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_with_one_message(
    job, tmp_path, tiny_encoder, content, message
):
    (tmp_path / "bad.tsv").write_text(content)

    done = job.train(tmp_path / "bad.tsv", tiny_encoder)

    assert done.status == 30
    assert message in done.err
    assert "Traceback" not in done.err
    assert job.stages() == {}


def test_a_missing_column_is_refused_with_the_nearest(trained, tiny_encoder):
    done = trained.train("reviews.tsv", tiny_encoder, "--text-column", "txt")

    assert done.status == 30
    assert "Column 'txt' not found" in done.err
    assert "Did you mean 'text'?" in done.err


def test_no_hub_gives_three_lines_quickly(job):
    began = time.monotonic()

    done = job.run(
        "TrainLogReg",
        env={
            "HF_HUB_OFFLINE": "0",
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "HF_HOME": str(job.cwd),
        },
    )

    assert done.status == 30
    assert time.monotonic() - began < 40
    what, routes, command = done.err.strip().splitlines()
    assert "stanfordnlp/sst2" in what
    assert "HF_ENDPOINT" in routes
    assert (
        "luigi --module tasks TrainLogReg --dataset sample --encoder minilm" in command
    )


@pytest.mark.parametrize(
    ("error", "has_traceback"), [("RuntimeError", True), ("DataError", False)]
)
def test_only_an_unexpected_error_keeps_its_traceback(python, error, has_traceback):
    code = f"""
import logging, tasks
from pipeline.errors import DataError
logger = logging.getLogger("luigi-interface")
logger.addHandler(logging.StreamHandler())
try:
    raise {error}("what went wrong")
except Exception:
    logger.exception("Luigi's own words")
"""

    done = python(code)

    assert "what went wrong" in done.stderr
    assert ("Traceback" in done.stderr) == has_traceback


def test_a_file_where_a_folder_should_be_is_one_message(trained, tiny_encoder):
    (trained.artifacts / "splits").rename(trained.artifacts / "gone")
    (trained.artifacts / "splits").write_text("a file where a folder should be")

    done = trained.train("reviews.tsv", tiny_encoder, "--C", "2")

    assert done.status == 30
    assert "Cannot write below artifacts" in done.err
    assert "Traceback" not in done.err


def test_a_users_luigi_cfg_wins(trained, tiny_encoder):
    (trained.cwd / "luigi.cfg").write_text(
        "[retcode]\ntask_failed = 77\n[TrainLogReg]\nC = 1\n"
    )

    noop = trained.train("reviews.tsv", tiny_encoder)
    failed = trained.train("reviews.tsv", tiny_encoder, "--text-column", "txt")

    assert noop.status == 0
    assert trained.ledger()[-2]["status"] == "noop"
    assert failed.status == 77


def test_a_misspelt_option_in_luigi_cfg_is_an_error(trained, tiny_encoder):
    (trained.cwd / "luigi.cfg").write_text("[TrainLogReg]\npoolling = mean\n")

    done = trained.train("reviews.tsv", tiny_encoder)

    assert done.status == 40
    assert "poolling" in done.err
    assert "Traceback" not in done.err


def test_one_is_the_same_c_as_one_point_zero(trained, tiny_encoder):
    trained.train("reviews.tsv", tiny_encoder, "--C", "1.0")

    assert trained.ledger()[-1]["status"] == "noop"


def test_a_configured_scheduler_is_used(trained, tiny_encoder):
    """A stand-in for luigid sees the requests; without a scheduler named, none would be made."""
    asked = []

    class Scheduler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(
                {
                    "response": {
                        "n_pending_tasks": 0,
                        "task_id": None,
                        "running_tasks": [],
                    }
                }
            ).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scheduler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        port = str(server.server_address[1])
        trained.train(
            "reviews.tsv",
            tiny_encoder,
            "--C",
            "1",
            "--scheduler-host",
            "127.0.0.1",
            "--scheduler-port",
            port,
        )
    finally:
        server.shutdown()
        server.server_close()

    assert any("add_task" in path for path in asked)


@WORKERS
def test_the_luigi_process_never_imports_torch(
    job, reviews, tiny_encoder, python, workers
):
    code = f"""
import sys
sys.argv = ["luigi", "--module", "tasks", "TrainLogReg", "--dataset", {str(reviews)!r}, "--encoder",
            {str(tiny_encoder)!r}, "--C", "1", "--workers", {workers!r}]
from luigi.cmdline import luigi_run
try:
    luigi_run()
except SystemExit as end:
    assert end.code == 0, end.code
print(sorted({{"torch", "transformers"}} & set(sys.modules)))
"""

    done = python(code, cwd=job.cwd)

    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_importing_tasks_and_finding_everything_done_is_light(
    trained, tiny_encoder, python
):
    code = f"""
import sys
import tasks
task = tasks.TrainLogReg(dataset="reviews.tsv", encoder={str(tiny_encoder)!r}, C="1")
assert task.complete()
heavy = {{"torch", "transformers", "sklearn", "numpy", "pandas", "pyarrow", "huggingface_hub", "matplotlib", "yaml"}}
print(sorted(heavy & set(sys.modules)))
"""

    assert python(code, cwd=trained.cwd).stdout == "[]\n"


def test_the_worker_ignores_packages_of_the_current_folder(job, reviews, tiny_encoder):
    (job.cwd / "torch.py").write_text("raise SystemExit('the wrong torch')")
    (job.cwd / "pipeline").mkdir()
    (job.cwd / "pipeline" / "__init__.py").write_text(
        "raise SystemExit('the wrong pipeline')"
    )

    done = job.train(reviews, tiny_encoder, "--C", "1")

    assert done.status == 0, done.err

"""Which view is said to be the best one, and what is said of the others."""

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.report.views import compare_views, with_speeds
from pipeline.report.views_page import render_views, rows, sentences, views_markdown
from tests.pages import Page
from tests.reports import with_evil
from tests.views import (
    N,
    candidate,
    classes,
    compared,
    comparison,
    latent,
    question,
    speeds,
    view,
)


def test_views_stand_in_the_order_of_their_scores_with_paired_differences():
    found = compared([3.0, 0.3]).comparison

    best, other = found["views"]
    assert (best["layer"], other["layer"]) == (-2, -1)
    assert best["score"]["value"] > other["score"]["value"]
    assert best["difference"] is None
    difference = other["difference"]
    assert difference["value"] == other["score"]["value"] - best["score"]["value"]
    assert difference["ci95"][1] < 0
    assert (best["is_close"], other["is_close"]) == (True, False)


def test_a_view_that_answers_alike_is_close_to_the_best():
    signal = latent()
    same = {view(-1): candidate(signal, 0.5), view(-2): candidate(signal, 0.5)}

    found = compare_views(same, question(classes(signal)), {}).comparison

    assert found["views"][1]["is_close"]
    low, high = found["views"][1]["difference"]["ci95"]
    assert low < found["views"][1]["difference"]["value"] == 0 < high
    assert found["optimism"] == 0


def test_scores_are_of_rows_that_the_fit_did_not_see():
    """Features of noise alone, nearly as many as rows, fit their own rows well."""
    random = np.random.default_rng(3)
    labels = classes(random.normal(size=N))
    noise = candidate(np.zeros(N), 1.0)
    noise.features.features = random.normal(size=(N, 200)).astype(np.float32)

    (found,) = compare_views({view(-1): noise}, question(labels), {}).comparison[
        "views"
    ]

    low, high = found["score"]["ci95"]
    assert low < 0.5 < high


def test_the_choice_among_views_of_noise_is_not_as_good_as_the_best_looks():
    labels = classes(latent(9))
    noise = {view(-1 - i): candidate(np.zeros(N), 1.0, seed=20 + i) for i in range(18)}

    found = compare_views(noise, question(labels), {}).comparison

    assert found["optimism"] > 0
    low, high = found["choice"]["ci95"]
    assert low < 0.52
    assert high > 0.48


def test_answers_are_kept_in_the_order_of_the_views():
    signal = latent()

    found = compared([3.0, 0.3])

    truth = (signal > 0).astype(int)  # neg, pos
    shares = [float((answers == truth).mean()) for answers in found.answers]
    assert shares == [one["score"]["value"] for one in found.comparison["views"]]
    assert found.rows.tolist() == list(range(N))


def test_a_view_that_cannot_be_fitted_is_an_entry_that_says_why():
    signal = latent()
    flat = candidate(signal, 1.0)
    flat.features.features[:] = 1
    views = {view(-1): candidate(signal, 0.5), view(-2): flat}

    found = compare_views(views, question(classes(signal)), {view(-3): "no pooler"})

    _, *failed = found.comparison["views"]
    assert [one["layer"] for one in failed] == [-3, -2]
    assert failed[0]["error"] == "no pooler"
    assert "same features" in failed[1]["error"]
    assert len(found.answers) == 1


def test_no_view_at_all_is_an_error_that_says_why():
    flat = candidate(latent(), 1.0)
    flat.features.features[:] = 1

    with pytest.raises(DataError, match=r"No view can be scored\. All 300 texts"):
        compare_views({view(-1): flat}, question(classes(latent())), {})


def test_a_precision_that_flips_labels_is_refused(tmp_path):
    signal = latent()
    features = np.zeros((200, 6), dtype=np.float32)
    features[:, 0] = np.linspace(-3, 3, 200)
    np.save(tmp_path / "reference.npy", features)
    np.save(tmp_path / "features.npy", -features)
    facts = {"n": 200, "engine": "openvino", "version": "1", "device": "cpu"}
    lossy = candidate(signal, 0.3, certificates=[(tmp_path, facts)])
    views = {view(-1): lossy, view(-2): candidate(signal, 1.0)}

    found = compare_views(views, question(classes(signal)), {}).comparison

    assert found["views"][0]["layer"] == -2
    assert "of 200 labels of this head" in found["views"][1]["error"]


def test_numbers_and_several_labels_are_compared_by_their_own_metrics():
    signal = latent()
    views = {view(-1): candidate(signal, 0.3), view(-2): candidate(signal, 3.0)}
    numbers = compare_views(views, question(signal, "regression"), {})
    sets = [("warm",) if one > 0 else () for one in signal]
    labels = np.empty(N, dtype=object)
    labels[:] = sets

    several = compare_views(views, question(labels, "multilabel", ["warm"]), {})

    assert numbers.comparison["metric"] == "pearson"
    assert several.comparison["metric"] == "f1_micro"
    for found in (numbers.comparison, several.comparison):
        assert [one["layer"] for one in found["views"]] == [-1, -2]
        assert found["views"][0]["score"]["value"] > 0.85
        assert not found["views"][1]["is_close"]
    assert several.answers.shape == (2, N, 1)


def test_the_fastest_view_as_good_as_the_best_is_the_alternative():
    signal = latent()
    same = {view(-1 - i): candidate(signal, 0.5) for i in range(3)}
    found = compare_views(same, question(classes(signal)), {}).comparison

    of = [
        with_speeds(found, measured, {})["run"]["alternative"]
        for measured in (
            speeds(100, 300, 200),
            speeds(300, 200, 100),
            [*speeds(100), {"error": "gone"}, *speeds(50)],
        )
    ]

    assert of == [1, None, None]


def test_speed_of_a_worse_view_is_no_recommendation():
    found = comparison([0.3, 3.0])

    assert found["run"]["alternative"] is None
    assert sentences(found)[1] == "Every other view is shown to be worse than it."


def test_the_page_shows_every_view_and_is_well_formed():
    found = comparison(refused={view(-9, "pooler"): "it has no pooler"})

    page = Page(render_views(found, "films"))

    assert page.open == []
    assert page.n_scripts == 1
    assert page.tags.isdisjoint({"img", "link"})
    assert len(page.ids) == len(set(page.ids))
    assert "3 views of films" in page.texts
    table = page.text_of("scores")
    assert all(cell in table for row in rows(found) for cell in row)
    assert "tiny, layer -9, pooler: it has no pooler" in table
    assert page.text_of("cost").count("What each view is worth and costs") == 1


def test_the_pages_strings_cannot_be_markup():
    found = with_evil(comparison())
    found.update(task="classification", metric="accuracy")

    page = Page(render_views(found, "<b>films</b>"))

    assert page.open == []
    assert page.n_scripts == 1


def test_markdown_has_the_same_table():
    text = views_markdown(comparison(refused={view(-9): "gone"}), "films")

    assert "| 1. tiny, layer " in text
    assert "- tiny, layer -9, mean cannot be had: gone" in text
    assert len({line.count("|") for line in text.splitlines() if "|" in line}) == 1


def test_a_view_that_was_not_timed_is_in_the_table_alone():
    found = comparison()
    found["run"]["speeds"][0] = {"error": "out of memory"}

    page = Page(render_views(found, "films"))

    assert "out of memory" in page.text_of("scores")
    assert rows(found)[0][3] == "–"


def test_no_view_timed_still_is_a_page():
    found = comparison()
    found["run"]["speeds"] = [{"error": "out of memory"}] * 3

    assert Page(render_views(found, "films")).open == []


def test_the_same_comparison_gives_the_same_bytes():
    assert render_views(comparison(), "films") == render_views(comparison(), "films")

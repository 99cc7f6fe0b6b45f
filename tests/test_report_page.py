import re
import time
from pathlib import Path

import pytest

from pipeline.report.render import render_html, render_markdown, write_report
from tests.pages import Page, numbers_in
from tests.reports import REPORTS, make_report, null_report, tiny_report, with_evil

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS = {
    "good": "How good is it?",
    "compared": "Compared with what, and is the difference real?",
    "fails": "Where does it fail?",
    "made": "What was it made of?",
    "reproduce": "How do I reproduce it?",
    "next": "What should I do next?",
}


@pytest.fixture(scope="module")
def pages():
    """Every page, rendered once."""
    return {name: render_html(make()) for name, make in REPORTS.items()}


@pytest.mark.parametrize("name", REPORTS)
def test_page_is_well_formed_and_stands_alone(pages, name):
    page = Page(pages[name])

    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    linked = [a for _, a in page.elements if "href" in a]
    earlier = [a["href"] for a in linked if a.get("class") == "run"]
    assert all(
        re.fullmatch(r"(\.\./){2}reports/[\w-]+/report\.html", a) for a in earlier
    )
    targets = [a["href"] for a in linked if a.get("class") != "run"]
    assert {target.removeprefix("#") for target in targets} <= set(page.ids)
    assert all(target.startswith("#") for target in targets)
    assert page.tags.isdisjoint({"link", "img", "iframe", "object", "base", "style "})
    assert not re.search(r"url\((?!#)|@import", pages[name])


@pytest.mark.parametrize("name", REPORTS)
def test_page_and_markdown_answer_the_questions_in_order(pages, name):
    markdown = render_markdown(REPORTS[name]())

    asked = re.findall(r"<h2>(.*?)</h2>", pages[name])
    assert asked == list(QUESTIONS.values())
    assert re.findall(r"^## (.*)$", markdown, flags=re.M) == asked
    contents = re.findall(r'<li><a href="#(\w+)">(.*?)</a>', pages[name])
    assert dict(contents) == QUESTIONS


@pytest.mark.parametrize("name", REPORTS)
def test_every_figure_has_words_and_the_colours_of_the_page(pages, name):
    figures = re.findall(r"<figure.*?</figure>", pages[name], flags=re.S)

    assert len(figures) == pages[name].count("<svg")
    for figure in figures:
        (words,) = re.findall(r'role="img" aria-label="([^"]+)"', figure)
        assert len(words) > 30
        assert "<figcaption" in figure
        svg = figure[figure.index("<svg") : figure.index("</svg>")]
        assert not re.search(r"#[0-9a-fA-F]{3,6}\b[;\"]", svg)
        assert "var(--" in svg
        assert svg.count('class="axis"') == 2


def test_figures_of_a_whole_report(pages):
    labels = re.findall(r'role="img" aria-label="([^".]+)\.', pages["two"])

    assert labels == [
        "Accuracy",
        "Accuracy by slice",
        "Accuracy over training rows",
        "Stated and true shares",
        "What a threshold brings",
        "How the scores lie",
        "Errors by rows answered",
        "Map of the scored texts",
        "Search for C",
    ]


def test_axes_are_labelled_with_their_units(pages):
    texts = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", pages["fourteen"]))

    for label in (
        "accuracy (share right), 95 % interval",
        "confidence (stated probability)",
        "training rows",
        "log loss (nats)",
        "true class",
        "predicted class",
    ):
        assert label in texts


def test_labels_in_figures_are_text(pages):
    assert re.search(r"<text[^>]*>故事</text>", pages["fourteen"])


@pytest.mark.parametrize(
    ("k", "has_figure", "n_cells"), [(2, False, 4), (6, False, 36), (7, True, 0)]
)
def test_confusions_of_many_classes_are_a_figure_and_pairs(k, has_figure, n_cells):
    html = render_html(make_report(k, 300))

    assert ("Confusion matrix." in html) == has_figure
    matrix = re.findall(r'<table class="matrix">.*?</table>', html, flags=re.S)
    assert "".join(matrix).count("<td class") == n_cells
    assert ("true → predicted" in html) == has_figure


def test_of_many_classes_the_weakest_come_first_and_all_are_folded_away(pages):
    html = pages["seventy-seven"]

    assert "The 10 classes with the smallest F1" in html
    assert "<summary>All 77 classes</summary>" in html
    assert "<summary>All" not in pages["fourteen"]


def test_sections_that_are_missing_are_told_or_left_out():
    page = Page(render_html(null_report()))
    text = page.text_of("fails")

    for sentence in (
        "No slices were measured.",
        "No errors.",
        "Wrong labels cannot be told here.",
        "No learning curve: there are too few rows for one.",
        "Calibration was not measured.",
        "No map: it needs at least four scored rows.",
    ):
        assert sentence in text
    assert "too few rows" in page.text_of("good")
    assert "No earlier run" in page.text_of("compared")
    assert "not recorded" in page.text_of("reproduce")
    assert "no advice" in page.text_of("next")


@pytest.mark.parametrize("section", ["calibration", "scores", "map", "label_issues"])
def test_a_section_that_is_not_in_the_report_is_as_one_that_is_null(section):
    report = make_report(2, 60)
    without = {name: value for name, value in report.items() if name != section}

    assert render_html(without) == render_html({**report, section: None})
    assert render_markdown(without) == render_markdown({**report, section: None})


def test_what_the_report_says_of_the_previous_run(pages):
    text = Page(pages["two"]).text_of("compared")

    assert (
        "This run minus that one, on the same rows: +2.0 points (95 % +0.8 to +3.2); 105 answers changed, 71 only then "
        "right, 34 only now (McNemar p = 0.00039: unlikely by chance alone)."
    ) in text


def test_errors_show_their_nearest_training_texts(pages):
    report = REPORTS["two"]()
    near = report["errors"][0]["nearest"][0]

    texts = Page(pages["two"]).texts

    assert near["text"] in texts
    assert f"(“{near['label']}”, cosine 0.930, train:{near['line']})" in texts


@pytest.mark.parametrize("k", [2, 14])
def test_markup_in_the_data_stays_text(k):
    html = render_html(with_evil(make_report(k, 200)))

    page = Page(html)
    assert page.open == []
    assert page.tags.isdisjoint({"img"})
    assert page.n_scripts == 2  # the map's data and ours
    handlers = {name for _, a in page.elements for name in a if name.startswith("on")}
    assert handlers == set()
    assert html.count("<script") == html.count("</script") == 2
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("k", [2, 14])
def test_markup_in_the_data_stays_text_in_markdown(k):
    markdown = render_markdown(with_evil(make_report(k, 200)))

    outside = re.sub(r"```.*?```", "", markdown, flags=re.S)
    assert "<script" not in outside
    assert "<img" not in outside


def test_whole_number_labels_are_drawn():
    report = make_report(14, 200)
    report["classes"] = list(range(14))

    assert re.search(r"<text[^>]*>13</text>", render_html(report))


def test_labels_that_no_browser_could_print_are_drawn():
    report = make_report(14, 200)
    report["classes"][:4] = ["\ud800", "a\nb\tc", "", "x" * 500]

    html = render_html(report)

    for shown in (r"\\ud800", "a b c", r"\(empty\)", "x+…"):
        assert re.search(rf"<text[^>]*>{shown}</text>", html), shown


def test_the_same_report_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(make_report(14, 300), tmp_path / name)

    for name in ("report.html", "report.md", "report.json"):
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_the_same_report_gives_the_same_page_in_another_process(python, pages):
    done = python(
        "from tests.reports import tiny_report; from pipeline.report.render import render_html; import hashlib\n"
        "print(hashlib.sha256(render_html(tiny_report()).encode()).hexdigest())",
        cwd=ROOT,
    )
    import hashlib

    assert done.stdout.strip() == hashlib.sha256(pages["tiny"].encode()).hexdigest(), (
        done.stderr
    )


def test_the_largest_page_is_below_three_megabytes():
    report = make_report(77, 3_080)
    for point in report["map"]["points"]:
        point["text"] = "电" * 120
    for row in report["errors"]:
        row["text"] = "电" * 600
        for near in row["nearest"]:
            near["text"] = "电" * 600

    assert len(render_html(report).encode()) < 3_000_000


def test_page_and_figures_take_less_than_eight_seconds():
    report = make_report(2, 1_821)

    began = time.process_time()
    render_html(report)

    assert time.process_time() - began < 8


# Which parts of the JSON a section may show numbers of.
SHOWN = {
    "good": (
        "metrics",
        "baselines",
        "split",
        "methods",
        "clusters",
        "published",
        "decision",
    ),
    "compared": ("comparison", "methods", "run", "decision"),
    "fails": (
        *("classes", "confusion", "per_class", "slices", "metrics", "errors"),
        *("n_errors", "label_issues", "learning_curve", "calibration", "thresholds"),
        *("scores", "map", "decision"),
    ),
    "made": ("data", "split", "encoder", "head", "unknown_labels", "run"),
    "reproduce": ("reproduce",),
    "next": ("advice",),
}


def values_in(part):
    """Yield every number of a part of the JSON: values, those in strings, and the lengths of lists."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from values_in(key)
            yield from values_in(value)
    elif isinstance(part, list):
        yield len(part)
        for one in part:
            yield from values_in(one)
    elif isinstance(part, str):
        yield from map(float, numbers_in(part))
    elif isinstance(part, int | float) and not isinstance(part, bool):
        yield part


def is_one_of(number, values):
    """Tell whether a number as it is written is one of the values, as a share or in points, rounded so."""
    written = float(number)
    _, _, decimals = number.partition(".")
    if "e" in number:
        return any(f"{value:.2g}" == f"{written:.2g}" for value in values)
    half = 0.5 * 10.0 ** -len(decimals) + 1e-9
    return any(
        abs(abs(value) * scale - written) <= half
        for value in values
        for scale in (1, 100)
    )


@pytest.mark.parametrize(
    "report", [make_report(14, 300), tiny_report()], ids=["14", "3"]
)
def test_every_number_of_the_page_is_one_of_the_json(report):
    report = {**report, "map": None}  # its many numbers would hide a wrong one
    page = Page(render_html(report))
    spoken = {"95", "1"}  # of "95 % interval", "F1"

    for section, keys in SHOWN.items():
        values = list(values_in([report[key] for key in keys if key in report]))
        numbers = set(numbers_in(page.text_of(section))) - spoken
        missing = {number for number in numbers if not is_one_of(number, values)}

        assert missing == set(), section
        assert numbers or section == "next"


def test_a_number_that_is_not_in_the_json_would_be_found():
    assert not is_one_of("0.677", [0.5, 0.66])
    assert is_one_of("0.677", [0.6771])
    assert is_one_of("67.7", [-0.6771])
    assert numbers_in("a 1,821 b_2 v3 2026.4.1 x (0.5 to 1e-06)") == [
        *("1821", "0.5", "1e-06"),
    ]

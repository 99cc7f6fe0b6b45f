"""The pages in headless Chromium, from disk, with Debian's packages ``chromium`` and ``chromium-driver``."""

import json
import shutil

import numpy as np
import pytest

from pipeline import TextClassifier, similarity_matrix
from pipeline.predictor.matrix import N_DRAWN, N_NAMED
from pipeline.report.render import render_comparison, render_html
from tests.conftest import review_rows
from tests.reports import REPORTS, comparison

CHROMIUM, DRIVER = (shutil.which(name) or "" for name in ("chromium", "chromedriver"))
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"
)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--disable-dev-shm-usage"),
)
LOOKS = {  # pooling, classes, text
    "look": ("mean", 2, "the film is good, but the plot was never bright"),
    "look-hostile": ("mean", 2, "<script>alert(1)</script> \x1b[31m \x00 & <b> 日本"),
    "look-many": ("cls", 12, "the film was not dull " * 60),
    "look-empty": ("max", 3, ""),
}
MATRICES = {  # numbers of texts: few, as many as are named, and as many as are drawn
    "matrix-few": 3,
    "matrix-named": N_NAMED,
    "matrix-most": N_DRAWN,
}
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for all tests, with a profile of its own; it tells its console and its requests."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in OPTIONS:
        options.add_argument(option)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_encoder):
    """Every page on disk."""
    path = tmp_path_factory.mktemp("pages")
    for name, (pooling, k, text) in LOOKS.items():
        page = look_page(tiny_encoder, pooling, k, text)
        (path / f"{name}.html").write_text(page, encoding="utf-8")
    for name, n in MATRICES.items():
        (path / f"{name}.html").write_text(matrix_page(n), encoding="utf-8")
    for name, make in REPORTS.items():
        (path / f"{name}.html").write_text(render_html(make()), encoding="utf-8")
    page = render_comparison(comparison())
    (path / "comparison.html").write_text(page, encoding="utf-8")
    return path


@pytest.fixture
def show(browser, folder):
    """Open a page at a size and in a colour scheme."""

    def run(name, size="desktop", scheme="light"):
        width, height = SIZES[size]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {**metrics, "mobile": size == "phone"},
        )
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        for log in ("browser", "performance"):
            browser.get_log(log)  # what earlier pages said
        browser.get((folder / f"{name}.html").as_uri())
        return browser

    return run


def look_page(encoder, pooling, k, text):
    """Return the page of a text; classes are random and their names hostile."""
    texts = [text for text, _ in review_rows()]
    labels = [f"<b>class {i % k}</b>" for i in range(len(texts))]
    classifier = TextClassifier(str(encoder), pooling=pooling, C=1.0, max_length=64)
    return classifier.fit(texts, labels).predictor_.look(text)


def matrix_page(n):
    """Return the page of a similarity matrix; its texts are long, hostile or Chinese."""
    kinds = ("<script>alert(1)</script> & <b>", "a long text " * 40, "日本語のテキスト")
    texts = [f"{kinds[i % 3]} {i}" for i in range(n)]
    features = np.random.default_rng(n).normal(0, 1, (n, 8)).astype(np.float32)
    return similarity_matrix(texts, features, encoder="<b>any</b>").to_html()


def requests(browser):
    """Return the addresses asked for since the page was opened."""
    entries = [json.loads(entry["message"]) for entry in browser.get_log("performance")]
    return [
        entry["message"]["params"]["request"]["url"]
        for entry in entries
        if entry["message"]["method"] == "Network.requestWillBeSent"
    ]


def column(browser, table, number):
    """Return the texts of a column of the rows that are shown."""
    script = (
        "return [...document.getElementById(arguments[0]).tBodies[0].rows].filter(row => !row.hidden)"
        ".map(row => row.cells[arguments[1]].innerText.trim())"
    )
    return browser.execute_script(script, table, number)


def heading(browser, table, number):
    return browser.execute_script(
        "return document.getElementById(arguments[0]).tHead.rows[0].cells[arguments[1]].querySelector('button')",
        *(table, number),
    )


@pytest.mark.parametrize("name", [*REPORTS, "comparison", *LOOKS, *MATRICES])
@pytest.mark.parametrize("size", SIZES)
def test_page_opens_without_errors_requests_or_overflow(show, folder, name, size):
    browser = show(name, size)

    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert browser.get_log("browser") == []
    assert requests(browser) == [(folder / f"{name}.html").as_uri()]
    assert width <= SIZES[size][0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_page_is_drawn_at_both_widths_in_both_schemes(show, tmp_path, size, scheme):
    browser = show("two", size, scheme)
    path = tmp_path / "page.png"

    assert browser.get_screenshot_as_file(str(path))

    ground = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor"
    )
    ink = browser.execute_script(
        "return getComputedStyle(document.querySelector('svg text')).fill"
    )
    light = {"light": True, "dark": False}[scheme]
    assert (brightness(ground) > 128) == light
    assert (brightness(ink) < 128) == light
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_on_their_tints(show, scheme):
    browser = show("look", "phone", scheme)

    ground, ink = (
        browser.execute_script(
            "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
            *(".frostbert-explanation", name),
        )
        for name in ("backgroundColor", "color")
    )

    assert (brightness(ground) > 128) == (scheme == "light")
    assert (brightness(ink) < 128) == (scheme == "light")


def brightness(colour):
    """Return the mean of the parts of ``rgb(1, 2, 3)``."""
    parts = colour[colour.index("(") + 1 : -1].split(",")[:3]
    return sum(map(float, parts)) / 3


def test_errors_are_sorted_by_click(show):
    browser = show("two")
    before = column(browser, "errors", 3)

    button = heading(browser, "errors", 3)
    button.click()
    rising = column(browser, "errors", 3)
    button.click()
    falling = column(browser, "errors", 3)

    assert rising == sorted(before, key=float)
    assert falling == sorted(before, key=float, reverse=True)
    cell = button.find_element("xpath", "..")
    assert cell.get_attribute("aria-sort") == "descending"


def test_errors_are_sorted_by_keyboard(show):
    from selenium.webdriver.common.keys import Keys

    browser = show("two")
    browser.execute_script("arguments[0].focus()", heading(browser, "errors", 0))

    browser.switch_to.active_element.send_keys(Keys.TAB)  # to the next heading
    browser.switch_to.active_element.send_keys(Keys.ENTER)

    labels = column(browser, "errors", 1)
    assert labels == sorted(labels)
    sort = "return document.querySelector('#errors [aria-sort]').innerText"
    assert browser.execute_script(sort).startswith("label")


def test_classes_are_sorted_by_number(show):
    browser = show("fourteen")

    heading(browser, "classes", 4).click()

    shares = column(browser, "classes", 4)
    assert shares == sorted(shares, key=float)


def test_errors_are_filtered_while_one_types(show):
    browser = show("two")
    n_rows = len(column(browser, "errors", 0))
    field = browser.find_element("css selector", "[data-table=errors] input")

    field.send_keys("test: positive")
    lines = column(browser, "errors", 4)
    field.send_keys(" nothing-of-that-kind")

    assert len(lines) == n_rows
    assert column(browser, "errors", 4) == []
    said = browser.find_element("css selector", "[data-table=errors] output").text
    assert said == f"0 of {n_rows} rows"


def test_map_tells_the_text_below_the_pointer_and_by_keyboard(show):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = show("two")
    texts = {point["text"] for point in REPORTS["two"]()["map"]["points"]}
    svg = browser.find_element("css selector", "#map-figure svg")

    def said():
        return browser.find_element("id", "map-said").text

    ActionChains(browser).move_to_element(svg).perform()
    pointed = said()
    browser.find_element("id", "map-figure").send_keys(Keys.ARROW_RIGHT)

    assert pointed[: pointed.rindex(" (“")] in texts
    assert said() != pointed
    assert browser.find_elements("css selector", "#map-figure circle.ring")


def test_page_can_be_read_without_javascript(show):
    browser = show("two")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.refresh()
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    assert len(column(browser, "errors", 0)) == 20
    assert not browser.find_elements("css selector", "th button")
    assert not browser.find_element("css selector", ".tools").is_displayed()
    assert "report.json" in browser.find_element("id", "map-said").text


def test_a_script_that_is_not_ours_is_not_run(show, folder):
    page = (folder / "tiny.html").read_text(encoding="utf-8")
    evil = page.replace("<main>", "<main><script>document.title = 'evil'</script>")
    (folder / "evil.html").write_text(evil, encoding="utf-8")

    browser = show("evil")

    assert browser.title != "evil"


def test_printing_opens_what_is_folded_but_the_numbers_of_figures(show):
    browser = show("two")

    browser.execute_script("dispatchEvent(new Event('beforeprint'))")

    closed = browser.find_elements("css selector", "details:not(.numbers):not([open])")
    assert closed == []


@pytest.mark.parametrize("place", ["latest", "runs/any-cdcdcdcdcdcd", "reports/any-cd"])
def test_the_link_to_the_earlier_report_holds_wherever_the_page_is_opened(
    browser, tmp_path, place
):
    report = REPORTS["two"]()
    page = tmp_path / place / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text(render_html(report), encoding="utf-8")

    browser.get(page.as_uri())

    link = browser.find_element("css selector", "a.run")
    earlier = tmp_path / report["run"]["previous"]["report"] / "report.html"
    assert link.get_property("href") == earlier.as_uri()

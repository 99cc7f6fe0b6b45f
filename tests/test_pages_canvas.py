import re
import warnings

import pytest

from pipeline.pages.canvas import WIDTH, draw, shown, width_of
from pipeline.pages.colours import LIGHT

DRAW = (
    "import sys\n"
    "from pipeline.pages.canvas import draw\n"
    "print(draw('one', lambda axes: axes.plot([0, 1], [2, 3], 'o-', color='#0b6bcb')))\n"
    "print(*sys.modules, file=sys.stderr)\n"
)


def line(axes):
    axes.plot([0, 1], [2, 3], "o-", color=LIGHT["blue"])


def test_draw_gives_an_element_without_what_a_page_must_not_have():
    svg = draw("one", line)

    assert svg.startswith(f'<svg viewBox="0 0 {WIDTH} ')
    assert svg.endswith("</svg>")
    for unwanted in ("xmlns", "<style", "<metadata", "<!--", "font-family", "DejaVu"):
        assert unwanted not in svg


def test_draw_gives_every_figure_identifiers_of_its_own():
    one, two = (
        set(re.findall(r' id="([^"]*)"', draw(name, line))) for name in ("one", "two")
    )

    assert one
    assert two
    assert all(name.startswith("one-") for name in one)
    assert not one & two


def test_every_reference_inside_a_figure_has_its_target():
    svg = draw("one", line)

    references = set(re.findall(r'[("]#([^)"]*)[)"]', svg))
    assert references == set(re.findall(r' id="([^"]*)"', svg))


def test_draw_takes_its_colours_from_the_page():
    svg = draw("one", line)

    assert "stroke: var(--blue)" in svg
    assert not re.search(r"#[0-9a-f]{6}", svg)


@pytest.mark.parametrize("label", ["$x^{", "a <b> & c", 'id="x" #123456', "a\\_{b}$$"])
def test_labels_are_drawn_as_they_are(label):
    svg = draw("one", lambda axes: axes.set_xlabel(label))

    escaped = label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f">{escaped}</text>" in svg


def test_signs_that_our_font_lacks_raise_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = draw("one", lambda axes: axes.set_xlabel("故事 한국 😀"))

    assert "故事 한국 😀" in svg


def test_settings_of_the_user_change_nothing():
    import matplotlib as mpl

    expected = draw("one", line)

    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "text.usetex": True}):
        found = draw("one", line)
        kept = mpl.rcParams["lines.linewidth"]

    assert found == expected
    assert kept == 9


def test_drawing_leaves_no_file_and_finds_no_settings_of_the_user(python, tmp_path):
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\n")
    home = {"HOME": str(tmp_path / "home"), "MPLCONFIGDIR": "", "XDG_CACHE_HOME": ""}

    done = python(DRAW, cwd=tmp_path, env=home)

    assert done.stdout == draw("one", line) + "\n", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["matplotlibrc"]


def test_drawing_needs_no_screen_and_no_pyplot(python):
    done = python(DRAW)

    assert "matplotlib.figure" in done.stderr
    assert "matplotlib.pyplot" not in done.stderr.split()


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("short", "short"),
        ("a\n b\tc", "a b c"),
        ("", "(empty)"),
        (7, "7"),
        ("\ud800", "\\ud800"),
        ("\x00\u202ea", "a"),
        ("x" * 30, "x" * 21 + "…"),
    ],
)
def test_shown_is_one_short_printable_line(label, expected):
    assert shown(label) == expected


def test_width_of_chinese_is_twice_that_of_english():
    assert width_of("故事") > 1.7 * width_of("ab")

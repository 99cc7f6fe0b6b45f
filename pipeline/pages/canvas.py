"""Draws with matplotlib into SVG that belongs into a page: its colours are the page's, its text is text.

The same drawing gives the same bytes: identifiers come from a fixed salt, and no date is written.
"""

import logging
import os
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.pages.colours import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 420  # px: on a phone of 390 px a figure keeps nearly this size, so its text stays readable
FONT = 12  # px
LABEL_LIMIT = 22  # characters of a label in a figure
STYLE: dict[Any, Any] = {  # Any: names and values as matplotlib types them
    "svg.fonttype": "none",
    "axes.edgecolor": LIGHT["soft"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": LIGHT["ink"],
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": FONT,
    "grid.color": LIGHT["line"],
    "legend.frameon": False,
    "text.color": LIGHT["ink"],
    "text.parse_math": False,
    "xtick.color": LIGHT["soft"],
    "ytick.color": LIGHT["soft"],
}
_NUMBER = re.compile(r"-?\d+\.\d+")
_USED = re.compile(r"(?<=[\"(]#)[\w.-]+")


def draw(
    name: str,
    paint: "Callable[[Axes], object]",
    *,
    height: int = 270,
    left: float = 52,
    right: float = 12,
    top: float = 12,
    bottom: float = 44,
) -> str:
    """Return what `paint` draws, as an ``<svg>`` element.

    Parameters
    ----------
    name : str
        Of the figure, unique in its page: the identifiers inside begin with it.
    paint : callable
        Gets the axes; takes its colours from `LIGHT`.
    height : int
        Pixels; the width is `WIDTH`.
    left, right, top, bottom : float
        Pixels between the axes and the edges.
    """
    with _matplotlib(name):
        from io import StringIO

        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(
            figsize=(WIDTH / 72, height / 72)
        )  # an SVG of matplotlib's has 72 units an inch
        FigureCanvasSVG(figure)
        box = (
            left / WIDTH,
            bottom / height,
            (WIDTH - left - right) / WIDTH,
            (height - top - bottom) / height,
        )
        axes = figure.add_axes(box)
        axes.tick_params(length=0, pad=5)
        paint(axes)
        for text in figure.findobj(_is_text):
            text.set_parse_math(False)  # type: ignore[attr-defined]  # a Text, as asked for
        out = StringIO()
        figure.savefig(
            out,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    return _for_page(out.getvalue(), name)


def shown(label: object, limit: int = LABEL_LIMIT) -> str:
    """Return a label on one line, printable and cut to `limit` characters."""
    text = str(label).encode("utf-8", "backslashreplace").decode()
    text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split()) or "(empty)"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def width_of(text: str) -> float:
    """Return about how many pixels wide `text` is; Chinese, Japanese and Korean signs are square."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return FONT * (wide + 0.56 * (len(text) - wide))


def _is_text(artist: object) -> bool:
    from matplotlib.text import Text

    return isinstance(artist, Text)


@contextmanager
def _matplotlib(salt: str) -> Iterator[None]:
    """Let matplotlib draw with our settings, whatever the user's files and program have set."""
    _load()
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update({**STYLE, "svg.hashsalt": salt})
        # the reader's browser has the signs that the font of our measuring lacks
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        yield


def _load() -> None:
    """Import matplotlib, which keeps a list of fonts: not in the home folder, unless a folder is set for it."""
    if "matplotlib.font_manager" in sys.modules or os.environ.get("MPLCONFIGDIR"):
        return
    with TemporaryDirectory(prefix="frostbert-", ignore_cleanup_errors=True) as folder:
        os.environ["MPLCONFIGDIR"] = folder
        # it warns that making the list takes a moment
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
        try:
            import matplotlib.font_manager  # for its list
            import matplotlib.style  # noqa: F401  # looks for styles of the user's
        finally:
            del os.environ["MPLCONFIGDIR"]


def _for_page(svg: str, name: str) -> str:
    """Return the element alone, with the page's colours, short numbers and identifiers that are its own."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.S)
    used = set(_USED.findall("".join(re.findall(r"<[^>]*>", svg))))
    svg = re.sub(r"<[^>]*>", lambda tag: _for_page_tag(tag[0], name, used), svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def _for_page_tag(tag: str, name: str, used: set[str]) -> str:
    if tag.startswith("<svg"):
        (box,) = re.findall(r' viewBox="[^"]*"', tag)
        return f"<svg{box}>"
    tag = re.sub(r' id="matplotlib\.axis_\d+"', ' class="axis"', tag)
    tag = re.sub(
        r' id="([^"]*)"',
        lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "",
        tag,
    )
    tag = re.sub(r'(?<=["(])#(?=[\w.-]+[")])', f"#{name}-", tag).replace("xlink:", "")
    tag = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", tag)
    tag = re.sub(r" font-family: [^;\"]*;|font-stretch: [^;\"]*;", "", tag)
    tag = re.sub(r' transform="rotate\(-?0 [^"]*"', "", tag)
    tag = re.sub(r"#[0-9a-f]{6}(?=[;\"])", _variable, tag)
    return _NUMBER.sub(
        lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), tag
    )


def _variable(found: "re.Match[str]") -> str:
    names = [name for name, value in LIGHT.items() if value == found[0]]
    return f"var(--{names[0]})" if names else found[0]

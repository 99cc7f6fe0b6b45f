"""Fills in the templates of explanations, of the page that looks into an encoder, and of similarity matrices."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment

from pipeline.errors import label_text
from pipeline.pages.canvas import shown
from pipeline.pages.frame import environment
from pipeline.predictor.explanation import Explanation, Word

if TYPE_CHECKING:
    from pipeline.predictor.matrix import SimilarityMatrix


def explanation_html(explanation: Explanation) -> str:
    """Return an explanation as a piece of HTML, in ASCII, so that it can stand in a page of any encoding."""
    text = _environment().get_template("explanation.html.j2").render(e=explanation)
    return text.encode("ascii", "xmlcharrefreplace").decode()


def look_html(**facts: Any) -> str:  # Any: what the template shows
    """Return the page."""
    return str(_environment().get_template("look.html.j2").render(**facts))


def matrix_html(
    matrix: "SimilarityMatrix", svg: str, opacities: Sequence[float]
) -> str:
    """Return the page of a similarity matrix with its figure, whose shades have the opacities."""
    pairs = matrix.pairs()
    facts = {"most": pairs[0], "least": pairs[-1], "opacities": opacities}
    template = _environment().get_template("matrix.html.j2")
    return str(template.render(matrix=matrix, svg=svg, **facts))


@cache
def _environment() -> Environment:
    found = environment("pipeline.predictor")
    found.filters["shown"] = shown
    found.filters["label"] = label_text
    found.filters["tint"] = _tint
    return found


def _tint(word: Word, explanation: Explanation) -> int:
    """Return how strong the colour behind a word is, in percent: its share of the largest contribution."""
    most = max(abs(one.contribution or 0.0) for one in explanation.words)
    return round(40 * abs(word.contribution or 0.0) / most) if most else 0

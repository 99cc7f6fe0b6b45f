"""Fills in templates: a package's own, and those of the frame that all pages share.

A page is one file that loads nothing: its policy names the one script it runs, if it has one.
"""

import base64
import hashlib

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from pipeline.pages.colours import DARK, LIGHT, variables


def environment(package: str, *, script: str | None = None) -> Environment:
    """Return the environment of a package's templates: ``.html.j2`` escape what they are given.

    Parameters
    ----------
    package : str
        With a folder ``templates``.
    script : str, optional
        The file in it that its pages run; templates get its text and digest as ``script``.
    """
    own = PackageLoader(package)
    found = Environment(
        loader=ChoiceLoader([own, PackageLoader("pipeline.pages")]),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals.update(light=variables(LIGHT), dark=variables(DARK), script=None)
    if script is not None:
        text, _, _ = own.get_source(found, script)
        found.globals["script"] = {"text": text, "digest": _digest(text)}
    return found


def _digest(script: str) -> str:
    """Return a script's digest as a page's policy names it: no other script is run."""
    raw = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(raw).decode()}"

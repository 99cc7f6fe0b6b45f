"""What a browser makes of a page."""

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """The elements of a page with their attributes, and its texts."""

    VOID = ("meta", "br", "input")

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.sections: dict[str | None, list[str]] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        opened, _ = self.open.pop()
        assert opened == tag

    def handle_data(self, data):
        self.texts.append(data)
        if not self._is_hidden():
            self.sections.setdefault(self._section(), []).append(data)

    @property
    def tags(self):
        return {tag for tag, _ in self.elements}

    @property
    def n_scripts(self):
        return sum(tag == "script" for tag, _ in self.elements)

    @property
    def ids(self):
        return [
            attributes["id"] for _, attributes in self.elements if "id" in attributes
        ]

    def text_of(self, section):
        """Return what a reader sees of a section, without scripts and without the ticks of axes."""
        return " ".join(" ".join(self.sections.get(section, [])).split())

    def _section(self):
        found = [a.get("id") for tag, a in self.open if tag == "section"]
        return found[-1] if found else None

    def _is_hidden(self):
        return any(
            tag in ("script", "style", "title") or a.get("class") == "axis"
            for tag, a in self.open
        )


def numbers_in(text):
    """Return the numbers in a text as they are written, without signs and commas."""
    found = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?!\.?\w)", text)
    return [number.replace(",", "") for number in found]

"""The colours of page and figures, in a light and a dark scheme.

Text has a contrast of at least 4.5:1 on paper and panel, lines and points of at least 3:1 (WCAG 2.2, 1.4.3 and 1.4.11).
The series colours stay apart for the common colour blindnesses, and no figure tells things apart by colour alone.
"""

LIGHT = {
    "ink": "#1b1f24",
    "soft": "#57606a",
    "line": "#d0d7de",
    "paper": "#ffffff",
    "panel": "#f5f7f9",
    "blue": "#0b6bcb",
    "orange": "#b54708",
    "teal": "#0a7d68",
    "purple": "#8e2f86",
}
DARK = {
    "ink": "#e6edf3",
    "soft": "#9ea7b3",
    "line": "#3a424c",
    "paper": "#0f1419",
    "panel": "#181f26",
    "blue": "#5aa9f7",
    "orange": "#f59e4a",
    "teal": "#41cbb2",
    "purple": "#e79be0",
}
SERIES = ("blue", "orange", "teal", "purple")


def variables(scheme: dict[str, str]) -> str:
    """Return a scheme as CSS variables."""
    return " ".join(f"--{name}: {value};" for name, value in scheme.items())

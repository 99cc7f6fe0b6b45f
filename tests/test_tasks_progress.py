"""What people and Luigi are told while texts are encoded."""

import logging
import types

import pytest

from tasks import progress

HALF = {
    "done": 1_500,
    "total": 4_000,
    "tokens": 49_000,
    "padded": 50_000,
    "share": 0.5,
    "elapsed_s": 10.0,
}
SAID = "0:00:10 left, 150.0 rows/s (4,900 tokens/s, 2.0 % padding)"


def task(percentage=None, message=None):
    return types.SimpleNamespace(
        set_progress_percentage=percentage, set_status_message=message
    )


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "STATUS_EVERY_S", 0.0)


def show(task, *messages):
    with progress.show_progress(task) as on_message:
        for message in messages:
            on_message(message)


def test_a_line_says_how_far_it_is_how_fast_and_how_long_it_takes(caplog, at_once):
    caplog.set_level(logging.INFO, "tasks.progress")

    show(task(), {"progress": HALF}, {"warning": "careful"})

    assert caplog.messages == [
        f"encoding: 1,500 of 4,000 texts, about {SAID}",
        "careful",
    ]


def test_lines_come_every_few_seconds(caplog):
    caplog.set_level(logging.INFO, "tasks.progress")

    show(task(), *[{"progress": HALF}] * 5)

    assert caplog.messages == []


def test_the_bar_shows_the_same(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")

    show(task(), {"progress": HALF})

    assert f"50 % {SAID}" in capsys.readouterr().err.replace("\x1b[0m", "")


def test_luigi_gets_the_share_of_the_work_and_a_message(at_once):
    told: list[object] = []

    show(task(told.append, told.append), {"progress": HALF})

    assert told == [50, f"1,500 of 4,000 texts, about {SAID}"]


def test_luigi_is_told_rarely():
    told: list[object] = []

    show(task(told.append, told.append), *[{"progress": HALF}] * 5)

    assert len(told) == 2


def test_a_scheduler_that_went_away_is_not_asked_again(at_once):
    asked: list[object] = []

    def fail(value):
        asked.append(value)
        raise ConnectionError

    show(task(fail, fail), *[{"progress": HALF}] * 5)

    assert asked == [50]

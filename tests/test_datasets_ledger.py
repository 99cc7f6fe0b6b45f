import gc
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.datasets import ledger as ledger_module
from pipeline.datasets.checks import Rows
from pipeline.datasets.ledger import Ledger
from pipeline.errors import DataError

SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ledger")


def facts(folder, *, size=1000, **splits):
    """Return what a ledger counts of (text, label) pairs, `size` of them at once; lines count from 1."""
    with Ledger(folder) as ledger:
        for split, pairs in splits.items():
            for i in range(0, len(pairs), size):
                part = pairs[i : i + size]
                lines = list(range(i + 1, i + 1 + len(part)))
                ledger.add(
                    split, Rows([p[0] for p in part], [p[1] for p in part], lines)
                )
        return ledger.facts()


def test_ledger_of_a_few_rows(folder):
    found = facts(
        folder,
        train=[("a", "x"), ("bb", "y"), ("a", "x"), ("cc\0c", "y"), ("bb", "x")],
        test=[("a", "y"), ("ddd", "x"), ("a", "x")],
    )

    assert found == {
        "rows": 8,
        "distinct": 4,
        "duplicates": 4,
        "conflicting": 2,
        "conflicts": [
            {
                "rows": [
                    {"split": "train", "line": 1, "label": "x"},
                    {"split": "test", "line": 1, "label": "y"},
                ]
            },
            {
                "rows": [
                    {"split": "train", "line": 2, "label": "y"},
                    {"split": "train", "line": 5, "label": "x"},
                ]
            },
        ],
        "in_train": {"test": 2},
        "control_characters": {"rows": 1, "first": [{"split": "train", "line": 4}]},
        "mean_characters": 1.9,  # 15 / 8
        "longest": [
            {"split": "train", "line": 4, "characters": 4},
            {"split": "test", "line": 2, "characters": 3},
            {"split": "train", "line": 2, "characters": 2},
            {"split": "train", "line": 5, "characters": 2},
            {"split": "train", "line": 1, "characters": 1},
        ],
        "train_labels": {"x": 3, "y": 2},
        "labels": {"train": {"x": 3, "y": 2}, "test": {"x": 2, "y": 1}},
    }


def test_ledger_of_nothing(folder):
    found = facts(folder)

    assert found["rows"] == found["distinct"] == found["duplicates"] == 0
    assert found["mean_characters"] == 0
    assert found["labels"] == {}


@pytest.mark.parametrize(
    "text", ["\0", "a\x1b[0m", "\x07", "\x7f", "\x0b", "\x0c", "\x85", "\x9f", "\x08b"]
)
def test_ledger_counts_texts_with_control_characters(folder, text):
    found = facts(folder, train=[("a", 0), (text, 1)])

    assert found["control_characters"] == {
        "rows": 1,
        "first": [{"split": "train", "line": 2}],
    }


@pytest.mark.parametrize(
    "text", ["a\tb\nc\rd", "\u2028", "\u200d", "\u202e", "\ufeff", "\xa0", "\ud800", ""]
)
def test_ledger_takes_nothing_else_for_control_characters(folder, text):
    assert facts(folder, train=[(text, 0)])["control_characters"]["rows"] == 0


def test_ledger_lists_the_first_ten_texts_with_control_characters(folder):
    found = facts(folder, train=[("\0", 0)] * 15)["control_characters"]

    assert found["rows"] == 15
    assert [row["line"] for row in found["first"]] == list(range(1, 11))


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_ledger_lists_the_longest_texts_the_earlier_first(folder, size):
    lengths = [5, 9, 9, 1, 9, 7, 9, 9, 9, 2]
    pairs = [("a" * length, 0) for length in lengths]

    found = facts(folder, size=size, train=pairs)["longest"]

    assert [(row["line"], row["characters"]) for row in found] == [
        (line, 9) for line in (2, 3, 5, 7, 8)
    ]


def test_ledger_tells_unicode_forms_and_case_apart(folder):
    pairs = [("\u00e9", 0), ("e\u0301", 0), ("E\u0301", 0), ("e\u0301 ", 0)]

    assert facts(folder, train=pairs)["distinct"] == 4


def test_ledger_counts_whole_labels_by_their_digits(folder):
    found = facts(folder, train=[("a", 1), ("b", -7), ("c", 1)])

    assert found["train_labels"] == {"1": 2, "-7": 1}


def test_ledger_refuses_too_many_labels(folder, monkeypatch):
    monkeypatch.setattr(ledger_module, "MAX_LABELS", 10)
    pairs = [("a", f"id {i}") for i in range(12)]

    assert len(facts(folder, train=pairs[:10])["train_labels"]) == 10
    with pytest.raises(
        DataError,
        match=r"More than 10 different labels, such as 'id 10': an id .*Pass --label-col",
    ):
        facts(folder, size=1, train=pairs)


def test_ledger_leaves_no_file_behind(tmp_path):
    facts(tmp_path, train=[("a", 0)])
    gc.collect()

    assert list(tmp_path.iterdir()) == []


def expected(rows):
    """Return by brute force what a ledger counts of (split, line, text, label) in order."""
    by_text: dict[str, list[tuple[str, int, str]]] = {}
    for split, line, text, label in rows:
        by_text.setdefault(text, []).append((split, line, label))
    conflicts = []
    for places in by_text.values():
        first: dict[str, dict[str, object]] = {}
        for split, line, label in places:
            first.setdefault(label, {"split": split, "line": line, "label": label})
        if len(first) > 1:
            conflicts.append({"rows": list(first.values())[:5]})
    train = {text for split, _, text, _ in rows if split == "train"}
    labels = {
        name: Counter(label for split, _, _, label in rows if split == name)
        for name in SPLITS
    }
    longest = sorted(
        ((len(text), -i) for i, (_, _, text, _) in enumerate(rows)), reverse=True
    )[:5]
    return {
        "rows": len(rows),
        "distinct": len(by_text),
        "duplicates": len(rows) - len(by_text),
        "conflicting": len(conflicts),
        "conflicts": conflicts[:5],
        "in_train": {
            name: sum(split == name and text in train for split, _, text, _ in rows)
            for name in ("dev", "test")
            if labels[name]
        },
        "longest": [
            {"split": rows[-i][0], "line": rows[-i][1], "characters": n}
            for n, i in longest
        ],
        "labels": {name: dict(found) for name, found in labels.items() if found},
    }


PAIRS = st.lists(
    st.tuples(st.text(st.sampled_from("ab\ud800"), max_size=3), st.sampled_from("xyz")),
    max_size=30,
)


@settings(max_examples=200, deadline=timedelta(seconds=5))
@given(
    train=PAIRS, dev=PAIRS, test=PAIRS, size=st.integers(1, 7), part=st.integers(1, 40)
)
@example([("a", "x"), ("a", "y")] * 2, [("a", "z")], [("a", "x")], 2, 1)
def test_ledger_counts_as_brute_force_does(  # noqa: PLR0917
    folder, train, dev, test, size, part
):
    splits = {"train": train, "dev": dev, "test": test}
    rows = [
        (split, line, *pair)
        for split, pairs in splits.items()
        for line, pair in enumerate(pairs, 1)
    ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_module, "PART_ROWS", part)
        found = facts(folder, size=size, **splits)

    wanted = expected(rows)
    assert {name: found[name] for name in wanted} == wanted


def test_ledger_gives_the_same_in_every_process(python, tmp_path):
    """Its hashes differ from process to process."""
    code = (
        "import json, pathlib\n"
        "from pipeline.datasets.checks import Rows\n"
        "from pipeline.datasets.ledger import Ledger\n"
        "texts = [f'text {i % 50}' for i in range(100)]\n"
        "labels = [str(i // 50) for i in range(100)]\n"
        f"with Ledger(pathlib.Path({str(tmp_path)!r})) as ledger:\n"
        "    ledger.add('train', Rows(texts, labels, list(range(100))))\n"
        "    print(json.dumps(ledger.facts()))\n"
    )

    one, other = (python(code, env={"PYTHONHASHSEED": seed}) for seed in ("1", "2"))

    assert one.stdout == other.stdout != "", one.stderr

from copy import deepcopy

import pytest

from pipeline.report.data import data_lines

REPORT = {
    "dataset": {
        "text_column": "sentence",
        "label_column": "mood",
        "splits": {
            # in the order of JSON with sorted keys
            "dev": {"rows_read": 40, "rows_used": 40, "empty_texts": 0},
            "test": {"rows_read": 50, "unlabelled": True},
            "train": {
                "rows_read": 1_150,
                "rows_used": 1_120,
                "empty_texts": 30,
                "extra_fields": 4,
                "header": False,
            },
        },
        "texts": {
            "rows": 1_160,
            "duplicates": 3,
            "conflicting": 2,
            "conflicts": [
                {
                    "rows": [
                        {"split": "train", "line": 7, "label": "neg"},
                        {"split": "dev", "line": 9, "label": "pos"},
                    ]
                },
                {"rows": [{"split": "train", "line": 11, "label": "neg"}]},
            ],
            "in_train": {"dev": 5},
            "control_characters": {
                "rows": 3,
                "first": [{"split": "train", "line": n} for n in (21, 22, 23)],
            },
            "mean_characters": 53.4,
            "longest": [
                {"split": "train", "line": n, "characters": 2_000 - n}
                for n in (1, 2, 3, 4)
            ],
            "train_labels": {"neg": 60, "pos": 1_060},
        },
    },
    "split": {
        "overlap": {
            "identical": 1,
            "contained": 2,
            "containing": 3,
            "n": 40,
            "share": 0.15,
        }
    },
    "encoder": {
        "rows": 1_160,
        "tokens": 14_500,
        "mean_tokens": 12.5,
        "longest_tokens": 150,
        "rows_cut": 2,
        "tokens_cut": 30,
        "max_length": 128,
    },
}


@pytest.fixture
def report():
    return deepcopy(REPORT)


def test_data_lines_say_everything_of_the_ledger(report):
    assert data_lines(report) == [
        [
            "rows",
            "1,240 read: train 1,150 (1,120 used; 4 with extra fields), dev 40, test 50 (no labels, not used); "
            "columns text 'sentence', label 'mood' (no header line)",
        ],
        ["labels", "pos: 1,060 (94.6 %), neg: 60 (5.4 %)"],
        [
            "texts",
            "30 empty, 3 duplicates, 2 with several labels (train 7, dev 9), 3 with control characters "
            "(train 21, train 22)",
        ],
        [
            "length",
            "53.4 characters a text, longest 1,999 (train 1), 1,998 (train 2), 1,997 (train 3)",
        ],
        [
            "overlap",
            "15.0 % of scored rows: 1 identical to a training text but for case and spaces, 2 contained in one, "
            "3 containing one; 5 dev rows with exactly a training text",
        ],
        [
            "tokens",
            "12.5 a text, longest 150; 2 rows (0.2 %) cut at --max-length 128, 0.2 % of tokens lost",
        ],
    ]


def test_data_lines_never_call_something_nothing(report):
    report["encoder"]["tokens_cut"] = 1

    assert data_lines(report)[-1][1].endswith("under 0.1 % of tokens lost")


def test_data_lines_show_the_ten_most_frequent_labels(report):
    report["dataset"]["texts"]["train_labels"] = {f"l{i:02}": i for i in range(1, 14)}

    labels = dict(data_lines(report))["labels"]

    assert labels.startswith("l13: 13 (14.3 %), l12: 12")
    assert labels.endswith("l04: 4 (4.4 %) and 3 more labels")


def test_data_lines_cut_a_long_label(report):
    report["dataset"]["texts"]["train_labels"] = {"a" * 10**6: 1, "c": 1}

    assert len(dict(data_lines(report))["labels"]) < 100


def test_data_lines_keep_an_odd_label_on_its_line(report):
    report["dataset"]["texts"]["train_labels"] = {"a\nb": 1, "c": 1}

    assert dict(data_lines(report))["labels"] == "'a\\nb': 1 (50.0 %), c: 1 (50.0 %)"

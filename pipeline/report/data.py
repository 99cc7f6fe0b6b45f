"""The data ledger in a few short lines: what was read, what is odd about it, and what the encoder did not see."""

from typing import Any

from pipeline.datasets.ledger import SPLITS
from pipeline.errors import word

Json = dict[str, Any]  # Any: JSON values
MAX_LABELS = 10


def data_lines(report: Json) -> list[list[str]]:
    """Return pairs of a name and a sentence: rows, labels, texts, length, overlap and tokens."""
    dataset = report["dataset"]
    texts = dataset["texts"]
    noun = "pair" if "pair_encoding" in report["encoder"] else "text"
    return [
        ["rows", _rows(dataset)],
        ["labels", _labels(dataset)],
        ["texts", _texts(dataset)],
        ["length", _length(texts, noun)],
        ["overlap", _overlap(texts, report["split"]["overlap"], noun)],
        ["tokens", _tokens(report["encoder"])],
    ]


def _rows(dataset: Json) -> str:
    parts = []
    for split in (name for name in SPLITS if name in dataset["splits"]):
        notes = dataset["splits"][split]
        used = "no labels, not used" if notes.get("unlabelled") else None
        if used is None and notes["rows_used"] != notes["rows_read"]:
            used = f"{notes['rows_used']:,} used"
        extra = notes.get("extra_fields")
        said = [used, f"{extra:,} with extra fields" if extra else None]
        details = "; ".join(word for word in said if word)
        parts.append(
            f"{split} {notes['rows_read']:,}" + (f" ({details})" if details else "")
        )
    read = sum(notes["rows_read"] for notes in dataset["splits"].values())
    columns = f"text {dataset['text_column']!r}, label {dataset['label_column']!r}"
    if "slice_column" in dataset:
        columns += f", sliced by {dataset['slice_column']!r}"
    header = "" if dataset["splits"]["train"]["header"] else " (no header line)"
    return f"{read:,} read: {', '.join(parts)}; columns {columns}{header}"


def _labels(dataset: Json) -> str:
    texts = dataset["texts"]
    if values := texts.get("train_values"):
        first, median, third = values["quartiles"]
        return (
            f"{values['n']:,} numbers from {values['min']:g} to {values['max']:g}, mean {values['mean']:.3f}, "
            f"quartiles {first:g}, {median:g}, {third:g}"
        )
    if sets := texts.get("train_sets"):
        n = dataset["splits"]["train"]["rows_used"]
        several = f"{sets['mean_labels']:.2f} a row on average, none in {sets['without']:,} rows; "
        return several + _counts(texts["train_labels"], n)
    counts = texts["train_labels"]
    return _counts(counts, sum(counts.values()))


def _counts(counts: dict[str, int], total: int) -> str:
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shares = [f"{word(label)}: {n:,} ({_percent(n, total)})" for label, n in largest]
    if len(shares) <= MAX_LABELS + 1:  # a single one more is not hidden
        return ", ".join(shares)
    named, more = ", ".join(shares[:MAX_LABELS]), len(shares) - MAX_LABELS
    return f"{named} and {more} more labels"


def _texts(dataset: Json) -> str:
    texts = dataset["texts"]
    empty = sum(notes.get("empty_texts", 0) for notes in dataset["splits"].values())
    control = texts["control_characters"]
    said = [
        f"{empty:,} empty",
        f"{texts['duplicates']:,} duplicates",
        f"{texts['conflicting']:,} with {_differing(texts)}"
        + _places(texts["conflicts"][:1]),
        f"{control['rows']:,} with control characters"
        + _places([{"rows": control["first"][:2]}] if control["rows"] else []),
    ]
    return ", ".join(said)


def _differing(texts: Json) -> str:
    """Return what the rows of one text that contradict each other have."""
    if "train_values" in texts:
        return "different values"
    return "different labels" if "train_sets" in texts else "several labels"


def _places(found: list[Json]) -> str:
    """Return `` (train 3, test 77)`` for the first rows found, if any."""
    rows = [row for one in found for row in one["rows"]]
    return f" ({', '.join(_place(row) for row in rows)})" if rows else ""


def _place(row: Json) -> str:
    return f"{row['split']} {row['line']}"


def _length(texts: Json, noun: str) -> str:
    longest = [f"{row['characters']:,} ({_place(row)})" for row in texts["longest"][:3]]
    return (
        f"{texts['mean_characters']} characters a {noun}, longest {', '.join(longest)}"
    )


def _overlap(texts: Json, overlap: Json, noun: str) -> str:
    parts = [
        f"{texts['in_train'][split]:,} {split} rows with exactly a training {noun}"
        for split in SPLITS
        if split in texts["in_train"]
    ]
    scored = (
        f"{100 * overlap['share']:.1f} % of scored rows: {overlap['identical']:,} identical to a training {noun} but "
        f"for case and spaces, {overlap['contained']:,} contained in one, {overlap['containing']:,} containing one"
    )
    return "; ".join([scored, *parts])


def _tokens(encoder: Json) -> str:
    cut, rows = encoder["rows_cut"], encoder["rows"]
    lost = _percent(encoder["tokens_cut"], encoder["tokens"])
    return (
        f"{encoder['mean_tokens']} a text, longest {encoder['longest_tokens']:,}; {cut:,} rows ({_percent(cut, rows)}) "
        f"cut at --max-length {encoder['max_length']}, {lost} of tokens lost"
    )


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.1f} %" if share >= 0.05 or not part else "under 0.1 %"

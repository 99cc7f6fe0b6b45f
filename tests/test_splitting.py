from collections import Counter

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from pipeline.config import SplitSpec
from pipeline.errors import DataError
from pipeline.splitting import (
    SpanIndex,
    choose_split,
    containment_groups,
    count_overlap,
    make_folds,
    random_split,
    strata_of,
)

TEXTS = [
    "row amber",
    "row birch",
    "the plot is thin",
    "row dune",
    "row ember",
    "row fjord",
    "row grove",
    "I say the plot is thin today",
    "row inlet",
    "row jetty",
    "row knoll",
    "row lagoon",
]
LABELS = ["pos", "neg"] * 6
SEEDS = range(20)
QUICK = settings(max_examples=60, deadline=None)

# Few words, so that texts repeat and contain each other; capitals and spaces, so that they differ in form alone.
phrases = st.lists(
    st.sampled_from(["a", "b", "A", "c  d"]), min_size=0, max_size=6
).map(" ".join)
# Eight texts that nothing contains, so that a split is nearly always possible.
rows = st.lists(st.tuples(phrases, st.integers(0, 1)), max_size=20).map(
    lambda drawn: [*drawn, *((f"single {i}", i % 2) for i in range(8))]
)


def form(text):
    return " ".join(text.casefold().split())


def is_span(part, text):
    return f" {part} " in f" {text} "


def side_of_each_row(fit, test):
    sides = dict.fromkeys(fit.tolist(), "fit") | dict.fromkeys(test.tolist(), "test")
    return [sides[i] for i in sorted(sides)]


def assert_groups_are_whole(texts, places):
    """Check by brute force that every text is where the longest text that contains it is."""
    normal = [form(text) for text in texts]
    place = dict(zip(normal, places, strict=True))
    for text, its_place in zip(normal, places, strict=True):
        assert place[text] == its_place
        if text.count(" ") >= 2:
            longest = min(
                (other for other in normal if is_span(text, other)),
                key=lambda t: (-t.count(" "), -len(t), t),
            )
            assert place[longest] == its_place


def test_random_split_of_a_seed_never_changes():
    fit, test = random_split(TEXTS, LABELS, test_fraction=0.25, seed=42)

    assert fit.tolist() == [1, 2, 4, 5, 6, 7, 8, 11]
    assert test.tolist() == [0, 3, 9, 10]


def test_make_folds_of_a_seed_never_changes():
    folds = make_folds(TEXTS, LABELS, n_folds=5, seed=42)

    assert folds.tolist() == [2, 0, 4, 3, 1, 2, 0, 4, 3, 1, 0, 1]


def test_random_split_changes_with_the_seed():
    splits = {
        tuple(random_split(TEXTS, LABELS, test_fraction=0.25, seed=seed)[1].tolist())
        for seed in SEEDS
    }

    assert len(splits) > 10


def test_make_folds_changes_with_the_seed():
    folds = {
        tuple(make_folds(TEXTS, LABELS, n_folds=5, seed=seed).tolist())
        for seed in SEEDS
    }

    assert len(folds) > 10


def test_random_split_does_not_depend_on_the_order_of_the_rows():
    order = np.random.default_rng(0).permutation(len(TEXTS))
    texts, labels = [TEXTS[i] for i in order], [LABELS[i] for i in order]

    _, test = random_split(texts, labels, test_fraction=0.25, seed=42)

    assert {texts[i] for i in test} == {TEXTS[i] for i in (0, 3, 9, 10)}


def test_make_folds_does_not_depend_on_the_order_of_the_rows():
    order = np.random.default_rng(0).permutation(len(TEXTS))
    folds = make_folds(TEXTS, LABELS, n_folds=5, seed=42)

    shuffled = make_folds(
        [TEXTS[i] for i in order], [LABELS[i] for i in order], n_folds=5, seed=42
    )

    assert shuffled.tolist() == folds[order].tolist()


@given(rows, st.integers(0, 5), st.sampled_from([0.1, 0.25, 0.5, 0.9]))
@QUICK
def test_random_split_is_disjoint_and_complete_and_keeps_groups_whole(
    drawn, seed, fraction
):
    texts, labels = [text for text, _ in drawn], [label for _, label in drawn]
    try:
        fit, test = random_split(texts, labels, test_fraction=fraction, seed=seed)
    except DataError:  # all texts of a class belong together
        reject()

    assert sorted([*fit, *test]) == list(range(len(texts)))
    assert fit.tolist() == sorted(fit)
    assert test.tolist() == sorted(test)
    assert {labels[i] for i in fit} == {labels[i] for i in test} == {0, 1}
    assert_groups_are_whole(texts, side_of_each_row(fit, test))


@given(rows, st.integers(0, 5))
@QUICK
def test_make_folds_numbers_every_row_and_keeps_groups_whole(drawn, seed):
    texts, labels = [text for text, _ in drawn], [label for _, label in drawn]

    folds = make_folds(texts, labels, n_folds=4, seed=seed)

    assert len(folds) == len(texts)
    assert set(folds.tolist()) <= {0, 1, 2, 3}
    assert_groups_are_whole(texts, folds.tolist())


@given(rows, st.randoms(use_true_random=False))
@QUICK
def test_containment_groups_do_not_depend_on_the_order_of_the_texts(drawn, random):
    texts = [text for text, _ in drawn]
    shuffled = random.sample(texts, len(texts))

    groups = dict(zip(texts, containment_groups(texts), strict=True))

    assert containment_groups(shuffled) == [groups[text] for text in shuffled]


@given(
    st.lists(st.sampled_from("abc"), min_size=9, max_size=60),
    st.sampled_from([0.01, 0.2, 0.5, 0.75, 0.99]),
)
@QUICK
def test_random_split_is_stratified_within_one_row_a_class(drawn, fraction):
    labels = [*drawn, *"aabbcc"]
    texts = [f"row {i}" for i in range(len(labels))]
    counts = Counter(labels)

    _, test = random_split(texts, labels, test_fraction=fraction, seed=1)

    found = Counter(labels[i] for i in test)
    assert all(abs(found[label] - fraction * counts[label]) <= 1 for label in counts)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60))
@QUICK
def test_make_folds_is_stratified_within_one_row_a_class(labels):
    texts = [f"row {i}" for i in range(len(labels))]

    folds = make_folds(texts, labels, n_folds=5, seed=1)

    for label in set(labels):
        own = [
            fold for fold, other in zip(folds, labels, strict=True) if other == label
        ]
        sizes = np.bincount(own, minlength=5)
        assert sizes.max() - sizes.min() <= 1


def test_make_folds_spreads_classes_of_a_single_row_over_the_folds():
    folds = make_folds([f"row {i}" for i in range(5)], list("abcde"), n_folds=5, seed=1)

    assert sorted(folds.tolist()) == [0, 1, 2, 3, 4]


def test_make_folds_counts_every_row_of_a_group():
    texts = ["same"] * 4 + [f"row {i}" for i in range(4)]

    folds = make_folds(texts, ["a"] * 8, n_folds=2, seed=0)  # "same" comes first

    assert folds.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_texts_equal_but_for_case_and_spaces_are_one_group():
    groups = containment_groups(["Too  SLOW", " too slow\n", "STRASSE", "straße"])

    assert groups == ["too slow", "too slow", "strasse", "strasse"]


def test_a_text_of_three_words_joins_the_longest_text_that_contains_it():
    texts = ["plot is thin", "the plot is thin", "so the plot is thin today", "x y z"]

    groups = containment_groups(texts)

    assert groups == [*["so the plot is thin today"] * 3, "x y z"]


def test_a_text_in_two_longer_ones_joins_the_one_with_more_words():
    texts = ["plot is thin", "extraordinarily plot is thin", "a plot is thin b"]

    groups = containment_groups(texts)

    assert groups == ["a plot is thin b", texts[1], "a plot is thin b"]


def test_a_text_in_two_of_as_many_words_joins_the_one_with_more_characters():
    texts = ["plot is thin", "a plot is thin", "zz plot is thin"]

    groups = containment_groups(texts)

    assert groups[0] == "zz plot is thin"


def test_a_text_in_two_equally_long_ones_joins_the_alphabetically_first():
    texts = ["plot is thin", "z plot is thin", "a plot is thin"]

    groups = containment_groups(texts)

    assert groups[0] == "a plot is thin"


def test_a_text_of_two_words_is_a_group_of_its_own():
    groups = containment_groups(["is thin", "the plot is thin"])

    assert groups == ["is thin", "the plot is thin"]


def test_containment_is_by_whole_words():
    groups = containment_groups(["he plot is", "the plot is thin"])

    assert groups == ["he plot is", "the plot is thin"]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_split_keeps_contained_texts_together(seed):
    fit, test = random_split(TEXTS, LABELS, test_fraction=0.25, seed=seed)

    sides = side_of_each_row(fit, test)
    assert sides[2] == sides[7]  # "the plot is thin" and the text around it


@pytest.mark.parametrize("seed", SEEDS)
def test_make_folds_keeps_contained_texts_together(seed):
    folds = make_folds(TEXTS, LABELS, n_folds=5, seed=seed)

    assert folds[2] == folds[7]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_split_does_not_score_a_group_that_brings_the_shares_no_nearer(seed):
    """One of four rows is wanted: two of them are as far from that as none."""
    texts = ["same text here", "Same text here", "row 0", "row 1"]
    others = [f"other {i}" for i in range(4)]
    labels = ["neg"] * 4 + ["pos"] * 4

    _, test = random_split([*texts, *others], labels, test_fraction=0.25, seed=seed)

    assert Counter(labels[i] for i in test) == {"neg": 1, "pos": 1}


def test_random_split_refuses_a_class_with_a_single_row():
    with pytest.raises(
        DataError, match=r"'rare' has a single row.*Add rows, or remove it"
    ):
        random_split(["a", "b", "c"], ["pos", "pos", "rare"], test_fraction=0.5, seed=0)


@pytest.mark.parametrize(
    ("n_others", "fraction", "side"), [(2, 0.5, "score"), (10, 0.9, "fit on")]
)
def test_random_split_refuses_a_class_whose_texts_all_belong_together(
    n_others, fraction, side
):
    texts = ["same text here"] * 4 + [f"row {i}" for i in range(n_others)]
    labels = ["pos", "pos", "neg", "neg"] + ["pos"] * n_others

    with pytest.raises(
        DataError, match=rf"'neg' is left to {side}.*Pass data with a test file"
    ):
        random_split(texts, labels, test_fraction=fraction, seed=0)


def test_random_split_takes_texts_with_lone_surrogates():
    texts = ["\ud800", "a", "b", "c"]

    fit, test = random_split(texts, [0, 0, 1, 1], test_fraction=0.5, seed=0)

    assert sorted([*fit, *test]) == [0, 1, 2, 3]


words = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(" ".join)


@given(st.lists(words, max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
@QUICK
def test_span_index_finds_what_brute_force_finds(indexed, text_words):
    text = " ".join(text_words)

    found = set(SpanIndex(indexed).spans(text))

    assert found == {part for part in indexed if is_span(part, text)}


def test_count_overlap_counts_each_scored_row_once():
    fit = ["The plot is thin", "so good", "an hour too long by far"]
    test = [
        "the  plot is THIN",  # identical
        "so good",  # identical
        "plot",  # contained, however short
        "too long",  # contained
        "they say the plot is thin today",  # contains a text of four words
        "it is so good",  # contains a text of two words only: none of the three
        "new",
    ]

    overlap = count_overlap(fit, test)

    assert (overlap.identical, overlap.contained, overlap.containing) == (2, 2, 1)
    assert overlap.n == 7
    assert overlap.share == pytest.approx(5 / 7)


def test_count_overlap_of_no_scored_rows_is_zero():
    assert count_overlap(["a b c"], []).share == 0.0


PARTS = ["train"] * 8 + ["dev"] * 2 + ["test"] * 2


def test_choose_split_auto_scores_the_test_rows():
    split = choose_split(TEXTS, LABELS, PARTS, SplitSpec())

    assert (split.mode, split.scored) == ("official", "test")
    assert split.fit.tolist() == list(range(8))
    assert split.test.tolist() == [10, 11]


@pytest.mark.parametrize("asked", ["auto", "official"])
def test_choose_split_scores_the_dev_rows_where_there_are_no_test_rows(asked):
    parts = ["dev"] * 2 + ["train"] * 10

    split = choose_split(TEXTS, LABELS, parts, SplitSpec(split=asked))

    assert (split.mode, split.scored) == ("official", "dev")
    assert split.fit.tolist() == list(range(2, 12))
    assert split.test.tolist() == [0, 1]


def test_choose_split_auto_divides_the_train_rows_where_there_are_no_others():
    split = choose_split(TEXTS, LABELS, ["train"] * 12, SplitSpec(seed=42))

    assert (split.mode, split.scored) == ("random", "train")
    assert split.fit.tolist() == [1, 2, 4, 5, 6, 7, 8, 11]
    assert split.test.tolist() == [0, 3, 9, 10]


def test_choose_split_official_needs_test_or_dev_rows():
    with pytest.raises(DataError, match="Pass --split random"):
        choose_split(TEXTS, LABELS, ["train"] * 12, SplitSpec(split="official"))


def test_choose_split_random_leaves_the_other_parts_out():
    parts = ["test", "dev", *["train"] * 10]
    own = np.arange(2, 12)
    fit, test = random_split(TEXTS[2:], LABELS[2:], test_fraction=0.4, seed=3)

    split = choose_split(
        TEXTS, LABELS, parts, SplitSpec(split="random", test_fraction=0.4, seed=3)
    )

    assert split.scored == "train"
    assert split.fit.tolist() == own[fit].tolist()
    assert split.test.tolist() == own[test].tolist()


def test_choose_split_numbers_the_folds_of_the_rows_to_fit_on():
    split = choose_split(TEXTS, LABELS, ["train"] * 12, SplitSpec(seed=42))

    folds = make_folds(
        [TEXTS[i] for i in split.fit],
        [LABELS[i] for i in split.fit],
        n_folds=5,
        seed=42,
    )
    assert split.folds.tolist() == folds.tolist()


def labelled_sets(n=1_000, seed=3):
    """Return texts that stand alone, and for each a set of labels of which some are rare."""
    generator = np.random.default_rng(seed)
    shares = {"a": 0.5, "b": 0.3, "c": 0.05, "d": 0.02}
    sets = [
        tuple(name for name, share in shares.items() if generator.random() < share)
        for _ in range(n)
    ]
    return [f"word{i} stands alone" for i in range(n)], sets


def test_random_split_gives_every_label_its_share():
    texts, sets = labelled_sets()

    _, test = random_split(texts, sets, test_fraction=0.25, seed=1)

    assert len(test) == 250
    for name in "abcd":
        n = sum(name in one for one in sets)
        assert sum(name in sets[i] for i in test) == pytest.approx(n / 4, abs=1)


RARE_AND_COMMON = {
    "rare ones only": [0.01, 0.02, 0.03, 0.05],
    "one common": [0.9, 0.1, 0.05],
    "halves": [0.5] * 8,
    "a long tail": [0.7 * 0.8**i for i in range(20)],
}


def rows_of(shares, n, seed):
    """Return texts that stand alone, and sets of labels of which each brings its neighbour along."""
    generator = np.random.default_rng(seed)
    drawn = generator.random((n, len(shares))) < shares
    has = drawn | (np.roll(drawn, 1, axis=1) & (generator.random(drawn.shape) < 0.3))
    sets = [tuple(f"label {i}" for i in np.flatnonzero(row)) for row in has]
    return [f"word{i} stands alone" for i in range(n)], sets


def farthest_from_its_share(sets, test, fraction):
    """Return by how many rows the label that misses its share most does."""
    counts = Counter(name for names in sets for name in names)
    scored = Counter(name for i in test for name in sets[i])
    return max(abs(scored[name] - fraction * n) for name, n in counts.items())


@pytest.mark.parametrize("seed", [0, 1, 42])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("shares", RARE_AND_COMMON.values(), ids=RARE_AND_COMMON)
def test_random_split_gives_rare_and_common_labels_their_share(shares, fraction, seed):
    texts, sets = rows_of(shares, 800, seed)

    fit, test = random_split(texts, sets, test_fraction=fraction, seed=seed)

    assert len(test) == 800 * fraction
    assert farthest_from_its_share(sets, test, fraction) <= 2
    per_row = [np.mean([len(sets[i]) for i in side]) for side in (fit, test)]
    assert per_row[0] == pytest.approx(per_row[1], rel=0.02, abs=0.03)


@pytest.mark.parametrize("seed", [0, 1, 42])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_labels_of_texts_that_belong_together_miss_their_share_by_less_than_a_cluster(
    fraction, seed
):
    texts, sets = rows_of(RARE_AND_COMMON["a long tail"], 800, seed)
    largest = 12
    for begin in range(0, 240, largest):
        texts[begin : begin + largest] = [texts[begin]] * largest

    _, test = random_split(texts, sets, test_fraction=fraction, seed=seed)

    assert abs(len(test) - 800 * fraction) < largest
    assert farthest_from_its_share(sets, test, fraction) < largest


@given(
    st.lists(st.frozensets(st.sampled_from("abcd")), min_size=4, max_size=60),
    st.lists(st.integers(0, 5), min_size=60, max_size=60),
    st.sampled_from([0.1, 0.25, 0.5, 0.9]),
)
@QUICK
def test_random_split_of_labels_scores_as_many_rows_as_asked_but_for_a_cluster(
    drawn, names, fraction
):
    sets = [tuple(sorted(one)) for one in drawn]
    places = [name if name else i + 6 for i, name in enumerate(names[: len(sets)])]
    texts = [f"text {place} here" for place in places]
    n = len(sets)
    wanted = min(n - 1, max(1, round(n * fraction)))
    try:
        _, test = random_split(texts, sets, test_fraction=fraction, seed=0)
    except DataError:  # most texts belong together
        reject()

    largest = max(Counter(texts).values())
    assert abs(len(test) - wanted) < largest


def test_random_split_of_labels_of_a_seed_never_changes():
    sets = [("a", "b"), ("a",), (), ("b", "c")] * 3

    _, test = random_split(TEXTS, sets, test_fraction=0.25, seed=42)

    assert test.tolist() == [2, 4, 7]


def test_random_split_of_labels_does_not_depend_on_the_order_of_rows_or_labels():
    texts, sets = rows_of(RARE_AND_COMMON["a long tail"], 200, 0)
    order = np.random.default_rng(0).permutation(200)

    _, test = random_split(texts, sets, test_fraction=0.25, seed=42)
    _, other = random_split(
        [texts[i] for i in order],
        [sets[i][::-1] for i in order],
        test_fraction=0.25,
        seed=42,
    )

    assert sorted(order[other].tolist()) == test.tolist()


def test_folds_share_every_label_out():
    texts, sets = labelled_sets()

    folds = make_folds(texts, sets, n_folds=5, seed=1)

    assert np.bincount(folds).tolist() == [200] * 5
    for name in "abcd":
        has = np.array([name in one for one in sets])
        counts = [int(has[folds == fold].sum()) for fold in range(5)]
        assert max(counts) - min(counts) <= 2


def test_a_label_of_a_single_row_is_no_reason_not_to_split():
    texts, sets = labelled_sets(40)
    sets[0] = ("only here",)

    fit, _ = random_split(texts, sets, test_fraction=0.25, seed=1)

    assert 0 in fit


def test_numbers_are_split_evenly():
    values = np.random.default_rng(0).exponential(size=1_000).tolist()
    texts = [f"word{i} stands alone" for i in range(1_000)]

    fit, test = random_split(texts, values, test_fraction=0.25, seed=1)
    folds = make_folds(texts, values, n_folds=5, seed=1)

    of = np.array(values)
    tenths = [np.quantile(of[rows], [0.1, 0.5, 0.9]) for rows in (fit, test)]
    assert tenths[0] == pytest.approx(tenths[1], rel=0.2)
    assert np.bincount(folds).tolist() == [200] * 5
    means = [of[folds == fold].mean() for fold in range(5)]
    assert means == pytest.approx([of.mean()] * 5, rel=0.1)


def test_strata_of_numbers_that_hardly_differ_are_few():
    assert len(set(strata_of([0.0] * 50 + [1.0] * 50))) == 2


def test_sets_and_numbers_of_texts_that_belong_together_stay_together():
    texts, sets = labelled_sets(100)
    texts[50] = texts[7]
    values = [float(i) for i in range(100)]

    for labels in (sets, values):
        fit, test = random_split(texts, labels, test_fraction=0.25, seed=1)

        assert (7 in fit) == (50 in fit)
        assert (7 in test) == (50 in test)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_a_few_numbers_can_be_split(n):
    texts = [f"word{i} stands alone" for i in range(n)]

    fit, test = random_split(
        texts, [i / 2 for i in range(n)], test_fraction=0.25, seed=1
    )

    assert len(test) == max(1, n // 4)
    assert len(fit) + len(test) == n

"""Two texts a row: read, split, encoded separately and jointly, and predicted."""

import io
import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.feature_extraction.text import TfidfVectorizer
from transformers import AutoModel, AutoTokenizer

from pipeline import load_encoder, load_predictor
from pipeline.config import DatasetSpec
from pipeline.datasets.prepare import make_table
from pipeline.datasets.table import StoredTexts, Table
from pipeline.datasets.unlabelled import open_live_lines
from pipeline.encoder import tokens as tokens_module
from pipeline.encoder.pairs import composed, encode_rows, flat
from pipeline.encoder.tokens import TokenCutter
from pipeline.errors import ArtifactError, ConfigError, DataError
from pipeline.evaluation.resampling import Clusters
from pipeline.features.keys import row_key, row_keys
from pipeline.features.store import FeatureStore
from pipeline.features.stored import PairFeatures
from pipeline.features.texts import BothTexts, TextList
from pipeline.predictor.file import pack, unpack
from pipeline.report.cosine import cosine_outputs
from pipeline.splitting import count_overlap, random_split, text_groups
from pipeline.terms.matrix import fit_terms, term_matrix
from pipeline.testing import WordLengthEncoder
from tests.checkpoints import save_kind, save_tiny
from tests.conftest import BIN, NOUNS, POSITIVE, Job
from tests.stores import extract
from tests.tables import make, opened, typed

HEADER = "id\tfirst\tsecond\tlabel\n"
ROWS = (
    HEADER
    + "1\tthe film is good\tthe plot is bad\tyes\n"
    + "2\tthe film is dull\tnever\tno\n"
)
PAIR = DatasetSpec(text_column="first,second")


# --- reading


def test_two_columns_are_read_as_pairs():
    table, ledger = make(PAIR, train=opened(ROWS, text_column="first,second"))

    assert table.texts == [
        ("the film is good", "the plot is bad"),
        ("the film is dull", "never"),
    ]
    assert ledger["text_column"] == "first,second"
    assert ledger["splits"]["train"]["ignored_columns"] == ["id"]


@pytest.mark.parametrize("columns", ["2,3", "first, second", "2,second"])
def test_columns_of_a_pair_go_by_name_or_number(columns):
    spec = DatasetSpec(text_column=columns)

    table, ledger = make(spec, train=opened(ROWS, text_column=columns))

    assert table.texts[1] == ("the film is dull", "never")
    assert ledger["text_column"] == "first,second"


def test_a_column_whose_name_holds_a_comma_is_one_column():
    spec = DatasetSpec(text_column="first,second")
    raw = typed(["a", "b"], ["x", "y"], **{"first,second": ["good film", "bad film"]})

    table, _ = make(spec, train=raw)

    assert table.texts == ["good film", "bad film"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("first,first", "expected one column, or two different ones as A,B"),
        ("first,2", "expected one column, or two different ones as A,B"),
        ("first,auto", "expected one column, or two different ones as A,B"),
        ("id,first,second", "expected one column, or two different ones as A,B"),
        ("first,seconds", "Column 'seconds' not found .* Did you mean 'second'"),
        ("first,label", "cannot be both text and label"),
    ],
)
def test_columns_that_are_no_pair_are_refused(columns, message):
    with pytest.raises(DataError, match=message):
        make(DatasetSpec(text_column=columns), train=opened(ROWS, text_column=columns))


def test_no_pair_is_guessed():
    with pytest.raises(DataError, match=r"Which column of .* holds the text"):
        make(train=opened(ROWS))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["fine", ""], "1 empty texts in column 'b' of my.parquet: lines 2"),
        (["fine", None], "1 empty texts in column 'b' of my.parquet: lines 2"),
        (["fine", 3], "Column 'b' of my.parquet holds int values"),
    ],
)
def test_what_is_wrong_with_a_text_names_its_column(cells, message):
    raw = typed(["one", "two"], ["x", "y"], b=cells)

    with pytest.raises(DataError, match=message):
        make(DatasetSpec(text_column="text,b"), train=raw)


def test_a_pair_with_an_empty_text_can_be_dropped_or_kept():
    def read(policy):
        raw = typed(["one", "two", ""], ["x", "y", "x"], b=["1", "2", "3"])
        spec = DatasetSpec(text_column="text,b", empty_text=policy)
        return make(spec, train=raw)[0].texts

    assert read("drop") == [("one", "1"), ("two", "2")]
    assert read("keep") == [("one", "1"), ("two", "2"), ("", "3")]


def test_the_ledger_counts_over_both_texts():
    raw = typed(
        ["one", "one", "one", "tw\x07o"],
        ["x", "y", "x", "y"],
        b=["two", "two", "three", "four"],
    )

    _, ledger = make(DatasetSpec(text_column="text,b"), train=raw)

    texts = ledger["texts"]
    assert (texts["distinct"], texts["duplicates"], texts["conflicting"]) == (3, 1, 1)
    assert texts["control_characters"]["rows"] == 1
    assert texts["mean_characters"] == round((6 + 6 + 8 + 8) / 4, 1)
    assert texts["longest"][0]["characters"] == 8


def test_a_pair_comes_back_exactly_and_single_texts_have_no_second_column(tmp_path):
    raw = typed(["a\ud800", "b"], ["x", "y"], b=["c", "\udfffd"])
    make_table({"train": raw}, DatasetSpec(text_column="text,b"), tmp_path)

    table = StoredTexts(tmp_path)

    assert Table.load(tmp_path).texts == [("a\ud800", "c"), ("b", "\udfffd")]
    assert [row.text for row in table.at([1, 0])] == [
        ("b", "\udfffd"),
        ("a\ud800", "c"),
    ]
    assert next(iter(table.blocks()))[1] == [("a\ud800", "c"), ("b", "\udfffd")]
    make_table({"train": typed(["a", "b"], ["x", "y"])}, DatasetSpec(), tmp_path)
    assert "text_b" not in pq.read_schema(tmp_path / "rows.parquet").names


# --- leaks


def test_pairs_that_share_a_text_are_one_group_over_any_number_of_steps():
    pairs = [
        ("the film is good", "it is a comedy"),
        ("The  film is GOOD", "it is a drama of war"),
        ("nobody knows him now", "it is a drama of war"),
        ("nobody was there", "yes"),
        ("somebody was there", "yes"),
    ]

    groups = text_groups(pairs)

    assert len(set(groups[:3])) == 1
    assert len(set(groups)) == 3  # a short text is shared by chance


def test_groups_of_pairs_do_not_depend_on_their_order():
    pairs = [(f"text number {i // 2}", f"other text {i // 3}") for i in range(12)]
    pairs += [("a b c d", "e f g h"), ("c d", "e f")]

    groups = dict(zip(pairs, text_groups(pairs), strict=True))

    assert text_groups(pairs[::-1]) == [groups[pair] for pair in pairs[::-1]]
    assert groups["c d", "e f"] == groups["a b c d", "e f g h"]


def test_a_split_of_pairs_keeps_a_shared_text_on_one_side():
    pairs = [
        (f"the premise number {i // 4}", f"a claim of its own {i}") for i in range(80)
    ]
    labels = ["x", "y"] * 40

    fit, test = random_split(pairs, labels, test_fraction=0.25, seed=1)

    assert not {pairs[i][0] for i in fit} & {pairs[i][0] for i in test}
    assert len(test) == 20


def test_overlap_of_pairs_is_that_of_both_texts_together():
    fit = [("the film is good", "it is fine"), ("one two three", "four five")]
    test = [
        ("The film is good", "it is  fine"),  # identical
        ("two three", "four"),  # contained
        ("zero one two three", "four five six"),  # containing
        ("the film is good", "never"),  # only one of the texts
        ("the film", "is good it is fine"),  # parted elsewhere
    ]

    overlap = count_overlap(fit, test)

    assert (overlap.identical, overlap.contained, overlap.containing) == (1, 1, 1)


def test_clusters_of_pairs_are_their_groups():
    pairs = [("the same long text", "a"), ("the same long text", "b"), ("other", "c")]

    clusters = Clusters.of_texts(pairs)

    assert clusters.n == 2
    assert clusters.of[0] == clusters.of[1]


# --- features


def test_keys_of_pairs_are_unambiguous():
    pairs = [("a", "bc"), ("ab", "c"), ("bc", "a")]

    assert len({row_key("abc"), *map(row_key, pairs)}) == 4


def test_separate_pairs_share_the_rows_of_their_texts(tmp_path):
    store = FeatureStore(tmp_path / "features", tmp_path)
    encoder = WordLengthEncoder(dim=2)
    extract(store, ["a bb"], encoder)
    pairs = [("a bb", "ccc"), ("ccc", "a bb"), ("dd e", "dd e")]

    done = extract(store, flat(pairs), encoder)
    stored = PairFeatures([store], done.keys[0::2], done.keys[1::2])

    assert done.rows_encoded == 2
    expected = [
        [1, 2, 3, 0, 2, 2, 5**-0.5, 0],
        [2, 1, 2, 1, 0, 0, 0.8, 0.2],
    ]
    assert_allclose(stored.take(np.array([0, 2])), np.array(expected), rtol=1e-6)
    assert stored.keys.tolist() == row_keys(pairs).tolist()
    assert (stored.dim, len(stored)) == (8, 3)
    assert stored.n_tokens().tolist() == [2, 2, 2]
    found = {
        int(row): values[:6].tolist()
        for rows, block in stored.subset(np.array([2, 1])).blocks()
        for row, values in zip(rows, block, strict=True)
    }
    assert found == {0: [2, 1, 2, 1, 0, 0], 1: [3, 0, 1, 2, 2, 2]}


def test_both_texts_of_wanted_pairs_are_read_in_turn():
    texts = BothTexts(TextList([("a", "b"), ("c", "d"), ("e", "f")], block=2))
    wanted = np.array([False, False, False, False, False, True])

    assert len(texts) == 6
    assert list(texts.blocks()) == [(0, ["a", "b", "c", "d"]), (4, ["e", "f"])]
    assert list(texts.blocks(wanted)) == [(4, ["e", "f"])]
    assert texts.name(3) == "text 1, text B"


PAIRS = [
    ("the film is good", "the plot was bad"),
    ("never", "the story is very dull and the film was not " * 6),
    ("the story is very dull and the film was not " * 6, "good"),
    ("the film is always warm " * 9, "the plot is never cold " * 9),
    ("", "fine"),
]


OWN = [
    (kind, backend)
    for kind in ("bert", "distilbert", "roberta")
    for backend in ("torch", "openvino", "onnxruntime")
]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize(("kind", "backend"), [*OWN, ("electra", "torch")])
def test_joint_pairs_get_what_transformers_gives(tmp_path, kind, backend, pooling):
    folder = save_kind(tmp_path / kind, kind)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(
        *map(list, zip(*PAIRS, strict=True)),
        truncation="longest_first",
        max_length=30,
        padding=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        states = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
    kept = inputs["attention_mask"][:, :, None]
    mean = (states * kept).sum(1) / kept.sum(1)
    expected = (states[:, 0] if pooling == "cls" else mean).numpy()

    encoder = load_encoder(
        str(folder), pooling=pooling, max_length=30, backend=backend, device="cpu"
    )

    assert_allclose(encoder.encode(PAIRS), expected, atol=2e-5)


def segments_of(tokens):
    return [row.tolist() for row in tokens.segments]


def test_a_second_text_is_told_from_the_first_where_the_model_has_segments(tmp_path):
    encoder = load_encoder(str(save_kind(tmp_path / "bert", "bert")), max_length=30)
    (tokens,) = [encoder.tokenize([("the film", "is good")])]
    same_ids = tokens._replace(segments=[np.zeros_like(tokens.ids[0])])

    (with_segments,), (without,) = (
        encoder.encode_tokens(tokens),
        encoder.encode_tokens(same_ids),
    )

    assert segments_of(tokens) == [[0, 0, 0, 0, 1, 1, 1]]
    assert np.abs(with_segments.features - without.features).max() > 0.01


def test_a_long_pair_is_read_as_far_as_it_decides(tmp_path, monkeypatch):
    tokenizer = load_encoder(
        str(save_kind(tmp_path / "bert", "bert")), max_length=20
    ).tokenizer
    pairs = [("the film is good " * 500, "never"), ("bad", "the plot was dull " * 500)]
    whole = TokenCutter(tokenizer, 20, 0)(pairs)

    monkeypatch.setattr(tokens_module, "LONG_CHARS", 200)
    monkeypatch.setattr(tokens_module, "PIECE_CHARS", 100)
    found = TokenCutter(tokenizer, 20, 0)(pairs)

    assert [ids.tolist() for ids in found.ids] == [ids.tolist() for ids in whole.ids]
    assert segments_of(found) == segments_of(whole)
    assert found.n_tokens.tolist() == whole.n_tokens.tolist() == [2004, 2004]


def test_pairs_that_an_encoder_cannot_take_are_refused(tmp_path):
    bert = str(save_kind(tmp_path / "bert", "bert"))
    tiny = save_tiny(tmp_path / "tiny")
    tokenizer = json.loads((tiny / "tokenizer.json").read_text())
    tokenizer["post_processor"]["pair"] = [
        {"Sequence": {"id": name, "type_id": 0}} for name in "AB"
    ]
    (tiny / "tokenizer.json").write_text(json.dumps(tokenizer))

    with pytest.raises(ConfigError, match="expected at least 5"):
        load_encoder(bert, max_length=4).encode([("a", "film")])
    with pytest.raises(ConfigError, match="Pass --pair-encoding separate"):
        load_encoder(str(tiny)).encode([("a", "film")])
    with pytest.raises(ConfigError, match="joint does not go with --precision int8"):
        load_encoder(bert, max_length=30, precision="int8").encode([("a", "film")])


def test_each_view_of_a_pair_has_products_of_its_own_length():
    u = np.array([[3.0, 4.0, 0.0, 100.0], [0.0, 0.0, 1.0, 0.0]], dtype=np.float32)
    v = np.array([[4.0, 3.0, 0.0, -1.0], [1.0, 2.0, 2.0, 0.0]], dtype=np.float32)

    features = composed(u, v, n_views=2)

    assert features.dtype == np.float32
    others = np.concatenate([u, v, np.abs(u - v)], axis=1)
    assert_allclose(features[:, :12], others)
    cosines = np.array([[0.48, 0.48, 0, -1], [0, 0, 1, 0]])
    assert_allclose(features[:, 12:], cosines, atol=1e-6)


class ManyPairs(PairFeatures):
    """Pairs of vectors in memory, of two views."""

    def __init__(self, first, second):
        stores: Any = [None] * 2  # never read
        keys = np.arange(len(first)).astype("S16")
        super().__init__(stores, keys, keys)
        self.sides = first, second

    def take(self, rows):
        first, second = (side[rows] for side in self.sides)
        return composed(first, second, self.n_views)

    def subset(self, rows):
        return ManyPairs(*(side[rows] for side in self.sides))


def test_the_cosine_of_several_layers_is_that_of_the_last():
    material: Any  # the part of `Material` that is read
    u, v = np.random.default_rng(0).normal(size=(2, 40, 6)).astype(np.float32)
    last_u, last_v = u[:, 3:], v[:, 3:]
    norms = np.linalg.norm(last_u, axis=1) * np.linalg.norm(last_v, axis=1)
    cosines = (last_u * last_v).sum(axis=1) / norms
    material = SimpleNamespace(
        features=ManyPairs(u, v),
        y_fit=3 * cosines[:30].astype(np.float64) + 1,
        fit=np.arange(30),
        test=np.arange(30, 40),
    )

    outputs = cosine_outputs(material)

    assert outputs is not None
    assert_allclose(outputs[:, 0], 3 * cosines[30:] + 1, atol=1e-5)


def test_terms_of_a_pair_are_those_of_both_texts():
    vectorizer = TfidfVectorizer()
    pairs = [("good film", "bad film"), ("same words", "same words")]

    matrix = fit_terms(vectorizer, pairs).toarray()

    u, v, difference, cosine = np.split(matrix, [5, 10, 15], axis=1)
    assert sorted(vectorizer.vocabulary_) == ["bad", "film", "good", "same", "words"]
    assert_allclose(difference, abs(u - v))
    assert_allclose(cosine[:, 0], (u * v).sum(axis=1))
    assert_allclose(cosine[1], 1)
    assert term_matrix(vectorizer, ["good film"]).shape == (1, 5)


# --- a run


def pair_rows():
    """Return 60 pairs, labelled by whether both texts are of the same kind."""
    rows = []
    for i in range(60):
        words = [POSITIVE[i % 4], ("bad", "dull", "cold", "never")[i // 4 % 4]]
        first, second = words[i % 2], words[i // 2 % 2]
        noun, other = NOUNS[i % 3], NOUNS[i // 3 % 3]
        label = "same" if i % 2 == i // 2 % 2 else "other"
        rows.append(
            (f"{i} the {noun} is {first}", f"a {other} was {second} {i}", label)
        )
    return rows


def write_pairs(path, rows):
    lines = ["premise\tclaim\tlabel", *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def separate_once(tmp_path_factory, tiny_encoder):
    folder = tmp_path_factory.mktemp("separate")
    write_pairs(folder / "pairs.tsv", pair_rows())
    job = Job(folder)
    done = job.train(
        "pairs.tsv", tiny_encoder, "--text-column", "premise,claim", "--C", "1"
    )
    assert done.status == 0, done.err
    return job


@pytest.fixture(scope="module")
def joint_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joint")
    write_pairs(folder / "pairs.tsv", pair_rows())
    job = Job(folder)
    bert = save_kind(folder / "bert", "bert")
    options = ("--text-column", "1,2", "--pair-encoding", "joint", "--C", "1")
    done = job.train("pairs.tsv", bert, *options, "--max-length", "40")
    assert done.status == 0, done.err
    return job


@pytest.fixture(params=["separate", "joint"])
def pairs_job(request):
    return request.getfixturevalue(f"{request.param}_once")


def latest(job):
    return load_predictor(job.artifacts / "latest" / "predictor.joblib")


def test_a_run_of_pairs_reports_and_predicts_the_same_probabilities(pairs_job):
    report = pairs_job.report()
    scored = np.load(
        (pairs_job.artifacts / "latest" / "report.json").resolve().parent / "scored.npy"
    )
    rows = np.load(
        (pairs_job.artifacts / "latest" / "report.json").resolve().parent / "rows.npy"
    )
    predictor = latest(pairs_job)
    pairs = [pair_rows()[i][:2] for i in rows]

    assert predictor.pair_encoding == report["encoder"]["pair_encoding"]
    assert report["dataset"]["text_column"] == "premise,claim"
    n_parts = 1 if predictor.pair_encoding == "joint" else 4
    assert report["head"]["n_features"] == n_parts * report["encoder"]["dim"]
    assert len(predictor._parts.head_arrays["mean"]) == report["head"]["n_features"]
    assert_allclose(predictor.predict_proba(pairs), scored, atol=1e-5)
    assert predictor.self_check() < 1e-4
    assert " ⏎ " in report["map"]["points"][0]["text"]


def test_pairs_may_come_in_any_form(pairs_job):
    predictor = latest(pairs_job)
    pairs = [("the film is good", "the plot was bad"), ("never", "a story is fine")]
    expected = predictor.predict(pairs).tolist()

    for form in (
        [list(pair) for pair in pairs],
        np.array(pairs),
        pd.DataFrame(pairs, columns=["x", "y"]),
        iter(pairs),
    ):
        assert predictor.predict(form).tolist() == expected
    assert predictor.count_tokens(pairs).shape == (2,)
    assert predictor.transform([]).shape == (
        0,
        len(predictor._parts.head_arrays["mean"]),
    )


@pytest.mark.parametrize(
    "wrong",
    ["one text", ["one text"], ("a", "b"), [("a", "b", "c")], [("a", 3)], [["ab"]]],
)
def test_a_predictor_of_pairs_says_what_it_expects(separate_once, wrong):
    with pytest.raises(DataError, match=r"Pass \[\(first, second\)\]"):
        latest(separate_once).predict(wrong)


def test_a_predictor_of_single_texts_says_what_it_expects(trained):
    with pytest.raises(DataError, match="trained with --text-column A,B"):
        latest(trained).predict([("the film", "is good")])


def test_what_explains_single_texts_refuses_pairs(separate_once):
    predictor = latest(separate_once)

    for ask in (predictor.explain, predictor.look):
        with pytest.raises(ConfigError, match="pair without a word"):
            ask("the film is good")
    with pytest.raises(ConfigError, match="Train on one of the two columns"):
        predictor.similar("the film", artifacts=separate_once.artifacts)


def test_drift_takes_pairs(separate_once):
    predictor = latest(separate_once)
    pairs = [row[:2] for row in pair_rows()]

    assert predictor.drift(pairs).is_found is False


def predict(job, *options, text=None):
    return subprocess.run(
        [BIN / "frostbert", "predict", *map(str, options)],
        cwd=job.cwd,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_predict_reads_the_columns_of_training(pairs_job):
    named = predict(pairs_job, "pairs.tsv")
    numbered = predict(pairs_job, "pairs.tsv", "--text-column", "1,2")
    lines = predict(
        pairs_job, text="the film is good\tthe plot was bad\nnever\ta film\n"
    )

    assert (named.returncode, named.stdout) == (0, numbered.stdout), named.stderr
    table = pd.read_csv(io.StringIO(named.stdout))
    assert table.columns.tolist() == [
        *("row", "label", "p_other", "p_same", "truncated", "text", "text_b")
    ]
    assert table["text_b"].tolist() == [claim for _, claim, _ in pair_rows()]
    assert lines.stdout.splitlines()[2].endswith("never,a film")


def test_predict_refuses_one_column_for_pairs_and_two_for_texts(separate_once, trained):
    one = predict(separate_once, "pairs.tsv", "--text-column", "claim")
    two = predict(
        trained, separate_once.cwd / "pairs.tsv", "--text-column", "premise,claim"
    )

    assert one.returncode == 1
    assert "was trained on two columns, as A,B" in one.stderr
    assert two.returncode == 1
    assert "was trained on one column" in two.stderr


def test_a_line_without_two_texts_is_marked():
    stream = io.BytesIO(b"a\tb\nalone\none\ttwo\tthree\n\t\n")

    texts = open_live_lines(stream, "input", DatasetSpec(), pair="A,B")
    rows = [row for portion in texts.portions for row in portion]

    assert rows[0].text == ("a", "b")
    assert [row.error for row in rows[1:]] == [
        "has 1 text, expected two with a tab between them.",
        "has 3 texts, expected two with a tab between them.",
        "has no text.",
    ]


@pytest.mark.parametrize("kind", ["separate", "joint"])
def test_a_second_run_does_nothing_and_one_changed_text_is_encoded_once(
    kind, request, tmp_path
):
    once = request.getfixturevalue(f"{kind}_once")
    before = once.ledger()[-1]
    encoder, options = before_options(before)

    again = once.train("pairs.tsv", encoder, *options)
    rows = pair_rows()
    rows[7] = (rows[7][0], "a story was warm and new", rows[7][2])
    write_pairs(once.cwd / "changed.tsv", rows)
    changed = once.train("changed.tsv", encoder, *options)

    assert again.status == changed.status == 0, changed.err
    ledger = once.ledger()
    assert ledger[-2]["status"] == "noop"
    assert ledger[-1]["rows_encoded"] == 1
    once.train("pairs.tsv", encoder, *options)  # the others find their run the latest


def before_options(entry):
    """Return encoder and options of a run's command."""
    words = entry["command"]
    words = words.split() if isinstance(words, str) else list(words)
    at = words.index("--encoder")
    rest = [*words[words.index("TrainLogReg") + 1 : at], *words[at + 2 :]]
    drop = rest.index("--dataset")
    return words[at + 1], [*rest[:drop], *rest[drop + 2 :]]


def test_features_of_a_run_are_u_v_and_their_difference(separate_once, tiny_encoder):
    predictor = latest(separate_once)
    pairs = [row[:2] for row in pair_rows()[:5]]
    encoder = load_encoder(str(tiny_encoder))
    first, second = (
        encoder.encode(texts) for texts in map(list, zip(*pairs, strict=True))
    )

    assert_allclose(predictor.transform(pairs), composed(first, second, 1), atol=1e-5)
    assert_allclose(
        encode_rows(encoder.encode, pairs, "separate"),
        composed(first, second, 1),
        atol=1e-5,
    )


def test_a_predictor_of_other_features_of_pairs_is_refused(separate_once):
    parts = latest(separate_once)._parts
    fewer = len(parts.head_arrays["mean"]) * 3 // 4
    arrays = {
        name: values if name == "intercept" else values[..., :fewer]
        for name, values in parts.head_arrays.items()
    }

    with pytest.raises(
        ArtifactError, match="takes 48 features, and its encoder gives 64"
    ):
        unpack(*_packed(replace(parts, head_arrays=arrays)))


def _packed(parts):
    digest, header, *sections = pack(parts)
    return digest, header, sections


def test_forgetting_a_text_forgets_pairs_with_it(joint_once, tmp_path):
    text = pair_rows()[3][1]
    work = Job(tmp_path / "work")
    subprocess.run(["cp", "-r", joint_once.cwd, work.cwd], check=True)

    done = subprocess.run(
        [BIN / "frostbert", "forget", text],
        cwd=work.cwd,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 row of " in done.stdout
    assert not list((work.artifacts / "datasets").glob("[!.]*"))


def test_joint_is_refused_without_a_pair(job, reviews, tiny_encoder):
    done = job.train(reviews, tiny_encoder, "--pair-encoding", "joint")

    assert done.status != 0
    assert "--pair-encoding joint needs two texts a row" in done.err


def test_rows_are_encoded_again_as_they_are_stored(pairs_job):
    done = subprocess.run(
        [BIN / "frostbert", "verify", "--recompute", "20"],
        cwd=pairs_job.cwd,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pairs_of_rte_are_read(shared, tmp_path):
    from pipeline.datasets.sources import find_source
    from pipeline.storage import sha256_file

    rte = DatasetSpec(
        dataset=str(shared / "data" / "rte"), text_column="sentence1,sentence2"
    )
    ledger = make_table(find_source(rte, sha256_file).read(), rte, tmp_path)

    assert ledger["texts"]["rows"] == 2767
    assert json.dumps(ledger)
    assert StoredTexts(tmp_path).are_pairs

"""Few labels: what is learnt from them, which texts to label next, and the answers that a person gave."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.config import DatasetSpec, FewLabelsSpec
from pipeline.datasets.prepare import make_table
from pipeline.datasets.sources import find_source
from pipeline.datasets.table import Table
from pipeline.errors import ConfigError, DataError
from pipeline.heads import few
from pipeline.labelling import choice
from pipeline.labelling.answers import Answer, Answers
from pipeline.labelling.choice import Known, Pool, choose
from pipeline.labelling.protocol import drawn
from pipeline.labelling.session import MIN_RANDOM, Session
from pipeline.storage import sha256_file

N, DIM = 300, 8


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)


@pytest.fixture
def labels(features):
    return np.where(features[:, 0] > 0, "yes", "no").astype(object)


@pytest.fixture
def session(features, tmp_path):
    texts = [f"text {i}" for i in range(N)]
    return Session(texts, features, Answers(tmp_path / "a.labels.jsonl"))


def answer(session, labels, n):
    rows = []
    for _ in range(n):
        (chosen,) = session.next()
        session.answer(chosen, labels[chosen.row])
        rows.append(chosen)
    return rows


def everything_open(rows=(), probable=None):
    is_open = np.ones(N, dtype=bool)
    is_open[list(rows)] = False
    return Known(np.array(rows, dtype=np.int64), is_open, probable)


def test_the_head_of_few_rows_is_scikit_learns_on_the_scaling_of_all(features, labels):
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scaled = (features - mean) / scale

    head = few.fit_few(features[:16], labels[:16], mean, scale)

    model = LogisticRegression(C=1 / 16, class_weight="balanced", tol=1e-8)
    expected = model.fit(scaled[:16], labels[:16])
    proba = expected.predict_proba(scaled)
    np.testing.assert_allclose(head.probabilities(features), proba, atol=1e-4)


def test_so_many_rows_of_each_class_are_drawn_and_others_by_another_seed():
    y = np.array([0, 1, 2, -1] * 20)

    rows, others = drawn(y, 5, (42, 0)), drawn(y, 5, (42, 1))

    assert np.bincount(y[rows]).tolist() == [5, 5, 5]
    assert len(set(rows)) == 15
    assert rows.tolist() == drawn(y, 5, (42, 0)).tolist() != others.tolist()


@pytest.mark.parametrize("options", [{"per_class": 0}, {"draws": 1}])
def test_too_little_to_draw_is_refused(options):
    with pytest.raises(ConfigError, match="expected at least"):
        FewLabelsSpec(**options)


def test_probabilities_of_a_pool_are_those_of_the_head(features, labels):
    for classes in (
        labels,
        (features[:, :3].argmax(axis=1)).astype(str).astype(object),
    ):
        pool = Pool(features)
        head = pool.fit(np.arange(40), classes[:40])

        found = pool.most_probable(head)

        expected = np.sort(head.probabilities(features), axis=1)[:, :-3:-1]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def _open(n):
    return Known(np.array([], dtype=np.int64), np.ones(n, dtype=bool), None)


def test_texts_that_are_all_the_same_to_the_encoder_are_refused():
    with pytest.raises(DataError, match="have the same features"):
        Pool(np.ones((30, 4), dtype=np.float32))


def test_texts_of_two_kinds_of_features_can_all_be_labelled():
    pool = Pool(np.repeat(np.eye(2, 4, dtype=np.float32), 15, axis=0))

    chosen = choose(pool, _open(30), 30)

    assert sorted(one.row for one in chosen) == list(range(30))


def test_uncertain_texts_are_near_the_border_and_unlike_each_other(features):
    probable = np.column_stack([np.full(N, 0.9), np.full(N, 0.1)]).astype(np.float32)
    uncertain = np.arange(100, 150)
    probable[uncertain] = 0.5
    pool = Pool(features)
    known = everything_open(range(choice.N_FIRST + 1), probable)

    (first,) = choose(pool, known)

    cosines = pool.directions(uncertain) @ pool.directions(known.rows).T
    assert first.reason == choice.UNCERTAIN
    assert first.row == uncertain[cosines.max(axis=1).argmin()]
    assert first.probable == (0.5, 0.5)


def test_the_first_texts_are_random_and_then_every_fourth(session, labels):
    reasons = [one.reason for one in answer(session, labels, choice.N_FIRST + 8)]

    turn = [choice.RANDOM, *[choice.UNCERTAIN] * 3]
    assert reasons == [choice.RANDOM] * choice.N_FIRST + turn * 2


def test_a_batch_has_no_text_twice_and_none_that_is_labelled(session, labels):
    labelled = {one.row for one in answer(session, labels, 65)}

    batch = [one.row for one in session.next(50)]

    assert len(set(batch)) == 50
    assert not labelled & set(batch)
    assert len(session.next(N)) == N - 65


def test_starting_again_goes_on_where_it_ended(session, features, labels):
    answer(session, labels, 63)

    again = Session(session.texts, features, Answers(session.answers.path))

    assert again.next(9) == session.next(9)


def test_a_skipped_text_comes_no_more_and_undo_brings_it_back(session):
    (first,) = session.next()
    session.skip(first)
    assert session.next() != [first]

    assert session.undo() == session.texts[first.row]

    assert session.next() == [first]


def test_undo_takes_answers_back_to_the_first_and_then_nothing(session, labels):
    before = session.next()
    answer(session, labels, 2)

    taken = [session.undo() for _ in range(3)]

    assert taken[1:] == [session.texts[before[0].row], ""]
    assert session.next() == before
    assert session.answers.path.read_bytes() == b""


def test_the_estimate_counts_random_texts_alone(session, labels):
    answer(session, labels, MIN_RANDOM - 1)
    assert session.estimate() is None

    answer(session, labels, choice.N_FIRST + 9)

    found = session.estimate()
    assert found.n == choice.N_FIRST + 5
    assert 0 <= found.low <= found.n_right / found.n <= found.high <= 1


def test_the_estimate_is_near_the_truth(session, labels):
    answer(session, labels, 200)

    found = session.estimate()

    rows, given, _ = session.labelled()
    head = session._pool.fit(rows, given)
    answers = np.array(head.classes)[head.decide(head.outputs(session._pool.features))]
    others = np.setdiff1d(np.arange(N), rows)
    truth = (answers == labels)[others].mean()
    assert found.n_right / found.n == pytest.approx(truth, abs=0.1)


TEXT = 'a "tab"\tand a\r\nline break, \x1b[31m, \u2028, \ud800 and 例'


def test_answers_outlive_the_program_whatever_is_in_the_text(tmp_path):
    answers = Answers(tmp_path / "a.jsonl")
    answers.add(Answer(TEXT, "yes", "random"))

    again = Answers(answers.path)

    assert again.all() == [Answer(TEXT, "yes", "random")]
    assert len(answers.path.read_bytes().splitlines()) == 1


def test_training_reads_the_answers(tmp_path):
    answers = Answers(tmp_path / "a.labels.jsonl")
    for number in range(4):
        answers.add(Answer(f"a\ttext\n{number}", "yes" if number % 2 else "no", ""))

    spec = DatasetSpec(dataset=str(answers.path))
    make_table(find_source(spec, sha256_file).read(), spec, tmp_path)
    table = Table.load(tmp_path)

    assert list(table.texts) == [f"a\ttext\n{number}" for number in range(4)]
    assert table.labels.tolist() == ["no", "yes"] * 2


def test_a_line_that_was_cut_off_is_dropped_and_the_file_mended(tmp_path):
    path = tmp_path / "a.jsonl"
    whole = b'{"text": "a", "label": "yes"}\n'
    path.write_bytes(whole + b'{"text": "b", "la')

    answers = Answers(path)
    answers.add(Answer("c", "no", ""))

    assert [one.text for one in Answers(path).all()] == ["a", "c"]
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == [
        "a",
        "c",
    ]


@pytest.mark.parametrize("line", ["[]", "{}", '{"text": 1, "label": "a"}', "none"])
def test_a_line_that_is_no_answer_is_refused_with_its_place(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "a", "label": "yes"}}\n{line}\n', encoding="utf-8")

    with pytest.raises(DataError, match=r"a\.jsonl:2 is .* Mend or remove"):
        Answers(path)


def test_answers_that_cannot_be_written_are_a_clear_error(tmp_path):
    answers = Answers(tmp_path / "missing" / "a.jsonl")

    with pytest.raises(DataError, match=r"cannot be written.*pass --out"):
        answers.add(Answer("a", "yes", ""))
    assert len(answers) == 0

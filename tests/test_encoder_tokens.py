"""Odd and enormous texts on their way to token ids."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import Unigram

from pipeline import load_encoder
from pipeline.encoder import tokens as tokens_module
from pipeline.encoder.tokens import TokenCutter, _cut_at, _portions
from pipeline.features.keys import row_key
from tests.checkpoints import KINDS, MANY_SCRIPTS, save_kind

CHINESE = "这部电影很好看"


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    from pipeline.encoder.checkpoint import read_checkpoint

    root = tmp_path_factory.mktemp("kinds")
    return {
        kind: read_checkpoint(save_kind(root / kind, kind)).tokenizer for kind in KINDS
    }


@pytest.fixture
def small_pieces(monkeypatch):
    """Let texts of a few hundred characters count as enormous."""
    monkeypatch.setattr(tokens_module, "LONG_CHARS", 200)
    monkeypatch.setattr(tokens_module, "PIECE_CHARS", 100)


LONG = {
    "words": "the film is very good but the story is not, " * 60,
    "scripts": " ".join(MANY_SCRIPTS) * 20,
    "chinese": CHINESE * 300,
    "one word": "x" * 2000,
    "words, then one": "the film " * 40 + "x" * 2000,
    "lines": "the plot\n\n  is   dull\n" * 90,
    "white": " " * 2000,
    "late": " " * 700 + "the film is good " * 60,
    "later": "x" * 700 + " the film is good" * 60,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("max_length", [8, 32])
def test_the_ids_of_a_long_text_are_those_of_the_whole(
    tokenizers, small_pieces, kind, name, max_length
):
    whole = TokenCutter(tokenizers[kind], max_length, 0)._short([LONG[name]])

    ids, n_tokens, _ = TokenCutter(tokenizers[kind], max_length, 0)([LONG[name]])

    assert ids[0].tolist() == (whole[0].ids or [0])
    n_pieces = len(LONG[name]) // 75 + 1
    assert abs(n_tokens[0] - whole[0].n_tokens) <= 2 * n_pieces


@pytest.mark.parametrize("name", ["words", "chinese", "lines", "one word"])
def test_word_pieces_are_counted_exactly(tokenizers, small_pieces, name):
    cutter = TokenCutter(tokenizers["bert"], 16, 0)

    n_tokens = cutter([LONG[name]]).n_tokens

    assert n_tokens[0] == cutter._short([LONG[name]])[0].n_tokens


def test_a_long_text_is_not_read_to_its_end_for_its_first_tokens(
    tokenizers, small_pieces, monkeypatch
):
    cutter = TokenCutter(tokenizers["bert"], 8, 0)
    read: list[int] = []
    short = cutter._short

    def listen(texts):
        read.extend(map(len, texts))
        return short(texts)

    monkeypatch.setattr(cutter, "_short", listen)

    cutter(["the film " * 1000])

    assert max(read) <= 200


def test_long_and_short_texts_keep_their_order(tokenizers, small_pieces):
    cutter = TokenCutter(tokenizers["bert"], 8, 0)
    texts = ["good", LONG["words"], "bad", CHINESE, LONG["chinese"], "the film"]

    ids, n_tokens, _ = cutter(texts)

    alone = [cutter([text]) for text in texts]
    assert [row.tolist() for row in ids] == [one.ids[0].tolist() for one in alone]
    assert n_tokens.tolist() == [one.n_tokens[0] for one in alone]


def test_portions_hold_at_most_so_many_characters_and_a_long_text_alone(monkeypatch):
    monkeypatch.setattr(tokens_module, "PORTION_CHARS", 10)
    monkeypatch.setattr(tokens_module, "LONG_CHARS", 8)
    texts = ["aaa", "bbbb", "cccc", "d" * 9, "e" * 9, "f"]

    assert list(_portions(texts)) == [
        texts[:2],
        [texts[2]],
        [texts[3]],
        [texts[4]],
        ["f"],
    ]
    assert list(_portions([])) == []


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("abc", 9, 3),
        ("aaaaaa bbb", 8, 6),
        ("aa bbbbbbb", 8, 8),
        ("一二三四　六七八", 5, 4),
    ],
)
def test_a_cut_is_at_white_space_where_there_is_some(text, size, expected):
    assert _cut_at(text, size) == expected


def test_a_text_of_10_mb_is_encoded_in_little_memory_as_its_beginning(python):
    """Tokenized whole it takes 1.2 GB, and in Chinese 3.6 GB."""
    code = """
import json, resource
import numpy as np
from pipeline import load_encoder
encoder = load_encoder("minilm")
text = "the film is very good but too long, " * 277_778
encoder.encode([text[:100_000]])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(batch,) = encoder.encode_tokens(encoder.tokenize([text]))
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
same = np.allclose(batch.features, encoder.encode([text[:5_000]]), atol=1e-6)
print(json.dumps([len(text), batch.n_tokens.tolist(), bool(same), grown]))
"""

    done = python(code)

    n_chars, n_tokens, same, grown_mb = json.loads(done.stdout)
    assert n_chars > 1e7, done.stderr
    assert n_tokens == [277_778 * 9 + 2]
    assert same
    assert grown_mb < 150


def test_a_lone_surrogate_is_a_replacement_character_to_the_tokenizer(tokenizers):
    cutter = TokenCutter(tokenizers["roberta"], 16, 0)

    ids, n_tokens, _ = cutter(["bad \ud800 film", "bad \ufffd film", "\udfff"])

    assert ids[0].tolist() == ids[1].tolist()
    assert n_tokens[0] == n_tokens[1]
    assert row_key("bad \ud800 film") != row_key("bad \ufffd film")


def test_a_text_with_a_lone_surrogate_is_encoded(tiny_encoder):
    encoder = load_encoder(str(tiny_encoder))

    features = encoder.encode([json.loads('"the film \\ud83d is good"'), "\udc00"])

    assert np.isfinite(features).all()
    np.testing.assert_allclose(
        features[0], encoder.encode(["the film \ufffd is good"])[0], atol=1e-6
    )


@pytest.mark.parametrize(("one", "other"), [("café", "cafe\u0301"), ("ﬁ", "fi")])
def test_texts_that_look_alike_are_texts_of_their_own(tokenizers, one, other):
    """Whatever normalisation there is, is the tokenizer's own."""
    a, b = TokenCutter(tokenizers["roberta"], 16, 0)([one, other]).ids

    assert row_key(one) != row_key(other)
    assert a.tolist() != b.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [*MANY_SCRIPTS, "", "a \ud800 film", *LONG.values()])
def test_pieces_are_the_ids_that_are_encoded(tokenizers, small_pieces, kind, text):
    cutter = TokenCutter(tokenizers[kind], 8, 0)

    pieces = cutter.pieces(text)

    tokens = cutter([text])
    assert [piece.id for piece in pieces.kept] == tokens.ids[0].tolist()
    assert pieces.n_tokens == tokens.n_tokens[0]
    places = [piece for piece in pieces.kept + pieces.cut if not piece.is_special]
    assert all(0 <= p.begin <= p.end <= len(pieces.text) for p in places)
    assert not any(piece.is_special for piece in pieces.cut)
    if len(text) < 200:  # else what is cut off is only counted
        assert len(pieces.kept) + len(pieces.cut) == pieces.n_tokens or text == ""


def words_of(pieces, part):
    return [
        pieces.text[part[word[0]].begin : part[word[-1]].end].strip()
        for word in pieces.words(part)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_joined_to_the_words_of_the_text(tokenizers, kind):
    pieces = TokenCutter(tokenizers[kind], 40, 0).pieces("the fi\u0434lm is good")

    assert words_of(pieces, pieces.kept) == ["the", "fi\u0434lm", "is", "good"]


def test_a_word_that_is_cut_is_in_both_parts(tokenizers):
    pieces = TokenCutter(tokenizers["bert"], 5, 0).pieces("the cafe film")

    assert [piece.token for piece in pieces.kept] == [
        *("[CLS]", "the", "c", "##a", "[SEP]")
    ]
    assert words_of(pieces, pieces.kept) == ["the", "ca"]
    assert words_of(pieces, pieces.cut) == ["fe", "film"]


def test_white_space_ends_a_word_where_the_tokenizer_knows_none():
    tokenizer = Tokenizer(Unigram([("<unk>", 0.0), *((c, -9.0) for c in "adgo ")], 0))

    pieces = TokenCutter(tokenizer, 40, 0).pieces("a good dog")

    assert {piece.word for piece in pieces.kept} == {0}
    assert words_of(pieces, pieces.kept) == ["a", "good", "dog"]


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta"])
def test_an_apostrophe_inside_a_word_does_not_end_it(tokenizers, kind):
    text = "'the film's plot isn’t a' b"

    pieces = TokenCutter(tokenizers[kind], 40, 0).pieces(text)

    found = words_of(pieces, pieces.kept)
    assert {"film's", "isn’t", "b"} <= set(found)
    others = {"bert": {"the", "a"}, "roberta": {"'the", "a"}, "xlm-roberta": {"a'"}}
    assert others[kind] <= set(found)  # each splits elsewhere, but no word

"""What becomes of a text, step by step, with its own numbers: pieces, mask, layers, one vector, a score, a label.

The page follows what J. Alammar's "A Visual Guide to Using BERT for the First Time" (2019) draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.encoder.batching import TokenStates, padded
from pipeline.encoder.pieces import Piece
from pipeline.heads.decision.rule import DecisionRule
from pipeline.heads.head import Head, probabilities_of
from pipeline.pages.canvas import draw
from pipeline.pages.colours import LIGHT
from pipeline.predictor.explanation import Explanation
from pipeline.predictor.render import look_html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pipeline.encoder.frozen import Encoder

Json = dict[str, Any]  # Any: what a template shows
# The second text of the batch is the first of these that has another number of tokens, so that one is padded.
COMPANIONS = ("Fine.", "A second text, somewhat longer than the first.")
N_PIECES = 60  # shown of a text
N_PLACES = 14  # of a batch
N_ROWS = 9  # of the matrix of the last layer
N_NUMBERS = 3  # first numbers of a vector
N_TERMS = 8  # largest ones of the sum
N_CLASSES = 8
POOLED = {
    "cls": "the row of the first token, {first}, as it is",
    "mean": "the mean of the rows of all {n} tokens; padding is left out",
    "max": "of each column the largest number among the {n} tokens; padding is left out",
    "pooler": "the row of the first token, {first}, through one more layer (the pooler, with tanh)",
}


@dataclass(frozen=True)
class Batch:
    """The text beside a second one, as the encoder gets them.

    Attributes
    ----------
    names : tuple of str
        Of the two rows.
    pieces : tuple of list of Piece
    states : TokenStates
    """

    names: tuple[str, str]
    pieces: tuple[list[Piece], list[Piece]]
    states: TokenStates


def look(
    encoder: "Encoder",
    head: Head,
    explanation: Explanation,
    features: NDArray[np.float32],
    card: Mapping[str, Any],  # Any: JSON values
) -> str:
    """Return the page of a text that was explained.

    Parameters
    ----------
    encoder : Encoder
    head : Head
    explanation : Explanation
        Of the text.
    features : ndarray of float32, shape (d,)
        Of the text, as the head gets them.
    card : mapping
        The predictor's.
    """
    batch = _batch(encoder, explanation.text)
    k = head.classes.index(explanation.label)  # type: ignore[arg-type]  # of the classes' type
    facts = {
        "e": explanation,
        "spec": encoder.spec,
        "engine": encoder.engine_identity,
        "card": card,
        "dim": len(features),
        "pieces": _pieces(encoder, batch.pieces[0]),
        "batch": _grid(encoder, batch),
        "mask_effect": _mask_effect(encoder, batch),
        "shapes": _shapes(head, batch),
        "vector": _vector(encoder, batch.pieces[0], batch.states, features),
        "terms": _terms(head, k, features),
        "classes": _classes(head, features),
        "n_classes": len(head.classes),
        "curve": _curve(head, k, explanation.score) if len(head.classes) == 2 else None,
        "rule": _rule(head, features),
    }
    return look_html(**facts)


def _batch(encoder: "Encoder", text: str) -> Batch:
    own = encoder.tokenize.pieces(text).kept
    others = {name: encoder.tokenize.pieces(name).kept for name in COMPANIONS}
    name = next((n for n, kept in others.items() if len(kept) != len(own)), "Fine.")
    pieces = (own, others[name])
    ids = [np.array([piece.id for piece in kept], dtype=np.int32) for kept in pieces]
    return Batch(("your text", f"“{name}”"), pieces, encoder.token_states(ids))


def _pieces(encoder: "Encoder", pieces: Sequence[Piece]) -> Json:
    """Return the first pieces, each with its kind, and how many more there are."""
    shown = pieces[:N_PIECES]
    kinds = [_kind(encoder, pieces, i) for i in range(len(pieces))]
    return {
        "shown": [
            {"token": piece.token, "id": piece.id, "kind": kind}
            for piece, kind in zip(shown, kinds, strict=False)
        ],
        "n": len(pieces),
        "n_more": len(pieces) - len(shown),
        "n_unknown": kinds.count("unknown"),
        "n_continued": kinds.count("continued"),
        "n_vocabulary": encoder.tokenizer.get_vocab_size(),
    }


def _kind(encoder: "Encoder", pieces: Sequence[Piece], i: int) -> str:
    """Return what a piece is: ``special``, ``unknown``, ``continued`` (of a word that began before it) or ``word``."""
    piece = pieces[i]
    if piece.is_special:
        return "special"
    if piece.token == encoder.checkpoint.special.get("unk_token"):
        return "unknown"
    is_first = i == 0 or piece.word is None or piece.word != pieces[i - 1].word
    return "word" if is_first else "continued"


def _grid(encoder: "Encoder", batch: Batch) -> Json:
    """Return the batch, a row a place in the texts; of a long one those around its ends."""
    ids, mask = batch.states.input_ids, batch.states.mask
    lengths = [len(pieces) for pieces in batch.pieces]
    pad = encoder.checkpoint.special.get("pad_token", "(padding)")
    filled = [
        [piece.token for piece in pieces] + [pad] * (ids.shape[1] - len(pieces))
        for pieces in batch.pieces
    ]
    rows = [
        {
            "place": j,
            "cells": [
                {"token": tokens[j], "id": int(ids[i, j]), "mask": int(mask[i, j])}
                for i, tokens in enumerate(filled)
            ],
        }
        if j is not None
        else None
        for j in _places(min(lengths), ids.shape[1])
    ]
    return {
        "names": batch.names,
        "rows": rows,
        "pad": pad,
        "n_padding": max(lengths) - min(lengths),
        "padded": batch.names[int(np.argmin(lengths))],
        "has_segments": encoder.checkpoint.config.get("type_vocab_size", 0) > 0,
        "has_pad_token": "pad_token" in encoder.checkpoint.special,
    }


def _places(end: int, t: int) -> list[int | None]:
    """Return the places to show, None for a gap: all if they are few, else those around the shorter text's end."""
    if t <= N_PLACES:
        return list(range(t))
    wanted = {*range(4), *range(max(0, end - 2), min(t, end + 3)), *range(t - 3, t)}
    places: list[int | None] = []
    for j in sorted(wanted):
        if places and places[-1] != j - 1:
            places.append(None)
        places.append(j)
    return places


def _mask_effect(encoder: "Encoder", batch: Batch) -> Json:
    """Return how far padding moves the vector of the shorter text, with the mask and without it."""
    lengths = [len(pieces) for pieces in batch.pieces]
    short = int(np.argmin(lengths))
    ids, mask = batch.states.input_ids, batch.states.mask
    alone = encoder.engine(*padded([ids[short, : lengths[short]].astype(np.int32)], 0))
    masked = encoder.engine(ids, mask)[short]
    unmasked = encoder.engine(ids, np.ones_like(mask))[short]
    return {
        "with_mask": float(np.abs(masked - alone[0]).max()),
        "without": float(np.abs(unmasked - alone[0]).max()),
    }


def _shapes(head: Head, batch: Batch) -> list[Json]:
    """Return what there is after each step: name, shape, and the first numbers of the text's first token."""
    states = batch.states
    (n, t), d = states.input_ids.shape, states.layers[0].shape[2]
    k = len(head.classes)
    rows: list[Json] = [
        {"name": "texts", "shape": (n,), "said": "what you typed, and a second one"},
        {"name": "ids", "shape": (n, t), "said": "rows of the table of embeddings"},
    ]
    for i, layer in enumerate(states.layers):
        numbers = ", ".join(f"{x:+.2f}" for x in layer[0, 0, :N_NUMBERS])
        name = f"layer {i}" if i else "embeddings"
        rows.append({"name": name, "shape": layer.shape, "said": f"{numbers}, …"})
    return [
        *rows,
        {"name": "features", "shape": (n, d), "said": "one vector a text"},
        {
            "name": "scores",
            "shape": (n,) if k == 2 else (n, k),
            "said": "one number a text" if k == 2 else "one number a text and class",
        },
    ]


def _vector(
    encoder: "Encoder",
    pieces: Sequence[Piece],
    states: TokenStates,
    features: NDArray[np.float32],
) -> Json:
    """Return some rows of the text's last matrix, which of them are used, and the vector made of them."""
    last = states.layers[-1][0, : len(pieces)]  # (t, d)
    pooling = encoder.spec.pooling
    first_only = pooling in ("cls", "pooler")
    largest = last.argmax(axis=0)
    shown: list[int | None] = list(range(len(pieces)))
    if len(pieces) > N_ROWS:
        shown = [*range(N_ROWS - 2), None, len(pieces) - 1]
    numbers = [*range(min(N_NUMBERS, len(features))), len(features) - 1]
    return {
        "said": POOLED[pooling].format(first=pieces[0].token, n=len(pieces)),
        "columns": numbers,
        "rows": [
            None
            if i is None
            else {
                "token": pieces[i].token,
                "is_used": i == 0 or not first_only,
                "values": [float(last[i, j]) for j in numbers],
                "is_largest": [pooling == "max" and largest[j] == i for j in numbers],
            }
            for i in shown
        ],
        "features": [float(features[j]) for j in numbers],
        "n_layers": len(states.layers) - 1,
    }


def _terms(head: Head, k: int, features: NDArray[np.float32]) -> Json:
    """Return the largest terms of the score of class `k`, and what the others sum to."""
    weights, intercept = head.weights_of(k)
    z = (features - head.mean) / head.scale
    terms = z * weights
    order = np.argsort(-np.abs(terms), kind="stable")
    first, rest = order[:N_TERMS], order[N_TERMS:]
    return {
        "rows": [
            {
                "j": int(j),
                "x": float(features[j]),
                "mean": float(head.mean[j]),
                "scale": float(head.scale[j]),
                "z": float(z[j]),
                "w": float(weights[j]),
                "term": float(terms[j]),
            }
            for j in first
        ],
        "n_rest": len(rest),
        "rest": float(terms[rest].sum()),
        "intercept": intercept,
        "score": float(terms.sum() + intercept),
    }


def _classes(head: Head, features: NDArray[np.float32]) -> list[Json]:
    """Return the likeliest classes with score and probability; of two, both, with the score of the second."""
    proba = head.outputs(features[None])[0]
    scores = head.decision(features[None]).ravel()
    order = np.argsort(-proba, kind="stable")[:N_CLASSES]
    return [
        {
            "label": head.classes[i],
            "score": float(scores[i]) if len(scores) > 1 else None,
            "probability": float(proba[i]),
        }
        for i in order.tolist()
    ]


def _rule(head: Head, features: NDArray[np.float32]) -> Json:
    """Return the answer's probability, how it is made of the scores, and whether it is too unsure to be given."""
    outputs = head.outputs(features[None])
    answer = int(head.decide(outputs)[0])
    rule = head.rule or DecisionRule()
    return {
        "probability": float(outputs[0, answer]),
        "calibrator": None if rule.calibrator is None else rule.calibrator.method,
        "threshold": None if rule.thresholds is None else rule.thresholds[answer],
        "has_costs": rule.costs is not None,
        "min_confidence": rule.min_confidence,
        "abstains": bool(head.abstains(outputs)[0]),
    }


def _curve(head: Head, k: int, score: float) -> str:
    """Return the probability of class `k` of two by its score, with the text's on it."""
    end = max(6.0, 1.2 * abs(score))

    def probability(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        of_both = probabilities_of(scores if k == 1 else -scores)
        return head.calibrated(of_both)[:, k]

    def paint(axes: "Axes") -> None:
        x = np.linspace(-end, end, 121)
        y = probability(x)
        (p,) = probability(np.array([score]))
        axes.axvline(0, color=LIGHT["soft"], linewidth=1, linestyle="--")
        axes.plot(x, y, color=LIGHT["blue"], linewidth=2)
        axes.plot([score, score, -end], [0, p, p], color=LIGHT["orange"], linewidth=1.5)
        axes.plot(score, p, "D", color=LIGHT["orange"], ms=8)
        axes.set(xlim=(-end, end), ylim=(-0.03, 1.03), xlabel="score (log odds)")
        axes.set_ylabel("probability")

    return draw("sigmoid", paint)

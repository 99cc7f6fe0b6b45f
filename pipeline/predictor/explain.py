"""Finds the contribution of each word of a text to its score.

With mean pooling it is exact. For a text of t tokens with the hidden states h_i, a head with the means μ, scales σ,
coefficients w and intercept b gives

    score = w · ((Σ h_i / t - μ) / σ) + b = b + Σ w · ((h_i - μ) / σ) / t,

a sum of one number a token. What an encoder does before pooling, and so what a token has taken from its neighbours,
is inside h_i. Other poolings are not linear in the tokens; there each word is masked in its turn (Zeiler and Fergus,
Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2; for texts Li, Monroe and Jurafsky,
Understanding Neural Networks through Representation Erasure, 2016). Where the head also goes by words, each word is
left out of the text.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.encoder.batching import Tokens
from pipeline.encoder.pieces import Piece, Pieces
from pipeline.errors import CacheError, ConfigError, shown
from pipeline.heads.head import Head
from pipeline.predictor.explanation import EXACT, LEFT_OUT, OCCLUSION, Explanation, Word
from pipeline.predictor.neighbours import TrainingText, nearest_training_texts

if TYPE_CHECKING:
    from pipeline.encoder.frozen import Encoder

Ids = NDArray[np.int32]
ColumnsOf = Callable[[Sequence[str]], NDArray[np.float32]]


def explain(
    encoder: "Encoder",
    head: Head,
    text: str,
    columns: NDArray[np.float32],
    *,
    columns_of: ColumnsOf,
    label: str | int | None = None,
    artifacts: str | Path | None = None,
) -> Explanation:
    """Return why a text gets its score.

    Parameters
    ----------
    encoder : Encoder
    head : Head
    text : str
    columns : ndarray of float32, shape (1, d)
        Of the text, as the head takes it.
    columns_of : callable
        Takes n texts and returns the same of them, (n, d).
    label, artifacts
        As for `Predictor.explain`.

    Raises
    ------
    ConfigError
        If `label` is none of the classes.
    """
    outputs = head.outputs(columns)
    k = _class_of(head, outputs, label)
    weights, intercept = head.weights_of(k)
    pieces = encoder.tokenize.pieces(text)
    words = pieces.words(pieces.kept)
    is_exact = (
        encoder.spec.pooling == "mean"
        and not head.n_terms
        and _are_alike(encoder.spec.layers)
    )
    if head.n_terms:
        found = _left_out(head, k, pieces, words, columns_of)
    elif is_exact:
        shares = _exact(encoder, head, weights, pieces)
        found = [float(shares[word].sum()) for word in words]
    else:
        found = _occluded(encoder, head, weights, pieces, words)
    features = columns[:, : columns.shape[1] - head.n_terms]
    nearest, note = _nearest(features, head, artifacts)
    return Explanation(
        text=pieces.text,
        label=None if head.task == "regression" else head.classes[k],
        predicted=_predicted(head, outputs),
        probability=None if head.task == "regression" else float(outputs[0, k]),
        score=float(_score(head, columns, k)[0]),
        method=LEFT_OUT if head.n_terms else EXACT if is_exact else OCCLUSION,
        base=intercept if is_exact else None,
        words=tuple(
            _word(pieces.text, [pieces.kept[i] for i in word], value)
            for word, value in zip(words, found, strict=True)
        ),
        special=tuple(
            Word(
                piece.token,
                0,
                0,
                (piece.token,),
                float(shares[i]) if is_exact else None,
            )
            for i, piece in enumerate(pieces.kept)
            if piece.is_special
        ),
        cut=tuple(
            _word(pieces.text, [pieces.cut[i] for i in word], None)
            for word in pieces.words(pieces.cut)
        ),
        n_tokens=pieces.n_tokens,
        max_length=encoder.spec.max_length,
        nearest=nearest,
        nearest_note=note,
        abstains=bool(head.abstains(outputs)[0]),
    )


def _predicted(
    head: Head, outputs: NDArray[np.float64]
) -> str | int | float | tuple[str, ...]:
    """Return the label of a text, its labels, or its number."""
    answer = head.decide(outputs)[0]
    if head.task == "regression":
        return float(answer)
    if head.task == "multilabel":
        return tuple(str(head.classes[i]) for i in np.flatnonzero(answer))
    return head.classes[int(answer)]


def _class_of(head: Head, outputs: NDArray[np.float64], label: str | int | None) -> int:
    """Return the position of what to explain: unless it is named, of two classes the second, of more the predicted one.

    Of several labels a text it is the most probable one.
    """
    if label is None and head.task != "classification":
        return int(outputs[0].argmax())
    if label is None:
        return 1 if len(head.classes) == 2 else int(head.decide(outputs)[0])
    if head.task == "regression":
        raise ConfigError(
            f"label is {shown(label)}, but a regression has no labels: its number is explained. Leave it out."
        )
    for k, name in enumerate(head.classes):
        if name == label:
            return k
    known = ", ".join(map(str, head.classes[:20]))
    known += ", …" if len(head.classes) > 20 else ""
    raise ConfigError(
        f"label is {shown(label)}, none of the classes ({known}). Pass one of predictor.classes_."
    )


def _score(head: Head, columns: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """Return the score of one class, shape (n,)."""
    scores = head.decision(columns)
    if scores.ndim == 2:
        return scores[:, k]
    return scores if k == 1 or head.task == "regression" else -scores


def _are_alike(layers: Sequence[int]) -> bool:
    """Tell whether layers are all counted from the first, or all from the last."""
    return len({layer < 0 for layer in layers}) == 1


def _left_out(
    head: Head,
    k: int,
    pieces: Pieces,
    words: Sequence[list[int]],
    columns_of: ColumnsOf,
) -> list[float]:
    """Return what the score loses without each word of the text."""
    variants = [pieces.text]
    for word in words:
        kept = [pieces.kept[i] for i in word]
        begin, end = kept[0].begin, max(piece.end for piece in kept)
        variants.append(pieces.text[:begin] + pieces.text[end:])
    whole, *rest = _score(head, columns_of(variants), k)
    return [float(whole - score) for score in rest]


def _exact(
    encoder: "Encoder", head: Head, weights: NDArray[np.float64], pieces: Pieces
) -> NDArray[np.float64]:
    """Return the share of each token in the score, shape (t,)."""
    found = encoder.token_states([_ids(pieces)]).layers
    deepest = max(encoder.spec.layers)  # the last of them
    states = np.concatenate(
        [found[layer - deepest - 1][0] for layer in encoder.spec.layers], axis=1
    )  # (t, d)
    return np.asarray((states - head.mean) / head.scale @ weights / len(states))


def _occluded(
    encoder: "Encoder",
    head: Head,
    weights: NDArray[np.float64],
    pieces: Pieces,
    words: Sequence[list[int]],
) -> list[float]:
    """Return what the score loses when each word is masked, or left out where the encoder has no mask token."""
    ids = _ids(pieces)
    name = encoder.checkpoint.special.get("mask_token", "")
    mask_id = encoder.tokenizer.token_to_id(name)
    variants = [ids]
    for word in words:
        if mask_id is None:
            left = np.delete(ids, word)
            filler = np.array([encoder.checkpoint.filler_id], dtype=np.int32)
            variants.append(left if len(left) else filler)
        else:
            variants.append(ids.copy())
            variants[-1][word] = mask_id
    features = _encoded(encoder, variants)
    whole, *rest = (features - head.mean) / head.scale @ weights
    return [float(whole - score) for score in rest]


def _encoded(encoder: "Encoder", ids: list[Ids]) -> NDArray[np.float32]:
    """Return the features of tokenized texts, (n, d)."""
    found = np.empty((len(ids), encoder.dim), dtype=np.float32)
    lengths = np.array([len(row) for row in ids], dtype=np.int32)
    for batch in encoder.encode_tokens(Tokens(ids, lengths)):
        found[batch.rows] = batch.features
    return found


def _ids(pieces: Pieces) -> Ids:
    return np.array([piece.id for piece in pieces.kept], dtype=np.int32)


def _word(text: str, pieces: Sequence[Piece], contribution: float | None) -> Word:
    begin, end = pieces[0].begin, max(piece.end for piece in pieces)
    raw = text[begin:end]
    begin += len(raw) - len(raw.lstrip())
    tokens = tuple(piece.token for piece in pieces)
    return Word(raw.strip() or "".join(tokens), begin, end, tokens, contribution)


def _nearest(
    features: NDArray[np.float32], head: Head, artifacts: str | Path | None
) -> tuple[tuple[TrainingText, ...], str | None]:
    """Return the nearest training texts, and why there are none where they were asked for."""
    if artifacts is None:
        return (), None
    try:
        return nearest_training_texts(features, head, Path(artifacts)), None
    except (CacheError, OSError) as error:
        return (), f"No nearest training texts: {error}"

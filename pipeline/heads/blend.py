"""Several models' scores added up, with weights from rows that none of them was fitted on.

Stacking [1]_ with weights of at least zero [2]_: of log odds it is a logistic regression of one weight a model, so that
a model that knows nothing gets none. As every score is linear, so is their sum: it is one linear head on the features
with the scores of the models on words beside them.

.. [1] D. Wolpert (1992), Stacked generalization, Neural Networks 5:241-259.
.. [2] L. Breiman (1996), Stacked regressions, Machine Learning 24:49-64.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, nnls
from scipy.special import logit, logsumexp

from pipeline.config import HeadSpec
from pipeline.errors import DataError
from pipeline.heads.head import Blend, Head
from pipeline.heads.objective import weights_of
from pipeline.heads.quick import Targets, quick_out_of_fold
from pipeline.terms.model import outputs_of

Scores = NDArray[np.float64]
ENCODER = "encoder"
LEAST = 1e-6  # a probability counts as at least that: a fold may lack a class
RIDGE = 1.0  # as much as a row's loss: no weight grows for ever where a few rows are told apart
STEPS = {"maxiter": 1_000, "gtol": 1e-8}


def scores_of(outputs: Scores, targets: Targets) -> Scores:
    """Return scores, shape (n, w), of what a head gives out for rows whose `targets` are of a kind.

    `pipeline.terms.model.outputs_of` is the inverse.

    Log odds, shape (n, 1), of two classes; up to a constant a row the logarithms of the probabilities of more, (n, k);
    log odds of each label, (n, k); a number as it is, (n, 1).
    """
    if targets.dtype == np.float64:
        return outputs
    proba = np.clip(outputs, LEAST, 1 - LEAST)
    if targets.ndim == 2:
        return np.asarray(logit(proba))
    log = np.log(proba)
    return log[:, 1:] - log[:, :1] if log.shape[1] == 2 else log


def fit_blend(
    parts: dict[str, Scores], targets: Targets, n_classes: int, spec: HeadSpec
) -> Blend:
    """Return the weights and biases of least mean log loss (with a slight penalty), or squared error, over some rows.

    Parameters
    ----------
    parts : dict of str to ndarray of float64, shape (n, w)
        The scores of each model, which was not fitted on these rows.
    targets : ndarray
        int64 (n,): classes; bool (n, k): which labels; float64 (n,): values.
    n_classes : int
        k, also of labels.
    spec : HeadSpec
        Of which ``class_weight`` counts.
    """
    stacked = np.stack(list(parts.values()), axis=1)  # (n, models, w)
    if targets.dtype == np.float64:
        weights, bias = _least_squares(stacked[:, :, 0], targets)
    else:
        weights, bias = _least_log_loss(stacked, targets, n_classes, spec)
    return Blend(dict(zip(parts, weights.tolist(), strict=True)), bias.tolist())


def _least_squares(scores: Scores, values: Scores) -> tuple[Scores, Scores]:
    mean = scores.mean(axis=0)
    weights, _ = nnls(scores - mean, values - values.mean())
    return weights, np.array([values.mean() - mean @ weights])


def _least_log_loss(
    scores: Scores, targets: Targets, n_classes: int, spec: HeadSpec
) -> tuple[Scores, Scores]:
    n, m, width = scores.shape
    truth = targets if targets.ndim == 2 else targets[:, None] == np.arange(n_classes)
    if targets.ndim == 1 and n_classes == 2:
        truth = truth[:, 1:]
    is_one_of_many = targets.ndim == 1 and width > 1
    row_weights = _row_weights(targets, n_classes, spec) / n

    def loss(params: Scores) -> tuple[float, Scores]:
        total = np.einsum("nmw,m->nw", scores, params[:m]) + params[m:]
        if is_one_of_many:
            losses = truth * (logsumexp(total, axis=1, keepdims=True) - total)
        else:
            losses = np.logaddexp(0.0, np.where(truth, -total, total))
        proba = outputs_of(total, targets)[:, -width:]  # of two classes the second
        residual = row_weights * (proba - truth)
        slope = np.einsum("nw,nmw->m", residual, scores) + RIDGE / n * params[:m]
        penalty = RIDGE / (2 * n) * float((params[:m] ** 2).sum())
        gradient = np.append(slope, residual.sum(axis=0))
        return float((row_weights * losses).sum()) + penalty, gradient

    start = np.append(np.full(m, 1 / m), np.zeros(width))
    bounds = [(0.0, None)] * m + [(None, None)] * width
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=STEPS
    )
    return found.x[:m], found.x[m:]


def _row_weights(targets: Targets, n_classes: int, spec: HeadSpec) -> Scores:
    """Return how much each row counts, shape (n, 1), or (n, k) where each label has weights of its own."""
    if targets.ndim == 1:
        return weights_of(targets, n_classes, spec)[targets][:, None]
    weights = np.ones(targets.shape)
    for j, y in enumerate(targets.T.astype(np.intp)):
        if 0 < y.sum() < len(y):
            weights[:, j] = weights_of(y, 2, spec)[y]
    return weights


def blend_with_terms(
    head: Head,
    features: NDArray[np.float32],
    terms: dict[str, Scores],
    targets: Targets,
    folds: NDArray[np.int8],
    *,
    spec: HeadSpec,
) -> tuple[Head, Scores]:
    """Add the scores of models on words to those of a head.

    Parameters
    ----------
    head : Head
        Fitted on all rows.
    features : ndarray of float32, shape (n, d)
        Of the rows fitted on, or a sample of them.
    terms : dict of str to ndarray of float64, shape (n, w)
        Scores of the same rows, each by a model without the row's fold.
    targets, folds
        As for `quick_out_of_fold`.
    spec : HeadSpec

    Returns
    -------
    head : Head
        On the features and then the scores of all models on words, d + m w columns.
    outputs : ndarray of float64, shape (n, k)
        Of the rows, by models and weights from the other folds.

    Raises
    ------
    DataError
        If there are fewer than three folds, or one without which a single class is left.
    """
    k, known = len(head.classes), np.unique(folds)
    outputs = None
    if len(known) >= 3:
        spec = replace(spec, C=head.C)
        outputs = quick_out_of_fold(features, targets, folds, spec, k)
    if outputs is None:
        raise DataError(
            "Models cannot be weighed against each other: texts that belong together stay in one fold, and the "
            f"{len(targets):,} rows fitted on form {len(known)} folds, expected three with two classes in each two. "
            "Add texts, or use TrainLogReg."
        )
    parts = {ENCODER: scores_of(outputs, targets), **terms}
    blend = fit_blend(parts, targets, k, spec)
    return _folded(head, blend, targets), blend_outputs(parts, targets, folds, k, spec)


def blend_outputs(
    parts: dict[str, Scores],
    targets: Targets,
    folds: NDArray[np.int8],
    n_classes: int,
    spec: HeadSpec,
) -> Scores:
    """Return the outputs of the rows of each fold by weights from the other folds, shape (n, k).

    The arguments are those of `fit_blend`, with the fold of each row.
    """
    places, found = [], []
    for fold in np.unique(folds):
        out = folds == fold
        inside = {name: scores[~out] for name, scores in parts.items()}
        blend = fit_blend(inside, targets[~out], n_classes, spec)
        scores = blend.scores([one[out] for one in parts.values()])
        places.append(np.flatnonzero(out))
        found.append(outputs_of(scores, targets))
    return np.asarray(np.concatenate(found)[np.argsort(np.concatenate(places))])


def _folded(head: Head, blend: Blend, targets: Targets) -> Head:
    """Return the head on features and term scores that gives the blend's scores."""
    own, *others = blend.weights.values()
    width = len(head.coef)
    m = len(others) * width
    added: list[NDArray[Any]] = [weight * np.eye(width) for weight in others]
    return replace(
        head,
        mean=np.append(head.mean, np.zeros(m)),
        scale=np.append(head.scale, np.ones(m)),
        coef=np.hstack([own * head.coef, *added]),
        intercept=own * head.intercept + np.array(blend.bias),
        blend=blend,
    )


def term_parts(scores: NDArray[np.float32], kinds: Sequence[str]) -> dict[str, Scores]:
    """Return the scores of each model on words, from all of them side by side: (n, m w) -> m times (n, w)."""
    blocks = np.split(scores.astype(np.float64), len(kinds), axis=1)
    return dict(zip(kinds, blocks, strict=True))

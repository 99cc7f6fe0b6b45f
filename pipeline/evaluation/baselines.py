"""What a frozen transformer has to beat: always the same answer, and TF-IDF with the same kind of linear model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.pairs import Text
from pipeline.terms.model import ALPHA, C, fit_term_model, outputs_of, shares

Outputs = NDArray[np.float64]
Json = dict[str, Any]  # Any: JSON values


def baselines(
    texts: Sequence[Text],
    targets: NDArray[Any],  # Any: see below
    n_classes: int,
    test_texts: Sequence[Text],
) -> tuple[dict[str, Outputs], dict[str, Json]]:
    """Fit what needs no transformer; return what each answers for the scored rows, and what was fitted.

    Parameters
    ----------
    texts : sequence of str or Pair, length n
        Training rows.
    targets : ndarray
        What they are to be answered: int64 classes, shape (n,); bool, shape (n, k), of several labels a row; float64,
        shape (n,), of a regression.
    n_classes : int
        k, also of labels; not used by a regression.
    test_texts : sequence of str or Pair, length m

    Returns
    -------
    outputs : dict of name to ndarray of float64
        Probabilities, shape (m, k), or numbers, shape (m, 1). ``majority``: the shares of the training rows, and
        ``tfidf_logreg``; of a regression ``mean`` and ``tfidf_ridge``.
    facts : dict of name to dict
        Of those that were fitted.
    """
    is_number = targets.dtype == np.float64
    constant, name = (
        ("mean", "tfidf_ridge") if is_number else ("majority", "tfidf_logreg")
    )
    same = np.array([targets.mean()]) if is_number else shares(targets, n_classes)
    always = np.tile(same, (len(test_texts), 1))
    model = fit_term_model("words", texts, targets, n_classes)
    facts: Json = {
        "terms": len(model.terms),
        "converged": model.converged,
        **({"alpha": ALPHA} if is_number else {"C": C}),
    }
    if not model.terms:  # no words at all, only punctuation
        return {constant: always, name: always}, {name: facts}
    found = outputs_of(model.scores(test_texts), targets)
    return {constant: always, name: found}, {name: facts}

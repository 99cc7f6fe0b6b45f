"""Whether probabilities mean what they say: accuracy by confidence, and the expected calibration error.

.. [1] C. Guo et al. (2017), On Calibration of Modern Neural Networks, ICML (arXiv 1706.04599).
.. [2] A. C. Davison, D. V. Hinkley (1997), Bootstrap Methods and their Application, section 5.2.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.metrics import Probable
from pipeline.evaluation.resampling import SEED, Clusters, resampled_totals

N_BINS = 10
N_CALIBRATED = 200  # simulated sets of answers of a perfectly calibrated model


def calibration(scored: Probable, clusters: Clusters) -> dict[str, Any]:
    """Return the expected calibration error (ECE) of the probabilities of decisions, and its bins [1]_.

    Few rows alone give an ECE above 0, and resamples of them a larger one still; so the interval is the basic
    bootstrap's, which mirrors the resamples at the value [2]_. It begins at 0 where a perfectly calibrated model would
    show as much by chance; what that model shows on average stands in the method.

    Parameters
    ----------
    scored : Probable
        n rows. Of classes the most probable one is looked at, and labels that no training row has count
        as wrong; of labels each decision, that a row has one or has it not.
    clusters : Clusters
        Of the n rows.

    Returns
    -------
    dict of JSON values
        ``ece``, ``n_bins``, ``bins`` (empty ones left out) and ``method``.
    """
    stated = scored.stated
    confidence, right, k = stated.confidence, stated.right, stated.k
    of = np.repeat(clusters.of, len(right) // len(clusters.of))
    clusters = Clusters(of, clusters.n)
    edges = np.linspace(1 / k, 1.0, N_BINS + 1)
    bins = np.clip(np.searchsorted(edges, confidence, "right") - 1, 0, N_BINS - 1)
    members = bins[:, None] == np.arange(N_BINS)  # (n, bins)
    by_chance = _by_chance(confidence, members)
    ece = _ece(confidence, right, members, clusters)
    if ece["value"] <= np.percentile(by_chance, 97.5):
        ece["ci95"][0] = 0.0
    return {
        "ece": ece,
        "n_bins": N_BINS,
        "bins": [
            {
                "low": float(edges[i]),
                "high": float(edges[i + 1]),
                "n": int(member.sum()),
                "confidence": float(confidence[member].mean()),
                "accuracy": float(right[member].mean()),
            }
            for i, member in enumerate(members.T)
            if member.any()
        ],
        "method": (
            f"{N_BINS} bins of equal width from 1/{k} to 1 of {stated.of}; 95 % basic bootstrap interval; a "
            f"perfectly calibrated model would show {by_chance.mean():.3f} on so many {stated.unit} by chance"
        ),
    }


def _ece(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    members: NDArray[np.bool_],
    clusters: Clusters,
) -> dict[str, Any]:
    gaps = members * (confidence - right)[:, None]  # (n, bins)
    n = len(right)
    value = float(np.abs(gaps.sum(axis=0)).sum() / n)
    totals = resampled_totals(np.hstack([gaps, np.ones((n, 1))]), clusters)
    samples = np.abs(totals[:, :-1]).sum(axis=1) / totals[:, -1]
    low, high = 2 * value - np.percentile(samples, [97.5, 2.5])
    return {
        "value": value,
        "ci95": [min(value, max(0.0, float(low))), max(value, min(1.0, float(high)))],
        "n": n,
    }


def _by_chance(
    confidence: NDArray[np.float64], members: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the ECEs of simulated answers that are right exactly as often as their confidence says."""
    generator = np.random.Generator(np.random.PCG64(SEED))
    found = [
        np.abs(
            (confidence - (generator.random(len(confidence)) < confidence)) @ members
        )
        for _ in range(N_CALIBRATED)
    ]
    return np.asarray(np.sum(found, axis=1) / len(confidence))

"""Whether texts still look like those that a classifier was trained on, by their features.

A random half of the training rows gives the axes: mean, first principal components, what is left beside them. The
other half tells how rows that had no part in the axes lie on them, which is how new texts of the same kind will: mean
and covariance of `Reference.place`. A window of texts is compared by the distance of means, Hotelling's T² [1]_ of
features in fewer dimensions [2]_. Features of real texts are not quite alike in any two files, so a distance of up to
`NEGLIGIBLE` standard deviations counts as none: T² then has a noncentral F distribution [3]_, whose tail is the
p-value.

References
----------
.. [1] H. Hotelling (1931), The generalization of Student's ratio, Annals of Mathematical Statistics 2.
.. [2] S. Rabanser, S. Günnemann, Z. C. Lipton (2019), Failing loudly: an empirical study of methods for detecting
   dataset shift, NeurIPS 32.
.. [3] T. W. Anderson (2003), An introduction to multivariate statistical analysis, 3rd edition, theorem 5.2.2.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats

from pipeline.errors import ConfigError
from pipeline.evaluation.principal import principal_components

MAX_COMPONENTS = 32
ROWS_EACH = (
    10  # of the second half for each component, so that their covariance can be told
)
MIN_TEXTS = 50  # fewer need not have a mean that is nearly normal
MAX_ROWS = 20_000  # so many place a mean within a hundredth of a standard deviation
NEGLIGIBLE = 0.25  # standard deviations
LEVEL = 0.05
SEED = 42  # which rows are in which half
SMALLEST = 1e-6  # logarithms are taken of no less; what is usual is about 1
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """How far a window of texts is from the training texts.

    Attributes
    ----------
    n_texts : int
    level : float
        The share of windows without drift that are taken for drifted, at most.
    distance : float or None
        Of the means, in standard deviations across all directions (Mahalanobis), without what chance explains; None of
        fewer than `MIN_TEXTS` texts.
    p_value : float or None
        The chance of such a window, or one further off, where the true distance is `NEGLIGIBLE`.
    """

    n_texts: int
    level: float
    distance: float | None = None
    p_value: float | None = None

    @property
    def is_found(self) -> bool | None:
        """Tell whether the texts no longer look like the training texts; None: too few to tell."""
        return None if self.p_value is None else self.p_value < self.level

    def __str__(self) -> str:
        """Say it in a sentence."""
        if self.p_value is None:
            return f"{self.n_texts:,} texts, fewer than {MIN_TEXTS}: cannot tell whether they drifted"
        verdict = "are not like" if self.is_found else "show no drift from"
        p_value = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        return (
            f"{self.n_texts:,} texts {verdict} the training texts: their mean is {self.distance:.2f} standard "
            f"deviations off, up to {NEGLIGIBLE} is negligible ({p_value}, level {self.level:g})"
        )


@dataclass(frozen=True)
class Reference:
    """The distribution of training features, in about 300 bytes a feature; no row of a user is kept.

    Attributes
    ----------
    mean : ndarray of float64, shape (d,)
    axes : ndarray of float64, shape (d, p)
        Orthonormal: principal components, greatest variance first.
    scale : ndarray of float64, shape (p,)
        Standard deviations along them.
    rest : ndarray of float64, shape (1,)
        Variance beside them.
    centre : ndarray of float64, shape (p + 2,)
        Mean of `place` of the second half.
    whiten : ndarray of float64, shape (p + 2, p + 2)
        Makes its covariance the unit matrix.
    n_rows : ndarray of int64, shape (1,)
        In the second half.
    """

    mean: Values
    axes: Values
    scale: Values
    rest: Values
    centre: Values
    whiten: Values
    n_rows: NDArray[np.int64]

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> "Reference | None":
        """Return the reference of training features, the same for the same rows.

        Parameters
        ----------
        features : ndarray of float32, shape (n, d)
            At most `MAX_ROWS` are used.

        Returns
        -------
        Reference or None
            None where rows are too few, or too much alike, to be described.
        """
        order = np.random.default_rng(SEED).permutation(len(features))[:MAX_ROWS]
        first, second = np.array_split(features[order].astype(np.float64), 2)
        p = min(MAX_COMPONENTS, features.shape[1] // 2, len(second) // ROWS_EACH)
        if p < 2:
            return None
        mean, variances, axes, total = principal_components(first, p)
        rest = total - variances.sum()
        if not min(variances[-1], rest) > SMALLEST * variances[0]:
            return None
        unplaced = cls(
            mean=mean,
            axes=axes,
            scale=np.sqrt(variances),
            rest=np.array([rest]),
            centre=np.zeros(p + 2),
            whiten=np.eye(p + 2),
            n_rows=np.array([len(second)]),
        )
        return unplaced._placed(unplaced.place(second))

    def _placed(self, places: Values) -> "Reference | None":
        try:
            lower = np.linalg.cholesky(np.cov(places, rowvar=False))
        except np.linalg.LinAlgError:  # the rows of the second half are all alike
            return None
        whiten = linalg.solve_triangular(lower, np.eye(len(lower)), lower=True)
        return Reference(
            **{**self.arrays(), "centre": places.mean(axis=0), "whiten": whiten}
        )

    def arrays(self) -> dict[str, NDArray[Any]]:  # Any: numbers
        """Return the attributes by name, as a predictor file keeps them; ``Reference(**arrays)`` gives it back."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def place(self, features: NDArray[np.floating]) -> Values:
        """Return where rows lie, shape (n, p + 2): coordinates, how far out on the axes, how far beside them."""
        deviations = features - self.mean
        along = deviations @ self.axes
        beside = np.square(deviations).sum(axis=1) - np.square(along).sum(axis=1)
        scores = along / self.scale
        sizes = np.stack([np.square(scores).mean(axis=1), beside / self.rest], axis=1)
        return np.hstack([scores, np.log(np.maximum(sizes, SMALLEST))])

    def compare(self, features: NDArray[np.float32], level: float = LEVEL) -> Drift:
        """Compare a window of texts with the training texts.

        Of windows that are drawn as the training texts were, at most a share of `level` is taken for drifted. That is
        an average over training sets, too: all windows of one predictor share the luck of its training set. Texts of a
        window that depend on each other (copies, pieces, an author's) count for fewer than they are: more alarms.

        Parameters
        ----------
        features : ndarray of float32, shape (n, d)
        level : float
            Strictly between 0 and 1.

        Raises
        ------
        ConfigError
            If `level` is not a share.
        """
        if not 0.0 < level < 1.0:  # also refuses NaN
            raise ConfigError(
                f"level is {level}, expected a share strictly between 0 and 1, such as {LEVEL}."
            )
        if len(features) < MIN_TEXTS:
            return Drift(len(features), level)
        off = self.whiten @ (self.place(features).mean(axis=0) - self.centre)
        square, dims, n = float(off @ off), len(off), int(self.n_rows[0])
        chance = 1 / len(features) + 1 / n  # variance of each component of `off`
        statistic = square / chance * (n - dims) / (dims * (n - 1))
        p_value = stats.ncf.sf(statistic, dims, n - dims, NEGLIGIBLE**2 / chance)
        distance = max(0.0, square - dims * chance) ** 0.5
        return Drift(len(features), level, distance, float(np.clip(p_value, 0.0, 1.0)))

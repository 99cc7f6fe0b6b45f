"""The scikit-learn pipeline that a fitted head is equal to."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config import HeadSpec
from pipeline.heads.head import Head
from pipeline.heads.logreg import estimator_of

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import Pipeline


def to_sklearn(head: Head) -> "Pipeline":
    """Return the fitted scikit-learn pipeline (scaler, model) equal to `head`.

    It predicts from features, shape (n, d), not from texts. The model is a logistic regression; for several labels a
    row one a label (``OneVsRestClassifier``, which predicts a matrix of zeros and ones); for numbers ridge regression.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    scaler.mean_, scaler.scale_, scaler.var_ = head.mean, head.scale, head.scale**2
    scaler.n_features_in_ = len(head.mean)
    scaler.n_samples_seen_ = 1
    models = {"multilabel": _one_vs_rest, "regression": _ridge}
    return make_pipeline(scaler, models.get(head.task, _classifier)(head))


def _classifier(head: Head) -> "LogisticRegression":
    kind = object if isinstance(head.classes[0], str) else np.int64
    return _logistic_regression(head, head.coef, head.intercept, head.classes, kind)


def _one_vs_rest(head: Head) -> "OneVsRestClassifier":
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import LabelBinarizer

    k = len(head.classes)
    parts = zip(head.coef, head.intercept, strict=True)
    model = OneVsRestClassifier(estimator_of(2, len(head.mean), _spec(head)))
    model.estimators_ = [
        _logistic_regression(head, coef[None], np.array([b]), [0, 1], np.int64)
        for coef, b in parts
    ]
    model.label_binarizer_ = LabelBinarizer(sparse_output=True)
    model.label_binarizer_.fit(np.vstack([np.eye(k), np.ones(k)]).astype(np.int64))
    model.n_features_in_ = len(head.mean)
    return model


def _ridge(head: Head) -> "Ridge":
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1 / head.C)
    model.coef_, model.intercept_ = head.coef[0], float(head.intercept[0])
    model.n_features_in_ = len(head.mean)
    return model


def _logistic_regression(
    head: Head,
    coef: "np.ndarray[Any, Any]",  # Any: float64
    intercept: "np.ndarray[Any, Any]",  # Any: float64
    classes: list[Any],  # Any: str or int
    kind: type,
) -> "LogisticRegression":
    model = estimator_of(len(classes), len(head.mean), _spec(head))
    model.classes_ = np.array(classes, dtype=kind)
    model.coef_, model.intercept_ = coef, intercept
    model.n_features_in_ = len(head.mean)
    model.n_iter_ = np.array([head.n_iter], dtype=np.int32)
    return model


def _spec(head: Head) -> HeadSpec:
    return HeadSpec(C=head.C, class_weight=head.class_weight)

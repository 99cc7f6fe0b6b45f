"""What a report calls things, by the kind of label: its metrics, baselines, differences and verdicts."""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]  # Any: JSON values
POINTS = 100  # in a share


@dataclass(frozen=True)
class Kind:
    """How the reports of one kind of label are worded.

    Attributes
    ----------
    title : str
        The fitted model.
    names : dict of str to str
        Every metric, in the order of tables; the first one is the headline.
    n_brief : int
        How many of them the summary lists.
    score : str
        The metric that is a mean over rows: slices and the learning curve are about it.
    scale, digits : int
        How differences are written: 100 and one digit are points.
    unit, score_unit : str
        What stands behind a difference of the headline, and of the score.
    baseline : str
        The one that is hard to beat.
    floor, floor_metric, floor_said : str
        The baseline that answers every row alike, the metric that shows whether a model is of any use beside it, and
        what it does.
    right : str
        What an answer without any mistake is called.
    about, limit : str
        What the model card says that it is, and that it does not know.
    share, bootstrapped : str
        A metric whose interval is Wilson's, if there is one, and the first of the others.
    methods : dict of str to str
        How figures and intervals were made.
    """

    title: str
    names: dict[str, str]
    n_brief: int
    score: str
    scale: int
    digits: int
    unit: str
    score_unit: str
    baseline: str
    floor: str
    floor_metric: str
    floor_said: str
    right: str
    about: str
    limit: str
    share: str | None
    bootstrapped: str
    methods: dict[str, str]

    @property
    def headline(self) -> str:
        """Return the metric that is named first."""
        return next(iter(self.names))

    @property
    def headline_name(self) -> str:
        """Return its name."""
        return self.names[self.headline]

    @property
    def score_name(self) -> str:
        """Return the name of the mean over rows."""
        return self.names[self.score]

    def order(self, baselines: Json) -> list[str]:
        """Return the names of baselines: the hard one first, the one that answers every row alike last."""
        last = {self.baseline: -1, self.floor: 1}
        return sorted(baselines, key=lambda name: (last.get(name, 0), name))

    def clustered(self) -> dict[str, str]:
        """Return `methods` where intervals are over clusters of rows."""
        of_first = "over clusters of rows whose texts are contained in each other"
        found = {}
        for name, said in self.methods.items():
            over = of_first if name == self.headline else "over the same clusters"
            wilson = f"95 % percentile bootstrap {over}"
            found[name] = said.replace("95 % Wilson interval", wilson).replace(
                "over rows", over
            )
        return found

    def number(self, value: float, sign: str = "") -> str:
        """Return a difference without its unit."""
        return f"{self.scale * value:{sign}z.{self.digits}f}"

    def bounds(self, figure: Json, sign: str = "+") -> str:
        """Return the interval of a difference: ``+1.0 to +5.0``."""
        return " to ".join(self.number(bound, sign) for bound in figure["ci95"])


_INTERVAL = "95 % percentile bootstrap over rows, 1,000 resamples, fixed seed"
_COMPARISON = "ours minus the baseline on the same rows, paired percentile bootstrap"
_SHARES = "where fewer than 10 rows differ, Newcombe's paired interval"

CLASSES = Kind(
    title="logistic regression",
    names={
        "accuracy": "accuracy",
        "f1_macro": "macro F1",
        "roc_auc": "ROC AUC",
        "log_loss": "log loss",
        "matthews": "Matthews correlation",
    },
    n_brief=4,
    score="accuracy",
    scale=POINTS,
    digits=1,
    unit=" points",
    score_unit=" points",
    baseline="tfidf_logreg",
    floor="majority",
    floor_metric="accuracy",
    floor_said="always answering the most frequent label",
    right="right",
    about=(
        "A classifier of {nouns} into {k} classes: a frozen transformer makes features, a logistic regression "
        "decides.\n"
        "Only the logistic regression was fitted."
    ),
    limit="It knows the labels above and no other: every {noun} gets one of them.",
    share="accuracy",
    bootstrapped="f1_macro",
    methods={
        "accuracy": "95 % Wilson interval",
        "f1_macro": f"{_INTERVAL}; mean over the classes that occur",
        "roc_auc": "as f1_macro; more than two classes: mean of one against the rest",
        "log_loss": "as f1_macro; natural logarithm",
        "matthews": "as f1_macro; 0 where all answers are the same",
        "comparison": f"{_COMPARISON}; for accuracy, {_SHARES}",
    },
)
LABELS = Kind(
    title="logistic regression for each label",
    names={
        "f1_micro": "micro F1",
        "f1_macro": "macro F1",
        "jaccard": "Jaccard index",
        "subset_accuracy": "subset accuracy",
        "accuracy": "label accuracy",
        "roc_auc": "macro ROC AUC",
        "roc_auc_micro": "micro ROC AUC",
        "roc_auc_micro_thresholded": "micro ROC AUC of answers",
        "matthews": "Matthews correlation",
        "log_loss": "log loss",
    },
    n_brief=7,
    score="jaccard",
    scale=POINTS,
    digits=1,
    unit=" points of micro F1",
    score_unit=" points",
    baseline="tfidf_logreg",
    floor="majority",
    floor_metric="f1_micro",
    floor_said="always answering the labels that most training rows have",
    right="wholly right",
    about=(
        "A classifier of {nouns}, of which each may have any of {k} labels: a frozen transformer makes features, a "
        "logistic regression for each label decides.\nOnly the logistic regressions were fitted."
    ),
    limit="It knows the labels above and no other: a {noun} gets any number of them, or none.",
    share="subset_accuracy",
    bootstrapped="f1_micro",
    methods={
        "f1_micro": _INTERVAL,
        "f1_macro": "as f1_micro; mean over the labels that occur",
        "jaccard": (
            "as f1_micro; mean over the rows of labels in both over labels in either, truth and answer; 1 for two "
            "empty sets"
        ),
        "subset_accuracy": "95 % Wilson interval; share of rows whose labels are all right",
        "accuracy": "as f1_micro; share of right decisions (1 - Hamming loss)",
        "roc_auc": "as f1_micro; mean over the labels",
        "roc_auc_micro": "as f1_micro; from probabilities",
        "roc_auc_micro_thresholded": "as f1_micro; from answers, as tutorials compute it, and so no area under a curve",
        "matthews": "as f1_micro; 0 where all answers are the same",
        "log_loss": "as f1_micro; mean over the labels, natural logarithm",
        "comparison": f"{_COMPARISON}; for subset accuracy, {_SHARES}",
    },
)
VALUES = Kind(
    title="ridge regression",
    names={
        "pearson": "Pearson r",
        "spearman": "Spearman ρ",
        "r2": "R²",
        "mae": "mean absolute error",
    },
    n_brief=4,
    score="mae",
    scale=1,
    digits=3,
    unit=" of Pearson r",
    score_unit=" of absolute error",
    baseline="tfidf_ridge",
    floor="mean",
    floor_metric="r2",
    floor_said="always answering the mean",
    right="right",
    about=(
        "A regression of a number on {nouns}: a frozen transformer makes features, a ridge regression answers.\n"
        "Only the ridge regression was fitted."
    ),
    limit="Its answers are numbers without bounds.",
    share=None,
    bootstrapped="pearson",
    methods={
        "pearson": _INTERVAL,
        "spearman": "as pearson; of ranks, equal values having their mean rank",
        "r2": "as pearson; share of the variance that the answers explain, below 0 if the mean is nearer",
        "mae": "as pearson; in the unit of the values",
        "comparison": _COMPARISON,
    },
)
KINDS = {"classification": CLASSES, "multilabel": LABELS, "regression": VALUES}


def kind_of(report: Json) -> Kind:
    """Return the kind of a report; those of earlier versions do not name it and are of classes."""
    return KINDS[report.get("head", {}).get("task", "classification")]

"""Figures that others published for data sets known by their identity, each with its source."""

from dataclasses import dataclass

from pipeline.datasets import pins


@dataclass(frozen=True)
class Published:
    """One published figure: what was measured, its value, on how many rows, by whom."""

    system: str
    metric: str
    value: float
    rows: str
    source: str


_TUTORIAL = Published(
    "DistilBERT [CLS], default logistic regression, first 2,000 rows",
    "accuracy",
    0.824,
    "500 rows, random split without a seed (95 % Wilson 0.788 to 0.855)",
    "J. Alammar, A Visual Notebook to Using BERT for the First Time",
)
_SENTEVAL = (
    Published(
        "BERT [CLS] + logistic regression",
        "accuracy",
        0.8413,
        "SST test, SentEval",
        "arXiv 1908.10084, Table 5",
    ),
    Published(
        "mean of BERT + logistic regression",
        "accuracy",
        0.8440,
        "SST test, SentEval",
        "arXiv 1908.10084, Table 5",
    ),
)
_FINE_TUNED = Published(
    "DistilBERT, fine-tuned",
    "accuracy",
    0.913,
    "GLUE dev, 872 rows",
    "transformers, research_projects/distillation",
)


def published_figures(identity: dict[str, object]) -> list[Published]:
    """Return the published figures for a data set, by the identity of `pipeline.datasets.sources.Source`."""
    files = identity.get("files")
    if isinstance(files, dict) and files.get("train") == pins.TUTORIAL_SHA256:
        return [_TUTORIAL, *_SENTEVAL, _FINE_TUNED]
    if identity.get("commit") == pins.SST2_COMMIT:
        return [_FINE_TUNED]
    return []

"""The Luigi tasks: what runs when, and where it is stored. ``luigi --module tasks TrainLogReg``.

Importing this sets defaults for Luigi's own configuration, before Luigi reads it; a ``luigi.cfg`` of the user's and
options on the command line win.
"""

import argparse
import sys
import warnings
from typing import Any

import luigi.configuration
import luigi.parameter
from luigi.cmdline_parser import CmdlineParser

from tasks import console

SCHEDULER_OPTIONS = ("scheduler_host", "scheduler_port", "scheduler_url")
DEFAULTS = {
    ("core", "log_level"): "WARNING",  # our own lines say what runs; INFO adds Luigi's
    ("core", "no_lock"): "true",  # our locks are per key; Luigi's is per command line
    ("core", "autoload_range"): "false",
    ("worker", "check_complete_on_run"): "true",
    ("worker", "task_process_context"): "tasks.stop.Stoppable",
    ("retcode", "already_running"): "10",  # the values Luigi's documentation recommends
    ("retcode", "missing_data"): "20",
    ("retcode", "not_run"): "25",
    ("retcode", "task_failed"): "30",
    ("retcode", "scheduling_error"): "35",
    ("retcode", "unhandled_exception"): "40",
}


def _names_a_scheduler() -> bool:
    """Tell whether a central scheduler is configured or named on the command line."""
    config = luigi.configuration.get_config()
    if any(
        config.has_option("core", f"{prefix}{name}")
        for name in SCHEDULER_OPTIONS
        for prefix in ("", "default_")
    ):
        return True
    flags = tuple(
        f"--{prefix}{name.replace('_', '-')}"
        for name in SCHEDULER_OPTIONS
        for prefix in ("", "core-")
    )
    return any(argument.split("=")[0] in flags for argument in sys.argv[1:])


def _set_defaults() -> None:
    config = luigi.configuration.get_config()
    defaults = dict(DEFAULTS)
    if not _names_a_scheduler():
        defaults["core", "local_scheduler"] = "true"
    for (section, option), value in defaults.items():
        if not config.has_option(section, option):
            config.set(section, option, value)
    warnings.simplefilter(
        "error", luigi.parameter.UnconsumedParameterWarning
    )  # a misspelt option in luigi.cfg


def _refuse_abbreviations() -> None:
    """Let ``--C`` mean that option: argparse would take it for any of ``--CompareEncoders-dataset``, ``…``, too."""
    build = CmdlineParser._build_parser

    def build_exact(*args: Any, **kwargs: Any) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = build(*args, **kwargs)  # type: ignore[no-untyped-call]  # luigi's
        parser.allow_abbrev = False
        return parser

    CmdlineParser._build_parser = staticmethod(build_exact)  # type: ignore[method-assign]


_set_defaults()
_refuse_abbreviations()
console.install()

from tasks.baselines import FitBaselines  # noqa: E402  # the defaults come first
from tasks.cascade import TrainCascade  # noqa: E402
from tasks.compare_encoders import CompareEncoders  # noqa: E402
from tasks.dataset import PrepareDataset  # noqa: E402
from tasks.evaluation import EvaluateModel  # noqa: E402
from tasks.features import ExtractFeatures  # noqa: E402
from tasks.few_labels import FewLabels  # noqa: E402
from tasks.hybrid import TrainHybrid  # noqa: E402
from tasks.layers import TrainLayers  # noqa: E402
from tasks.logreg import FitLogReg  # noqa: E402
from tasks.predictor import ExportPredictor  # noqa: E402
from tasks.score_views import ScoreViews  # noqa: E402
from tasks.split import SplitDataset  # noqa: E402
from tasks.terms import FitTerms  # noqa: E402
from tasks.train import TrainLogReg  # noqa: E402
from tasks.views import ExtractViews  # noqa: E402

__all__ = [
    "CompareEncoders",
    "EvaluateModel",
    "ExportPredictor",
    "ExtractFeatures",
    "ExtractViews",
    "FewLabels",
    "FitBaselines",
    "FitLogReg",
    "FitTerms",
    "PrepareDataset",
    "ScoreViews",
    "SplitDataset",
    "TrainCascade",
    "TrainHybrid",
    "TrainLayers",
    "TrainLogReg",
]

"""Score every view of some encoders out of fold on the training rows, and say which is best."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import ComputeSpec, EncoderSpec, HeadSpec
from pipeline.encoder.identity import EncoderSource, find_encoder
from pipeline.errors import (
    ConfigError,
    EncoderError,
    PipelineError,
    WorkerError,
    shown,
)
from pipeline.features import spawn
from pipeline.storage import DigestCache, Draft, disk, is_complete
from tasks import stop
from tasks.base import CheckedTarget, Stage
from tasks.dataset import PrepareDataset
from tasks.features import ExtractFeatures
from tasks.options import (
    ComputeOptions,
    DatasetOptions,
    EncoderOptions,
    HeadOptions,
    PairOptions,
    SplitOptions,
    SweepOptions,
    spec_of,
)
from tasks.split import SplitDataset
from tasks.views import ExtractViews, layers_up_to

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.report.views import Candidate, Question, View

logger = logging.getLogger(__name__)
Json = dict[str, Any]  # Any: JSON values
SEED = 0  # which texts encoders are timed on
IMPOSSIBLE = (ConfigError, EncoderError)  # what is wrong with a view itself


@dataclass(frozen=True)
class Grid:
    """Views that one pass over the texts gives: poolings times layers of an encoder at a precision.

    Attributes
    ----------
    encoder, precision : str
    poolings : tuple of str
    layers : tuple of int
        Ascending, without a gap.
    """

    encoder: str
    precision: str
    poolings: tuple[str, ...]
    layers: tuple[int, ...]

    def parts(self) -> list["Grid"]:
        """Return smaller grids of the same views, to find the one that is impossible; none of a single view."""
        if len(self.poolings) > 1:
            return [replace(self, poolings=(pooling,)) for pooling in self.poolings]
        if len(self.layers) > 1:
            return [replace(self, layers=(layer,)) for layer in self.layers]
        return []


class ScoreViews(
    SweepOptions,
    HeadOptions,
    ComputeOptions,
    PairOptions,
    EncoderOptions,
    SplitOptions,
    DatasetOptions,
    Stage,
):
    """Encode, fit and compare every view: ``comparisons/<slug>-<key>/``.

    A view that cannot be had is an entry that says why. ``comparison.json`` is what
    `pipeline.report.views.compare_views` and ``with_speeds`` describe; ``rows.npy`` (int64, (m,)) are the scored rows
    of the data set, ``answers.npy`` what each view answers them, for pairing.
    """

    folder = "comparisons"
    schema = 2

    @cached_property
    def planned(self) -> tuple[list[tuple[Grid, ExtractViews]], dict[Grid, str]]:
        """Return the grids that can be asked for with their stages, and the views that cannot, each with the reason.

        Raises
        ------
        ConfigError
            If no view is left, or a pooling or precision is one that no encoder has.
        """
        _check_words("poolings", _words(self.poolings), EncoderSpec.choices["pooling"])
        _check_words(
            "precisions", _words(self.precisions), EncoderSpec.choices["precision"]
        )
        refused: dict[Grid, str] = {}
        groups = [
            group
            for encoder in _words(self.encoders) or [self.encoder]
            for precision in _words(self.precisions) or [self.precision]
            for group in self._groups(self._grid(encoder, precision), refused)
        ]
        if not groups:
            raise ConfigError(f"No view can be had. {next(iter(refused.values()))}")
        return groups, refused

    def _grid(self, encoder: str, precision: str) -> Grid:
        """Return the views that are asked for of an encoder, without layers that it does not have."""
        layers = layers_up_to(self.layer, self.layers, self._source(encoder))
        poolings = dict.fromkeys(_words(self.poolings) or [self.pooling])
        return Grid(encoder, precision, tuple(poolings), tuple(layers))

    def _source(self, encoder: str) -> EncoderSource | None:
        """Return where an encoder is; None where there is none."""
        known = replace(spec_of(self, EncoderSpec), pooling="cls", layer=-1)
        try:
            return find_encoder(
                replace(known, encoder=encoder), DigestCache(self.root).sha256
            )
        except IMPOSSIBLE:  # said of each view
            return None

    def _groups(
        self, grid: Grid, refused: dict[Grid, str]
    ) -> list[tuple[Grid, ExtractViews]]:
        """Return stages of all views that can be asked for, as few as there can be."""
        try:
            return [(grid, self._group(grid))]
        except IMPOSSIBLE as error:
            if not grid.parts():
                refused[grid] = str(error)
        return [group for part in grid.parts() for group in self._groups(part, refused)]

    def _group(self, grid: Grid) -> ExtractViews:
        options = {
            **self.options_of(ExtractViews),
            "encoder": grid.encoder,
            "precision": grid.precision,
            "poolings": ",".join(grid.poolings),
            "layer": grid.layers[-1],
            "layers": len(grid.layers),
        }
        family: dict[type[Stage], Stage] = {PrepareDataset: self.stage(PrepareDataset)}
        return ExtractViews(family=family, **options)

    @cached_property
    def views(self) -> list[ExtractFeatures]:
        """Return the stage of each view that can be asked for, each store once."""
        groups, _ = self.planned
        found = {view.key: view for _, group in groups for view in group.views}
        return list(found.values())

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read rows, labels, folds and views."""
        return {
            "dataset": self.stage(PrepareDataset),
            "split": self.stage(SplitDataset),
            **{f"view {i}": view for i, view in enumerate(self.views, 1)},
        }

    @property
    def _always(self) -> dict[str, Stage]:
        """Return what is read in any case: a view that fails is not the end."""
        return {name: self.upstream[name] for name in ("dataset", "split")}

    def requires(self) -> Mapping[str, Stage]:
        """Return what Luigi is to see to; the views are encoded in `build`."""
        return self._always

    def _check_inputs(self) -> None:
        for stage in self._always.values():
            stage.mend()

    def identity(self) -> dict[str, object]:
        """Return the head's options and the solver's version, and what cannot be asked for."""
        head = spec_of(self, HeadSpec)
        refused = [
            {**asdict(grid), "encoder": Path(grid.encoder).name}
            for grid in self.planned[1]
        ]
        return {
            "C": head.C,
            "class_weight": head.class_weight,
            "sklearn": ".".join(version("scikit-learn").split(".")[:2]),
            **({"refused": refused} if refused else {}),
            # what is then scored would have been refused
            **({"allow_lossy": True} if self.allow_lossy else {}),
        }

    @property
    def slug(self) -> str:
        """Return the data set's short name."""
        return self.upstream["dataset"].slug

    def output(self) -> CheckedTarget:
        """Return the target, for Luigi: a damaged comparison is never shown."""
        return CheckedTarget(self.directory, self.key)

    def build(self, draft: Draft) -> str:
        """Encode, score and time the views."""
        from pipeline.report.views import compare_views, with_speeds
        from pipeline.report.views_page import render_views, views_markdown

        seconds = _Seconds()
        failed = self._encode()
        seconds.note("encoding")
        stages, refused = self._named(failed)
        fit = disk.load_array(self.upstream["split"].directory / "fit.npy")
        compared = compare_views(
            {view: self._candidate(stage, fit) for view, stage in stages.items()},
            self._question(fit),
            refused,
            _say_each(len(stages)),
        )
        seconds.note("fitting")
        views = [
            {**entry, "features": stages[found].key} if found in stages else entry
            for entry in compared.comparison["views"]
            for found in [_view_of(entry)]
        ]
        scored = [stages[_view_of(entry)] for entry in views if "error" not in entry]
        speeds = self._speeds(scored, fit)
        seconds.note("timing")
        found = with_speeds({**compared.comparison, "views": views}, speeds, seconds.of)
        disk.save_array(draft.path / "rows.npy", fit[compared.rows])
        disk.save_array(draft.path / "answers.npy", compared.answers)
        text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
        for ending, content in (
            ("json", text + "\n"),
            ("md", views_markdown(found, self.slug)),
            ("html", render_views(found, self.slug)),
        ):
            data = content.encode("utf-8", "backslashreplace")
            disk.write(draft.path / f"comparison.{ending}", data)
        n_failed = len(views) - len(scored)
        also = f", {n_failed} cannot be had" if n_failed else ""
        return f"{len(scored)} views scored on {len(compared.rows):,} rows{also}"

    def _encode(self) -> dict[str, str]:
        """Encode every view that is not whole; return why each that failed did, by its key."""
        failed: dict[str, str] = {}

        def encode(grid: Grid, group: ExtractViews) -> None:
            try:
                if not group.complete():
                    group.run()
                group.mend()
            except WorkerError:  # which says nothing about the view
                raise
            except IMPOSSIBLE as error:
                if not grid.parts():
                    failed[group.views[0].key] = str(error)
                for part in grid.parts():
                    encode(part, self._group(part))

        for grid, group in self.planned[0]:
            encode(grid, group)
        return failed

    def _named(
        self, failed: Mapping[str, str]
    ) -> "tuple[dict[View, ExtractFeatures], dict[View, str]]":
        """Return the views that are encoded with their stages, and the others with the reasons."""
        from pipeline.report.views import View

        stages: dict[View, ExtractFeatures] = {}
        refused: dict[View, str] = {}
        for stage in self.views:
            spec = stage.spec
            view = View(stage.source.name, stage.layer, spec.pooling, spec.precision)
            if view in stages or view in refused:  # another folder of that name
                view = replace(view, encoder=stage.encoder)
            if stage.key in failed:
                refused[view] = failed[stage.key]
            else:
                stages[view] = stage
        for grid, reason in self.planned[1].items():
            name = Path(grid.encoder).name
            place = (grid.layers[0], grid.poolings[0], grid.precision)
            refused[View(name, *place)] = reason
        return stages, refused

    def _question(self, fit: "NDArray[np.int64]") -> "Question":
        from pipeline.datasets.table import StoredTexts, load_labels
        from pipeline.evaluation.resampling import Clusters
        from pipeline.report.views import Question

        dataset = self.stage(PrepareDataset)
        task, names = dataset.labels()
        return Question(
            labels=load_labels(dataset.directory)[fit],
            folds=disk.load_array(self.upstream["split"].directory / "folds.npy"),
            clusters=Clusters.of_texts(list(StoredTexts(dataset.directory).of(fit))),
            spec=spec_of(self, HeadSpec),
            task=task,
            names=names,
        )

    def _candidate(
        self, stage: ExtractFeatures, fit: "NDArray[np.int64]"
    ) -> "Candidate":
        from pipeline.features.stored import StoredFeatures, pair_encoding_of
        from pipeline.report.views import Candidate

        certificates = [] if self.allow_lossy else stage.certificates.whole()
        return Candidate(
            features=StoredFeatures.of([stage.directory], self.root).subset(fit),
            certificates=[(path, manifest["facts"]) for path, manifest in certificates],
            recipe=stage.spec.recipe,
            pair_encoding=pair_encoding_of(stage.directory),
        )

    def _speeds(
        self, stages: Sequence[ExtractFeatures], fit: "NDArray[np.int64]"
    ) -> list[Json]:
        """Return how fast each view is here, or why that is not known."""
        request: dict[str, object] = {
            "root": str(self.root.absolute()),
            "compute": asdict(spec_of(self, ComputeSpec)),
            "encoders": [
                {
                    "spec": asdict(stage.spec),
                    "prepared": str(stage.store.absolute() / "encoder")
                    if is_complete(stage.store / "encoder", stage.encoder_key)
                    else None,
                }
                for stage in stages
            ],
            **self._some_texts(fit),
        }
        try:
            return spawn.time_encoders(request, _say_notes)
        except PipelineError as error:  # the scores stand
            return [{"error": str(error)}] * len(stages)

    def _some_texts(self, fit: "NDArray[np.int64]") -> dict[str, object]:
        """Return rows to time encoders on, in no particular order, and how pairs are encoded."""
        import numpy as np

        from pipeline.datasets.table import StoredTexts
        from pipeline.features.timing import N_TEXTS

        table = StoredTexts(self.upstream["dataset"].directory)
        generator = np.random.default_rng(SEED)
        rows = np.sort(generator.permutation(fit)[:N_TEXTS])
        texts = list(table.of(rows))
        return {
            "texts": [texts[i] for i in generator.permutation(len(texts))],
            "pair_encoding": self.pair_encoding if table.are_pairs else None,
        }


class _Seconds:
    """What took how long, one thing after another."""

    def __init__(self) -> None:
        self.of: dict[str, float] = {}
        self._last = time.monotonic()

    def note(self, name: str) -> None:
        now = time.monotonic()
        self.of[name] = round(now - self._last, 1)
        self._last = now


def _words(given: str) -> list[str]:
    """Return what stands between commas, each once."""
    return list(dict.fromkeys(word for word in given.split(",") if word))


def _check_words(option: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    for word in given:
        if word not in allowed:
            raise ConfigError(
                f"--{option} has {shown(word)}, expected some of: {', '.join(allowed)}. Mend or remove it."
            )


def _view_of(entry: Json) -> "View":
    from pipeline.report.views import View

    return View(*(entry[field.name] for field in fields(View)))


def _say_each(n: int) -> "Callable[[View, Json], None]":
    """Return a listener that says what became of each view that was fitted."""
    done = 0

    def on_view(view: "View", entry: Json) -> None:
        nonlocal done
        done += 1
        stop.exit_if_orphan()
        said = (
            entry.get("error") or f"{entry['score']['value']:.3f}, C = {entry['C']:g}"
        )
        logger.info("fitting: %d of %d: %s: %s", done, n, view, said)

    return on_view


def _say_notes(message: spawn.Message) -> None:
    stop.exit_if_orphan()
    if "note" in message:
        logger.info("%s", message["note"])

"""Features of several layers and poolings of one encoder, in one pass, each in a row store of its own."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from pipeline.encoder.folder import read_config
from pipeline.encoder.identity import EncoderSource
from pipeline.encoder.limits import count_layers
from pipeline.errors import ConfigError
from pipeline.storage import key_locks
from tasks.base import Stage
from tasks.dataset import PrepareDataset
from tasks.features import ExtractFeatures, extract
from tasks.options import (
    ComputeOptions,
    DatasetOptions,
    EncoderOptions,
    PairOptions,
    ViewOptions,
)


def layers_up_to(layer: int, n: int, source: EncoderSource | None) -> range:
    """Return the last `n` layers up to and with `layer`, or all that there are, of an encoder whose files are here.

    Raises
    ------
    ConfigError
        If none are asked for.
    """
    if n < 1:
        raise ConfigError(
            f"--layers is {n}, expected how many layers up to --layer {layer} are taken: a number from 1."
        )
    first = layer - n + 1
    if layer >= 0:
        return range(max(first, 0), layer + 1)
    folder = None if source is None else source.folder
    known = None if folder is None else count_layers(read_config(folder))
    least = first if known is None else -known
    return range(min(max(first, least), layer), layer + 1)


class ExtractViews(
    ViewOptions, ComputeOptions, PairOptions, EncoderOptions, DatasetOptions, Stage
):
    """Encode what the stores of the views do not hold, each text once for all of them.

    It has no directory of its own: a view is an `ExtractFeatures` with its layer and pooling, which any other task with
    the same options shares.
    """

    folder = "features"

    @cached_property
    def views(self) -> list[ExtractFeatures]:
        """Return the stage of each view: pooling by pooling, layers in ascending order.

        Raises
        ------
        ConfigError
            If there are no such layers.
        """
        poolings = self.poolings.split(",") if self.poolings else [self.pooling]
        source = self._view(self.layer, poolings[0]).source
        return [
            self._view(layer, pooling)
            for pooling in poolings
            for layer in layers_up_to(self.layer, self.layers, source)
        ]

    def _view(self, layer: int, pooling: str) -> ExtractFeatures:
        options = self.options_of(ExtractFeatures)
        family: dict[type[Stage], Stage] = {PrepareDataset: self.stage(PrepareDataset)}
        return ExtractFeatures(
            family=family,
            maker=self,
            **{**options, "layer": layer, "pooling": pooling},
        )

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read the rows."""
        return {"dataset": self.stage(PrepareDataset)}

    def identity(self) -> dict[str, object]:
        """Return the views' keys."""
        return {"views": [view.key for view in self.views]}

    @property
    def slug(self) -> str:
        """Return the encoder's short name."""
        return self.views[0].slug

    @property
    def directories(self) -> list[Path]:
        """Return what later stages read of all views."""
        return [path for view in self.views for path in view.directories]

    def complete(self) -> bool:
        """Tell whether every view is whole."""
        return all(view.complete() for view in self.views)

    def set_aside(self) -> None:
        """Move what is damaged of any view to quarantine."""
        for view in self.views:
            view.set_aside()

    def produce(self, began: float) -> tuple[str, dict[str, object]]:
        """Encode for every view that is not whole, while no other run builds any of them."""
        with key_locks(self.root, [view.lock for view in self.views]):
            views = [view for view in self.views if not view.complete()]
            if not views:
                return "another run has encoded them", {}
            for view in views:
                view.make_way()
            return extract(views, self)

"""The frozen encoder: texts in, one float32 vector a text out, in input order.

Tokens are counted once; texts are encoded longest first in batches of a token budget; padding is masked, so a
row does not depend on its neighbours beyond float rounding.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ComputeSpec, EncoderSpec, check_joint
from pipeline.encoder.ahead import one_ahead
from pipeline.encoder.batching import (
    EncodedRows,
    EncodedWindow,
    Tokens,
    TokenStates,
    batches_by_length,
    cpu_batch_tokens,
    largest_cache_bytes,
    not_finite,
    padded,
    windows,
)
from pipeline.encoder.checkpoint import Checkpoint, read_checkpoint, read_prepared
from pipeline.encoder.engine import (
    Engine,
    has_fallback,
    make_engine,
    transformers_engine,
    with_recipe,
)
from pipeline.encoder.identity import EncoderSource, find_encoder
from pipeline.encoder.limits import check_options, feed_forward_width
from pipeline.encoder.tokens import TokenCutter, check_first_token
from pipeline.encoder.verify import check_digests
from pipeline.errors import EncoderError, PipelineError, listed, shown
from pipeline.pairs import Text
from pipeline.storage import sha256_file

logger = logging.getLogger(__name__)
GPU_BATCH_TOKENS = 65_536


class Encoder:
    """A frozen transformer with a pooling; made by `load_encoder`.

    Attributes
    ----------
    spec : EncoderSpec
    beside : tuple of EncoderSpec
        Further ones, of other layers or poolings and else the same, whose features stand behind those of `spec`: one
        pass gives all. Mostly empty.
    checkpoint : Checkpoint
        Its weights are quantized where the precision is int8.
    engine : pipeline.encoder.engine.Engine
        What computes.
    dim : int
        Length of a feature vector.
    batch_tokens : int
        Tokens in one batch, padding included; halved after texts of which a batch did not fit a GPU's memory.
    tokenizer : tokenizers.Tokenizer
    tokenize : TokenCutter
        Texts to ids, as they are encoded.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        spec: EncoderSpec,
        compute: ComputeSpec,
        engine: Engine | None = None,
        beside: Sequence[EncoderSpec] = (),
    ) -> None:
        for each in (spec, *beside):
            check_options(each, checkpoint.config)
        if any(each.pooling == "cls" for each in (spec, *beside)):
            check_first_token(
                checkpoint.tokenizer, checkpoint.special.get("cls_token"), spec.encoder
            )
        self.spec, self.beside = spec, tuple(beside)
        self._compute = compute
        self.checkpoint = checkpoint
        self.tokenizer = checkpoint.tokenizer
        self.tokenize = TokenCutter(
            checkpoint.tokenizer, spec.max_length, checkpoint.filler_id
        )
        self.engine = engine or make_engine(checkpoint, (spec, *beside), compute)
        self.dim = self._find_dim()
        if compute.batch_tokens != "auto":
            self.batch_tokens = int(compute.batch_tokens)
        elif self.device == "cpu":
            n_views = sum(len(each.layers) for each in (spec, *beside))
            width = feed_forward_width(checkpoint.config) or 4 * self.dim // n_views
            self.batch_tokens = cpu_batch_tokens(width, largest_cache_bytes())
        else:
            self.batch_tokens = GPU_BATCH_TOKENS

    @property
    def device(self) -> str:
        """Return where it is computed: ``cpu``, ``cuda:0``, …."""
        return self.engine.device

    @property
    def n_halved(self) -> int:
        """Return how often a batch was halved because the GPU's memory was full."""
        return self.engine.n_halved

    @property
    def engine_identity(self) -> dict[str, Any]:  # Any: JSON values
        """Return what computes, as far as it may move a feature's last digits."""
        return self.engine.identity

    @property
    def has_fallback(self) -> bool:
        """Tell whether another engine could run the same recipe here."""
        name = str(self.engine_identity["engine"])
        return has_fallback(name, self.spec, self._compute)

    def __repr__(self) -> str:
        """Name encoder, pooling, dimensions and device."""
        engine = self.engine_identity["engine"]
        return f"<Encoder: {self.spec.encoder} [{self.spec.pooling}], {self.dim} dimensions, {engine} on {self.device}>"

    def encode(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Return one feature row a text, in input order; nothing is remembered between calls.

        Parameters
        ----------
        texts : sequence of str or of pairs of str, length n
            Texts longer than ``spec.max_length`` tokens are cut on the right. A pair, a tuple, is encoded together:
            ``[CLS] a [SEP] b [SEP]``; it may be as long, and is cut where it is longer.

        Returns
        -------
        ndarray of float32, shape (n, d)
            All values are finite.

        Raises
        ------
        EncoderError
            If the encoder returns NaN or infinity.
        ConfigError
            If pairs are given and the precision or the maximum length is not for them.
        """
        if isinstance(texts, str):
            raise TypeError(
                f"texts is a single str, expected a sequence of str. Pass [{texts[:20]!r}]."
            )
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        begin = 0
        for window in self.encode_windows(windows(texts)):
            end = begin + len(window.features)
            out[begin:end] = window.features
            begin = end
        return out

    def encode_windows(
        self, texts: Iterable[Sequence[Text]]
    ) -> Iterator[EncodedWindow]:
        """Yield the features of each window of texts, in order; the next window is tokenized meanwhile.

        Windows are read one ahead, and nothing is kept of those that were yielded.

        Raises
        ------
        EncoderError
            If the encoder returns NaN or infinity; names the texts by their number over all windows.
        """
        begin = 0
        with closing(one_ahead(self.tokenize, texts)) as ahead:
            for tokens in ahead:
                features = np.empty((len(tokens.ids), self.dim), dtype=np.float32)
                for batch in self.encode_tokens(tokens):
                    broken = ~np.isfinite(batch.features).all(axis=1)
                    if broken.any():
                        rows = (begin + batch.rows[broken]).tolist()
                        raise not_finite(len(rows), len(batch.rows), listed(rows))
                    features[batch.rows] = batch.features
                begin += len(tokens.ids)
                yield EncodedWindow(features, tokens.n_tokens)

    def encode_tokens(self, tokens: Tokens) -> Iterator[EncodedRows]:
        """Yield the features of tokenized texts batch by batch, each row exactly once, in no particular order.

        Features may hold NaN or infinity; `encode` and the extraction refuse them.
        """
        if tokens.segments is not None:
            check_joint(self.spec.precision)
        lengths = tokens.lengths
        n_halved = self.n_halved
        for rows in batches_by_length(lengths, self.batch_tokens):
            n_padded = len(rows) * int(lengths[rows[0]])
            features = self._forward(tokens, rows)
            yield EncodedRows(rows, features, tokens.n_tokens[rows], n_padded)
        if self.n_halved > n_halved:  # the next texts need not fail first
            self.batch_tokens = max(1, self.batch_tokens // 2)

    def token_states(self, ids: Sequence[NDArray[np.int32]]) -> TokenStates:
        """Return what the features of a few tokenized texts are pooled from, as one batch.

        Parameters
        ----------
        ids : sequence of n ndarrays of int32
            `Tokens.ids`. Everything is kept, so memory grows with n, the longest text and the number of layers.
        """
        input_ids, mask = padded(ids, self.checkpoint.pad_id)
        layers = self.engine.hidden_states(input_ids, mask)
        return TokenStates(input_ids, mask, layers)

    def _forward(
        self, tokens: Tokens, rows: Sequence[int] | NDArray[np.int64]
    ) -> NDArray[np.float32]:
        ids, mask = padded([tokens.ids[i] for i in rows], self.checkpoint.pad_id)
        if tokens.segments is None:
            return self.engine(ids, mask)
        segments, _ = padded([tokens.segments[i] for i in rows], 0)
        return self.engine(ids, mask, segments)

    def _find_dim(self) -> int:
        """Return the length of a feature vector, from a text of two tokens.

        Raises
        ------
        EncoderError
            If the model cannot encode a text by its tokens alone.
        """
        try:
            return int(self._forward(self.tokenize(["a"]), [0]).shape[1])
        except PipelineError:
            raise
        except (
            Exception
        ) as error:  # models fail in as many ways as there are architectures
            raise EncoderError(
                f"{self.spec.encoder} cannot encode a text by its tokens alone: {shown(str(error), 200)}. "
                "Choose another encoder."
            ) from error


def load_encoder(
    encoder: str = EncoderSpec.encoder,
    *,
    revision: str = EncoderSpec.revision,
    pooling: str = EncoderSpec.pooling,
    layer: int | tuple[int, ...] = EncoderSpec.layer,
    max_length: int = EncoderSpec.max_length,
    precision: str = EncoderSpec.precision,
    backend: str = ComputeSpec.backend,
    device: str = ComputeSpec.device,
    batch_tokens: int | str = ComputeSpec.batch_tokens,
) -> Encoder:
    """Load a frozen encoder by hub id, local folder or ``minilm``.

    The parameters are those of `EncoderSpec` and `ComputeSpec`.

    Returns
    -------
    Encoder
        ``encode(texts)`` gives float32 features of shape (n, d).

    Raises
    ------
    ConfigError, EncoderError, HubError
        If an option does not fit, or the encoder cannot be trusted, loaded or fetched.
    """
    spec = EncoderSpec(
        encoder=encoder,
        revision=revision,
        pooling=pooling,
        layer=layer,
        max_length=max_length,
        precision=precision,
    )
    compute = ComputeSpec(backend=backend, device=device, batch_tokens=batch_tokens)
    source = find_encoder(spec, sha256_file)
    if note := source.pooling_note(spec):
        logger.info("%s", note)
    return load_source(source, spec, compute)


def load_source(
    source: EncoderSource,
    spec: EncoderSpec,
    compute: ComputeSpec,
    prepared: Path | None = None,
    beside: Sequence[EncoderSpec] = (),
) -> Encoder:
    """Load an encoder that was found, after comparing what is known of its files' digests.

    Parameters
    ----------
    source : EncoderSource
    spec : EncoderSpec
    compute : ComputeSpec
    prepared : Path, optional
        A row store's ``encoder`` directory of exactly this encoder, which saves the work of preparing it again.
    beside : sequence of EncoderSpec
        As of `Encoder`; none with int8, whose weights are those of one `spec`.
    """
    spec, *others = (_named(source, each) for each in (spec, *beside))
    folder = source.fetch()
    check_digests(folder, str(source.identity.get("commit", "")))
    if prepared is not None:
        return Encoder(read_prepared(prepared, folder), spec, compute, beside=others)
    checkpoint = with_recipe(_read(source), spec, compute)
    return Encoder(checkpoint, spec, compute, beside=others)


def reference_encoder(
    source: EncoderSource, spec: EncoderSpec, beside: Sequence[EncoderSpec] = ()
) -> Encoder:
    """Return the encoder as transformers runs it, whole, in float32 on the processor: what others are compared with."""
    spec, *others = (
        replace(_named(source, each), precision="float32") for each in (spec, *beside)
    )
    checkpoint = _read(source)
    engine = transformers_engine(checkpoint, (spec, *others))
    return Encoder(checkpoint, spec, ComputeSpec(device="cpu"), engine, others)


def _named(source: EncoderSource, spec: EncoderSpec) -> EncoderSpec:
    """Return the options as a predictor may hold them: with what ``auto`` means, and no path of this machine."""
    return replace(source.resolve(spec), encoder=source.name)


def _read(source: EncoderSource) -> Checkpoint:
    lowercase = bool(source.identity.get("lowercase"))
    return read_checkpoint(source.fetch(), lowercase=lowercase)

"""The frozen encoder: texts in, one float32 vector a text out, in input order.

Tokens are counted once; texts are encoded longest first in batches of a token budget; padding is masked, so a
row does not depend on its neighbours beyond float rounding.
"""

import inspect
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.encoder.ahead import one_ahead
from pipeline.encoder.batching import (
    EncodedRows,
    TokenBudget,
    Tokens,
    batches_by_length,
    not_finite,
    windows,
)
from pipeline.encoder.checkpoint import Checkpoint, read_checkpoint
from pipeline.encoder.identity import EncoderSource, find_encoder
from pipeline.encoder.limits import check_options
from pipeline.encoder.pooling import POOLINGS
from pipeline.encoder.tokens import TokenCutter, check_first_token
from pipeline.encoder.verify import check_digests
from pipeline.errors import ConfigError, EncoderError, listed, shown
from pipeline.storage import sha256_file

logger = logging.getLogger(__name__)
CPU_BATCH_TOKENS = 1_024
CPU_BATCH_TOKENS_TRIED = (512, 2_048, 4_096)
GPU_BATCH_TOKENS = 65_536
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Encoder:
    """A frozen transformer with a pooling; made by `load_encoder`.

    Attributes
    ----------
    spec : EncoderSpec
    device : torch.device
    dim : int
        Length of a feature vector.
    tokenizer : tokenizers.Tokenizer
    model : transformers.PreTrainedModel
        In eval mode, without gradients.
    tokenize : TokenCutter
        Texts to ids, as they are encoded.
    n_halved : int
        How often a batch was halved because the GPU's memory was full.
    """

    def __init__(
        self, checkpoint: Checkpoint, spec: EncoderSpec, compute: ComputeSpec
    ) -> None:
        check_options(spec, checkpoint.config)
        if spec.pooling == "cls":
            check_first_token(
                checkpoint.tokenizer, checkpoint.special.get("cls_token"), spec.encoder
            )
        self.spec = spec
        self.checkpoint = checkpoint
        self.tokenizer = checkpoint.tokenizer
        self.tokenize = TokenCutter(
            checkpoint.tokenizer, spec.max_length, checkpoint.filler_id
        )
        self.device = choose_device(compute.device)
        self.model = checkpoint.build()
        if spec.pooling == "pooler" and getattr(self.model, "pooler", None) is None:
            raise EncoderError(
                f"{spec.encoder} has no trained pooler. Pass --pooling cls or mean."
            )
        self.model = self.model.to(self.device, DTYPES[spec.precision])
        self._takes = set(inspect.signature(self.model.forward).parameters)
        self.dim = self._find_dim()
        if compute.batch_tokens != "auto":
            self.budget = TokenBudget(int(compute.batch_tokens))
        elif self.device.type == "cpu":
            self.budget = TokenBudget(CPU_BATCH_TOKENS, CPU_BATCH_TOKENS_TRIED)
        else:
            self.budget = TokenBudget(GPU_BATCH_TOKENS)
        self.n_halved = 0

    def __repr__(self) -> str:
        """Name encoder, pooling, dimensions and device."""
        return f"<Encoder: {self.spec.encoder} [{self.spec.pooling}], {self.dim} dimensions, {self.device}>"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one feature row a text, in input order; nothing is remembered between calls.

        Parameters
        ----------
        texts : sequence of str, length n
            Texts longer than ``spec.max_length`` tokens are cut on the right.

        Returns
        -------
        ndarray of float32, shape (n, d)
            All values are finite.

        Raises
        ------
        EncoderError
            If the encoder returns NaN or infinity.
        """
        if isinstance(texts, str):
            raise TypeError(
                f"texts is a single str, expected a sequence of str. Pass [{texts[:20]!r}]."
            )
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        begin = 0
        with closing(one_ahead(self.tokenize, windows(texts))) as ahead:
            for tokens in ahead:
                for batch in self.encode_tokens(tokens):
                    broken = ~np.isfinite(batch.features).all(axis=1)
                    if broken.any():
                        rows = (begin + batch.rows[broken]).tolist()
                        raise not_finite(len(rows), len(batch.rows), listed(rows))
                    out[begin + batch.rows] = batch.features
                begin += len(tokens.ids)
        return out

    def encode_tokens(self, tokens: Tokens) -> Iterator[EncodedRows]:
        """Yield the features of tokenized texts batch by batch, each row exactly once, in no particular order.

        Features may hold NaN or infinity; `encode` and the extraction refuse them.
        """
        if self.model.training:
            raise EncoderError(
                "The encoder was set to training mode, where dropout makes features random. Call encoder.model.eval()."
            )
        lengths = tokens.lengths
        for rows in batches_by_length(lengths, self.budget):
            n_padded = len(rows) * int(lengths[rows[0]])
            began = time.perf_counter()
            features = self._forward([tokens.ids[i] for i in rows])
            self.budget.note(n_padded, time.perf_counter() - began)
            yield EncodedRows(rows, features, tokens.n_tokens[rows], n_padded)

    def _forward(self, tokens: list[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Return the features of one batch; halves it as often as the GPU's memory demands."""
        try:
            return self._pooled(tokens)
        except torch.OutOfMemoryError as error:
            if len(tokens) == 1:
                raise EncoderError(
                    f"Out of GPU memory with one text of {len(tokens[0])} tokens. Lower --max-length."
                ) from error
            self.n_halved += 1
            torch.cuda.empty_cache()
        half = len(tokens) // 2
        return np.concatenate(
            [self._forward(tokens[:half]), self._forward(tokens[half:])]
        )

    @torch.inference_mode()
    def _pooled(self, tokens: list[NDArray[np.int32]]) -> NDArray[np.float32]:
        width = max(len(ids) for ids in tokens)
        input_ids = np.full(
            (len(tokens), width), self.checkpoint.pad_id, dtype=np.int64
        )  # (n, t)
        mask = np.zeros((len(tokens), width), dtype=np.int64)
        for row, ids in enumerate(tokens):
            input_ids[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        inputs = {"input_ids": torch.from_numpy(input_ids).to(self.device)}
        attention_mask = torch.from_numpy(mask).to(self.device)
        if "attention_mask" in self._takes:
            inputs["attention_mask"] = attention_mask
        last = self.spec.layer == -1
        out = self.model(**inputs, **({} if last else {"output_hidden_states": True}))
        if self.spec.pooling == "pooler":
            return np.asarray(out.pooler_output.float().cpu().numpy())  # (n, d)
        hidden = (
            out.last_hidden_state if last else out.hidden_states[self.spec.layer]
        )  # (n, t, d)
        return np.asarray(
            POOLINGS[self.spec.pooling](hidden.float(), attention_mask).cpu().numpy()
        )  # (n, d)

    def _find_dim(self) -> int:
        """Return the length of a feature vector, from a text of two tokens.

        Raises
        ------
        EncoderError
            If the model cannot encode a text by its tokens alone.
        """
        try:
            tokens, _ = self.tokenize(["a"])
            return int(self._pooled(tokens).shape[1])
        except torch.OutOfMemoryError:
            raise
        except (
            Exception
        ) as error:  # models fail in as many ways as there are architectures
            raise EncoderError(
                f"{self.spec.encoder} cannot encode a text by its tokens alone: {shown(str(error), 200)}. "
                "Choose another encoder."
            ) from error


def choose_device(name: str) -> torch.device:
    """Return the torch device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises
    ------
    ConfigError
        If there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"--device {name} cannot be used here: {reason}. Pass --device auto."
        ) from error
    return device


def load_encoder(
    encoder: str = EncoderSpec.encoder,
    *,
    revision: str = EncoderSpec.revision,
    pooling: str = EncoderSpec.pooling,
    layer: int = EncoderSpec.layer,
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
    source: EncoderSource, spec: EncoderSpec, compute: ComputeSpec
) -> Encoder:
    """Load an encoder that was found, after comparing what is known of its files' digests."""
    spec = replace(
        source.resolve(spec), encoder=source.name
    )  # no path of this machine travels with a predictor
    folder = source.fetch()
    check_digests(folder, str(source.identity.get("commit", "")))
    lowercase = bool(source.identity.get("lowercase"))
    return Encoder(read_checkpoint(folder, lowercase=lowercase), spec, compute)

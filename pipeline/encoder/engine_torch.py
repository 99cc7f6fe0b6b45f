"""torch for BERT, DistilBERT and RoBERTa: the arithmetic of `pipeline.encoder.graph`, on any device of torch."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.config import EncoderSpec
from pipeline.encoder.bert import (
    AnyLinear,
    Bert,
    Layer,
    Linear,
    Norm,
    place_ids,
)
from pipeline.encoder.device import (
    DTYPES,
    TORCH,
    choose_device,
    halving,
    identity_of,
)
from pipeline.encoder.engine import (
    View,
    check_pooler,
    ends_in_first_token,
    layers_to_run,
    views_of,
)
from pipeline.encoder.pooling import POOLINGS


class TorchEngine:
    """A `pipeline.encoder.engine.Engine`.

    Parameters
    ----------
    bert : Bert
    views : sequence of EncoderSpec
        At least one.
    device : str
        As for ``--device``.
    """

    def __init__(self, bert: Bert, views: Sequence[EncoderSpec], device: str) -> None:
        check_pooler(bert, views)
        self._device = choose_device(device)
        self._model = _Model(bert, views, self._device)
        self._bert = bert
        self.device = str(self._device)
        self.n_parameters = bert.n_parameters
        self.n_halved = 0
        self.identity = identity_of("torch", TORCH, self._device)

    def __call__(
        self,
        input_ids: NDArray[np.int64],
        mask: NDArray[np.int64],
        segments: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Return the features of a batch, of all views side by side: (n, t) each -> (n, d)."""
        places = place_ids(self._bert, input_ids, segments).astype(np.int64)
        found, n_halved = halving(self._features, input_ids, places, mask)
        self.n_halved += n_halved
        return found

    @torch.inference_mode()
    def hidden_states(
        self, input_ids: NDArray[np.int64], mask: NDArray[np.int64]
    ) -> list[NDArray[np.float32]]:
        """Return the hidden states of a batch: (n, t), (n, t) -> of each layer (n, t, d)."""
        places = place_ids(self._bert, input_ids).astype(np.int64)
        tensors = self._moved(input_ids, places, mask)
        states = self._model.hidden_states(*tensors)
        return [np.asarray(x.float().cpu().numpy()) for x in states]

    @torch.inference_mode()
    def _features(
        self,
        input_ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        mask: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        tensors = self._moved(input_ids, positions, mask)
        return np.asarray(self._model(*tensors).cpu().numpy())

    def _moved(self, *arrays: NDArray[np.int64]) -> list[Tensor]:
        return [torch.from_numpy(array).to(self._device) for array in arrays]


class _Model:
    """The weights on a device, and the forward pass: hidden states are (n, t, d)."""

    def __init__(
        self, bert: Bert, views: Sequence[EncoderSpec], device: torch.device
    ) -> None:
        self._device, self._dtype = device, DTYPES[views[0].precision]
        self._bert, self._views = bert, views_of(bert, views)
        self._places = bert.places  # one array, as tensors are known by theirs
        self._tensors: dict[int, Tensor] = {}
        self._layers = bert.layers[: layers_to_run(self._views)]

    def __call__(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Return the features of all views: ids, positions and mask of shape (n, t) -> float32 (n, sum of d)."""
        only_first = ends_in_first_token(self._views)
        states = self.hidden_states(ids, positions, mask, only_first=only_first)
        found: dict[View, Tensor] = {}  # pooled at once, as states are large
        for n_layers, x in enumerate(states):
            for view in self._views:
                if view.n_layers == n_layers:
                    found[view] = self._pooled(view, x, mask)
        return torch.cat([found[view] for view in self._views], dim=1)

    def hidden_states(
        self, ids: Tensor, positions: Tensor, mask: Tensor, *, only_first: bool = False
    ) -> Iterator[Tensor]:
        """Yield what the embeddings and then each layer give of every token, (n, t, d).

        With `only_first` the last layer gives that of the first tokens, (n, 1, d).
        """
        x, seen = self._embeddings(ids, positions), _seen(mask)
        yield x
        for layer in self._layers:
            is_short = only_first and layer is self._layers[-1]
            x = self._layer(layer, x[:, :1] if is_short else x, x, seen)
            yield x

    def _pooled(self, view: View, x: Tensor, mask: Tensor) -> Tensor:
        """Return one vector a text, float32 (n, d), of hidden states."""
        if view.pooling == "pooler":
            assert self._bert.pooler is not None  # as the engine saw
            return torch.tanh(self._linear(x[:, 0], self._bert.pooler)).float()
        return POOLINGS[view.pooling](x.float(), mask)

    def _embeddings(self, ids: Tensor, positions: Tensor) -> Tensor:
        words, places = self._bert.words, self._places
        rows = self._tensor(words)[ids] + self._tensor(places)[positions]
        return self._norm(rows, self._bert.norm)

    def _layer(
        self, layer: Layer, x: Tensor, states: Tensor, seen: Tensor | None
    ) -> Tensor:
        """Return the layer's output for the tokens `x`, which look at all `states`."""
        parts = ((x, layer.query), (states, layer.key), (states, layer.value))
        query, key, value = (self._heads(self._linear(of, by)) for of, by in parts)
        found = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen
        )
        gathered = found.transpose(1, 2).flatten(2)  # (n, t, d)
        x = self._norm(self._linear(gathered, layer.out) + x, layer.attention_norm)
        approximate = "none" if self._bert.gelu == "erf" else "tanh"
        hidden = functional.gelu(self._linear(x, layer.up), approximate=approximate)
        return self._norm(self._linear(hidden, layer.down) + x, layer.output_norm)

    def _heads(self, x: Tensor) -> Tensor:
        """(n, t, d) -> (n, heads, t, d / heads)."""
        return x.view(*x.shape[:2], self._bert.n_heads, -1).transpose(1, 2)

    def _linear(self, x: Tensor, linear: AnyLinear) -> Tensor:
        assert isinstance(linear, Linear)  # int8 is ONNX Runtime's
        return functional.linear(
            x, self._tensor(linear.weight), self._tensor(linear.bias)
        )

    def _norm(self, x: Tensor, norm: Norm) -> Tensor:
        scale, shift = self._tensor(norm.scale), self._tensor(norm.shift)
        return functional.layer_norm(x, scale.shape, scale, shift, self._bert.epsilon)

    def _tensor(self, array: NDArray[np.float32]) -> Tensor:
        """Return the array on the device, moved there once."""
        known = self._tensors.get(id(array))
        if known is None:
            known = torch.tensor(array, dtype=self._dtype, device=self._device)
            self._tensors[id(array)] = known
        return known


def _seen(mask: Tensor) -> Tensor | None:
    """Return which tokens are looked at, (n, 1, 1, t), or None for all: (n, t) ->."""
    return None if mask.all() else mask.bool()[:, None, None, :]

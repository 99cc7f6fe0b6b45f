"""Compares options with what an encoder's configuration says it has: layers, positions, a pooler."""

from typing import Any

from pipeline.config import EncoderSpec
from pipeline.errors import ConfigError

# these count positions from behind the padding token's id, which is 1 where the configuration does not say
OFFSET_POSITIONS = {
    "camembert",
    "data2vec-text",
    "ibert",
    "lilt",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
WITHOUT_POOLER = {
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "gpt2",
    "modernbert",
    "xlnet",
}


def check_options(spec: EncoderSpec, config: dict[str, Any]) -> None:
    """Compare layer, length and pooling with the encoder's configuration.

    Raises
    ------
    ConfigError
        If the layer does not exist, texts would be longer than the model has positions, or there is no pooler.
    """
    n_layers = count_layers(config)
    for layer in spec.layers:
        if n_layers is not None and not -(n_layers + 1) <= layer <= n_layers:
            raise ConfigError(
                f"--layer is {layer}, but {spec.encoder} has {n_layers} layers: "
                f"expected 0 (embeddings) to {n_layers}, or -1 for the last."
            )
    positions = max_positions(config)
    if positions is not None and spec.max_length > positions:
        raise ConfigError(
            f"--max-length is {spec.max_length}, but {spec.encoder} has positions for {positions} tokens. "
            f"Pass --max-length {positions} or less."
        )
    if spec.pooling == "pooler" and config["model_type"] in WITHOUT_POOLER:
        raise ConfigError(
            f"--pooling pooler: a {config['model_type']} encoder has no pooler. Pass --pooling cls or mean."
        )


def count_layers(config: dict[str, Any]) -> int | None:
    """Return how many layers follow the embeddings; None if the configuration does not say."""
    return _first_number(config, "num_hidden_layers", "n_layers", "n_layer")


def max_positions(config: dict[str, Any]) -> int | None:
    """Return how many tokens a text may have, special ones included; None if there is no limit (XLNet)."""
    positions = _first_number(config, "max_position_embeddings", "n_positions")
    if positions is None or config["model_type"] not in OFFSET_POSITIONS:
        return positions
    pad = config.get("pad_token_id")
    return positions - (pad if isinstance(pad, int) else 1) - 1


def feed_forward_width(config: dict[str, Any]) -> int | None:
    """Return the hidden units of the feed-forward layers; None if the configuration does not say."""
    return _first_number(config, "intermediate_size", "hidden_dim", "d_inner")


def _first_number(config: dict[str, Any], *names: str) -> int | None:
    found = (config.get(name) for name in names)
    return next((value for value in found if type(value) is int and value > 0), None)

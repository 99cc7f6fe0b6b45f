"""Encoders for tests: tiny ones with random weights, and real learned weights through DistilBERT's code."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedTokenizerFast,
)

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
WORDS = [
    "a",
    "the",
    "film",
    "plot",
    "good",
    "bad",
    "fine",
    "dull",
    "bright",
    "warm",
    "cold",
    "never",
    "always",
    "but",
    "and",
    "not",
    "is",
    "was",
    "very",
    "story",
]

# DistilBERT's names for BERT's weights, inside one layer
RENAMED = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}


def save_tiny(folder: Path, kind: str = "distilbert", *, seed: int = 0) -> Path:
    """Save a random two-layer encoder of 16 dimensions and its word-level tokenizer."""
    torch.manual_seed(seed)
    n_tokens = len(SPECIAL) + len(WORDS)
    model: BertModel | DistilBertModel
    if kind == "distilbert":
        config = DistilBertConfig(
            vocab_size=n_tokens,
            dim=16,
            hidden_dim=32,
            n_layers=2,
            n_heads=2,
            max_position_embeddings=160,
        )
        model = DistilBertModel(config)
    else:
        model = BertModel(
            BertConfig(
                vocab_size=n_tokens,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=160,
            )
        )
    model.eval().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token a word of `WORDS`."""
    ids = {token: i for i, token in enumerate([*SPECIAL.values(), *WORDS])}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def save_as_distilbert(bert_folder: Path, folder: Path) -> Path:
    """Save the BERT of `bert_folder` as an equal DistilBERT: token type 0 goes into the position embeddings."""
    bert = load_file(bert_folder / "model.safetensors")
    config = DistilBertConfig(
        vocab_size=30522,
        dim=384,
        hidden_dim=1536,
        n_layers=6,
        n_heads=12,
        max_position_embeddings=512,
    )
    model = DistilBertModel(config)
    weights = {}
    for name in model.state_dict():
        if name.startswith("transformer."):
            _, _, layer, *module, kind = name.split(".")
            weights[name] = bert[
                f"encoder.layer.{layer}.{RENAMED['.'.join(module)]}.{kind}"
            ]
        else:
            weights[name] = bert[name]
    weights["embeddings.position_embeddings.weight"] = (
        bert["embeddings.position_embeddings.weight"]
        + bert["embeddings.token_type_embeddings.weight"][0]
    )
    model.load_state_dict(weights)
    model.eval().save_pretrained(folder)
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).write_bytes((bert_folder / name).read_bytes())
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "DistilBertTokenizer", "do_lower_case": true}'
    )
    return folder

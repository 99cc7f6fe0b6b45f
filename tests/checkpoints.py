"""Encoders for tests: tiny ones with random weights, and real learned weights through DistilBERT's code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AlbertConfig,
    AlbertTokenizer,
    AutoModel,
    BertConfig,
    BertModel,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2Tokenizer,
    DistilBertConfig,
    DistilBertModel,
    DistilBertTokenizer,
    ElectraConfig,
    GPT2Config,
    GPT2Tokenizer,
    ModernBertConfig,
    MPNetConfig,
    MPNetTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaTokenizer,
    XLNetConfig,
    XLNetTokenizer,
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
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
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


# Several scripts, lengths and oddities; every character of them is in the vocabularies below.
MANY_SCRIPTS = [
    "a film",
    "the plot is good but the story was not, and the film is never dull",
    "这部电影很好看",
    "中文 and the film 混在一起",
    "هذا الفيلم جيد جدا",
    "यह फ़िल्म अच्छी है",
    "мне понравилось",
    "そうですね。",
    "👩‍👩‍👧 good 👍🏽",
    "café cafe\u0301",
    "İ ß ﬁ",
    "   ",
    "zero\u200bwidth\u00a0space",
]
CHARACTERS = sorted(
    {c for text in MANY_SCRIPTS for c in text + text.lower()} - set(" \u00a0")
)
DIM, N_POSITIONS = 16, 40
SIZES = {
    "hidden_size": DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.3,  # so that texts differ well above rounding
}


def _word_pieces(*special: str) -> dict[str, int]:
    pieces = [*special, *WORDS, *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}


def _unigrams(*special: str) -> list[tuple[str, float]]:
    words = [f"▁{word}" for word in WORDS]
    pieces = [*special, *words, "▁", *CHARACTERS]
    scores = [0.0] * len(special) + [-5.0] * len(words) + [-9.0] * (1 + len(CHARACTERS))
    return list(dict(zip(pieces, scores, strict=True)).items())


def _byte_pairs(*special: str) -> dict[str, Any]:
    from tokenizers.pre_tokenizers import ByteLevel

    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("o", "o"), ("oo", "d")]
    pieces = [*special, *sorted(ByteLevel.alphabet()), *(a + b for a, b in merges)]
    return {"vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": merges}


BERTS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTAS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def _plain_tokenizer() -> PreTrainedTokenizerFast:
    """Return a BERT tokenizer saved without its class, as ModernBERT's is."""
    backend = BertTokenizer(vocab=_word_pieces(*BERTS)).backend_tokenizer
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


Json = dict[str, Any]  # Any: a configuration's settings
ABSOLUTE: Json = {**SIZES, "max_position_embeddings": N_POSITIONS}
BEHIND_PAD: Json = {**SIZES, "max_position_embeddings": N_POSITIONS + 2}
KINDS: dict[str, tuple[Callable[[], Any], type[PretrainedConfig], Json]] = {
    "bert": (lambda: BertTokenizer(vocab=_word_pieces(*BERTS)), BertConfig, ABSOLUTE),
    "distilbert": (
        lambda: DistilBertTokenizer(vocab=_word_pieces(*BERTS)),
        DistilBertConfig,
        {
            "dim": DIM,
            "hidden_dim": 32,
            "n_layers": 2,
            "n_heads": 2,
            "initializer_range": 0.3,
            "max_position_embeddings": N_POSITIONS,
        },
    ),
    "roberta": (
        lambda: RobertaTokenizer(**_byte_pairs(*ROBERTAS)),
        RobertaConfig,
        BEHIND_PAD,
    ),
    "xlm-roberta": (
        lambda: XLMRobertaTokenizer(vocab=_unigrams(*ROBERTAS)),
        XLMRobertaConfig,
        BEHIND_PAD,
    ),
    "mpnet": (
        lambda: MPNetTokenizer(
            vocab=_word_pieces("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
        ),
        MPNetConfig,
        BEHIND_PAD,
    ),
    "electra": (
        lambda: BertTokenizer(vocab=_word_pieces(*BERTS)),
        ElectraConfig,
        {**ABSOLUTE, "embedding_size": 8},
    ),
    "modernbert": (
        _plain_tokenizer,
        ModernBertConfig,
        {
            **ABSOLUTE,
            "local_attention": 8,
            "pad_token_id": 0,
            "cls_token_id": 2,
            "bos_token_id": 2,
            "sep_token_id": 3,
            "eos_token_id": 3,
        },
    ),
    "albert": (
        lambda: AlbertTokenizer(
            vocab=_unigrams("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
        ),
        AlbertConfig,
        {**ABSOLUTE, "embedding_size": 8},
    ),
    "deberta-v2": (
        lambda: DebertaV2Tokenizer(vocab=_unigrams(*BERTS)),
        DebertaV2Config,
        {
            **ABSOLUTE,
            "relative_attention": True,
            "position_biased_input": False,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 8,
        },
    ),
    "gpt2": (
        lambda: GPT2Tokenizer(**_byte_pairs("<|endoftext|>")),
        GPT2Config,
        {
            "n_embd": DIM,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": N_POSITIONS,
            "initializer_range": 0.3,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    ),
    "xlnet": (
        lambda: XLNetTokenizer(
            vocab=_unigrams("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>")
        ),
        XLNetConfig,
        {
            "d_model": DIM,
            "n_layer": 2,
            "n_head": 2,
            "d_inner": 32,
            "initializer_range": 0.3,
            "pad_token_id": 5,
        },
    ),
}


def save_kind(folder: Path, kind: str, *, seed: int = 0) -> Path:
    """Save a random encoder of an architecture in `KINDS` with a tokenizer of its own kind, as transformers does."""
    make_tokenizer, config_class, settings = KINDS[kind]
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = config_class(vocab_size=len(tokenizer), **settings)  # type: ignore[call-arg]  # each has one
    model = AutoModel.from_config(config)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_sentence_transformer(
    folder: Path,
    pooling: dict[str, object],
    *,
    more: tuple[str, ...] = ("Normalize",),
    **bert_config: object,
) -> Path:
    """Turn an encoder's folder into a sentence-transformers one by the files that its library writes."""
    kinds = ("Transformer", "Pooling", *more)
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 32, "do_lower_case": False, **bert_config})
    )
    return folder

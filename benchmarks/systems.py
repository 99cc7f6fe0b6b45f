"""Systems that encode, ours and the peers, each in a process of its own, and the encoder they all run."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EncoderSpec
from pipeline.datasets.sources import sample_path
from pipeline.encoder.identity import find_encoder
from pipeline.storage import sha256_file

PEERS_FILE = Path(__file__).with_name("peers.py")
OURS_COMMAND = (sys.executable, "-m", "benchmarks.ours")
PAUSE_S = 0.3  # OpenMP's threads keep a core busy for a while after their last work


class SystemFailedError(RuntimeError):
    """A system could not do what it was asked; the message says why, on one line."""


@dataclass(frozen=True)
class Encoded:
    """What came of one request.

    Attributes
    ----------
    features : ndarray of float32, shape (n, d)
    seconds : list of float
        One for all texts, or one a text.
    peak_mb : float
        Peak resident memory of the process meanwhile, in 2**20 bytes.
    """

    features: NDArray[np.float32]
    seconds: list[float]
    peak_mb: float


class System(AbstractContextManager["System"]):
    """A process that encodes texts; `benchmarks.peers` says how one talks to it.

    Parameters
    ----------
    name : str
        As its process knows it.
    command : sequence of str
        Starts the process.
    source : str or Path
        The folder or file to load.
    threads : int

    Attributes
    ----------
    versions : dict of str to str
        Of the libraries in its environment.
    resident_mb : float
        Resident memory after loading, in 2**20 bytes.

    Raises
    ------
    SystemFailedError
        If it cannot be started or loaded.
    """

    def __init__(
        self, name: str, command: Sequence[str], source: str | Path, threads: int
    ) -> None:
        self.name = name
        self._folder = tempfile.TemporaryDirectory()
        self._log = (Path(self._folder.name) / "log").open("w+", errors="replace")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            self._clean()
            raise SystemFailedError(str(error)) from error
        try:
            facts = self._ask(load=name, threads=threads, **{"from": str(source)})
        except BaseException:
            self.close()
            raise
        self.versions: dict[str, str] = facts["versions"]
        self.resident_mb: float = facts["resident_mb"]

    def encode(self, texts: Sequence[str], *, each: bool = False) -> Encoded:
        """Encode `texts` in one call, or in a call for `each`.

        Raises
        ------
        SystemFailedError
        """
        time.sleep(PAUSE_S)
        out = Path(self._folder.name) / "features.npy"
        facts = self._ask(encode=list(texts), each=each, out=str(out))
        return Encoded(np.load(out), facts["seconds"], facts["peak_mb"])

    def _ask(self, **request: object) -> dict[str, Any]:  # Any: JSON values
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            line = ""
        else:
            line = self._process.stdout.readline()
        if not line:
            raise SystemFailedError(
                f"ended with {self._process.wait()}: {self._last_word()}"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SystemFailedError(" ".join(str(answer["error"]).split()))
        return answer

    def _last_word(self) -> str:
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):  # what was not sent yet
            self._process.stdin.close()
        self._process.stdout.close()
        self._clean()

    def _clean(self) -> None:
        self._log.close()
        self._folder.cleanup()

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()


def peers_command(python: str) -> tuple[str, ...]:
    """Return what starts a peer's process."""
    return (python, "-P", str(PEERS_FILE))  # -P: our modules' names hide no library


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of benchmarks beside the peers: their Python, the encoder, the texts."""
    parser.add_argument(
        "--peers", default=sys.executable, help="the Python of the peers' environment"
    )
    parser.add_argument(
        "--encoder",
        help="minilm or a folder; without: full-size DistilBERT, random weights",
    )
    parser.add_argument(
        "--texts", type=Path, default=sample_path(), help="a TSV, texts first"
    )


@contextmanager
def encoder_folder(given: str | None) -> Iterator[Path]:
    """Give the folder of an encoder: the `given` one, else a DistilBERT of full size with random weights.

    Its tokenizer is the offline encoder's; speed depends on no weight's value.
    """
    if given is not None:
        yield find_encoder(EncoderSpec(encoder=given), sha256_file).fetch()
        return
    with tempfile.TemporaryDirectory() as name:
        write_encoder(Path(name))
        yield Path(name)


def write_encoder(folder: Path) -> None:
    """Write a DistilBERT with 66 million random weights, the same each time, and the offline encoder's tokenizer."""
    import torch
    from transformers import DistilBertConfig, DistilBertModel, DistilBertTokenizerFast

    offline = find_encoder(EncoderSpec(encoder="minilm"), sha256_file).fetch()
    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig()).eval().save_pretrained(folder)
    tokenizer = DistilBertTokenizerFast.from_pretrained(offline)
    tokenizer.save_pretrained(folder)


def count_tokens(folder: Path, texts: Sequence[str], max_length: int) -> list[int]:
    """Return the number of tokens of each text, special ones included, that are encoded."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return [len(one.ids) for one in tokenizer.encode_batch_fast(list(texts))]

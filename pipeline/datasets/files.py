"""What a path is, and a regular file's bytes: read once, hashed, unpacked, counted and decoded on the way.

Whatever is read stays bounded: a block, or the one row that is longer than a block.
"""

import codecs
import gzip
import hashlib
import io
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from pipeline.errors import DataError

FORMATS = {
    ".tsv": "tsv",
    ".csv": "csv",
    ".txt": "txt",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
ENDINGS = f"{', '.join(FORMATS)}, or one of the text ones with .gz"
BLOCK_BYTES = 4 * 2**20
MAX_ROW_BYTES = 64 * 2**20  # a longer row is a zip bomb or another kind of file
ZEROED = bytes(64)  # so many NULs in a row are no text but a block the disk lost
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
MAGIC = {
    b"\x1f\x8b": "It begins like a gzip file: add .gz to its name.",
    b"PK\x03\x04": "It begins like a zip file or a sheet: unpack it, or export the sheet as CSV.",
    b"PAR1": "It begins like Parquet: let its name end in .parquet.",
    b"\xff\xfe": "Convert it: iconv -f utf-16 -t utf-8 FILE.",
    b"\xfe\xff": "Convert it: iconv -f utf-16 -t utf-8 FILE.",
}


def check_regular(path: Path) -> None:
    """Make sure that a path is a regular file or a link to one, without opening it.

    Raises
    ------
    DataError
        Says what it is instead: a folder, a pipe, a broken link, ….
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            raise DataError(
                f"{path} is a link that leads to no file ({error.strerror}). Pass the file itself."
            ) from error
        raise DataError(
            f"{path} cannot be read: {error.strerror}. Check the path and permissions."
        ) from error
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise DataError(
            f"{path} is {kind}, expected a regular file. Write the rows to a file and pass that."
        )


def split_name(path: Path) -> tuple[str, str]:
    """Return a file's name without its ending, and the ending in lower case: ``("train", ".tsv.gz")``."""
    stem, ending = path.stem, path.suffix.lower()
    if ending == ".gz":
        inner = Path(stem)
        return inner.stem, inner.suffix.lower() + ending
    return stem, ending


def is_format(path: Path) -> bool:
    """Tell whether a file's ending is one of ours."""
    ending = split_name(path)[1]
    return ending.removesuffix(".gz") in FORMATS and ending != ".parquet.gz"


def file_format(path: Path) -> str:
    """Return the format by the file's ending: ``tsv``, ``csv.gz``, ``parquet``, ….

    Raises
    ------
    DataError
        If the ending is none we know.
    """
    _, ending = split_name(path)
    if not is_format(path):
        hint = {".json": "One JSON object a line: jq -c '.[]' FILE > FILE.jsonl."}.get(
            ending, "Convert it; a sheet, for example, by exporting it as CSV."
        )
        raise DataError(
            f"{path} ends in {ending!r}, expected one of: {ENDINGS}. {hint}"
        )
    inner = ending.removesuffix(".gz")
    return FORMATS[inner] + ending[len(inner) :]


def state_of(path: Path) -> tuple[int, int, int, int] | None:
    """Return what differs when a file is written to or replaced, also by ``cp -p``; None if it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


class DigestedFile(io.RawIOBase):
    """A file being read: knows at the end whether it held the bytes that its key was made from.

    Parameters
    ----------
    path : Path
    sha256 : str
        Expected digest of the whole file, 64 hex digits.
    """

    def __init__(self, path: Path, sha256: str) -> None:
        self._path, self._expected = path, sha256
        self._hash = hashlib.sha256()
        try:
            self._file = path.open("rb", buffering=0)
            self._state = state_of(path)
        except OSError as error:
            raise DataError(
                f"{path} cannot be read any more: {error.strerror}. Run the same command again."
            ) from error

    def readable(self) -> bool:
        """Tell that this can be read from."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # what io passes
        """Read into `buffer`, hashing what passes; raises `DataError` if the file changed since it was opened."""
        n = cast("int", self._file.readinto(buffer))
        if state_of(self._path) != self._state:
            raise DataError(
                f"{self._path} changed while it was read. Run the same command again."
            )
        self._hash.update(memoryview(buffer)[:n])
        return n

    def check(self) -> None:
        """Read what is left and compare the digest.

        Raises
        ------
        DataError
            If the file is not the one that the run was started on.
        """
        try:
            while self.read(BLOCK_BYTES):
                pass
        except OSError as error:
            raise DataError(
                f"{self._path} cannot be read any more: {error.strerror}. Run the same command again."
            ) from error
        if self._hash.hexdigest() != self._expected:
            raise DataError(
                f"{self._path} changed while the run was starting. Run the same command again."
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def unpacked(raw: BinaryIO, form: str) -> BinaryIO:
    """Return the stream of the unpacked bytes of a file in format `form`."""
    return cast("BinaryIO", gzip.open(raw)) if form.endswith(".gz") else raw


def text_blocks(
    stream: BinaryIO,
    path: str,
    max_bytes: float | None = None,
    *,
    at_once: bool = False,
) -> Iterator[str]:
    """Yield the text of `stream` in blocks of whole lines, without a byte order mark.

    Parameters
    ----------
    stream : binary file
    path : str
        For error messages.
    max_bytes : float, optional
        Refuse a stream of more bytes; None: no limit.
    at_once : bool
        Yield the lines of one read before the next one, which may have to wait. A last line that does not end in a
        line break is then a block of its own.

    Raises
    ------
    DataError
        If the bytes cannot be read or unpacked, are not UTF-8, are too many, or hold a zeroed block.
    """
    decoder = _Decoder(path)
    rest: list[bytes] = []  # of the line that is not complete yet
    end = b""  # of what was read: zeros may go on in the next part
    parts = _read_blocks(stream, path, max_bytes)
    for data, is_last in _then_end(parts) if at_once else _with_end(parts):
        if ZEROED in data or ZEROED in end + data[: len(ZEROED)]:
            offset = decoder.offset + sum(map(len, rest)) - len(end)
            offset += (end + data).index(ZEROED)
            raise DataError(
                f"{path} is damaged: a block of NUL bytes at offset {offset:,}. Fetch or write it again."
            )
        end = (end + data)[-len(ZEROED) :]
        cut = len(data) if is_last else data.rfind(b"\n") + 1
        rest.append(data[:cut] if cut else data)
        if cut or is_last:
            yield decoder.decode(b"".join(rest))
            rest = [data[cut:]]
        if sum(map(len, rest)) > MAX_ROW_BYTES:
            raise DataError(
                f"{path}:{decoder.line:,} is a row of more than {MAX_ROW_BYTES:,} bytes, which is no text. "
                "Split it, or check the file."
            )


def count_lines(stream: BinaryIO, path: str) -> int:
    """Return how many line breaks a stream has; raises `DataError` if it cannot be read or unpacked."""
    return sum(block.count(b"\n") for block in _read_blocks(stream, path, None))


def _then_end(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each block, and an empty one as the last."""
    for data in blocks:
        yield data, False
    yield b"", True


def _with_end(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each block, and whether it is the last, for which the next one has to be read."""
    before = next(blocks, None)
    for data in blocks:
        assert before is not None  # there is one more
        yield before, False
        before = data
    if before is not None:
        yield before, True


def _read_blocks(
    stream: BinaryIO, path: str, max_bytes: float | None
) -> Iterator[bytes]:
    total = 0
    while True:
        try:
            data = stream.read(BLOCK_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{path} cannot be unpacked behind {total:,} bytes: {error}. It is cut off or damaged: "
                "fetch or pack it again."
            ) from error
        except OSError as error:
            raise DataError(
                f"{path} cannot be read any more: {error.strerror}. Run the same command again."
            ) from error
        if not data:
            return
        total += len(data)
        if max_bytes is not None and total > max_bytes:
            raise DataError(
                f"{path} holds more than {max_bytes / 1e9:g} GB of text. "
                "Pass --max-gb with a larger number if that is right."
            )
        yield data


class _Decoder:
    """Decodes one block after another and knows where it is."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.offset, self.line = 0, 1  # of the next block's first byte

    def decode(self, block: bytes) -> str:
        if self.offset == 0:
            self._check_utf16(block)
            if block.startswith(codecs.BOM_UTF8):
                self.offset, block = 3, block[3:]
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError as error:
            line = self.line + block.count(b"\n", 0, error.start)
            fix = next(
                (MAGIC[head] for head in MAGIC if self._begins_with(block, head)),
                "Convert it, for example: iconv -f latin1 -t utf-8 FILE.",
            )
            raise DataError(
                f"{self._path}:{line:,} is not UTF-8: byte {block[error.start]:#04x} at offset "
                f"{self.offset + error.start:,}. {fix}"
            ) from error
        self.offset += len(block)
        self.line += block.count(b"\n")
        return text

    def _begins_with(self, block: bytes, head: bytes) -> bool:
        return self.offset == 0 and block.startswith(head)

    def _check_utf16(self, block: bytes) -> None:
        """Refuse UTF-16 without its mark: it is valid UTF-8 with a NUL at every second byte."""
        sample = block[:4096]
        if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return  # no UTF-8, whatever follows
        if sample.count(0) * 3 > len(sample) > 8:
            order = "be" if sample.startswith(b"\0") else "le"
            raise DataError(
                f"{self._path} is full of NUL bytes: UTF-16, or damaged. Convert it: "
                f"iconv -f utf-16{order} -t utf-8 FILE."
            )

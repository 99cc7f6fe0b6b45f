import gzip
import hashlib
import io
import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.datasets import files
from pipeline.datasets.files import (
    DigestedFile,
    check_regular,
    file_format,
    is_format,
    split_name,
    text_blocks,
    unpacked,
)
from pipeline.errors import DataError
from tests.tables import packed

LINES = [f"line {i} é👩\u200d💻\u2028" for i in range(5)]
TEXT = "\n".join(LINES)


def blocks(data, *, size=None, max_bytes=None, form="tsv"):
    """Return the blocks of text of some bytes that are read `size` at a time."""
    with pytest.MonkeyPatch.context() as patch:
        if size:
            patch.setattr(files, "BLOCK_BYTES", size)
        stream = unpacked(io.BytesIO(data), form)
        return list(text_blocks(stream, f"my.{form}", max_bytes))


def test_check_regular_takes_a_file_and_a_link_to_one(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"")
    (tmp_path / "b.tsv").symlink_to("a.tsv")

    check_regular(tmp_path / "a.tsv")
    check_regular(tmp_path / "b.tsv")


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))


@pytest.mark.parametrize(
    ("make_it", "kind"),
    [
        (Path.mkdir, "a folder"),
        (os.mkfifo, "a pipe"),
        (make_socket, "a socket"),
        (lambda path: path.symlink_to("/dev/null"), "a device"),
        (lambda path: path.symlink_to("."), "a folder"),
    ],
    ids=["folder", "pipe", "socket", "device", "link to a folder"],
)
def test_check_regular_says_what_a_path_is_instead(
    tmp_path, monkeypatch, make_it, kind
):
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    path = Path("r.tsv")
    make_it(path)

    with pytest.raises(
        DataError, match=rf"r\.tsv is {kind}, expected a regular file\. Write the rows"
    ):
        check_regular(path)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("missing.tsv", "No such file or directory"),
        ("r.tsv", "Too many levels of symbolic links"),
    ],
)
def test_check_regular_says_why_a_link_leads_nowhere(tmp_path, target, why):
    (tmp_path / "r.tsv").symlink_to(tmp_path / target)

    with pytest.raises(
        DataError, match=rf"leads to no file \({why}\)\. Pass the file itself"
    ):
        check_regular(tmp_path / "r.tsv")


def test_check_regular_refuses_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read: No such .* Check the path"):
        check_regular(tmp_path / "r.tsv")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("train.tsv", ("train", ".tsv")),
        ("Train.TSV.GZ", ("Train", ".tsv.gz")),
        ("a.b.txt", ("a.b", ".txt")),
        ("a.b.jsonl.gz", ("a.b", ".jsonl.gz")),
        ("train", ("train", "")),
        ("train.gz", ("train", ".gz")),
        (".tsv", (".tsv", "")),
    ],
)
def test_split_name_takes_gz_with_the_ending_before_it(name, parts):
    assert split_name(Path("folder.csv") / name) == parts


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.tsv", "tsv"),
        ("a.CSV", "csv"),
        ("a.b.txt", "txt"),
        ("tsv.parquet", "parquet"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.tsv.gz", "tsv.gz"),
        ("a.Csv.Gz", "csv.gz"),
        ("a.ndjson.gz", "jsonl.gz"),
    ],
)
def test_file_format_goes_by_the_ending(name, form):
    assert is_format(Path(name))
    assert file_format(Path(name)) == form


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a.xlsx", ".xlsx"),
        ("a", ""),
        ("tsv", ""),
        ("a.gz", ".gz"),
        ("a.parquet.gz", ".parquet.gz"),
        ("a.tsv.bz2", ".bz2"),
        ("a.tsv.gz.gz", ".gz.gz"),
    ],
)
def test_file_format_refuses_another_ending(name, ending):
    assert not is_format(Path(name))
    with pytest.raises(
        DataError,
        match=f"{name} ends in '{ending}', expected one of: .tsv, .csv, .txt, .jsonl, .ndjson, .parquet, or .* .gz. "
        "Convert it; a sheet, for example, by exporting it as CSV",
    ):
        file_format(Path(name))


def test_file_format_says_how_json_becomes_json_lines():
    with pytest.raises(DataError, match=r"jq -c '\.\[\]' FILE > FILE\.jsonl"):
        file_format(Path("a.json"))


@pytest.fixture
def table_file(tmp_path):
    path = tmp_path / "r.tsv"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_digested_file_accepts_the_expected_bytes(table_file):
    sha256 = hashlib.sha256(table_file.read_bytes()).hexdigest()

    with DigestedFile(table_file, sha256) as file:
        assert file.read() == TEXT.encode()
        file.check()


def test_digested_file_reads_what_is_left_before_it_compares(table_file):
    sha256 = hashlib.sha256(table_file.read_bytes()).hexdigest()

    with DigestedFile(table_file, sha256) as file:
        assert file.read(3) == b"lin"
        file.check()


def test_digested_file_refuses_other_bytes(table_file):
    with (
        DigestedFile(table_file, "0" * 64) as file,
        pytest.raises(
            DataError, match=r"r\.tsv changed while .* Run the same command again"
        ),
    ):
        file.check()


def test_digested_file_refuses_a_file_that_grew_behind_what_was_read(table_file):
    sha256 = hashlib.sha256(table_file.read_bytes()).hexdigest()

    with DigestedFile(table_file, sha256) as file:
        file.read()
        with table_file.open("ab") as more:
            more.write(b"!")
        with pytest.raises(DataError, match=r"changed while .* Run the same command"):
            file.check()


def test_digested_file_refuses_a_file_that_is_gone(tmp_path):
    with pytest.raises(DataError, match=r"No such file.* Run the same command again"):
        DigestedFile(tmp_path / "r.tsv", "0" * 64)


class FailingDisk(io.RawIOBase):
    """Holds two lines; what is behind them cannot be read."""

    def __init__(self):
        self._data = [b"a\tx\nb\ty\n"]

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self._data:
            raise OSError(5, "Input/output error")
        data = self._data.pop()
        buffer[: len(data)] = data
        return len(data)


def test_digested_file_reports_a_disk_that_fails(table_file):
    with DigestedFile(table_file, "0" * 64) as file:
        file._file.close()
        file._file = cast("BinaryIO", FailingDisk())  # type: ignore[assignment]

        with pytest.raises(DataError, match=r"Input/output error\. Run the same"):
            file.check()


def test_text_blocks_reports_a_disk_that_fails():
    lines = text_blocks(cast("BinaryIO", FailingDisk()), "my.tsv")

    with pytest.raises(
        DataError, match=r"my\.tsv cannot be read any more: Input/output error\. Run"
    ):
        next(lines)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 10, 100])
def test_text_blocks_gives_whole_lines_for_any_block_size(size):
    found = blocks(TEXT.encode(), size=size)

    assert "".join(found) == TEXT
    assert all(block.endswith("\n") for block in found[:-1])


def test_text_blocks_gives_a_line_longer_than_a_block_at_once():
    assert blocks(b"a\n" + b"b" * 100 + b"\nc", size=7) == [
        "a\n",
        "b" * 100 + "\nc",
    ]


def test_text_blocks_gives_what_was_read_at_once_if_asked_to():
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as stream:  # noqa: PTH123  # a descriptor
        found = text_blocks(cast("BinaryIO", stream), "a pipe", at_once=True)
        got = []
        for data in (b"a\nb\n", b"c\nd", b"d\ne"):  # would wait for ever if it read on
            os.write(writer, data)
            got.append(next(found))
        os.close(writer)

        assert [*got, *found] == ["a\nb\n", "c\n", "dd\n", "e"]


@settings(max_examples=300, deadline=timedelta(seconds=5))
@given(
    data=st.binary(max_size=60) | st.text(max_size=30).map(str.encode),
    size=st.integers(1, 7),
)
@example(b"\xef\xbb\xbf", 1)
@example(b"\xef\xbb\xbfa\n\xef\xbb\xbfb", 1)
@example(b"\r\n\r", 1)
def test_text_blocks_of_any_bytes_is_their_text_or_a_data_error(data, size):
    try:
        found = blocks(data, size=size)
    except DataError:
        with pytest.raises(DataError):
            blocks(data)
        return

    assert "".join(found) == data.decode("utf-8-sig") == "".join(blocks(data))


def test_text_blocks_strips_one_byte_order_mark():
    assert blocks("\ufeff\ufeffa".encode()) == ["\ufeffa"]


@pytest.mark.parametrize("size", [1, 5, None])
@pytest.mark.parametrize(("mark", "offset"), [("", 23), ("\ufeff", 26)])
def test_text_blocks_names_line_and_offset_of_a_byte_that_is_not_utf_8(
    size, mark, offset
):
    data = (mark + "text\tlabel\na é\tx\n").encode() + "b café\ty\n".encode("latin-1")

    with pytest.raises(
        DataError,
        match=rf"my\.tsv:3 is not UTF-8: byte 0xe9 at offset {offset}\. .*iconv -f latin1 -t utf-8 FILE",
    ):
        blocks(data, size=size)


@pytest.mark.parametrize(
    ("data", "fix"),
    [
        ("text\tlabel\na\tx\n".encode("utf-16"), "iconv -f utf-16 -t utf-8"),
        (b"\xfe\xff" + "text\tlabel\n".encode("utf-16-be"), "iconv -f utf-16 -t utf-8"),
        (packed("text\tlabel\na\tx\n"), r"add \.gz to its name"),
        (
            b"PK\x03\x04\x14\x00\x06\x00\xff\xff",
            "unpack it, or export the sheet as CSV",
        ),
        (b"PAR1\x15\x04\x15\xff", r"let its name end in \.parquet"),
        (b"a\n\xff\xfe", "iconv -f latin1"),
    ],
    ids=["utf-16-le", "utf-16-be", "gzip", "zip", "parquet", "latin-1"],
)
def test_text_blocks_knows_other_files_by_how_they_begin(data, fix):
    with pytest.raises(DataError, match=rf"my\.tsv:\d is not UTF-8: .*{fix}"):
        blocks(data)


@pytest.mark.parametrize("encoding", ["utf-16le", "utf-16be"])
def test_text_blocks_knows_utf_16_without_its_mark(encoding):
    with pytest.raises(
        DataError,
        match=f"full of NUL bytes: UTF-16, .* Convert it: iconv -f {encoding} ",
    ):
        blocks("text\tlabel\na\tx\n".encode(encoding))


@pytest.mark.parametrize("size", [10, 100, None])
def test_text_blocks_refuses_a_zeroed_block(size):
    data = b"text\tlabel\n" + b"a\tx\n" * 1000
    data = data[:2000] + bytes(512) + data[2512:]

    with pytest.raises(
        DataError,
        match=r"damaged: a block of NUL bytes at offset 2,000. Fetch or write",
    ):
        blocks(data, size=size)


def test_text_blocks_keeps_single_nul_bytes():
    assert blocks(b"a\0bcd\0\0ef" * 10) == ["a\0bcd\0\0ef" * 10]


@pytest.mark.parametrize("form", ["tsv", "tsv.gz"])
def test_text_blocks_refuses_more_bytes_than_allowed(form):
    data = b"a\tx\n" * 250
    stored = packed(data) if form == "tsv.gz" else data

    assert "".join(blocks(stored, form=form, max_bytes=1000)) == data.decode()
    with pytest.raises(
        DataError, match=r"holds more than 9\.99e-07 GB of text\. Pass --max-gb with"
    ):
        blocks(stored, form=form, max_bytes=999)


def test_text_blocks_stops_a_zip_bomb_after_the_first_block_too_many(monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", 1000)
    stream = unpacked(io.BytesIO(packed(b"a\tx\n" * 10**6)), "tsv.gz")
    found: list[str] = []

    with pytest.raises(DataError, match="Pass --max-gb"):
        found += text_blocks(stream, "my.tsv.gz", 5000)

    assert stream.tell() == 6000


def test_text_blocks_refuses_a_row_beyond_the_limit(monkeypatch):
    monkeypatch.setattr(files, "MAX_ROW_BYTES", 50)

    assert blocks(b"a\n" + b"b" * 50, size=8) == ["a\n", "b" * 50]
    with pytest.raises(
        DataError,
        match=r"my\.tsv:2 is a row of more than 50 bytes, which is no text\. Split it",
    ):
        blocks(b"a\n" + b"b" * 1000, size=8)


def test_text_blocks_reads_all_members_of_a_gzip_file():
    data = packed("a\tx\nb") + packed("\ty\n") + packed("") + packed("c\tx\n")

    assert "".join(blocks(data, form="tsv.gz")) == "a\tx\nb\ty\nc\tx\n"


def test_text_blocks_skips_zeros_behind_a_gzip_file():
    """Tapes and some tools pad with them."""
    assert blocks(packed("a\tx\n") + bytes(100), form="tsv.gz") == ["a\tx\n"]


@pytest.mark.parametrize(
    "data",
    [b"text\tlabel\na\tx\n", packed("a\n") + b"garbage", b"\x1f", b"\x1f\x8b\x09" * 9],
    ids=["text", "garbage behind", "one byte", "unknown method"],
)
def test_text_blocks_refuses_what_is_not_gzip(data):
    with pytest.raises(
        DataError, match=r"cannot be unpacked behind .*damaged: fetch or pack it again"
    ):
        blocks(data, form="tsv.gz")


WHOLE = packed("".join(f"text {i * 7919} of many\tlabel {i % 3}\n" for i in range(500)))


@pytest.mark.parametrize("cut", [1, 2, 5, 9, 11, 100, -100, -9, -8, -4, -1])
def test_text_blocks_refuses_a_truncated_gzip_file(cut):
    with pytest.raises(DataError, match=r"cannot be unpacked .*fetch or pack it again"):
        blocks(WHOLE[:cut], form="tsv.gz", size=1000)


@settings(max_examples=200, deadline=timedelta(seconds=5))
@given(place=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
def test_text_blocks_of_a_gzip_file_with_one_bit_flipped_is_the_text_or_a_data_error(
    place, bit
):
    data = bytearray(WHOLE)
    data[place] ^= 1 << bit

    try:
        found = "".join(blocks(bytes(data), form="tsv.gz"))
    except DataError:
        return

    assert found == gzip.decompress(WHOLE).decode()  # a time stamp, for example

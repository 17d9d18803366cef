"""Packed files as the text they hold: in any pieces, up to the very byte where one breaks off."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.corpus import unpacking
from herd.corpus.unpacking import MAGIC, DecompressedStream
from tests.corpus.test_broken_files import LINES, ROWS, read, zstd

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}
CODECS = st.sampled_from(sorted(PACKERS))


def text_of(data: bytes, codec: str, sizes: tuple[int, ...] = (1 << 20,)) -> tuple[bytes, str]:
    """What is read, in pieces of these sizes in turn, and the fault that is told then."""
    stream, out, number = DecompressedStream(io.BytesIO(data), codec), bytearray(), 0
    while piece := stream.read(sizes[number % len(sizes)]):
        assert len(piece) <= sizes[number % len(sizes)]
        out += piece
        number += 1
    assert stream.read(9) == b""
    return bytes(out), stream.fault


@given(CODECS, st.binary(max_size=2000), st.lists(st.integers(1, 700), min_size=1, max_size=4))
def test_a_whole_file_is_read_in_any_pieces(codec: str, data: bytes, sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacking, "RAW_BYTES", 64)
        patch.setattr(unpacking, "OUT_BYTES", 256)
        whole = PACKERS[codec](data)
        assert text_of(whole, codec, tuple(sizes)) == (data, "")
        assert text_of(whole + PACKERS[codec](b"more"), codec, tuple(sizes)) == (data + b"more", "")


@settings(max_examples=40)
@given(CODECS, st.integers(0, 2**31), st.floats(0, 1))
def test_a_file_cut_anywhere_gives_the_beginning_and_says_so(codec: str, seed: int, share: float) -> None:
    data = bytes(random.Random(seed).choices(b"abcdef \n", k=3000))
    whole = PACKERS[codec](data)
    cut = 8 + int(share * (len(whole) - 9))
    found, fault = text_of(whole[:cut], codec)
    assert data.startswith(found)
    assert fault == "breaks off"
    if codec == ".gz":  # a byte of the stream is a few letters at most, and the last eight are no text
        assert len(found) > 3000 * (cut - 200) / len(whole)


@pytest.mark.parametrize(
    ("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)]
)
def test_rows_before_a_break_are_kept_and_counted(
    ending: str, pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "RAW_BYTES", 1 << 12)
    whole = pack(LINES)
    found, told = read(tmp_path, f"a.jsonl{ending}", whole)
    assert (len(found), told) == (400, "")
    found, told = read(tmp_path, f"a.jsonl{ending}", whole + b"padding")
    assert len(found) == 400
    assert "behind its end" in told
    assert "400 rows" in told
    found, told = read(tmp_path, f"a.jsonl{ending}", whole + whole)
    assert (len(found), told) == (800, "")
    found, told = read(tmp_path, f"a.jsonl{ending}", whole[: len(whole) * 9 // 10])
    assert "breaks off" in told
    assert f"{len(found)} rows" in told
    assert [page.body.decode() for page in found] == [row["text"] for row in ROWS[: len(found)]]
    if ending == ".gz":
        assert len(found) >= 340
        found, told = read(tmp_path, "a.jsonl.gz", whole[:-8])
        assert len(found) == 400


def test_rows_behind_a_torn_member_are_read(tmp_path: Path) -> None:
    whole = gzip.compress(LINES)
    found, told = read(tmp_path, "a.jsonl.gz", whole[: len(whole) // 2] + whole)
    assert len([page for page in found if not page.fault]) > 500
    assert told


def long_window(data: bytes, window: int) -> bytes:
    """One frame of Zstandard with blocks as they stand, and a window of 2 ** window bytes."""
    blocks = [data[at : at + (1 << 17)] for at in range(0, len(data), 1 << 17)]
    heads = [(len(block) << 3 | (n == len(blocks) - 1)).to_bytes(3, "little") for n, block in enumerate(blocks)]
    return (
        b"\x28\xb5\x2f\xfd\x00"
        + bytes([window - 10 << 3])
        + b"".join(a + b for a, b in zip(heads, blocks, strict=True))
    )


def test_a_long_window_is_read_as_far_as_the_text_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for window in (20, 27, 28, 31):
        found, told = read(tmp_path, "a.jsonl.zst", long_window(LINES, window))
        assert (len(found), told) == (400, "")
    monkeypatch.setattr(unpacking, "WINDOW_BYTES", 1 << 17)
    found, told = read(tmp_path, "a.jsonl.zst", long_window(LINES * 10, 31))
    assert 400 < len(found) < 4_000
    assert "window of 2,147,483,648 bytes" in told
    assert "--long=31" in told


def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_not_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "FLOOR_BYTES", 1 << 20)
    found, told = read(tmp_path, "a.jsonl.zst", zstd(LINES + b"\n" * 100_000_000))
    assert len(found) == 400
    assert "1,000 times its size" in told


@pytest.mark.parametrize("codec", sorted(MAGIC))
def test_what_is_no_packed_file_is_told(codec: str) -> None:
    for data in (b"", b"plain text", MAGIC[codec][:2] + b"?"):
        found, fault = text_of(data, codec)
        assert (found, fault) == (b"", "" if not data and codec == ".zst" else f"is no {codec[1:]} file")


@pytest.mark.parametrize("codec", sorted(MAGIC))
def test_zeros_fill_up_some_kinds_of_files(codec: str) -> None:
    """A tape's zeros behind gzip and xz; the others' own programs take them for damage."""
    found, fault = text_of(PACKERS[codec](b"a row\n") + bytes(700), codec)
    assert found == b"a row\n"
    assert bool(fault) == (codec in (".bz2", ".zst"))


def test_a_wrong_checksum_is_told_behind_the_text() -> None:
    for codec, place in ((".gz", -6), (".bz2", 12), (".xz", -30)):
        bad = bytearray(PACKERS[codec](LINES))
        bad[place] ^= 1
        found, fault = text_of(bytes(bad), codec)
        assert LINES.startswith(found)
        assert fault.startswith("does not unpack (")
        assert found == LINES or codec != ".gz"


def test_of_zstandard_frames_those_to_be_skipped_are() -> None:
    skipped = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    assert text_of(skipped + zstd(b"a") + skipped + zstd(b"b") + skipped, ".zst") == (b"ab", "")


def test_a_zstandard_frame_is_read_whatever_its_header_says_of_itself() -> None:
    """Sizes of one to eight bytes, with a window or without, by RFC 8878, 3.1.1.1."""
    text = b"a row of text\n" * 30
    block = (len(text) << 3 | 1).to_bytes(3, "little") + text
    for flag, size in ((1, 2), (2, 4), (3, 8)):
        content = (len(text) - (256 if size == 2 else 0)).to_bytes(size, "little")
        assert text_of(MAGIC[".zst"] + bytes([flag << 6 | 32]) + content + block, ".zst") == (text, "")
        window = bytes([31 - 10 << 3])  # two gigabytes
        assert text_of(MAGIC[".zst"] + bytes([flag << 6]) + window + content + block, ".zst") == (text, "")
    short = b"a row\n"
    held = (len(short) << 3 | 1).to_bytes(3, "little") + short
    assert text_of(MAGIC[".zst"] + bytes([32, len(short)]) + held, ".zst") == (short, "")
    run = (500 << 3 | 2 | 1).to_bytes(3, "little") + b"x"  # one byte said once
    assert text_of(MAGIC[".zst"] + b"\x00\x58" + run, ".zst") == (b"x" * 500, "")

"""The members of an archive: found from any place, read in any pieces, and found again behind damage."""

from __future__ import annotations

import gzip
import io
import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.corpus import members
from herd.corpus.members import RECORD, Member, RawFile, Span, next_member
from herd.corpus.warc import write_warc
from tests.corpus.test_broken_files import archive, numbers, record
from tests.corpus.test_reading import pages
from tests.corpus.test_warc import read

HEAD = b"WARC/1.0\r\nWARC-Type: response\r\n"


def packed(count: int) -> list[bytes]:
    """Members of different lengths with a record's beginning in each."""
    return [gzip.compress(HEAD + b"%d " % n * (1 + 37 * n % 90), mtime=0) for n in range(count)]


def members_of(*parts: bytes) -> Iterator[Member]:
    return members.members(io.BytesIO(b"".join(parts)), members.WHOLE_FILE)


def contents(data: bytes, span: Span = members.WHOLE_FILE) -> list[bytes]:
    return [member.take(1 << 20) for member in members.members(io.BytesIO(data), span)]


@pytest.mark.parametrize("size", [0, 1, 40])
def test_what_is_not_read_of_a_member_is_skipped(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A damaged member, of which nobody read as far as the damage, too."""
    monkeypatch.setattr(members, "RAW_BYTES", 16)
    parts = packed(6)
    parts[2] = parts[2][:-8] + bytes(8)
    starts = [sum(map(len, parts[:n])) for n in range(6)]
    read = list(itertools.islice(((member.start, member.take(size)) for member in members_of(*parts)), 9))
    assert read == [(start, (HEAD + b"%d " % n * (1 + 37 * n % 90))[:size]) for n, start in enumerate(starts)]


def test_a_member_that_inflates_without_end_is_not_skipped_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "SKIP_BYTES", 1 << 20)
    bomb = gzip.compress(HEAD + bytes(1 << 23), mtime=0)
    first, second = members_of(bomb, *packed(1))
    assert first.gave_up
    assert first.next < len(bomb) - 1000
    assert (second.start, second.gave_up) == (len(bomb), False)


@given(st.binary(min_size=1, max_size=300), st.lists(st.tuples(st.integers(0, 320), st.integers(0, 99)), max_size=9))
def test_bytes_are_read_by_their_place_forwards_and_back(data: bytes, reads: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "CHUNK", 32)
        patch.setattr(members, "_BUFFER_BYTES", 8)
        raw = RawFile(io.BytesIO(data))
        for at, size in reads:
            assert bytes(raw.read(at, size)) == data[at : at + size]


@given(st.integers(1, 12), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_parts_of_an_archive_hold_every_page_once(count: int, seed: int) -> None:
    chance = random.Random(seed)
    data = write_warc(pages(40))
    cuts = sorted(chance.randrange(1, len(data)) for _ in range(count))
    spans = [Span(a, b) for a, b in zip([0, *cuts], [*cuts, 1 << 62], strict=True)]
    assert [page.url for span in spans for page in read(data, span)] == [page.url for page in read(data)]


@given(st.lists(st.integers(0, 2000), max_size=4))
def test_a_member_belongs_to_the_span_it_starts_in(cuts: list[int]) -> None:
    held = packed(9)
    data, starts = b"".join(held), [sum(map(len, held[:n])) for n in range(9)]
    edges = [0, *sorted(cuts), 1 << 62]
    for low, high in itertools.pairwise(edges):
        own = [start for start in starts if low <= start < high]
        assert [
            member.start for member in members.members(io.BytesIO(data), Span(low, high)) if member.take(1 << 20)
        ] == own


def test_where_a_member_ends_the_next_one_starts() -> None:
    held = packed(5)
    for number, member in enumerate(members.members(io.BytesIO(b"".join(held)), members.WHOLE_FILE)):
        member.take(1 << 20)
        assert (member.start, member.next) == (sum(map(len, held[:number])), sum(map(len, held[: number + 1])))
        assert member.at_end
        assert not member.fault


def test_a_start_that_only_looks_like_one_is_passed_over() -> None:
    held = packed(3)
    other = gzip.compress(b"no record at all, but a member " * 9)
    data = held[0] + members.GZIP * 7 + other + held[1]
    raw = RawFile(io.BytesIO(data))
    assert next_member(raw, 1) == len(data) - len(held[1])
    assert next_member(RawFile(io.BytesIO(members.GZIP * 400)), 0) is None
    assert contents(data, Span(len(held[0]) + 2)) == contents(held[1])


def test_zeros_that_fill_up_a_tape_are_no_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "CHUNK", 256)
    held = packed(2)
    assert contents(held[0] + bytes(5000) + held[1] + bytes(700)) == contents(b"".join(held))
    assert contents(bytes(999)) == contents(b"") == []


@given(st.integers(0, 2**31), st.data())
def test_what_stands_before_damage_is_read_and_the_next_member_is_found(seed: int, data: st.DataObject) -> None:
    chance = random.Random(seed)
    text = HEAD + chance.randbytes(400)
    first, second = gzip.compress(text, mtime=0), packed(1)[0]
    cut = data.draw(st.integers(60, len(first) - 9))
    begun = next(iter(members.members(io.BytesIO(first[:cut]), members.WHOLE_FILE)))
    head = begun.take(1 << 20)
    assert text.startswith(head)
    assert begun.fault == "breaks off"
    whole = contents(first[:cut] + second)
    assert whole[-1] == contents(second)[0]
    assert whole[0][: cut - 60] == text[: cut - 60]  # random bytes do not shrink


def test_members_with_a_wrong_checksum_are_rejects_one_by_one() -> None:
    packed = [bytearray(gzip.compress(record(n))) for n in range(6)]
    for n in (1, 2, 4):
        packed[n][-6] ^= 1
    found = archive(b"".join(packed))
    assert numbers(found) == [0, 3, 5]
    assert len(found) == 6


def test_records_before_the_damage_in_one_long_member_are_read() -> None:
    data = gzip.compress(b"".join(record(n) for n in range(300)))
    found = archive(data[: len(data) * 9 // 10])
    assert len(numbers(found)) >= 250
    assert len(found) == len(numbers(found)) + 1


def test_bytes_between_members_cost_nothing_but_themselves() -> None:
    packed = [gzip.compress(record(n)) for n in range(4)]
    found = archive(packed[0] + b"no member" + packed[1] + bytes(5_000) + packed[2] + packed[3] + bytes(512))
    assert numbers(found) == [0, 1, 2, 3]
    assert len(found) == 5


def test_a_file_of_beginnings_is_one_reject_and_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = 0
    match = members.Member.match

    def counted(member: members.Member, pattern: object, within: int) -> object:
        nonlocal searched
        found = match(member, pattern, within)  # type: ignore[arg-type]
        searched += within if found is None else found[0] + len(found[1])
        return found

    monkeypatch.setattr(members.Member, "match", counted)
    for line in (b"WARC/1.0\r\n", b"WARC/1.0\nA: b\n"):
        data = line * 20_000
        (page,) = archive(data)
        assert "header without an end" in page.fault
        assert searched <= 2 * len(data) + (1 << 17)
        searched = 0


def test_line_ends_between_records_are_passed_over_together(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    fill = members.Member.fill

    def counted(member: members.Member, size: int) -> bool:
        nonlocal calls
        calls += 1
        return fill(member, size)

    monkeypatch.setattr(members.Member, "fill", counted)
    found = archive(gzip.compress(record(0) + b"\r\n" * 5_000_000 + record(1)))
    assert numbers(found) == [0, 1]
    assert calls < 200
    monkeypatch.setattr(members, "SKIP_BYTES", 1 << 21)
    found = archive(gzip.compress(record(0) + b"\n" * 9_000_000 + record(1)) + gzip.compress(record(2)))
    assert numbers(found) == [0, 2]
    assert "that are no record" in found[1].fault


def plain(data: bytes) -> Member:
    return Member(None, 0, io.BytesIO(data))


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=6))
def test_what_is_taken_and_skipped_is_passed_over_and_what_is_peeked_is_not(
    data: bytes, steps: list[tuple[int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "CHUNK", 7)
        member, at = plain(data), 0
        for ahead, size in steps:
            assert member.peek(size, ahead) == data[at + ahead : at + ahead + size]
            assert member.fill(size) == (at + size <= len(data))
            assert member.take(size) == data[at : at + size]
            at = min(len(data), at + size)
            if member.fill(1):
                member.skip(1)
                at += 1


def test_records_are_found_by_their_first_lines() -> None:
    arc = b"http://a.example/ 192.0.2.1 20080401120000 text/html 12\n"
    member = plain(b"junk " * 9 + b"WARC/1.0 is no record\r\n" + HEAD)
    assert member.find_record()
    assert member.peek(len(HEAD)) == HEAD
    assert member.match(RECORD, 99) == (0, HEAD[: HEAD.index(b":") + 1])
    assert member.match(RECORD, 9) is None
    for data, is_arc in ((b"junk\n" + arc, None), (b"junk\n" + arc, True)):
        member = plain(data)
        member.arc = is_arc
        assert member.find_record()
        assert member.peek(4) == b"http"
    member = plain(b"junk\n" + arc)
    member.arc = False  # records of the other kind stood before
    assert not member.find_record()


def test_too_much_that_is_no_record_is_given_up_in_a_member_and_not_in_a_plain_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(members, "SKIP_BYTES", 1 << 16)
    monkeypatch.setattr(members, "CHUNK", 1 << 14)
    for filler in (b"x", b"\n"):
        text = filler * 200_000 + HEAD
        member = next(iter(members.members(io.BytesIO(gzip.compress(text)), members.WHOLE_FILE)))
        found = member.find_record() if filler == b"x" else member.skip_blank()
        assert (found, member.gave_up) == (False, True)
        member = plain(text)
        assert member.find_record() if filler == b"x" else member.skip_blank()
        assert not member.gave_up
        assert member.peek(4) == b"WARC"

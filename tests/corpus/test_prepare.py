"""Raw files to judged documents: shards that depend on the files only, and a reason for every page that is no text."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.settings import build
from herd.core.storage import read_documents
from herd.corpus import prepare as preparing
from herd.corpus.columns import TextColumns
from herd.corpus.filters import filters
from herd.corpus.pages import Page, batch_pages
from herd.corpus.prepare import ShardSummary, extract_texts, plan_shards
from herd.corpus.reading import FileSpan
from herd.corpus.settings import CurateSettings
from herd.corpus.shards import read_table
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.corpus.urls import UrlRules
from herd.run.runner import run_stages
from tests.corpus.test_curate import good


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))


# ---- shards ----


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["a.txt", "b.jsonl", "c.warc.gz"]), st.integers(0, 300)), max_size=12))
def test_every_file_is_in_the_shards_once_in_order_and_none_is_too_large(listed: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparing, "_MAX_FILES", 4)
        sizes: dict[str, int] = {}
        for number, (ending, size) in enumerate(listed):
            file = Path(name) / f"{number:02}{ending}"
            file.write_bytes(bytes(size))
            sizes[str(file)] = size
        found = plan_shards(
            [FileSpan(file, "mine") for file in sizes], CurateSettings(rules={}, shard_bytes=100), Path(name)
        )
    parts = [part for shard in found for part in shard.spans]
    assert list(dict.fromkeys(part.file for part in parts)) == list(sizes)
    assert [shard.number for shard in found] == list(range(len(found)))
    cut = Counter(part.file for part in parts)
    assert all(count == 1 or file.endswith(".warc.gz") for file, count in cut.items())
    for shard in found:
        held = sum(sizes[part.file] if cut[part.file] == 1 else 100 for part in shard.spans)
        assert len(shard.spans) == 1 or (held <= 100 and len(shard.spans) <= 4)
    for file in cut:
        spans = [part.span for part in parts if part.file == file]
        assert spans[0].start == 0
        assert spans[-1].end == 1 << 62
        assert all(one.end == after.start for one, after in itertools.pairwise(spans))


def test_a_run_that_is_killed_goes_on_from_the_shards_that_are_whole(tmp_path: Path) -> None:
    from herd.corpus import prepare as preparing

    source = tmp_path / "in"
    source.mkdir()
    for number in range(4):
        (source / f"{number}.jsonl").write_text("\n".join(json.dumps({"text": good(number * 9 + k)}) for k in range(9)))
    listed = [FileSpan(str(file), "mine") for file in sorted(source.iterdir())]
    rules = CurateSettings(rules={}, broken_files="stop", shard_bytes=1_000)
    shards = preparing.plan_shards(listed, rules, tmp_path / "work")
    whole = preparing.prepare_shard(shards[0])
    (source / "0.jsonl").unlink()  # a shard that is whole is not read again
    assert preparing.prepare_shard(shards[0]) == whole
    (tmp_path / "work" / "parts" / "00001.arrow.partial").write_bytes(b"half of something")
    assert preparing.prepare_shard(shards[1]).rows == 9


@pytest.mark.parametrize("what", ["parts", "rejects", "summaries"])
@pytest.mark.parametrize("way", ["flip", "cut", "lost"])
def test_scratch_of_curation_that_is_damaged_is_made_again(what: str, way: str, tmp_path: Path) -> None:
    from herd.corpus import prepare as preparing

    source = tmp_path / "in.jsonl"
    texts = ("Lorem ipsum dolor sit amet", *map(good, range(9)))
    source.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    rules = CurateSettings(rules={"default": (filters.configure("lorem_ipsum"),)})
    shard = preparing.plan_shards([FileSpan(str(source), "mine")], rules, tmp_path / "work")[0]
    whole = preparing.prepare_shard(shard)
    file = shard.folder / "summaries" / "00000.json" if what == "summaries" else shard.file(what)
    data = file.read_bytes()
    if way == "lost":
        file.unlink()
    else:
        file.write_bytes(data[: len(data) // 2] + (b"" if way == "cut" else bytes([data[len(data) // 2] ^ 1])) +
                         (b"" if way == "cut" else data[len(data) // 2 + 1 :]))  # fmt: skip
    assert preparing.prepare_shard(shard) == whole
    assert file.read_bytes() == data


def test_what_a_shard_leaves_is_added_up_and_read_back() -> None:
    one = ShardSummary(
        Counter(a=1), {"a": [{"id": "1", "reason": "r", "text": "t"}]}, 3, 2, Counter(a=2), Counter(k=1), ["x"]
    )
    two = ShardSummary(Counter(a=1, b=1), {"b": []}, 4, 2, Counter(b=1), Counter(k=2), ["y"])
    assert ShardSummary.of_row(json.loads(json.dumps(vars(one)))) == one
    one.add(two)
    assert (one.pages, one.rows, one.broken) == (7, 4, ["x", "y"])
    assert (one.dropped, one.alone, one.rewritten) == (Counter(a=2, b=1), Counter(a=2, b=1), Counter(k=3))


def test_a_shard_parts_documents_from_rejects_and_keeps_statistics_of_both(tmp_path: Path) -> None:
    rows = [good(1), "too short", "", good(2)]
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in rows))
    rules = CurateSettings(rules={"default": (filters.configure("word_count"),)}, keep_stats=True)
    (shard,) = plan_shards([FileSpan(str(tmp_path / "in.jsonl"), "mine")], rules, tmp_path / "work")
    summary = preparing.prepare_shard(shard)
    (kept,), (extract, rule), (stats,) = (list(read_table(shard.file(what))) for what in ("parts", "rejects", "stats"))
    assert kept.column("text").to_pylist() == [good(1), good(2)]
    assert [one["plain_words"] for one in kept.column("stats").to_pylist()] == [80.0, 80.0]
    assert (extract.column("step").to_pylist(), rule.column("step").to_pylist()) == (["extract"], ["word_count"])
    assert rule.column("reason").to_pylist() == ["word_count 2, below 50"]
    assert rule.column("text").to_pylist() == ["too short"]
    assert stats.column("step").to_pylist() == ["", "word_count", ""]
    assert [[one["plain_words"] for one in states] for states in stats.column("stats").to_pylist()] == [[80], [2], [80]]
    assert (summary.pages, summary.rows, dict(summary.alone)) == (4, 2, {"word_count": 1})
    assert summary.dropped == Counter(extract=1, word_count=1)


@pytest.mark.parametrize("named", [False, True])
def test_batches_are_cut_where_other_rules_begin_and_not_by_source(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from herd.corpus import prepare

    sizes: list[int] = []
    judge = prepare.apply_rules

    def counted(texts, rules, *others):
        sizes.append(len(texts))
        return judge(texts, rules, *others)

    monkeypatch.setattr(prepare, "apply_rules", counted)
    sources = [f"s{number % 400}" for number in range(1200)]
    file = tmp_path / "rows.jsonl"
    rows = [{"id": str(n), "text": good(n), "source": source} for n, source in enumerate(sources)]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    rules = {"default": []} | ({"s7": [{"word_count": {"at_least": 1000}}]} if named else {})
    settings = build(CurateSettings, {"rules": rules}, where="x")
    by_row = TextColumns(source="source")
    made = run_stages(
        curate((files(str(file), source="web", columns=by_row),), settings=settings), tmp_path / "run", jobs=0
    )
    assert sizes == ([21, 3, 1176] if named else [1200])
    # Source after source, as ever.
    wanted = sorted((n for n, s in enumerate(sources) if not (named and s == "s7")), key=lambda n: (n % 400, n))
    assert [int(one.id) for one in read_documents(made.path)] == wanted
    assert {one.source for one in read_documents(made.path, "rejects")} == ({"s7"} if named else set())


# ---- pages to texts ----


@pytest.mark.parametrize(
    ("page", "step", "reason"),
    [
        (Page("a", "s", fault="broken", url="https://bad.example/"), "read", "broken"),
        (Page("a", "s", b"fine", url="https://bad.example/x", html=False), "url", "its domain is on a block list"),
        (
            Page("a", "s", bytes(range(256)) * 9, html=False),
            "decode",
            "its bytes are text in no encoding that was tried",
        ),
        (Page("a", "s", b"\xef\xbb\xbf \r\n\x00", html=False), "extract", ""),
        (Page("a", "s", b"<html><body></body></html>"), "extract", ""),
        (Page("a", "s", "ü".encode() * 51, html=False), "length", "its text is longer than 100 bytes"),
    ],
)
def test_a_page_that_says_nothing_is_dropped_at_the_first_step_that_finds_out(
    page: Page, step: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "domains").write_text("bad.example\n")
    settings = CurateSettings(rules={}, max_text_bytes=100, urls=UrlRules(domains=(str(tmp_path / "domains"),)))
    fine = Page("b", "s", b"a text", html=False)
    found = extract_texts(next(batch_pages([fine, page, fine])), settings)
    assert found.unusable.tolist() == [False, True, False]
    assert found.steps == [step]
    assert reason in found.reasons[0]
    assert found.texts.to_pylist() == ["a text", "a text"]


def test_texts_are_decoded_and_pages_extracted_in_their_order() -> None:
    html = (
        "<html><head><title>Über alles</title></head><body><main><p>{} is the text of a page.</p></main></body></html>"
    )
    pages = [
        Page("a", "s", "\ufeffeins\r\nzwei\x00".encode(), html=False),
        Page("b", "s", html.format("Größe").encode("latin-1"), charset="iso-8859-1"),
        Page("c", "s", "Grüße".encode("cp1252"), charset="windows-1252", html=False),
        Page("d", "s", html.format("More").encode()),
    ]
    found = extract_texts(next(batch_pages(pages)), CurateSettings(rules={}))
    assert found.texts.to_pylist() == [
        "eins\nzwei",
        "Größe is the text of a page.",
        "Grüße",
        "More is the text of a page.",
    ]
    assert found.titles == ["", "Über alles", "", "Über alles"]
    assert not found.unusable.any()


def test_a_text_as_long_as_may_be_stays() -> None:
    settings = CurateSettings(rules={}, max_text_bytes=100)
    (batch,) = batch_pages([Page("a", "s", "ü".encode() * 50, html=False), Page("b", "s", b"x" * 101, html=False)])
    assert extract_texts(batch, settings).unusable.tolist() == [False, True]

"""Curation counts every page once, whatever is wrong with it."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from herd.core.artifacts import Artifact
from herd.core.errors import DataError, SettingsError
from herd.core.registry import PluginConfig
from herd.core.settings import build
from herd.core.storage import read_documents
from herd.corpus.columns import TextColumns
from herd.corpus.dedup import dedups
from herd.corpus.filters import filters
from herd.corpus.judging import parse_rule, sweep_thresholds
from herd.corpus.results import CorpusSize, CurationResult
from herd.corpus.settings import CurateSettings, load_rules, packaged_rules
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.corpus.warc import write_warc
from herd.pretrain.pretrain import pretrain
from herd.run.runner import run_stages
from herd.tokens.stages import pack, train_tokenizer
from tests.corpus.test_reading import pages


def good(number: int) -> str:
    """A page that passes every rule and is like no other."""
    chance = random.Random(number)
    return " ".join(chance.choices("the cat sat with that dog and we have seen of it to be many things".split(), k=80))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))


def folder(tmp_path: Path, rows: Sequence[object]) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    (made / "a.jsonl").write_text("\n".join(json.dumps(row) if not isinstance(row, str) else row for row in rows))
    return made


def settings(*rules: str, dedup: tuple[PluginConfig, ...] = ()) -> CurateSettings:
    return CurateSettings(rules={"default": tuple(filters.configure(rule) for rule in rules)}, dedup=dedup)


def test_every_page_is_kept_or_rejected_with_a_reason(tmp_path: Path) -> None:
    rows: list[object] = [{"text": good(n), "id": f"good{n}"} for n in range(5)]
    rows += [{"text": good(0), "id": "copy"}, {"text": "too short", "id": "short"}, {"id": "empty"}, "{broken"]
    source = folder(tmp_path, rows)
    (source / "binary.txt").write_bytes(bytes(range(9)) * 50)
    (source / "blank.html").write_text("<html><body></body></html>")
    found = curate(
        (files(str(source), source="mine"),), settings=settings("word_count", dedup=(dedups.configure("minhash"),))
    )
    made = run_stages(found, tmp_path / "run", jobs=0)
    kept = {one.id for one in read_documents(made.path)}
    rejected = {one.id: one.notes["step"] for one in read_documents(made.path, "rejects")}
    assert len(kept) + len(rejected) == made.result(CorpusSize).pages == 11
    assert sorted(rejected.values()) == ["decode", "extract", "minhash", "read", "read", "word_count"]
    funnel = made.result(CurationResult).funnel
    assert all(after.total == count.total - count.dropped for count, after in itertools.pairwise(funnel))
    assert all(len(count.examples) == min(3, count.dropped) for count in funnel)


def test_a_broken_table_stops_the_run_or_counts_to_the_break(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    lines = "\n".join(json.dumps({"text": good(n)}) for n in range(4000)).encode()
    (source / "a.jsonl.gz").write_bytes(gzip.compress(lines)[:-200])
    with pytest.raises(DataError, match="breaks off"):
        stop = CurateSettings(rules={}, broken_files="stop")
        run_stages(curate((files(str(source), source="web"),), settings=stop), tmp_path / "run", jobs=0)
    made = run_stages(
        curate((files(str(source), source="web"),), settings=CurateSettings(rules={})), tmp_path / "run", jobs=0
    )
    assert made.result(CorpusSize).documents >= 3000
    assert len(made.result(CurationResult).broken_files) == 1


def test_a_broken_archive_costs_what_is_broken(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    data = write_warc(pages(9))
    (source / "a.warc.gz").write_bytes(data[: len(data) // 2] + b"garbage" + data[len(data) // 2 + 7 : -30])
    made = run_stages(
        curate((files(str(source), source="web"),), settings=CurateSettings(rules={})), tmp_path / "run", jobs=0
    )
    assert made.result(CorpusSize).documents == 7
    faults = [one.notes["reason"] for one in read_documents(made.path, "rejects")]
    assert len(faults) == 2
    assert made.result(CorpusSize).pages == 9


def test_less_text_than_one_batch_is_told_before_training(tmp_path: Path) -> None:
    from herd.core.recipe import load_recipe
    from herd.recipes import recipes
    from tests.smoke import SMOKE

    numbers = load_recipe(str(SMOKE), recipes).settings
    source = folder(tmp_path, [{"text": good(0), "source": "web"}])
    corpus = curate((files(str(source), source="web"),), settings=settings())
    vocabulary = train_tokenizer(corpus, vocab_size=300)
    model = pretrain(pack(corpus, vocabulary), vocabulary, settings=numbers.base)
    with pytest.raises(DataError, match="less than one batch|the mix names"):
        run_stages(model, tmp_path / "run", jobs=0)


PLACES = [(0, "local"), (2, "local")]
if importlib.util.find_spec("ray"):
    PLACES.append((1, "ray"))


@pytest.mark.filterwarnings("default")
def test_the_corpus_is_the_same_to_the_byte_on_every_place(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.warc.gz").write_bytes(write_warc([*pages(30), *pages(30, "<p>" + good(1) + "</p>")]))
    for number in range(6):
        texts = [good(chance) for chance in range(number * 20, number * 20 + 40)]
        (source / f"{number}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    rules = CurateSettings(
        rules={"default": (parse_rule("mask_pii"), parse_rule({"word_count": {"at_least": 5}}))},
        dedup=tuple(
            dedups.configure(name) for name in ("newest_by_url", "minhash", "frequent_lines", "exact_substrings")
        ),
        shard_bytes=4_000,
        keep_stats=True,
    )
    found = []
    for jobs, place in PLACES:
        planned = curate((files(str(source), source="mine"),), settings=rules)
        made: Artifact = run_stages(planned, tmp_path / f"{jobs}{place}", jobs=jobs, executor=place)
        found.append(made.metadata["files"])
        assert made.result(CorpusSize).pages == 300
    assert len(found[0]) > 10
    assert all(one == found[0] for one in found)


def test_a_list_with_other_words_makes_another_corpus(tmp_path: Path) -> None:
    source = folder(tmp_path, [{"text": f"a fine text about a {kind} thing " * 20} for kind in ("rude", "nice")])
    listed = tmp_path / "words.txt"
    kept = []
    for word in ("rude", "absent"):
        listed.write_text(f"{word}\n")
        rules = CurateSettings(rules={"default": (filters.configure("dirty_words"),)}, dirty_words=(str(listed),))
        kept.append(run_stages(curate((files(str(source), source="mine"),), settings=rules), tmp_path / "run", jobs=0))
    assert kept[0].key != kept[1].key
    assert [one.result(CorpusSize).documents for one in kept] == [1, 2]


def test_a_language_has_thresholds_of_its_own(tmp_path: Path) -> None:
    german = "Die Donaudampfschifffahrtsgesellschaft bereitete Lebensversicherungsangelegenheiten umfangreich vor. "
    source = folder(tmp_path, [{"text": german * 6, "id": "de"}, {"text": good(1), "id": "en"}])
    shared = {"rules": {"default": (parse_rule({"mean_word_length": {"at_most": 10.0}}),)}, "keep_stats": True}
    other = {"de": (parse_rule({"mean_word_length": {"at_most": 30.0}}),)}
    crawl = (files(str(source), source="mine"),)
    strict = run_stages(curate(crawl, settings=CurateSettings(**shared)), tmp_path / "run", jobs=0)
    loose = run_stages(curate(crawl, settings=CurateSettings(**shared, languages=other)), tmp_path / "run", jobs=0)
    assert [one.result(CurationResult).languages for one in (strict, loose)] == [{"en": 1}, {"en": 1, "de": 1}]
    assert [one.language for one in read_documents(strict.path, "rejects")] == ["de"]
    for by_language, dropped in (({}, 1), (other, 0)):
        assert (
            dict(sweep_thresholds(loose.path, shared["rules"], by_language))["mean_word_length"]["dropped"] == dropped
        )
    with pytest.raises(SettingsError, match=r"languages.de.0: 'word_lenght' is not one of the filters; did you mean"):
        build(CurateSettings, {"rules": {}, "languages": {"de": ["word_lenght"]}}, where="here")


def test_rules_that_rewrite_are_followed_by_rules_that_judge(tmp_path: Path) -> None:
    texts = [good(n).capitalize() + ".\nno end here and not kept" for n in range(3)]
    source = folder(
        tmp_path,
        [{"text": text, "id": str(n)} for n, text in enumerate(texts)] + [{"text": "no end at all", "id": "x"}],
    )
    rules = CurateSettings(rules={"default": (parse_rule("c4_lines"), parse_rule({"word_count": {"at_least": 10}}))})
    made = run_stages(curate((files(str(source), source="mine"),), settings=rules), tmp_path / "run", jobs=0)
    assert [one.text for one in read_documents(made.path)] == [text.splitlines()[0] for text in texts]
    (gone,) = read_documents(made.path, "rejects")
    assert (gone.id, gone.notes["step"], gone.text) == ("x", "word_count", "no end at all")


def test_every_rule_is_counted_alone_and_in_order(tmp_path: Path) -> None:
    shouted = "BUY NOW " * 3
    source = folder(tmp_path, [{"text": good(0)}, {"text": shouted}])
    made = run_stages(
        curate((files(str(source), source="mine"),), settings=settings("uppercase_words", "word_count")),
        tmp_path / "run",
        jobs=0,
    )
    rows = {count.step: (count.dropped, count.alone) for count in made.result(CurationResult).funnel}
    assert (rows["uppercase_words"], rows["word_count"]) == ((1, 1), (0, 1))


def test_statistics_stand_beside_documents_and_thresholds_can_be_tried(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    source = folder(tmp_path, [{"text": good(n)} for n in range(4)] + [{"text": "too short"}])
    rules = CurateSettings(
        rules={"default": (parse_rule("word_count"), parse_rule("c4_lines"), parse_rule("symbols"))}, keep_stats=True
    )
    made = run_stages(curate((files(str(source), source="mine"),), settings=rules), tmp_path / "run", jobs=0)
    table = parquet.read_table(made.path / "documents").to_pylist()
    assert [row["stats"]["plain_words"] for row in table] == [0.0] * 4  # C4's lines leave nothing of these
    stronger = dict(sweep_thresholds(made.path, {"default": (parse_rule({"word_count": {"at_least": 81}}),)}))
    assert stronger["word_count"] == {"in": 5, "dropped": 5, "alone": 5}
    weaker = dict(sweep_thresholds(made.path, {"default": (parse_rule({"word_count": {"at_least": 1}}),)}))
    assert weaker["word_count"] == {"in": 5, "dropped": 0, "alone": 0}


@pytest.mark.parametrize("name", packaged_rules())
def test_packaged_rules_can_be_read_and_run(name: str, tmp_path: Path) -> None:
    source = folder(tmp_path, [{"text": "This is a sentence that ends here. " * 9 + f"Number {n}."} for n in range(3)])
    made = curate((files(str(source), source="mine"),), settings=load_rules(name))
    with contextlib.suppress(DataError):  # some keep nothing of so little
        assert run_stages(made, tmp_path / "run", jobs=0).result(CorpusSize).pages == 3


def test_surrogates_in_any_field_cost_at_most_their_row(tmp_path: Path) -> None:
    fields = ("id", "source", "url", "added", "date", "text", "html", "metadata")
    rows: list[dict] = [{"id": str(number), "text": good(number)} for number in range(3)]
    for number, field in enumerate(fields):
        bad = {"url": "\ud800"} if field == "metadata" else "\udfff \ud800"
        rows.append({"id": f"bad{number}", "text": good(9 + number), field: bad})
    rows.append({"id": "long", "text": good(99), "source": "x" * 1000})
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    settings = build(CurateSettings, {"rules": {"default": []}}, where="x")
    by_row = TextColumns(source="source")
    made = run_stages(curate((files(str(file), source="web", columns=by_row),), settings=settings), tmp_path / "run")
    kept = {one.id: one for one in read_documents(made.path)}
    rejects = list(read_documents(made.path, "rejects"))
    assert len(kept) + len(rejects) == made.result(CorpusSize).pages == len(rows)
    assert {"0", "1", "2", "bad1", "bad2"} <= set(kept)
    assert kept["bad1"].source == "? ?"
    assert [o.notes["reason"] for o in rejects if o.id == "long"] == ["its source is longer than 200 characters"]

"""Pre-training that goes on from a model of others: every stage takes it, with its tokenizer and its architecture."""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from herd.align.loading import load_pretrained
from herd.core.artifacts import Checkpoint, Mix, Tokenizer, Tokens
from herd.core.errors import DataError, SettingsError
from herd.core.records import Document
from herd.core.stage import walk
from herd.evals.losses import held_out_losses
from herd.model.config import read_shape
from herd.model.devices import place_model
from herd.model.sizes import Size
from herd.model.weights import load_transformer
from herd.pretrain import long_context
from herd.pretrain.anneal import AnnealSettings, anneal
from herd.pretrain.long_context import LongContextSettings, extend_context
from herd.pretrain.mix import ProportionalMix, train_tokens
from herd.pretrain.planning import planned_trainings
from herd.pretrain.pretrain import PretrainSettings, pretrain, token_batches
from herd.tokens.shards import TokenShards
from herd.tokens.stages import pack
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of
from herd.train.log import METRICS_FILE, read_steps
from herd.train.results import TrainingResult
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase
from herd.train.session import load_for_training
from tests.imported import GENERATION, TEXTS, corpus, imported, theirs, work
from tests.tokens.test_chat import TOKENIZER

MIX = (MixPhase(until=1.0, mixture_weights={"text": 1.0}),)
SETTINGS = PretrainSettings(
    length=64,
    tokens=512,
    batch=(BatchPhase(until=1.0, batch_tokens=256),),
    mix=MIX,
    lr=1e-3,
    warmup=0.0,
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Tokens]:
    folder = tmp_path_factory.mktemp("continued")
    model = imported(folder / "model")
    tokens = pack.body(work(folder / "packed"), corpus(folder / "corpus"), model, held_out_share=0.4)
    return model, tokens


@pytest.fixture(scope="module")
def continued(packed: tuple[Checkpoint, Tokens], tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    model, tokens = packed
    return pretrain.body(work(tmp_path_factory.mktemp("one")), tokens, model, settings=SETTINGS)


def test_it_begins_at_the_loss_that_transformers_gives_and_keeps_all_that_the_model_is(
    packed: tuple[Checkpoint, Tokens], continued: Checkpoint
) -> None:
    model, tokens = packed
    shards, (reference, _) = TokenShards(tokens.path), theirs(model.path)
    batches = token_batches(shards, MIX, BatchRamp(SETTINGS.batch, 512, 64), SETTINGS.seed)
    batch = batches.batch(0)
    total = 0.0
    for row, targets, documents in zip(batch.tokens_BT, batch.targets_BT, batch.documents_BT, strict=True):
        for document in sorted(set(documents[documents >= 0].tolist())):  # documents do not see each other
            place = documents == document
            with torch.inference_mode():
                logits = reference(row[place][None]).logits[0]
            total += float(torch.nn.functional.cross_entropy(logits, targets[place], reduction="sum"))
    steps = read_steps(continued.path / METRICS_FILE)
    assert len(steps) == 2
    assert steps[0].loss == pytest.approx(total / batch.loss_denominator, abs=1e-5)
    assert read_shape(continued.path) == read_shape(model.path)
    assert kind_of(continued.path) == kind_of(model.path) == "chat"
    old, new = TextTokenizer.load(model.path), TextTokenizer.load(continued.path)
    assert (new.stop_token_ids, new.template, new.fingerprint) == (old.stop_token_ids, old.template, old.fingerprint)
    assert {name: new.generation.fields[name] for name in GENERATION} == GENERATION


def test_what_it_makes_is_read_by_transformers_with_its_losses(
    packed: tuple[Checkpoint, Tokens], continued: Checkpoint
) -> None:
    reference, tokenizer = theirs(continued.path)
    shards = TokenShards(packed[1].path)
    ours = held_out_losses(load_transformer(continued.path), shards, length=256, tokens=100_000)["text"]
    shard, nats, count = shards.read("text", "heldout"), 0.0, 0
    for number in range(len(shard)):
        ids = torch.tensor(shard.document(number).astype(int))
        with torch.inference_mode():
            logits = reference(ids[None, :-1]).logits[0]
        nats += float(torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum"))
        count += len(ids) - 1
    assert count == ours.tokens
    assert ours.nats_per_token == pytest.approx(nats / count, abs=1e-5)
    asked = [{"role": "user", "content": "How?"}]
    own = json.loads((continued.path / "tokenizer_config.json").read_text())
    assert tokenizer.chat_template == own["chat_template"]
    assert tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True).endswith("assistant\n")


def test_a_longer_context_and_annealing_go_on_from_it(
    packed: tuple[Checkpoint, Tokens], continued: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tokens = packed
    gated = list[Any]()

    def place(*arguments: Any) -> Any:
        gated.append(weakref.ref(placed := place_model(*arguments)))
        return placed

    def load(*arguments: Any, **settings: Any) -> Any:
        gc.collect()
        assert [model() for model in gated] == [None]  # beside what is trained no whole model lies there
        return load_for_training(*arguments, **settings)

    monkeypatch.setattr(long_context, "place_model", place)
    monkeypatch.setattr(long_context, "load_for_training", load)
    longer = LongContextSettings(
        length=512, batch_tokens=512, check_tokens=512, checks=1, gate=0.0, until=0.0, needle_seeds=1,
        short_loss_tolerance=1.0,
        lr=1e-3, mixture_weights={"text": 1.0}, text_sources=("text",),
    )  # fmt: skip
    grown = extend_context.body(work(tmp_path / "longer"), continued, tokens, settings=longer)
    assert read_shape(grown.path) == replace(read_shape(continued.path), max_seq_len=512)
    settings = AnnealSettings(
        tokens=1024, length=512, batch_tokens=512, lr=1e-3, mixture_weights={"text": 1.0}, averaged_checkpoints=2
    )
    done = anneal.body(work(tmp_path / "annealed"), grown, tokens, settings=settings)
    assert read_shape(done.path).max_seq_len == 512
    assert kind_of(done.path) == kind_of(grown.path) == "chat"
    assert TextTokenizer.load(done.path).stop_token_ids == TextTokenizer.load(continued.path).stop_token_ids
    assert theirs(done.path)[0].config.max_position_embeddings == 512


def test_a_found_mix_and_the_text_itself_say_how_much_is_read_of_what(tmp_path: Path) -> None:
    model = imported(tmp_path / "model")
    documents = [Document(text=text, id=f"{n}", source="ab"[n % 2]) for n, text in enumerate(TEXTS)]
    text = corpus(tmp_path / "corpus", documents)
    tokens = pack.body(work(tmp_path / "packed"), text, model, held_out_share=0.2)
    by_text = replace(SETTINGS, tokens=None, epochs=1.0, mix=ProportionalMix())
    (tmp_path / "mix").mkdir()
    row = {"method": "regmix", "online": False, "shares": {"a": 0.8, "b": 0.2}}
    (tmp_path / "mix" / "mix.json").write_text(json.dumps(row))
    made = {}
    for name, mix in (("by text", None), ("found", Mix(tmp_path / "mix"))):
        space = work(tmp_path / name)
        pretrain.body(space, tokens, model, mix, settings=by_text)
        made[name] = space.results[TrainingResult]
    available = train_tokens(TokenShards(tokens.path))
    assert made["by text"].tokens == pytest.approx(sum(available.values()), abs=256)
    half = available["a"] / sum(available.values())
    for name, share in (("by text", half), ("found", 0.8)):
        # To within half a row of every source.
        assert made[name].sources["a"].share == pytest.approx(share, abs=64 / made[name].tokens), name
    with pytest.raises(SettingsError, match="both a found mix and `mix`"):
        pretrain.body(work(tmp_path / "both"), tokens, model, Mix(tmp_path / "mix"), settings=SETTINGS)


def test_the_end_reads_text_in_proportion_where_no_shares_are_named(
    packed: tuple[Checkpoint, Tokens], continued: Checkpoint, tmp_path: Path
) -> None:
    settings = LongContextSettings(
        length=512, batch_tokens=512, check_tokens=512, checks=1, gate=0.0, until=0.0, needle_seeds=1, lr=1e-3,
        short_loss_tolerance=1.0,
    )  # fmt: skip
    grown = extend_context.body(work(tmp_path / "longer"), continued, packed[1], settings=settings)
    assert read_shape(grown.path).max_seq_len == 512
    last = AnnealSettings(tokens=1024, length=512, batch_tokens=512, lr=1e-3, averaged_checkpoints=2)
    space = work(tmp_path / "annealed")
    anneal.body(space, grown, packed[1], settings=last)
    assert set(space.results[TrainingResult].sources) == {"text"}


def test_what_does_not_belong_together_is_refused(packed: tuple[Checkpoint, Tokens], tmp_path: Path) -> None:
    model, tokens = packed
    (tmp_path / "tokenizer").mkdir()
    TOKENIZER.save(tmp_path / "tokenizer", 0)
    other = Tokenizer(tmp_path / "tokenizer")
    size = Size(dim=32, n_layers=1, n_heads=2, n_kv_heads=2, ffn_dim=48)
    for name, start, settings, words in (
        ("size", model, replace(SETTINGS, size=size), "a checkpoint has a size of its own"),
        ("none", other, SETTINGS, "a new model wants a size"),
        ("long", model, replace(SETTINGS, length=512, batch=(BatchPhase(until=1.0, batch_tokens=512),)), "`extend_"),
    ):
        with pytest.raises(SettingsError, match=words):
            pretrain.body(work(tmp_path / name), tokens, start, settings=settings)
    foreign = pack.body(work(tmp_path / "foreign"), corpus(tmp_path / "corpus"), other)
    with pytest.raises(DataError, match="not the model's own"):
        pretrain.body(work(tmp_path / "ids"), foreign, model, settings=SETTINGS)


def test_a_plan_knows_the_shape_of_an_imported_model(packed: tuple[Checkpoint, Tokens]) -> None:
    start = load_pretrained(folder=str(packed[0].path))
    first = pretrain(Tokens.from_plan(start.plan), start, settings=SETTINGS)
    again = pretrain(Tokens.from_plan(start.plan), first, settings=SETTINGS)
    found = planned_trainings(walk(again))
    assert [one.shape for one in found] == [read_shape(packed[0].path)] * 2
    # its weights are no run's, so that nothing is rehearsed
    assert [one.single_device for one in found] == [False, False]

"""A model to train, new or from a folder, and what training leaves behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from herd.core.errors import SettingsError
from herd.core.stage import RunOptions
from herd.model.adapters import LoraSettings, is_adapter, read_adapters
from herd.model.config import read_shape
from herd.model.heads import RewardModel
from herd.model.transformer import Transformer
from herd.model.weights import load_model, load_transformer, open_folder
from herd.train.checkpoint import kind_of, open_moments, restore, save, write_checkpoint
from herd.train.layout import ParallelLayout, TrainableParams
from herd.train.optimizer import OptimizerSettings
from herd.train.regions import Region
from herd.train.session import FolderReader, TrainingSession, check_data_parallel, init_model, load_for_training
from herd.train.settings import TrainingSettings
from tests.imported import work
from tests.model.test_transformer import SMALL
from tests.tokens.test_chat import TOKENIZER

SHAPE = replace(SMALL, vocab_size=TOKENIZER.vocab_size)
SETTINGS = TrainingSettings(lr=1e-2)
LORA = LoraSettings(rank=2, alpha=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished model with its optimizer's moments."""
    made = tmp_path / "finished"
    made.mkdir()
    state = init_model(work(tmp_path / "first"), SHAPE, init_std=0.1, settings=SETTINGS).state
    step(state)
    write_checkpoint(made, state.model, TOKENIZER, kind="base", optimizer=state.optimizer)
    return made


def step(state: Any) -> None:
    """Moves every weight that is trained."""
    for group in state.optimizer.param_groups:
        group["lr"] = 0.05
        for weight in group["params"]:
            weight.grad = torch.ones_like(weight)
    state.optimizer.step()
    state.step += 1


def weights(started: TrainingSession) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in started.state.model.named_parameters()}


def test_a_new_models_first_weights_follow_from_the_seed(tmp_path: Path) -> None:
    once, again, other = (
        init_model(work(tmp_path / str(n)), SHAPE, init_std=0.1, settings=replace(SETTINGS, seed=seed))
        for n, seed in enumerate((0, 0, 1))
    )
    assert once.first
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(once).items())
    assert not torch.equal(weights(once)["embedding.weight"], weights(other)["embedding.weight"])
    assert float(weights(once)["blocks.0.attention.query.weight"].std()) == pytest.approx(0.1, rel=0.1)
    assert once.full_model() is once.state.model
    assert once.decide(lambda whole: whole.shape == SHAPE)


def test_a_model_is_read_as_it_stands_with_its_moments_where_they_are_asked_for(folder: Path, tmp_path: Path) -> None:
    finished = load_transformer(folder)
    plain = load_for_training(work(tmp_path / "a"), folder, settings=SETTINGS)
    going_on = load_for_training(work(tmp_path / "b"), folder, settings=SETTINGS, moments=True)
    for started in (plain, going_on):
        assert all(torch.equal(weights(started)[name], value) for name, value in finished.named_parameters())
    assert not plain.state.optimizer.state
    weight = going_on.state.model.norm.weight
    kept = open_moments(folder)
    assert kept is not None
    wanted = kept.read("exp_avg/norm.weight", Region.full(weight))
    assert torch.equal(going_on.state.optimizer.state[weight]["exp_avg"], wanted)
    assert wanted.abs().sum() > 0


def test_a_model_may_be_read_with_a_longer_context(folder: Path, tmp_path: Path) -> None:
    longer = replace(read_shape(folder), max_seq_len=2 * SHAPE.max_seq_len)
    started = load_for_training(work(tmp_path / "a"), folder, settings=SETTINGS, shape=longer)
    assert started.state.model(torch.zeros(1, longer.max_seq_len, dtype=torch.long)).shape[1] == longer.max_seq_len
    started.save(TOKENIZER, kind="chat")
    assert read_shape(started.work.out) == longer
    assert kind_of(started.work.out) == "chat"
    assert open_moments(started.work.out) is None  # nobody asked for them


def test_a_reward_model_begins_with_a_head_of_zeros_on_the_trunk_it_was_given(folder: Path, tmp_path: Path) -> None:
    started = load_for_training(work(tmp_path / "a"), folder, settings=SETTINGS, reward=True)
    assert isinstance(started.state.model, RewardModel)
    found, plain = weights(started), load_transformer(folder)
    (head,) = [name for name in found if not name.startswith("trunk.")]
    assert not found[head].any()
    assert torch.equal(found["trunk.norm.weight"], plain.norm.weight)
    step(started.state)
    started.save(TOKENIZER, kind="reward")
    again = load_model(started.work.out)
    assert isinstance(again, RewardModel)
    assert all(torch.equal(value, dict(again.named_parameters())[name]) for name, value in weights(started).items())


def test_adapters_alone_are_trained_and_alone_are_written(folder: Path, tmp_path: Path) -> None:
    started = load_for_training(work(tmp_path / "a"), folder, settings=SETTINGS, lora=LORA)
    before = weights(started)
    ids = torch.arange(20)[None]
    # New ones change nothing yet.
    assert torch.allclose(started.state.model(ids), load_transformer(folder)(ids), atol=1e-5)
    step(started.state)
    moved = {name for name, value in weights(started).items() if not torch.equal(value, before[name])}
    assert moved
    assert all("lora_" in name for name in moved)
    started.save(TOKENIZER, kind="chat")
    assert is_adapter(started.work.out)
    # Base and adapters together are the model that was trained.
    assert torch.allclose(load_transformer(started.work.out)(ids), started.state.model(ids), atol=1e-5)


def test_adapters_of_the_same_form_go_on_and_others_become_part_of_the_model(folder: Path, tmp_path: Path) -> None:
    first = load_for_training(work(tmp_path / "a"), folder, settings=SETTINGS, lora=LORA)
    step(first.state)
    first.save(TOKENIZER, kind="chat")
    adapters = first.work.out
    again = load_for_training(work(tmp_path / "b"), adapters, settings=SETTINGS, lora=LORA)
    assert again.base == read_adapters(adapters).base
    assert all(torch.equal(weights(again)[name], value) for name, value in weights(first).items())
    wider = load_for_training(work(tmp_path / "c"), adapters, settings=SETTINGS, lora=replace(LORA, rank=3))
    assert wider.base == adapters
    ids = torch.arange(20)[None]
    assert torch.allclose(wider.state.model(ids), first.state.model(ids), atol=1e-5)


def test_checkpoints_that_shall_stay_become_models(folder: Path, tmp_path: Path) -> None:
    here = replace(work(tmp_path / "a"), options=RunOptions(keep_every_steps=2), checkpoints=tmp_path / "kept")
    started = load_for_training(here, folder, settings=SETTINGS)
    kept: dict[int, torch.Tensor] = {}
    for _ in range(3):
        step(started.state)
        save(here.scratch, started.state)
        kept[started.state.step] = started.state.model.norm.weight.detach().clone()
    model_at_the_end = started.write(TOKENIZER, kind="base", moments=True)
    assert model_at_the_end is started.state.model
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["step-000000002"]
    saved = load_transformer(tmp_path / "kept" / "step-000000002")
    assert torch.equal(saved.norm.weight, kept[2])
    assert torch.equal(load_transformer(here.out).norm.weight, kept[3])
    assert open_moments(here.out) is not None


PARTLY = replace(
    SETTINGS, unfrozen_parameters=("^lm_head", r"layers\.1\..*q_proj"), optimizer=OptimizerSettings(name="muon")
)


def test_a_model_of_which_a_part_learns_is_written_whole(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = replace(work(tmp_path / "a"), options=RunOptions(keep_every_steps=1), checkpoints=tmp_path / "kept")
    started = load_for_training(here, folder, settings=PARTLY)
    wanted = SHAPE.vocab_size * SHAPE.dim + SHAPE.n_heads * SHAPE.head_dim * SHAPE.dim
    note = f"{wanted:,} of {SHAPE.num_params:,} weights trained ({wanted / SHAPE.num_params:.1%})"
    assert started.trainable_note == f"; {note}"
    assert note in capsys.readouterr().out
    assert PARTLY.trainable_params(SHAPE) == TrainableParams(wanted, SHAPE.n_heads * SHAPE.head_dim * SHAPE.dim)
    before = weights(started)
    step(started.state)
    save(here.scratch, started.state)
    assert all("output" in name or "blocks.1.attention.query" in name for name, _ in started.state.named_tensors())
    # Taken up again after a crash.
    again = load_for_training(replace(here, out=work(tmp_path / "b").out), folder, settings=PARTLY)
    assert restore(here.scratch, again.state)
    for session in (started, again):
        step(session.state)
        session.save(TOKENIZER, kind="base", moments=True)
        finished = dict(load_transformer(session.work.out).named_parameters())
        changed = {name for name, value in before.items() if not torch.equal(finished[name], value)}
        assert changed == {"output.weight", "blocks.1.attention.query.weight"}
        assert all(torch.equal(finished[name], value) for name, value in weights(started).items())
    first = dict(load_transformer(tmp_path / "kept" / "step-000000001").named_parameters())
    assert torch.equal(first["embedding.weight"], before["embedding.weight"])
    assert not torch.equal(first["output.weight"], before["output.weight"])
    # Whoever trains all of it afterwards begins anew with what was frozen.
    whole = load_for_training(work(tmp_path / "c"), again.work.out, settings=SETTINGS, moments=True)
    assert "exp_avg" in whole.state.optimizer.state[whole.state.model.output.weight]
    step(whole.state)
    with pytest.raises(SettingsError, match="a new model has learnt nothing to keep"):
        init_model(work(tmp_path / "d"), SHAPE, init_std=0.1, settings=PARTLY)


def test_a_reward_model_of_which_a_part_learns_has_its_head_trained(folder: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, unfrozen_parameters=("model.norm",))
    started = load_for_training(work(tmp_path / "a"), folder, settings=settings, reward=True)
    before = weights(started)
    step(started.state)
    started.save(TOKENIZER, kind="reward")
    finished = dict(load_model(started.work.out).named_parameters())
    changed = {name for name, value in before.items() if not torch.equal(finished[name], value)}
    assert changed == {"trunk.norm.weight", "score.weight"}


def test_what_the_model_has_not_yet_is_taken_from_what_is_learnt(folder: Path) -> None:
    head = torch.arange(6.0).view(2, 3)
    files = FolderReader(open_folder(folder), {"score.weight": head})
    assert torch.equal(files.read("weight/score.weight", Region((2, 3), (0, 1), (2, 2))), head[:, 1:])
    plain = dict(load_transformer(folder).named_parameters())["blocks.0.attention.query.weight"]
    where = Region(tuple(plain.shape), (4, 0), (8, plain.shape[1]))
    for name in ("blocks.0.attention.query.weight", "trunk.blocks.0.attention.query.base_layer.weight"):
        assert torch.equal(files.read(name, where), plain[4:12])


def test_a_layout_that_divides_more_than_the_batch_is_refused_where_it_cannot_be(folder: Path, tmp_path: Path) -> None:
    check_data_parallel(ParallelLayout(data=4), "anything")
    split = replace(SETTINGS, layout=ParallelLayout(tensor=2, data=2))
    with pytest.raises(SettingsError, match=r"a reward model is trained on data ranks only; set layout to \{data: 4\}"):
        load_for_training(work(tmp_path / "a"), folder, settings=split, reward=True)
    with pytest.raises(SettingsError, match="a model with adapters is trained on data ranks only"):
        load_for_training(work(tmp_path / "b"), folder, settings=split, lora=LORA)


def test_what_is_decided_is_asked_of_a_model_as_those_that_only_read_are(tmp_path: Path) -> None:
    options = RunOptions(device="cpu", dtype="bf16")
    started = init_model(replace(work(tmp_path / "bf16"), options=options), SHAPE, init_std=0.1, settings=SETTINGS)
    before = weights(started)

    def is_copy(asked: Transformer) -> bool:
        asked.train()
        return asked is not started.state.model and asked.embedding.weight.dtype == torch.bfloat16

    assert started.decide(is_copy)
    assert started.state.model.embedding.weight.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in weights(started).items())
    plain = init_model(work(tmp_path / "auto"), SHAPE, init_std=0.1, settings=SETTINGS)
    assert plain.decide(lambda asked: asked is plain.state.model)  # a CPU reads in fp32

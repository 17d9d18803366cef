"""Checkpoints: whole or absent, the newest whole one read, and finished models with all that belongs to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from herd.core.artifacts import checksums_match
from herd.core.errors import TrainingError
from herd.model.heads import RewardModel
from herd.model.transformer import Transformer
from herd.model.weights import load_model
from herd.run.executors import LocalExecutor
from herd.tokens.tokenizer import TextTokenizer
from herd.train.batches import TokenBatches
from herd.train.checkpoint import (
    OPTIMIZER,
    Saver,
    TrainState,
    checkpoints,
    kind_of,
    open_moments,
    permanent_checkpoints,
    restore,
    save,
    write_checkpoint,
    write_token_ids,
)
from herd.train.loop import single_device, train_steps
from herd.train.objectives import next_token_loss
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.regions import Region
from tests.model.test_transformer import SMALL
from tests.tokens.test_chat import TOKENIZER
from tests.train.test_loop import RATE, same, state
from tests.train.test_loop import batches as batches


def test_a_damaged_checkpoint_gives_way_to_the_one_before(batches: TokenBatches, tmp_path: Path) -> None:
    made = state()
    for step in train_steps(
        made,
        batches,
        loss_fn=next_token_loss,
        lr_schedule=RATE,
        max_grad_norm=1.0,
        strategy=single_device(made, LocalExecutor()),
    ):
        if step.number in (3, 5, 8):
            save(tmp_path / "scratch", made)
    found = checkpoints(tmp_path / "scratch")
    assert [folder.name for folder in found] == ["step-000000005", "step-000000008"]
    file = found[-1] / "rank-00000.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    again = state()
    assert restore(tmp_path / "scratch", again)
    assert again.step == 5


def stepped(step: int, seed: int = 0) -> TrainState[Any]:
    """A state with moments, as after a step."""
    made = state(seed)
    for weight in made.model.parameters():
        weight.grad = torch.ones_like(weight)
    made.optimizer.step()
    made.step, made.offset, made.grad_norms = step, 2, [0.5, 0.25]
    return made


def test_all_that_training_goes_on_from_comes_back(tmp_path: Path) -> None:
    made, again = stepped(7), state(seed=4)
    save(tmp_path, made)
    assert restore(tmp_path, again)
    assert (again.step, again.offset, again.grad_norms) == (7, 2, [0.5, 0.25])
    assert same(made, again)
    for old, new in zip(made.model.parameters(), again.model.parameters(), strict=True):
        ours, theirs = made.optimizer.state[old], again.optimizer.state[new]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    (folder,) = checkpoints(tmp_path)
    assert checksums_match(folder)


def test_frozen_weights_are_neither_saved_nor_read(tmp_path: Path) -> None:
    made, again = stepped(1), state(seed=4)
    for one in (made, again):
        one.model.embedding.weight.requires_grad_(False)
    own = again.model.embedding.weight.detach().clone()
    assert not any("embedding" in name for name, _ in made.named_tensors())
    save(tmp_path, made)
    assert restore(tmp_path, again)
    assert torch.equal(again.model.embedding.weight, own)
    assert torch.equal(again.model.norm.weight, made.model.norm.weight)


def test_a_second_copy_of_the_weights_is_not_saved() -> None:
    made = stepped(1)
    made.replica = 1
    assert list(made.named_tensors()) == []


def test_there_is_nothing_to_go_on_from_where_nothing_whole_is(tmp_path: Path) -> None:
    made = state()
    assert not restore(tmp_path, made)
    (tmp_path / "step-000000003.abcd.partial").mkdir()
    (tmp_path / "step-000000004").mkdir()  # without checksums
    assert [folder.name for folder in checkpoints(tmp_path)] == ["step-000000004"]
    assert not restore(tmp_path, made)
    assert made.step == 0


@pytest.mark.parametrize("damage", ["lost", "longer", "checksums", "state"])
def test_a_folder_that_is_not_as_it_was_written_does_not_count(damage: str, tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, stepped(step))
    newest = checkpoints(tmp_path)[-1]
    file = newest / {"checksums": "checksums.json", "state": "state.json"}.get(damage, "rank-00000.safetensors")
    if damage == "lost":
        file.unlink()
    elif damage == "longer":
        file.write_bytes(file.read_bytes() + b"\0")
    elif damage == "checksums":
        file.write_text("{")
    else:
        file.write_text(file.read_text().replace('"step": 2', '"step": 9'))
    made = state()
    assert restore(tmp_path, made)
    assert made.step == 1


def test_a_weight_that_the_model_has_not_is_told(tmp_path: Path) -> None:
    class More(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)

    class Less(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(2, 2, bias=False)

    more, less = More(), Less()
    save(tmp_path, TrainState(more, adamw(more, AdamWSettings()), step=1))
    with pytest.raises(TrainingError, match=r"holds weight/b\.weight, which this model has not"):
        restore(tmp_path, TrainState(less, adamw(less, AdamWSettings())))


def test_the_last_two_stay_and_those_of_every_so_many_steps(tmp_path: Path) -> None:
    saver = Saver(tmp_path, keep_every=4)
    for step in range(1, 11):
        saver.save(stepped(step))
    saver.wait()
    assert [int(folder.name[5:]) for folder in checkpoints(tmp_path)] == [4, 8, 9, 10]
    assert [int(folder.name[5:]) for folder in permanent_checkpoints(tmp_path, 4)] == [4, 8]
    assert permanent_checkpoints(tmp_path, 0) == []


def test_what_is_copied_is_what_stood_there_when_it_was_saved(tmp_path: Path) -> None:
    """Training goes on while a checkpoint is written."""
    made, saver = stepped(1), Saver(tmp_path)
    before = made.model.norm.weight.detach().clone()
    saver.save(made)
    with torch.no_grad():
        made.model.norm.weight.zero_()
    saver.wait()
    again = state()
    assert restore(tmp_path, again)
    assert torch.equal(again.model.norm.weight, before)


def test_a_checkpoint_that_cannot_be_written_is_told_once_and_what_a_crash_left_is_tidied(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    (scratch / "step-000000001.dead.partial").mkdir(parents=True)
    saver = Saver(scratch)
    assert list(scratch.iterdir()) == []
    scratch.rmdir()
    scratch.write_text("a file where the folder was")
    saver.save(stepped(1))
    with pytest.raises(TrainingError, match="a checkpoint could not be written .*; make room"):
        saver.wait()
    saver.wait()  # it was told
    scratch.unlink()
    saver.save(stepped(2))
    saver.wait()
    assert [folder.name for folder in checkpoints(scratch)] == ["step-000000002"]


# ---- finished models ----


def test_a_finished_model_is_read_with_its_tokenizer_its_use_and_its_moments(tmp_path: Path) -> None:
    made = stepped(3)
    write_checkpoint(tmp_path, made.model, TOKENIZER, kind="base", optimizer=made.optimizer)
    again = load_model(tmp_path)
    assert isinstance(again, Transformer)
    assert all(torch.equal(a, b) for a, b in zip(made.model.parameters(), again.parameters(), strict=True))
    assert TextTokenizer.load(tmp_path).fingerprint == TOKENIZER.fingerprint
    assert kind_of(tmp_path) == "base"
    kept = open_moments(tmp_path)
    assert kept is not None
    assert not any(name.startswith("weight/") for name in kept.names())
    weight = made.model.norm.weight
    found = kept.read("exp_avg/norm.weight", Region.full(weight))
    assert torch.equal(found, made.optimizer.state[weight]["exp_avg"])
    (tmp_path / OPTIMIZER).unlink()
    assert open_moments(tmp_path) is None


def test_a_reward_model_is_one_again(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, RewardModel(SMALL), TOKENIZER, kind="reward")
    assert isinstance(load_model(tmp_path), RewardModel)
    assert kind_of(tmp_path) == "reward"
    (tmp_path / "herd.json").unlink()
    # One that herd did not make is for chats where it has a template.
    assert kind_of(tmp_path) == ("chat" if TextTokenizer.load(tmp_path).template else "base")


def test_the_ids_of_control_tokens_stand_in_every_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8, "eos_token_id": 7}))
    write_token_ids(tmp_path, TOKENIZER)
    for name in ("config.json", "generation_config.json"):
        row = json.loads((tmp_path / name).read_text())
        assert row["eos_token_id"] == sorted(TOKENIZER.stop_token_ids)
        assert row["pad_token_id"] == TOKENIZER.pad_id
        assert row["bos_token_id"] == TOKENIZER.named_bos_id
    assert json.loads((tmp_path / "config.json").read_text())["hidden_size"] == 8  # the rest stays

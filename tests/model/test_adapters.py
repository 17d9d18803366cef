"""Adapters: nothing at first, alone in learning, kept as peft keeps them, and gone where they are merged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from herd.core.errors import ArtifactError
from herd.model.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    LoraLinear,
    LoraSettings,
    apply_lora,
    base_name,
    copy_adapters,
    merge_adapters,
    read_adapters,
    trainable_weights,
    write_adapters,
)
from herd.model.fused import fusable
from herd.model.heads import RewardModel, trunk_of
from herd.model.weights import load_model, load_transformer, open_folder, save_model, write_config
from herd.run.executors import LocalExecutor
from herd.train.batches import Batch
from herd.train.checkpoint import TrainState
from herd.train.loop import single_device, train_steps
from herd.train.objectives import next_token_loss
from herd.train.optimizer import AdamWSettings, adamw
from tests.model.test_transformer import SMALL, model

SETTINGS = LoraSettings(rank=4, alpha=8.0)
TOKENS = torch.randint(SMALL.vocab_size, (4, 17), generator=torch.Generator().manual_seed(0))


class Same:
    def __len__(self) -> int:
        return 20

    def batch(self, step: int) -> Batch:
        return Batch(TOKENS[:, :-1], TOKENS[:, 1:], torch.zeros_like(TOKENS[:, 1:]))


def test_adapters_learn_alone_and_become_part_of_the_matrices() -> None:
    made = model(SMALL)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    plain = made(TOKENS[:, :-1]).detach()
    apply_lora(made, SETTINGS)
    assert torch.equal(made(TOKENS[:, :-1]), plain)
    assert not fusable(made)
    learnt = {name for name, weight in made.named_parameters() if weight.requires_grad}
    assert all(name.endswith((".lora_A", ".lora_B")) for name in learnt)
    assert len(learnt) == 2 * 7 * SMALL.n_layers
    state = TrainState(made, adamw(made, AdamWSettings(weight_decay=0.0)))
    losses = [
        step.loss
        for step in train_steps(
            state,
            Same(),
            loss_fn=next_token_loss,
            lr_schedule=lambda step: 1e-2,
            max_grad_norm=1.0,
            strategy=single_device(state, LocalExecutor()),
        )
    ]
    assert losses[-1] < 0.8 * losses[0]
    moments = [name for name, _ in state.named_tensors() if name.startswith("exp_avg/")]
    assert len(moments) == len(learnt)
    adapted = made.eval()(TOKENS[:, :-1]).detach()
    merge_adapters(made)
    assert torch.allclose(made(TOKENS[:, :-1]), adapted, atol=1e-4)
    after = made.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "blocks." in name and "norm" not in name}
    assert all(weight.requires_grad for weight in made.parameters())


def test_only_the_matrices_named_are_adapted() -> None:
    made = model(SMALL)
    apply_lora(made, LoraSettings(rank=2, target_modules=("q_proj", "v_proj")))
    found = [name for name, part in made.named_modules() if type(part) is LoraLinear]
    assert {name.rpartition(".")[2] for name in found} == {"query", "value"}
    assert len(found) == 2 * SMALL.n_layers


def test_without_settings_nothing_is_frozen() -> None:
    made = model(SMALL)
    apply_lora(made, None)
    merge_adapters(made)
    assert all(weight.requires_grad for weight in made.parameters())


def test_a_reward_models_head_is_learnt_with_the_adapters() -> None:
    made = RewardModel(replace(SMALL))
    apply_lora(made.trunk, SETTINGS)
    assert made.score.weight.requires_grad
    assert not made.trunk.embedding.weight.requires_grad
    merge_adapters(made)
    assert not [part for part in made.modules() if type(part) is LoraLinear]


@pytest.mark.parametrize("seed", [0, 1])
def test_adapters_are_drawn_by_their_seed(seed: int) -> None:
    one, other = model(SMALL), model(SMALL)
    apply_lora(one, SETTINGS, seed=seed)
    apply_lora(other, SETTINGS, seed=0)
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True)]
    assert all(same) == (seed == 0)


# ---- on disk ----


def kept(root: Path, settings: LoraSettings = SETTINGS, *, reward: bool = False) -> torch.nn.Module:
    """A model in `base` and adapters that have learnt something in `tuned`; both together as they are in memory."""
    base = model(SMALL)
    for name in ("base", "tuned"):
        (root / name).mkdir()
    save_model(root / "base", base, bos_token_id=0, eos_token_ids=[1], pad_token_id=2)
    made: torch.nn.Module = RewardModel.from_transformer(base) if reward else base
    apply_lora(trunk_of(made), settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, weight in trainable_weights(made):
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    name = base_name(root / "base", root / "tuned")
    write_adapters(root / "tuned", trainable_weights(made), settings, base=name, reward=reward)
    write_config(
        root / "tuned", SMALL, bos_token_id=0, eos_token_ids=[1], pad_token_id=2, dtype=torch.float32, reward=reward
    )
    return made.eval()


def test_adapters_are_kept_beside_their_model_and_merged_when_read(tmp_path: Path) -> None:
    made = kept(tmp_path)
    config = json.loads((tmp_path / "tuned" / ADAPTER_CONFIG).read_text())
    assert (config["peft_type"], config["task_type"], config["r"], config["lora_alpha"]) == (
        "LORA",
        "CAUSAL_LM",
        4,
        8.0,
    )
    assert config["base_model_name_or_path"] == "../base"
    with safe_open(tmp_path / "tuned" / ADAPTER_WEIGHTS, framework="pt") as file:
        names = set(file.keys())
    assert len(names) == 2 * 7 * SMALL.n_layers
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in names
    assert "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight" in names
    with torch.no_grad():
        wanted = made(TOKENS)
        assert torch.allclose(load_transformer(tmp_path / "tuned")(TOKENS), wanted, atol=1e-4)
    # One by one, as formats that hold one model read them; and from a folder that lies elsewhere.
    (tmp_path / "far" / "copy").mkdir(parents=True)
    copy_adapters(tmp_path / "tuned", tmp_path / "far" / "copy")
    stored = open_folder(tmp_path / "far" / "copy")
    own = load_transformer(tmp_path / "tuned").state_dict()
    assert all(torch.equal(value, own[name]) for name, value in stored.tensors())


def test_a_reward_models_adapters_bring_its_head(tmp_path: Path) -> None:
    made = kept(tmp_path, reward=True)
    again = load_model(tmp_path / "tuned")
    assert isinstance(again, RewardModel)
    with torch.no_grad():
        assert torch.allclose(again(TOKENS), made(TOKENS), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("use_dora", True, "use_dora is True, and herd reads plain LoRA"),
        ("rank_pattern", {"q_proj": 8}, "rank_pattern"),
        ("peft_type", "IA3", "peft_type is 'IA3'"),
        ("base_model_name_or_path", "elsewhere", "which is no folder here"),
    ],
)
def test_adapters_of_another_kind_are_refused_by_name(name: str, value: object, words: str, tmp_path: Path) -> None:
    kept(tmp_path)
    file = tmp_path / "tuned" / ADAPTER_CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    with pytest.raises(ArtifactError, match=words):
        read_adapters(tmp_path / "tuned")


def test_peft_reads_what_herd_writes_and_herd_what_peft_writes(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    from transformers import AutoModelForCausalLM

    made = kept(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    with torch.no_grad():
        found = peft.PeftModel.from_pretrained(theirs, tmp_path / "tuned").eval()(TOKENS).logits
        assert torch.allclose(found, made(TOKENS), atol=1e-5)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    chosen = peft.LoraConfig(
        r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"
    )
    other = peft.get_peft_model(plain, chosen)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in other.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn(weight.shape, generator=generator)
    other.save_pretrained(tmp_path / "peft")
    assert read_adapters(tmp_path / "peft").settings.target_modules == ("q_proj", "down_proj")
    with torch.no_grad():
        wanted = other.eval()(TOKENS).logits
        assert torch.allclose(load_transformer(tmp_path / "peft")(TOKENS), wanted, atol=1e-5)

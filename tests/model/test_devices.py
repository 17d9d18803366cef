"""Where models lie: every stage that works with one puts it where the run says, by the one door there is."""

from __future__ import annotations

import importlib
import pkgutil
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import herd
from herd.align.curation import CurationSettings
from herd.align.dpo import DpoSettings
from herd.align.interpolation import InterpolationSettings
from herd.align.knowledge import KnowledgeProbeSettings
from herd.align.losses import losses
from herd.align.rejection_sampling import RejectionSamplingSettings
from herd.align.reward import RewardSettings
from herd.align.sft import SftSettings
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Tokenizer, Tokens
from herd.core.errors import SettingsError
from herd.core.records import Conversation, Message
from herd.core.stage import RunOptions, Stage, Work
from herd.core.storage import write_conversations, write_preferences
from herd.evals.stages import EvaluationSettings
from herd.evals.tasks import tasks
from herd.generate.engine import SamplingParams
from herd.judge.verifiers import verifiers
from herd.mixing.corpora import CorpusTrial
from herd.mixing.methods import methods
from herd.mixing.probe import ProbeSettings
from herd.mixing.problem import ProxySettings
from herd.mixing.results import MixSearch
from herd.mixing.stages import MixSettings, TrialSettings
from herd.model import devices
from herd.model.devices import place_model, resolve_device, resolve_dtype
from herd.model.heads import RewardModel
from herd.model.sizes import Size
from herd.model.transformer import Transformer
from herd.pretrain.anneal import AnnealSettings
from herd.pretrain.long_context import LongContextSettings
from herd.pretrain.pretrain import PretrainSettings
from herd.run.executors import LocalExecutor
from herd.tokens.shards import SPLITS, ShardWriter, id_dtype, write_index
from herd.train.checkpoint import write_checkpoint
from herd.train.schedule import BatchPhase, MixPhase
from herd.world.questions import Questions
from herd.world.truth import World
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import HELLO, TOKENIZER
from tests.train.test_preferences import preference

DEVICE = "cuda:7"  # which this machine has not: models stay where they are, and it is written down who moved them
SHAPE = replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=512)
WORLD = World()
SIZE = Size(dim=16, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=32)
# Models go in or come out, and nothing is computed with them.
NO_MODEL = {"load_pretrained", "compare_steps", "export_model", "fit_law", "forecast_tasks", "pack"}
# Rows are divided over the ranks of a run; `tests/model/test_collectives.py` runs them on two. The others train.
DATA_PARALLEL = {
    "add_critiques", "annotate", "average_models", "curate_dialogues", "evaluate_critics", "evaluate_model",
    "interpolate_models", "probe_knowledge", "rank_own_answers", "rejection_sample", "select_best_model",
}  # fmt: skip
TRAINING = {
    "anneal", "dpo", "extend_context", "find_mix", "judge_data", "pretrain", "sft", "train_reward",
    "try_corpus", "try_mix",
}  # fmt: skip


@dataclass
class Inputs:
    """What stages are given, in a folder."""

    root: Path

    def __post_init__(self) -> None:
        write_checkpoint(self.new("chat"), model(SHAPE), TOKENIZER, kind="chat")
        write_checkpoint(self.new("judge"), RewardModel(SHAPE), TOKENIZER, kind="reward")
        write_conversations(self.new("dialogues"), [HELLO] * 6)
        write_preferences(self.new("ranked"), [replace(preference(n), strength="better") for n in range(6)])
        told = Message("assistant", "7")
        asked = [Conversation((Message("user", f"{n}?"), told), id=f"{n}", source="asked") for n in range(2)]
        write_conversations(self.new("prompts"), asked)
        book = Questions(WORLD)
        write_conversations(self.new("questions"), [book.draw("sum", number).prompt for number in range(2)])
        TOKENIZER.save(self.new("tokenizer"), 0)
        shards(self.new("tokens"))
        self.chat, self.judge = Checkpoint(self.root / "chat"), Checkpoint(self.root / "judge")
        self.dialogues, self.prompts = Dialogues(self.root / "dialogues"), Dialogues(self.root / "prompts")
        self.questions, self.ranked = Dialogues(self.root / "questions"), Preferences(self.root / "ranked")
        self.tokens, self.tokenizer = Tokens(self.root / "tokens"), Tokenizer(self.root / "tokenizer")

    def new(self, name: str) -> Path:
        (self.root / name).mkdir()
        return self.root / name


def shards(folder: Path) -> None:
    """Sentences of two sources."""
    index: dict[str, dict[str, dict[str, int]]] = {}
    for name in ("a", "b"):
        index[name] = {}
        for split in SPLITS:
            writer = ShardWriter(folder, f"{name}.{split}", id_dtype(TOKENIZER.vocab_size))
            for number in range(30):
                ids = TOKENIZER.encode(f"The {name} cat sat on mat {number}. It was hot. " * 4)
                writer.add([TOKENIZER.bos_id, *ids, TOKENIZER.eos_id], 200)
            index[name][split] = writer.close()
    write_index(folder, TOKENIZER.vocab_size, TOKENIZER.pad_id, index)


SAMPLING = SamplingParams(temperature=1.0, max_tokens=4)
RUN = ProxySettings(size=SIZE, length=32, tokens=256, batch_tokens=64, lr=1e-3)
SHARES = {"a": 0.5, "b": 0.5}
MIX = MixSearch("uniform", {}, 0, 0, SHARES, {}, False, False, 0.0, 0.0, 0.0, ())
# By the name of a stage what it is given.
CASES: dict[str, Callable[[Inputs], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "sft": lambda i: ((i.chat, (i.dialogues,)), {"settings": SftSettings(length=96, epochs=1)}),
    "dpo": lambda i: ((i.chat, (i.ranked,)), {"settings": DpoSettings(loss=losses.configure("dpo"), batch_size=2)}),
    "train_reward": lambda i: ((i.chat, (i.ranked,)), {"settings": RewardSettings(batch_size=2, epochs=1)}),
    "average_models": lambda i: (((SimpleNamespace(path=i.chat.path, key="chat"),) * 2, i.dialogues), {}),
    "rejection_sample": lambda i: (
        (i.judge, i.chat, i.prompts, i.chat), {"settings": RejectionSamplingSettings(sampling=SAMPLING, num_samples=2)}
    ),
    "annotate": lambda i: (((i.chat,), i.questions), {"world": WORLD, "sampling": SAMPLING}),
    "select_best_model": lambda i: (
        ((i.chat,), i.prompts), {"verifier": verifiers.configure("numeric_match"), "max_tokens": 4}
    ),
    "interpolate_models": lambda i: (
        (i.chat, i.chat, i.prompts),
        {
            "settings": InterpolationSettings(
                verifier=verifiers.configure("numeric_match"), alphas=(0.5, 1.5), max_tokens=4
            )
        },
    ),
    "probe_knowledge": lambda i: (
        (i.chat, i.prompts),
        {"settings": KnowledgeProbeSettings(verifier=verifiers.configure("numeric_match"), sampling=SAMPLING)},
    ),
    "curate_dialogues": lambda i: (
        ((i.dialogues,), i.judge), {"settings": CurationSettings(keep="all", similarity=1.0)}
    ),
    "add_critiques": lambda i: ((i.chat, (i.ranked,)), {"max_tokens": 4}),
    "rank_own_answers": lambda i: ((i.chat, i.prompts), {"sampling": SAMPLING, "num_samples": 2, "critiques": 1}),
    "evaluate_critics": lambda i: (((i.chat,), (i.ranked,)), {}),
    "evaluate_model": lambda i: (
        (i.chat, i.tokens),
        {
            "label": "chat",
            "settings": EvaluationSettings(
                tasks=(tasks.configure("arithmetic", world=WORLD, questions=2),), needle_lengths=(256,), needle_seeds=1,
                needle_sources=("a",), loss_length=32,
            ),
        },
    ),
    "pretrain": lambda i: (
        (i.tokens, i.tokenizer),
        {
            "settings": PretrainSettings(
                size=SIZE, length=32, tokens=256, lr=1e-3, batch=(BatchPhase(until=1.0, batch_tokens=64),),
                mix=(MixPhase(until=1.0, mixture_weights=SHARES),),
            )
        },
    ),
    "extend_context": lambda i: (
        (i.chat, i.tokens),
        {
            "settings": LongContextSettings(
                length=512, batch_tokens=512, check_tokens=512, checks=1, gate=0.0, needle_seeds=1, lr=1e-3,
                mixture_weights=SHARES, text_sources=("a",),
            )
        },
    ),
    "anneal": lambda i: (
        (i.chat, i.tokens),
        {
            "settings": AnnealSettings(
                tokens=256, length=32, batch_tokens=64, lr=1e-3, mixture_weights=SHARES, averaged_checkpoints=1
            )
        },
    ),
    "judge_data": lambda i: (
        (i.chat, i.tokens, i.tokens),
        {"settings": ProbeSettings(tokens=128, length=32, batch_tokens=64, lr=1e-3, seeds=(0, 1))},
    ),
    "find_mix": lambda i: (
        (i.tokens,), {"method": methods.configure("doremi"), "proxy": RUN, "settings": MixSettings()}
    ),
    "try_mix": lambda i: (
        (i.tokens, SimpleNamespace(result=lambda kind: MIX)),
        {"trial": TrialSettings(run=RUN, points=1, max_epochs=100.0), "settings": MixSettings()},
    ),
    "try_corpus": lambda i: (
        (i.tokens, i.tokens, i.tokenizer),
        {
            "label": "a",
            "trial": CorpusTrial(
                run=replace(RUN, length=256, batch_tokens=256),
                sources=("a",),
                tasks=(tasks.configure("arithmetic", world=WORLD, questions=2),),
            ),
        },
    ),
}  # fmt: skip


def stages() -> dict[str, Stage[..., Any]]:
    """Every stage of the package."""
    for module in pkgutil.walk_packages(herd.__path__, "herd."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {name: one for name, one in Stage.registry.items() if one.body.__module__.startswith("herd.")}


def holds_a_model(stage: Stage[..., Any]) -> bool:
    """By its signature."""
    hints = typing.get_type_hints(stage.body).values()
    return any(Checkpoint in (hint, *typing.get_args(hint)) for hint in hints)


def test_every_stage_with_a_model_is_known_to_the_runner_and_tried_here() -> None:
    known = stages()
    assert {name for name, one in known.items() if one.gpu} == set(CASES)
    assert {name for name, one in known.items() if holds_a_model(one) and not one.gpu} == NO_MODEL
    assert {name for name, one in known.items() if one.data_parallel} == DATA_PARALLEL
    assert set(CASES) == DATA_PARALLEL | TRAINING


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The devices of the models that computed, one of them not there; a model that nobody placed fails the test."""
    found: set[str] = set()

    def move(one: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
        for part in one.modules():
            part.placed = str(device)  # type: ignore[assignment]
        return one

    def asked(self: nn.Module) -> None:
        place = getattr(self, "placed", None)
        assert place, "a model computes that nobody placed"
        found.add(str(place))

    hidden, packed = Transformer.hidden_states, importlib.import_module("herd.model.packed").PackedModel.__init__

    def computes(self: Transformer, *args: Any, **kwargs: Any) -> Any:
        asked(self)
        return hidden(self, *args, **kwargs)

    def reads(self: Any, of: Transformer, *args: Any, **kwargs: Any) -> None:
        asked(of)
        packed(self, of, *args, **kwargs)

    monkeypatch.setattr(devices, "_move", move)
    monkeypatch.setattr(devices, "resolve_device", torch.device)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(Transformer, "hidden_states", computes)
    monkeypatch.setattr("herd.model.packed.PackedModel.__init__", reads)
    return found


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_stages_models_lie_where_the_run_says(name: str, tmp_path: Path, placed: set[str]) -> None:
    given = Inputs(tmp_path)
    work = Work(given.new("out"), given.new("scratch"), LocalExecutor(), options=RunOptions(device=DEVICE))
    args, settings = CASES[name](given)
    stages()[name].body(work, *args, **settings)
    assert placed == {DEVICE}


def test_a_model_in_bf16_keeps_its_table_of_positions() -> None:
    made = place_model(model(SMALL), "cpu", "bf16")
    assert {weight.dtype for weight in made.parameters()} == {torch.bfloat16}
    assert made.cos_TE.dtype == torch.float32
    tokens = torch.arange(12)[None] % SMALL.vocab_size
    with torch.no_grad():
        off = (made(tokens) - model(SMALL)(tokens)).abs().max()
    assert off < 0.1


def test_devices_are_named_as_torch_names_them() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(SettingsError, match="there are auto, cpu, cuda"):
        resolve_device("gpu")
    with pytest.raises(SettingsError, match="shows . GPUs"):
        resolve_device("cuda:99")


def test_models_that_only_read_are_in_bf16_on_a_gpu_that_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert (resolve_dtype("auto", cpu), resolve_dtype("bf16", cpu), resolve_dtype("fp32", cpu)) == (
        "fp32",
        "bf16",
        "fp32",
    )
    for is_new, wanted in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated, is_new=is_new: is_new and not emulated)
        assert resolve_dtype("auto", cuda) == wanted
        assert resolve_dtype("fp32", cuda) == "fp32"
    assert place_model(model(SMALL), "cpu", "auto").embedding.weight.dtype == torch.float32

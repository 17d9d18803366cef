"""How far from one model to another: the weights between them, and which of them are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.align.interpolation import (
    InterpolationSettings,
    best_candidate,
    interpolate,
    interpolate_models,
    margin,
    matching_names,
)
from herd.align.results import ModelInterpolation
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import DataError, SettingsError
from herd.core.records import Conversation, Message
from herd.core.stage import Work
from herd.core.storage import write_conversations
from herd.generate.engine import Engine, SamplingParams
from herd.judge.verifiers import verifiers
from herd.model.weights import load_transformer
from herd.report.sections.alignment import alignment_section
from herd.run.executors import LocalExecutor
from herd.train.checkpoint import write_checkpoint
from tests.model.test_transformer import SMALL, model
from tests.results import Made
from tests.tokens.test_chat import FORM, TOKENIZER

SHAPE = replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=128)
SHARES = st.lists(
    st.fixed_dictionaries({"known": st.integers(0, 20), "unknown": st.integers(0, 20)}), min_size=1, max_size=6
).map(lambda rows: [{name: count / 20 for name, count in row.items()} for row in rows])
TARGETS = st.dictionaries(st.sampled_from(("known", "unknown")), st.floats(0, 1))


@given(SHARES, TARGETS)
def test_no_candidate_is_further_over_its_worst_target_than_the_best(
    candidates: list[dict[str, float]], targets: dict[str, float]
) -> None:
    best = best_candidate(candidates, targets)
    margins = [margin(shares, targets) for shares in candidates]
    assert margins[best] == pytest.approx(max(margins))
    if targets and all(value >= targets[name] for name, value in candidates[best].items() if name in targets):
        assert margins[best] >= 0
    means = [margin(shares, {}) for shares in candidates]
    equals = [number for number in range(len(candidates)) if margins[number] == pytest.approx(max(margins), abs=1e-10)]
    assert means[best] == pytest.approx(max(means[number] for number in equals))
    if not targets:
        assert means[best] == pytest.approx(max(means))


def test_the_worst_source_decides_where_there_are_targets() -> None:
    candidates = [{"known": 1.0, "unknown": 0.5}, {"known": 0.94, "unknown": 0.86}, {"known": 0.90, "unknown": 0.99}]
    assert best_candidate(candidates, {"known": 0.95, "unknown": 0.85}) == 1
    assert best_candidate(candidates, {"unknown": 0.85}) == 2
    assert best_candidate(candidates, {"known": 0.5}) == 0
    assert best_candidate(candidates, {}) == 2
    assert best_candidate(candidates[:1] * 3, {}) == 0  # of equals the first
    assert margin(candidates[0], {"known": 0.95, "unknown": 0.85}) == pytest.approx(-0.35)


@given(st.floats(-1, 2), st.integers(0, 99))
def test_weights_lie_on_the_line_and_at_its_ends_are_those_of_a_model(alpha: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, last = ({name: torch.randn(5, generator=generator) for name in ("a", "b")} for _ in range(2))
    between = interpolate(first, last, alpha, frozenset({"a"}))
    assert torch.allclose(between["a"], first["a"] + alpha * (last["a"] - first["a"]), atol=1e-5)
    assert torch.equal(between["b"], last["b"])
    both = frozenset(first)
    assert all(torch.equal(interpolate(first, last, 0.0, both)[name], first[name]) for name in both)
    assert all(torch.equal(interpolate(first, last, 1.0, both)[name], last[name]) for name in both)


def test_patterns_name_weights() -> None:
    weights = model(SHAPE).state_dict()
    assert matching_names(weights, ()) == frozenset(weights)
    assert matching_names(weights, ("output.*", "norm.*")) == {"output.weight", "norm.weight"}
    assert all(name.startswith("blocks.1.") for name in matching_names(weights, ("blocks.1.*",)))
    with pytest.raises(DataError, match=r"no weight is called 'lm_head\.\*'"):
        matching_names(weights, ("output.*", "lm_head.*"))
    with pytest.raises(SettingsError, match="there is no alpha to try"):
        InterpolationSettings(verifier=verifiers.configure("exact_match"), alphas=())


QUESTIONS = [
    Conversation((Message("user", f"{n}?"), Message("assistant", "7")), id=f"{n}", source="ab"[n % 2]) for n in range(8)
]


def checkpoint(folder: Path, seed: int, **shape: int) -> Checkpoint:
    folder.mkdir()
    write_checkpoint(folder, model(replace(SHAPE, **shape), seed=seed), TOKENIZER, kind="chat")  # type: ignore[arg-type]
    return Checkpoint(folder)


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Checkpoint, Checkpoint]:
    return checkpoint(tmp_path / "first", 0), checkpoint(tmp_path / "last", 1)


def interpolated(
    tmp_path: Path, ends: tuple[Checkpoint, Checkpoint], questions: list[Conversation] = QUESTIONS, **settings: Any
) -> tuple[Work, Checkpoint]:
    for name in ("prompts", "out", "scratch"):
        (tmp_path / name).mkdir()
    write_conversations(tmp_path / "prompts", questions)
    work = Work(tmp_path / "out", tmp_path / "scratch", LocalExecutor(lambda: 1))
    settings = {"verifier": verifiers.configure("exact_match"), "max_tokens": 4} | settings
    prompts = Dialogues(tmp_path / "prompts")
    return work, interpolate_models.body(work, *ends, prompts, settings=InterpolationSettings(**settings))


def test_each_alpha_answers_with_its_own_weights_and_the_best_is_kept(
    tmp_path: Path, ends: tuple[Checkpoint, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[str] = []

    def planted(prompt: Conversation, answer: Message, reference: Message | None) -> bool:
        """Of source a all right at the first two alphas, of b at the last two."""
        answers.append(answer.content)
        alpha = (len(answers) - 1) // len(QUESTIONS)
        return alpha < 2 if prompt.source == "a" else alpha > 0

    monkeypatch.setitem(verifiers._plugins, "planted", planted)
    work, kept = interpolated(
        tmp_path, ends, alphas=(0.0, 1.5, 1.0), parameters=("output.*", "norm.*"), targets={"a": 0.9, "b": 0.8},
        verifier=verifiers.configure("planted"),
    )  # fmt: skip
    result = work.results[ModelInterpolation]
    assert result.alpha == 1.5
    assert result.parameters == 2
    assert [{name: share.value for name, share in row.right.items()} for row in result.models] == [
        {"a": 1.0, "b": 0.0}, {"a": 1.0, "b": 1.0}, {"a": 0.0, "b": 1.0}
    ]  # fmt: skip
    assert result.models[1].right["a"].low == pytest.approx(0.51, abs=0.01)  # Wilson's, of 4 of 4
    assert work.headline == "alpha 1.5 of 3; right: a 100% (target 90%), b 100% (target 80%)"
    first, last, ours = (load_transformer(folder.path).state_dict() for folder in (*ends, kept))
    for name, weight in ours.items():
        if name.split(".")[0] in ("output", "norm"):
            assert torch.allclose(weight, first[name] + 1.5 * (last[name] - first[name]), atol=1e-6)
        else:
            assert torch.equal(weight, last[name])
    # What an engine says that has only ever held these weights.
    prompts = [FORM.encode_prompt(replace(row, messages=row.messages[:1])) for row in QUESTIONS]
    for number, folder in ((1, kept), (2, ends[1])):
        engine = Engine(load_transformer(folder.path), TOKENIZER.stop_token_ids)
        outputs = engine.generate(prompts, SamplingParams(max_tokens=4))
        expected = [FORM.parse_message(output.token_ids).content for output in outputs]
        assert answers[number * 8 : (number + 1) * 8] == expected
    assert answers[:8] != answers[8:16] != answers[16:]
    section = alignment_section([Made(result)])  # type: ignore[list-item]
    assert section is not None
    assert "Alpha 1.5 is kept: its worst margin over the targets (a 90%, b 80%) is the highest." in section.html
    assert "<svg" in section.html


def test_what_cannot_be_compared_is_refused(tmp_path: Path, ends: tuple[Checkpoint, Checkpoint]) -> None:
    with pytest.raises(DataError, match="no prompt is of source 'c', which has a target"):
        interpolated(tmp_path, ends, targets={"a": 0.5, "c": 0.5})
    bare = [*QUESTIONS, Conversation((Message("user", "?"),), source="c")]
    (tmp_path / "unknown").mkdir()
    with pytest.raises(DataError, match="exact_match can say nothing of prompts of source 'c'"):
        interpolated(tmp_path / "unknown", ends, bare, alphas=(1.0,))
    (tmp_path / "shapes").mkdir()
    with pytest.raises(DataError, match="2 models of 2 shapes"):
        interpolated(tmp_path / "shapes", (ends[0], checkpoint(tmp_path / "wide", 2, ffn_dim=96)))

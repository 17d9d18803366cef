"""Row 41: what fine-tuning minimises gives prompts no gradient, however computed; the chat format is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from herd.align import sft as stage
from herd.align.results import FinetuningResult
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues, Tokens
from herd.core.errors import DataError, SettingsError, StoppedError
from herd.core.records import Conversation, Message
from herd.core.stage import Work
from herd.core.storage import write_conversations
from herd.evals.losses import held_out_losses
from herd.model.adapters import LoraSettings, apply_lora
from herd.model.fused import fused_kernels
from herd.model.weights import load_transformer
from herd.run.executors import LocalExecutor
from herd.tokens.shards import SHARD_INDEX_FILE, TokenShards
from herd.train import cross_entropy
from herd.train.batches import IGNORE_INDEX, PADDING_DOCUMENT, Batch
from herd.train.checkpoint import write_checkpoint
from herd.train.log import METRICS_FILE, read_steps
from herd.train.replay import ReplaySettings
from herd.train.results import TrainingResult
from tests.align.ranks import REPLAY, inputs
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import CALL, HELLO, TOKENIZER

SHAPE = replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=256)
MANY = Conversation(
    (
        Message("system", "You help."),
        Message("user", "hello"),
        Message("assistant", "A draft.", train=False),
        Message("user", "there"),
        Message("assistant", "Good."),
        Message("user", "hello there"),
        Message("assistant", "Better."),
    )
)
GIVEN = (HELLO, MANY, CALL, HELLO)
OPEN, CLOSE = "<|start_header_id|>", "<|end_header_id|>\n\n"


@contextmanager
def chunks(name: str) -> Iterator[None]:
    """The loss by one of the ways that a device and a vocabulary choose between."""
    kept = cross_entropy.chunk_function
    if name == "torch":
        cross_entropy.chunk_function = lambda *_: cross_entropy._chunk
    elif name == "compiled":
        cross_entropy.chunk_function = lambda *_: (
            lambda logits, wanted, z, group, slopes: cross_entropy._softmax_grads(logits, wanted, z, slopes)
        )
    try:
        yield
    finally:
        cross_entropy.chunk_function = kept


@pytest.fixture
def handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the stage hands to training: the loss, the batches, the model."""
    for name in ("base", "given", "out", "scratch"):
        (tmp_path / name).mkdir()
    write_checkpoint(tmp_path / "base", model(SHAPE), TOKENIZER, kind="base")
    write_conversations(tmp_path / "given", list(GIVEN))
    found: dict[str, Any] = {}

    def kept(work: Work, started: Any, batches: Any, *, loss: Any, **_: Any) -> list[Any]:
        found.update(model=started.state.model, batches=batches, loss=loss)
        raise StopIteration

    monkeypatch.setattr(stage, "finetune", kept)
    settings = SftSettings(length=200, batch_size=2, epochs=1)
    with pytest.raises(StopIteration):
        work = Work(tmp_path / "out", tmp_path / "scratch", LocalExecutor())
        sft.body(work, Checkpoint(tmp_path / "base"), (Dialogues(tmp_path / "given"),), settings=settings)
    return found


def slopes(given: dict[str, Any], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Of the stage's loss, by the last states [B, T, D], and by every weight."""
    made, states = given["model"], []
    inner = made.hidden_states

    def hidden(*args: Any, **names: Any) -> Tensor:
        states.append(inner(*args, **names))
        return states[0]

    made.hidden_states = hidden
    try:
        loss, _ = given["loss"](made, batch)
    finally:
        del made.hidden_states
    weights = {name: weight for name, weight in made.named_parameters() if weight.requires_grad}
    by_states, *found = torch.autograd.grad(loss, [states[0], *weights.values()])
    return by_states, dict(zip(weights, found, strict=True))


def learnt_places(batch: Batch) -> Tensor:
    """Where the next token is one that fine-tuning learns, told from the written text alone: [B, T]."""
    found = torch.zeros_like(batch.targets_BT, dtype=torch.bool)
    for row in range(len(batch.tokens_BT)):
        for document in batch.documents_BT[row].unique().tolist():
            if document == PADDING_DOCUMENT:
                continue
            places = (batch.documents_BT[row] == document).nonzero().flatten().tolist()
            ids = batch.tokens_BT[row, places].tolist()
            ends = {TOKENIZER.eot_id, TOKENIZER.eom_id}
            # A role ends with its header; what follows, up to and with the end of the turn, is a message.
            role, inside, draft = "", False, False
            for place in range(len(places) - 1):
                shown = TOKENIZER.show(ids[: place + 1])
                if shown.endswith(CLOSE):
                    role, inside = shown.rsplit(OPEN, 1)[1].removesuffix(CLOSE), True
                    first = shown.count(f"{OPEN}assistant") == 1
                    draft = first and "A draft." in TOKENIZER.decode(ids)
                if inside and role == "assistant" and not draft:
                    found[row, places[place]] = True
                if ids[place + 1] in ends:
                    inside = False
            # The last target is the closing token, which is no input.
            found[row, places[-1]] = role == "assistant"
    return found


@pytest.mark.row(41, "gradient")
@pytest.mark.parametrize("way", ["plain", "fused", "torch", "compiled", "adapters", "rows of one"])
def test_prompts_get_no_gradient_from_what_fine_tuning_minimises(
    handed: dict[str, Any], figure: Callable[[str], None], way: str
) -> None:
    batch = handed["batches"].batch(0)
    assert batch.attention_documents is not None  # several conversations a row
    if way == "adapters":
        apply_lora(handed["model"], LoraSettings(rank=2))
    if way == "rows of one":
        batch = apart(batch)
        assert batch.attention_documents is None
    with fused_kernels(handed["model"]) if way == "fused" else nullcontext(), chunks(way):
        by_states, _ = slopes(handed, batch)
        wanted = learnt_places(batch)
        size = by_states.abs().amax(-1)
        outside, inside = float(size[~wanted].max()), float(size[wanted].min())
        # With all tokens as targets it would be seen.
        every = torch.where(batch.documents_BT == PADDING_DOCUMENT, IGNORE_INDEX, batch.tokens_BT.roll(-1, 1))
        unmasked, _ = slopes(handed, replace(batch, targets_BT=every))
    figure(f"{way}: largest slope at a prompt token {outside}, smallest at a learnt one {inside:.1e}")
    assert outside == 0.0
    assert inside > 0.0
    assert float(unmasked.abs().amax(-1)[~wanted].max()) > 0


@pytest.mark.row(41, "gradient")
def test_packed_conversations_give_the_gradient_they_give_alone(
    handed: dict[str, Any], figure: Callable[[str], None]
) -> None:
    batch = handed["batches"].batch(0)
    _, packed = slopes(handed, batch)
    _, alone = slopes(handed, apart(batch))
    most = max(float((packed[name] - alone[name]).abs().max() / alone[name].abs().max()) for name in packed)
    figure(f"slopes packed and apart differ by {most:.1e} of the largest")
    assert most < 1e-4


@pytest.mark.row(41, "format")
def test_fine_tuning_reads_the_chat_format_to_the_byte(handed: dict[str, Any], figure: Callable[[str], None]) -> None:
    def turn(role: str, said: str, end: str = "<|eot_id|>") -> str:
        return f"{OPEN}{role}{CLOSE}{said}{end}"

    hello = turn("system", "You help.") + turn("user", "Hi!") + turn("assistant", "Hello.")
    many = turn("system", "You help.") + turn("user", "hello") + turn("assistant", "A draft.") + turn("user", "there")
    many += turn("assistant", "Good.") + turn("user", "hello there") + turn("assistant", "Better.")
    call = turn("system", "Environment: ipython\nTools: calculator, lookup") + turn("user", "What is 6 times 7?")
    call += turn("assistant", '<|python_tag|>calculator.call(query="6*7")', "<|eom_id|>") + turn("ipython", "42")
    call += turn("assistant", "The result is 42.")
    batch = handed["batches"].batch(0)
    shown = []
    for row in range(len(batch.tokens_BT)):
        for document in sorted(set(batch.documents_BT[row].tolist()) - {PADDING_DOCUMENT}):
            places = batch.documents_BT[row] == document
            last = batch.targets_BT[row][places][-1].item()
            shown.append(TOKENIZER.show([*batch.tokens_BT[row][places].tolist(), last]))
    figure(f"{len(shown)} packed conversations equal to the byte")
    assert sorted(shown) == sorted(f"<|begin_of_text|>{one}" for one in (hello, hello, many, call))


def apart(batch: Batch) -> Batch:
    """The same conversations, a row each."""
    rows = []
    for row in range(len(batch.tokens_BT)):
        for document in sorted(set(batch.documents_BT[row].tolist()) - {PADDING_DOCUMENT}):
            places = batch.documents_BT[row] == document
            rows.append((batch.tokens_BT[row][places], batch.targets_BT[row][places]))
    width = max(len(tokens) for tokens, _ in rows)
    tokens_BT = torch.full((len(rows), width), TOKENIZER.pad_id)
    targets_BT, documents_BT = (torch.full((len(rows), width), value) for value in (IGNORE_INDEX, PADDING_DOCUMENT))
    for number, (tokens, targets) in enumerate(rows):
        tokens_BT[number, : len(tokens)], targets_BT[number, : len(tokens)] = tokens, targets
        documents_BT[number, : len(tokens)] = 0
    return Batch(tokens_BT, targets_BT, documents_BT)


def replayed(folder: Path, replay: ReplaySettings | None, *, tokens: bool = True) -> Work:
    """The stage's work on the inputs in the folder above, in a folder of its own."""
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    (folder / "out").mkdir(exist_ok=True)
    work, root = Work(folder / "out", folder / "scratch", LocalExecutor()), folder.parent
    settings = SftSettings(length=96, batch_size=2, epochs=2, lr=1e-3, replay=replay)
    packed = Tokens(root / "tokens") if tokens else None
    sft.body(work, Checkpoint(root / "base"), (Dialogues(root / "dialogues"),), packed, settings=settings)
    return work


def test_a_model_learns_replayed_documents_and_goes_on_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs(tmp_path)
    whole = replayed(tmp_path / "whole", REPLAY)
    steps = read_steps(whole.out / METRICS_FILE)
    tuning, training = whole.results[FinetuningResult], whole.results[TrainingResult]
    assert tuning.examples == 12  # the others are longer than a row
    assert {"replay/a", "replay/b"} < set(tuning.shares)
    used = training.sources
    assert sum(source.share for source in used.values()) == pytest.approx(REPLAY.share, abs=0.03)
    assert used["b"].tokens == pytest.approx(3 * used["a"].tokens, rel=0.2)
    assert f"beside {used['a'].tokens + used['b'].tokens:,} tokens of pre-training" in whole.headline
    plain = replayed(tmp_path / "plain", None, tokens=False)
    assert len(read_steps(plain.out / METRICS_FILE)) < len(steps)
    assert "beside" not in plain.headline

    shards = TokenShards(tmp_path / "tokens")
    losses = [held_out_losses(load_transformer(work.out), shards, length=96) for work in (plain, whole)]
    assert all(losses[1][name].nats_per_token < losses[0][name].nats_per_token - 0.1 for name in ("a", "b"))

    stop = iter(step.number == len(steps) // 2 for step in steps)
    with monkeypatch.context() as stopping, pytest.raises(StoppedError, match=f"step {len(steps) // 2} is saved"):
        stopping.setattr("herd.train.loop.stop_requested", lambda: next(stop))
        replayed(tmp_path / "halved", REPLAY)
    halved = replayed(tmp_path / "halved", REPLAY)
    assert [step.loss for step in read_steps(halved.out / METRICS_FILE)] == [step.loss for step in steps]
    weights, other = (load_transformer(work.out).state_dict() for work in (whole, halved))
    assert all(torch.equal(weight, other[name]) for name, weight in weights.items())


def test_replay_and_tokens_come_together_and_are_of_the_models_own_tokenizer(tmp_path: Path) -> None:
    inputs(tmp_path)
    with pytest.raises(SettingsError, match="sft has `replay` and no tokens"):
        replayed(tmp_path / "no tokens", REPLAY, tokens=False)
    with pytest.raises(SettingsError, match="sft has tokens and no `replay` in its settings"):
        replayed(tmp_path / "no share", None)
    with pytest.raises(SettingsError, match="names 'c', which the tokens lack; valid: a, b"):
        replayed(tmp_path / "no source", ReplaySettings(share=0.1, mixture_weights={"c": 1.0}))
    index = tmp_path / "tokens" / SHARD_INDEX_FILE
    index.write_text(index.read_text().replace(TOKENIZER.fingerprint, "of another tokenizer"))
    with pytest.raises(DataError, match="that is not the model's own; pack the corpus with the model"):
        replayed(tmp_path / "other", REPLAY)

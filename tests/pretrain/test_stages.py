"""The stages of pre-training, by what they leave behind in a small run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from herd.core.artifacts import Artifact, Checkpoint, Tokenizer, Tokens
from herd.core.settings import dump
from herd.core.stage import Work
from herd.evals.haystack import DEPTHS
from herd.model.sizes import Size
from herd.model.transformer import Transformer, initialize
from herd.model.weights import load_transformer
from herd.pretrain.anneal import AnnealSettings, anneal
from herd.pretrain.results import ContextExtension
from herd.report.stages import check_criteria
from herd.report.verdicts import Criteria
from herd.run.executors import LocalExecutor
from herd.serve.folders import artifacts_in
from herd.tokens.shards import TokenShards
from herd.train.batches import TokenBatches, held_out_batches
from herd.train.checkpoint import TrainState
from herd.train.log import METRICS_FILE, read_steps
from herd.train.loop import single_device, train_steps
from herd.train.objectives import next_token_loss
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.results import CheckpointAverage, TrainingResult
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase, lr_schedule


def made(run: Path, stage: str) -> list[Artifact]:
    return [one for one in artifacts_in(run) if one.metadata["stage"] == stage]


SMALL = Size(dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=160)


def inputs(run: Path) -> dict[str, Artifact]:
    """What pre-training in a made run began with."""
    (tokens,), (tokenizer,) = made(run, "pack"), made(run, "train_tokenizer")
    return {"tokens": Tokens(tokens.path), "init_from": Tokenizer(tokenizer.path)}


def work(folder: Path) -> Work:
    for one in (folder / "out", folder / "scratch"):
        one.mkdir(parents=True)
    return Work(folder / "out", folder / "scratch", LocalExecutor())


@pytest.mark.row(33, "switch")
def test_the_batch_doubles_twice_without_a_jump_of_the_loss(smoke_run: Path, figure) -> None:
    """The mix stays and the loss is always that of one held-out text, so that neither can hide a jump."""
    (packed,) = made(smoke_run, "pack")
    shards = TokenShards(packed.path)
    phases = tuple(
        BatchPhase(until=until, batch_tokens=tokens) for until, tokens in ((0.25, 512), (0.55, 1024), (1.0, 2048))
    )
    ramp = BatchRamp(phases, 160_000, 64)
    batches = TokenBatches(
        shards, (MixPhase(until=1.0, mixture_weights={"web": 0.5, "facts": 0.5}),), ramp, 0, shards.pad_id
    )
    model = Transformer(SMALL.shape(vocab_size=shards.vocab_size, max_seq_len=64))
    initialize(model, std=0.06, layers=2, generator=torch.Generator().manual_seed(0))
    state = TrainState(model, adamw(model, AdamWSettings()))
    held_out = [
        batch for name in ("web", "facts") for batch in held_out_batches(shards, name, 64, shards.pad_id, 24, size=24)
    ]

    def loss() -> float:
        with torch.inference_mode():
            return sum(float(next_token_loss(model, one)[0]) for one in held_out) / sum(
                one.loss_denominator for one in held_out
            )

    losses, weights = [loss()], []
    rate = lr_schedule("cosine", ramp.steps, lr=3e-3, warmup=0.1, min_lr_ratio=0.1)
    for step in train_steps(
        state,
        batches,
        loss_fn=next_token_loss,
        lr_schedule=rate,
        max_grad_norm=1.0,
        strategy=single_device(state, LocalExecutor()),
    ):
        losses.append(loss())
        weights.append(step.loss_denominator)
    switches = [n for n in range(1, len(weights)) if weights[n] > 1.5 * weights[n - 1]]
    assert len(switches) == 2
    # Against the last loss before the first larger batch: the highest of the steps that follow.
    jumps = [max(losses[at + 1 : at + 1 + _SEEN]) - losses[at] for at in switches]
    figure(", ".join(f"{jump:+.3f}" for jump in jumps) + " nats at most where the batch doubles, the mix unchanged")
    assert max(jumps) < 0.05
    assert losses[-1] < losses[0] - 1  # it learns


_SEEN = 10  # steps after a switch


@pytest.mark.row(34, "shares")
def test_tokens_by_source_are_logged_and_stand_on_every_card(smoke_run: Path, figure) -> None:
    worst, furthest = 0.0, 0.0
    trained = [one for name in ("pretrain", "extend_context", "anneal") for one in made(smoke_run, name)]
    for one in trained:
        settings, taken = one.metadata["settings"]["settings"], read_steps(one.path / METRICS_FILE)
        mix, start, wanted = (
            settings.get("mix") or [{"until": 1.0, "mixture_weights": settings["mixture_weights"]}],
            0.0,
            Counter(),
        )
        for phase in mix:
            wanted.update({name: (phase["until"] - start) * share for name, share in phase["mixture_weights"].items()})
            start = phase["until"]
        sources = one.result(TrainingResult).sources
        for step in taken:
            assert sum(v for name, v in step.metrics.items() if name.startswith("tokens/")) == step.loss_denominator
        for name, row in sources.items():
            assert row.tokens == sum(step.metrics.get(f"tokens/{name}", 0) for step in taken)
        total = sum(row.tokens for row in sources.values())
        off = max(abs(sources[name].tokens - share * total) for name, share in wanted.items())
        furthest = max(furthest, off / one.result(TrainingResult).length)
        if total > 15_000:
            worst = max(worst, off / total)
    figure(f"{len(trained)} stages: within {worst:.2%} where a row is little, at most {furthest:.2f} rows off")
    assert worst < 0.005
    assert furthest < 1.0  # a source is taken by whole rows


@pytest.mark.row(37, "loss")
def test_an_average_is_no_worse_than_its_members(smoke_run: Path, figure) -> None:
    (annealed,) = made(smoke_run, "anneal")
    members = annealed.result(CheckpointAverage).losses
    mean = sum(members) / len(members)
    loss = annealed.result(TrainingResult).loss
    figure(f"{loss:.4f} for {mean:.4f}")
    assert len(members) == 4
    assert loss <= mean + 1e-4


@pytest.mark.row(35, "gate")
def test_a_failed_gate_leaves_the_context_and_says_so(smoke_run: Path) -> None:
    failed, grown = sorted(made(smoke_run, "extend_context"), key=lambda one: one.result(ContextExtension).target)
    before, after = (load_transformer(one.path).shape for one in (failed, grown))
    # Neither context nor positions changed, although a longer one and another theta were asked for.
    base = next(one for one in made(smoke_run, "pretrain") if one.result(TrainingResult).num_params == 67_744)
    assert before == load_transformer(base.path).shape
    assert before.max_seq_len == 64
    assert failed.metadata["settings"]["settings"]["rope_theta"] == 2e6 != before.rope_theta
    extension, grew = (one.result(ContextExtension) for one in (failed, grown))
    assert (extension.target, extension.length, extension.switched) == (96, 64, False)
    assert extension.switch.min_recall == 0.95
    assert not extension.switch.passed
    assert extension.switch.missed
    assert failed.headline.startswith("context stays 64, not 96: gate failed: ")
    # The next stage begins at the length that was learnt, and asks every cell up to it.
    assert {(cell.length, cell.depth) for cell in grew.needle_before} == {(64, d) for d in DEPTHS}
    assert (grew.length, grew.switched, after.max_seq_len) == (192, True, 192)
    report = check_criteria([failed, grown], [], Criteria(needle_model="base"))
    assert [one.claim for one in report] == [f"Needles are found at {length} tokens" for length in (96, 192)]
    assert not any(one.holds for one in report)


def test_annealing_reads_no_further_than_the_context(smoke_run: Path, tmp_path: Path) -> None:
    short = next(one for one in made(smoke_run, "extend_context") if one.result(ContextExtension).target == 96)
    settings = AnnealSettings(
        tokens=1024, length=192, batch_tokens=384, lr=1e-3, mixture_weights={"facts": 1.0}, averaged_checkpoints=1
    )
    here = work(tmp_path)
    anneal.run(
        here, {"model": Checkpoint(short.path), "tokens": inputs(smoke_run)["tokens"]}, {"settings": dump(settings)}
    )
    assert here.results[TrainingResult].length == 64
    assert "rows of 64, the context, not of 192" in here.headline
    assert load_transformer(here.out).shape.max_seq_len == 64


def test_losses_of_a_chain_start_where_the_stage_before_ended(smoke_run: Path) -> None:
    for one in made(smoke_run, "pretrain"):
        steps = read_steps(one.path / METRICS_FILE)
        assert [step.number for step in steps] == list(range(1, len(steps) + 1))
        assert steps[-1].lr < max(step.lr for step in steps)

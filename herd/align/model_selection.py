"""Round against round: who answers better, by how much, and which model is kept (4.1.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np

from herd.align.loading import copy_model_files
from herd.align.results import RoundComparison, RoundScore
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.registry import PluginConfig
from herd.core.settings import PositiveInt
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations
from herd.evals.intervals import bootstrap_mean, wilson
from herd.generate.engine import Engine, ProgressCallback, SamplingParams
from herd.judge.verifiers import verifiers
from herd.model.collectives import RankGroup
from herd.model.devices import place_model
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer

VerifierChoice = Annotated[PluginConfig, verifiers.choice]


@stage(paper="4.1.6", version=1, gpu=True, data_parallel=True)
def select_best_model(
    work: Work,
    models: tuple[Checkpoint, ...],
    prompts: Dialogues,
    *,
    verifier: VerifierChoice,
    max_tokens: PositiveInt = 64,
) -> Checkpoint:
    """Of `models`, in the order of their rounds, the one that answers most of `prompts` right, of equals the earlier;
    and each one's win rate over the one before.

    Prompts must be held out: a model chosen by what it learnt from is chosen by hope. Those that end with an answer
    have their known one there. Raises DataError for prompts of which nothing can be found out.
    """
    questions = [_split_reference(conversation) for conversation in read_conversations(prompts.path)]
    check, ranks = verifiers.make(verifier), RankGroup.of(work)
    outcomes, lengths = [], []
    for number, model in enumerate(models):
        report = work.progress_of_part(number, len(models), "models")
        report(0, 1)
        answers, tokens = _answers(work, model, [prompt for prompt, _ in questions], max_tokens, ranks, report)
        answered = [(prompt, answer, reference) for (prompt, reference), answer in zip(questions, answers, strict=True)]
        verdicts = ranks.map(answered, lambda row: check(*row))
        outcomes.append([verdict for verdict in verdicts if verdict is not None])
        lengths.append(tokens)
    if not outcomes or not outcomes[0]:
        raise DataError(
            f"{verifier.name} can say nothing of any of {len(questions)} prompts; give ones whose answers are known"
        )
    rows = win_rates(outcomes, lengths)
    best = max(range(len(models)), key=lambda number: (rows[number].right.value, -number))
    if not ranks.first:  # one is enough to write
        return Checkpoint(work.out)
    copy_model_files(models[best].path, work.out)
    work.record(RoundComparison(tuple(rows), best))
    won = sum(row.win_rate is not None and row.win_rate.low > 0.5 for row in rows)
    right_by_round = ", ".join(f"{row.right.value:.0%}" for row in rows)
    work.headline = f"right {right_by_round}; {won} of {len(rows) - 1} beat the one before; number {best + 1} is kept"
    return Checkpoint(work.out)


def win_rates(outcomes: Sequence[Sequence[bool]], lengths: Sequence[float]) -> list[RoundScore]:
    """For every model how many are right, the mean tokens of an answer, and its win rate over the one before with a
    bootstrap interval: the share of prompts that only it has right, and half of those where both do or neither does."""
    rows: list[RoundScore] = []
    for number, now in enumerate(outcomes):
        win_rate = None
        if number:
            points = (1 + np.array(now, float) - np.array(outcomes[number - 1], float)) / 2
            win_rate = bootstrap_mean(points)
        rows.append(RoundScore(wilson(sum(now), len(now)), lengths[number], win_rate))
    return rows


def _split_reference(conversation: Conversation) -> tuple[Conversation, Message | None]:
    """A prompt, and its known answer where it has one."""
    if conversation.last.role != "assistant":
        return conversation, None
    return replace(conversation, messages=conversation.messages[:-1]), conversation.last


def _answers(
    work: Work, model: Checkpoint, prompts: Sequence[Conversation], max_tokens: int, ranks: RankGroup,
    report: ProgressCallback,
) -> tuple[list[Message], float]:  # fmt: skip
    """Greedy answers, and their mean length in tokens."""
    tokenizer = TextTokenizer.load(model.path)
    chat_template = chat_template_of(tokenizer)
    network = place_model(load_transformer(model.path), work.device, work.dtype)
    engine = Engine(network, tokenizer.stop_token_ids, ranks=ranks)
    ids = [chat_template.encode_prompt(prompt) for prompt in prompts]
    outputs = engine.generate(
        ids,
        SamplingParams(temperature=0.0, max_tokens=max_tokens),
        workers=work.executor.workers,
        report=report,
    )
    return [chat_template.parse_message(output.token_ids) for output in outputs], float(
        np.mean([len(output.token_ids) for output in outputs])
    )

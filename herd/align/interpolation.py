"""How far from one checkpoint to another: the weights between two models, or beyond the last (4.1.5)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from typing import Annotated

import torch
from torch import Tensor

from herd.align.average import load_mergeable
from herd.align.model_selection import greedy_answers, split_reference
from herd.align.results import InterpolatedModel, ModelInterpolation
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import DataError, SettingsError
from herd.core.records import Conversation, Message
from herd.core.registry import PluginConfig
from herd.core.settings import PositiveInt, Share, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations
from herd.evals.intervals import Interval, wilson
from herd.generate.engine import Engine
from herd.judge.verifiers import verifiers
from herd.model.collectives import RankGroup
from herd.model.devices import place_model
from herd.tokens.jinja import chat_template_of
from herd.train.checkpoint import kind_of, write_checkpoint


@settings
class InterpolationSettings:
    """alphas: 0 is the first model and 1 the last; above 1 is beyond it. parameters: patterns, such as `blocks.*`, of
    the names of weights that are interpolated, all when empty; the others are the last model's. targets: by source the
    share of prompts that has to be answered rightly. max_tokens: of an answer."""

    alphas: tuple[float, ...] = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
    parameters: tuple[str, ...] = ()
    targets: dict[str, Share] = field(default_factory=dict)
    verifier: Annotated[PluginConfig, verifiers.choice]
    max_tokens: PositiveInt = 64

    def __post_init__(self) -> None:
        if not self.alphas:
            raise SettingsError("there is no alpha to try; name some, such as 0.5 and 1")


@stage(paper="4.1.5", version=1, gpu=True, data_parallel=True)
def interpolate_models(
    work: Work, first: Checkpoint, last: Checkpoint, prompts: Dialogues, *, settings: InterpolationSettings
) -> Checkpoint:
    """Of the models first + alpha * (last - first), for each of `alphas`, the one that answers `prompts` best: whose
    lowest margin over `targets` is the highest; without targets, whose mean share right over all sources is.

    Prompts must be held out from the training of both models, since alpha is fitted to them, and figures of the chosen
    model have to be taken on others again. Those that end with an answer have their known one there; each is answered
    greedily. Source: Wortsman et al. 2022 (Robust fine-tuning of zero-shot models), section 3; beyond 1: Ilharco et al.
    2023 (Editing Models with Task Arithmetic). Raises DataError when shapes or vocabularies differ, and for a source of
    which nothing can be found out.
    """
    (start, end), tokenizer = load_mergeable((first, last))
    members, ranks = (start.state_dict(), end.state_dict()), RankGroup.of(work)
    names = matching_names(members[1], settings.parameters)
    questions = [split_reference(conversation) for conversation in read_conversations(prompts.path)]
    if absent := settings.targets.keys() - {prompt.source for prompt, _ in questions}:
        raise DataError(f"no prompt is of source {min(absent)!r}, which has a target; give prompts of it")
    network = place_model(copy.deepcopy(end), work.device, work.dtype)
    engine = Engine(network, tokenizer.stop_token_ids, ranks=ranks)
    candidates = []
    for number, alpha in enumerate(settings.alphas):
        report = work.progress_of_part(number, len(settings.alphas), "alphas")
        report(0, 1)
        network.load_state_dict(interpolate(*members, alpha, names))
        answers, tokens = greedy_answers(
            engine, chat_template_of(tokenizer), [prompt for prompt, _ in questions], settings.max_tokens,
            workers=work.executor.workers, report=report,
        )  # fmt: skip
        right = right_by_source(questions, answers, settings.verifier, ranks)
        candidates.append(InterpolatedModel(alpha, right, tokens))
    best = best_candidate([shares_of(candidate) for candidate in candidates], settings.targets)
    if not ranks.first:  # one is enough to write
        return Checkpoint(work.out)
    end.load_state_dict(interpolate(*members, settings.alphas[best], names))
    write_checkpoint(work.out, end, tokenizer, kind=kind_of(last.path))
    work.record(ModelInterpolation(tuple(candidates), settings.alphas[best], settings.targets, len(names)))
    shares = [
        f"{source} {share:.0%}" + (f" (target {settings.targets[source]:.0%})" if source in settings.targets else "")
        for source, share in shares_of(candidates[best]).items()
    ]
    work.headline = f"alpha {settings.alphas[best]:g} of {len(candidates)}; right: {', '.join(shares)}"
    return Checkpoint(work.out)


def right_by_source(
    questions: Sequence[tuple[Conversation, Message | None]],
    answers: Sequence[Message],
    verifier: PluginConfig,
    ranks: RankGroup,
) -> dict[str, Interval]:
    """The share of each source's prompts that is answered rightly, of those of which that can be known. Raises
    DataError for a source of which it cannot be known of any."""
    check = verifiers.make(verifier)
    rows = [(prompt, answer, reference) for (prompt, reference), answer in zip(questions, answers, strict=True)]
    verdicts: dict[str, list[bool]] = {prompt.source: [] for prompt, _ in questions}
    for (prompt, _), verdict in zip(questions, ranks.map(rows, lambda row: check(*row)), strict=True):
        if verdict is not None:
            verdicts[prompt.source].append(verdict)
    for source, judged in verdicts.items():
        if not judged:
            raise DataError(
                f"{verifier.name} can say nothing of prompts of source {source!r}; give some whose answers are known"
            )
    return {source: wilson(sum(judged), len(judged)) for source, judged in sorted(verdicts.items())}


def shares_of(candidate: InterpolatedModel) -> dict[str, float]:
    """The share right of each source."""
    return {source: interval.value for source, interval in candidate.right.items()}


def interpolate(
    first: Mapping[str, Tensor], last: Mapping[str, Tensor], alpha: float, names: frozenset[str]
) -> dict[str, Tensor]:
    """first + alpha * (last - first), in fp32, of the weights called `names`; the others are the last's. Exact at 0 and
    at 1."""
    return {
        name: torch.lerp(first[name].float(), weight.float(), alpha) if name in names else weight.float()
        for name, weight in last.items()
    }


def matching_names(weights: Mapping[str, Tensor], patterns: Sequence[str]) -> frozenset[str]:
    """The names that one of the patterns matches; all where there is no pattern. Raises DataError for a pattern that
    matches none."""
    if not patterns:
        return frozenset(weights)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in weights):
            raise DataError(f"no weight is called {pattern!r}; name some of {', '.join(list(weights)[:6])}, ...")
    return frozenset(name for name in weights if any(fnmatchcase(name, pattern) for pattern in patterns))


def margin(shares: Mapping[str, float], targets: Mapping[str, float]) -> float:
    """By how much the worst source is over its target; without targets the mean share right over all sources."""
    if not targets:
        return sum(shares.values()) / len(shares)
    return min(shares[source] - target for source, target in targets.items())


def best_candidate(candidates: Sequence[Mapping[str, float]], targets: Mapping[str, float]) -> int:
    """The number of the one with the highest margin; of equals that with the higher mean share, then the first."""

    def rank(number: int) -> tuple[float, float, int]:
        # Rounded: two margins that differ by an error of floating point are the same.
        shares = candidates[number]
        return round(margin(shares, targets), 9), round(margin(shares, {}), 9), -number

    return max(range(len(candidates)), key=rank)

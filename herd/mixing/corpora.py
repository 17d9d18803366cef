"""A fixed way of training, with the curation exchanged: what a model learns tells which documents were worth it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

import numpy as np

from herd.core.artifacts import Scores, Tokenizer, Tokens
from herd.core.errors import DataError
from herd.core.registry import PluginConfig
from herd.core.settings import settings
from herd.core.stage import Work, stage
from herd.evals.harness import gold_nll
from herd.evals.intervals import student_mean
from herd.evals.losses import held_out_losses
from herd.evals.results import CurationAudit
from herd.evals.tasks import tasks
from herd.generate.engine import Engine
from herd.mixing.comparing import mean_of_rows
from herd.mixing.problem import MixProblem, ProxySettings, repetition_warnings
from herd.mixing.proxies import stratified_batches, train_proxy
from herd.mixing.results import CorpusComparison, CorpusRank, CorpusScore
from herd.tokens.shards import TokenShards
from herd.tokens.tokenizer import TextTokenizer

TaskUse = Annotated[PluginConfig, tasks.choice]


@settings
class CorpusTrial:
    """run: the training, the same for every corpus. sources: whose held-out text is judged. tasks: what is asked; of
    each, the right answer's nats a character. max_epochs: a corpus that would be read more often is said to be."""

    run: ProxySettings
    sources: tuple[str, ...]
    tasks: tuple[TaskUse, ...]
    max_epochs: float = 4.0


@stage(paper="3.1.1", version=3, gpu=True)
def try_corpus(
    work: Work,
    tokens: Tokens,
    eval_tokens: Tokens,
    vocabulary: Tokenizer,
    *,
    label: str,
    trial: CorpusTrial,
    seed: int = 0,
) -> Scores:
    """What a model learns from a corpus, its documents read in proportion; judged on text and questions that are the
    same for all corpora.

    eval_tokens: tokens by the same vocabulary; what it holds out, every corpus holds out too, since equal texts are.
    Source: Li et al. 2024 (DataComp-LM), 3: fixed training, exchanged data, equal tokens.
    """
    shards, run = TokenShards(tokens.path), trial.run
    sources = tuple(name for name in shards.sources if shards.index["sources"][name]["train"]["tokens"])
    problem = MixProblem(
        shards,
        sources,
        run,
        seed,
        work.executor,
        work.device,
        on_progress=lambda progress: work.progress(progress, 1.0),
    )
    weights = problem.named(problem.proportions)
    model, curve = train_proxy(problem, run, stratified_batches(problem, run, weights), points=0)
    tokenizer = TextTokenizer.load(vocabulary.path)
    losses = held_out_losses(
        model, TokenShards(eval_tokens.path), length=run.length, sources=trial.sources, workers=work.executor.workers
    )
    if missing := set(trial.sources) - set(losses):
        raise DataError(f"the text to judge by holds nothing of {', '.join(sorted(missing))}; name other sources")
    engine = Engine(model, tokenizer.stop_token_ids)
    result = CorpusScore(
        label=label,
        seed=seed,
        shares=weights,
        tokens=sum(shards.index["sources"][name]["train"]["tokens"] for name in sources),
        trained_on=sum(curve.tokens_read.values()),
        repeated=tuple(repetition_warnings(shards, weights, run.tokens, trial.max_epochs)),
        losses={name: loss.nats_per_token for name, loss in losses.items()},
        answers={use.name: gold_nll(engine, tokenizer, tasks.make(use)()) for use in trial.tasks},
        flops=problem.flops(curve.rows * run.length),
    )
    (work.out / "scores.json").write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    work.record(result)
    answers, nats = _mean(result.answers), _mean(result.losses)
    work.headline = f"{label}: answers {answers:.4f} nats a character, text {nats:.4f} a token"
    return Scores(work.out)


@stage(paper="3.1.1", version=1)
def compare_corpora(
    work: Work, trials: tuple[Scores, ...], audits: tuple[Scores, ...], *, labels: tuple[str, ...], control: str
) -> Scores:
    """Corpora ranked by what models learnt from each, and beside it how far their curation agrees with labels.

    audits: one for each of `labels`. Source: Li et al. 2024 (DataComp-LM), 4 and appendix N, which found no relation
    between the two.
    """
    rows = rank_corpora([trial.result(CorpusScore) for trial in trials], control=control)
    agreement = {label: audit.result(CurationAudit).agreement for label, audit in zip(labels, audits, strict=True)}
    correlation, by_chance = relation([row.answers.value for row in rows], [agreement[row.label] for row in rows])
    rows = [replace(row, agreement=agreement[row.label]) for row in rows]
    result = CorpusComparison(control, tuple(rows), correlation, by_chance)
    (work.out / "scores.json").write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    work.record(result)
    best = rows[0]
    work.headline = (
        f"{best.label} teaches most: answers {best.answers.value:.4f} nats a character, best of "
        f"{best.best} of {best.seeds} seeds; rank correlation with labels {correlation:+.2f}"
    )
    return Scores(work.out)


def rank_corpora(trials: Sequence[CorpusScore], *, control: str) -> list[CorpusRank]:
    """A row for every corpus, that with the likeliest right answers first: means over seeds with Student's 95 %
    intervals, gains over `control` paired by seed, and in how many seeds it was the best of all.

    Raises DataError when the corpora were not tried with the same seeds.
    """
    by_label: dict[str, dict[int, CorpusScore]] = {}
    for trial in trials:
        by_label.setdefault(trial.label, {})[trial.seed] = trial
    if control not in by_label:
        raise DataError(f"no corpus is called {control!r}; the control must be one of {', '.join(by_label)}")
    seeds = set(by_label[control])
    for label, runs in by_label.items():
        if set(runs) != seeds:
            raise DataError(f"{label} was tried with other seeds than {control}; give all corpora the same")
    answers: dict[str, dict[int, float]] = {}
    losses: dict[str, dict[int, float]] = {}
    for label, runs in by_label.items():
        answers[label] = {seed: _mean(runs[seed].answers) for seed in seeds}
        losses[label] = {seed: _mean(runs[seed].losses) for seed in seeds}
    best = Counter(min(answers, key=lambda name: answers[name][seed]) for seed in seeds)
    rows = []
    for label, runs in by_label.items():
        first, *_ = runs.values()
        rows.append(
            CorpusRank(
                label=label,
                seeds=len(seeds),
                tokens=first.tokens,
                repeated=first.repeated,
                answers=student_mean(list(answers[label].values())),
                losses=student_mean(list(losses[label].values())),
                gain=student_mean([answers[control][seed] - answers[label][seed] for seed in seeds]),
                gain_in_text=student_mean([losses[control][seed] - losses[label][seed] for seed in seeds]),
                best=best[label],
                by_task=mean_of_rows([trial.answers for trial in runs.values()]),
                by_source=mean_of_rows([trial.losses for trial in runs.values()]),
            )
        )
    return sorted(rows, key=lambda row: row.answers.value)


def relation(nats: Sequence[float], agreement: Sequence[float]) -> tuple[float, float]:
    """Spearman's rank correlation of what was learnt and agreement with labels, above zero where both go together, with
    the chance of one as far from zero if there were no relation (all orders counted alike).

    Raises DataError for fewer than three corpora.
    """
    from scipy.stats import spearmanr  # takes most of a second, which planning has no use for

    if len(nats) < 3:
        raise DataError(f"{len(nats)} corpora have no order to compare; try five or more")
    correlation: Any = spearmanr([-value for value in nats], agreement)
    rng = np.random.default_rng(0)
    orders = [float(spearmanr(nats, rng.permutation(agreement)).statistic) for _ in range(2000)]  # pyright: ignore
    far = float(np.mean([abs(value) >= abs(correlation.statistic) - 1e-9 for value in orders]))
    return float(correlation.statistic), far


def _mean(row: Mapping[str, float]) -> float:
    return sum(row.values()) / len(row)

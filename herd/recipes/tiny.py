"""The whole recipe on a laptop: raw pages to a chat model and a report, in minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from herd.align.average import average
from herd.align.dpo import DpoSettings, dpo
from herd.align.people import Asked, annotate, ask, demonstrate
from herd.align.reward import RewardSettings, train_reward
from herd.align.select import SelectSettings, select
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues, Law, Preferences, Report, Scores, Tokenizer, Tokens
from herd.core.errors import SettingsError, did_you_mean
from herd.core.recipe import load_recipe
from herd.core.registry import Use
from herd.core.settings import Count, Positive, Share, settings
from herd.corpus.stages import audit
from herd.evals.stages import MeasureSettings, measure
from herd.generate.engine import Sampling
from herd.judge.verifiers import verifiers
from herd.pretrain.anneal import AnnealSettings, anneal
from herd.pretrain.initial import PretrainSettings, pretrain
from herd.pretrain.long_context import LengthSettings, extend_context
from herd.recipes import recipes
from herd.recipes.data import DataSettings, Prepared, prepared
from herd.report.stages import write_report
from herd.report.verdicts import Bars
from herd.scaling.budget import LadderSettings, rungs
from herd.scaling.stages import fit_law
from herd.tokens.tokenizer import CONTROL_TOKENS
from herd.train.layout import Layout
from herd.train.schedule import BatchPhase, MixPhase


@settings
class Turn:
    """One round of alignment. ranked: prompts, by kind, whose answers people rank. prompts: those whose best
    of `tries` answers is learnt from. seeds: a DPO run for each; the round's model is their average."""

    ranked: dict[str, Count]
    prompts: dict[str, Count]
    tries: Positive = 10
    seeds: tuple[int, ...] = (0, 1)


@settings
class TinySettings(DataSettings):
    """demonstrations: dialogues, by kind. curt_share: of the demonstrated sums that are requested, how many leave the
    steps out."""

    title: str
    ladder: LadderSettings
    base: PretrainSettings
    longer: tuple[LengthSettings, ...]
    anneal: AnnealSettings
    demonstrations: dict[str, Count]
    curt_share: Share
    reward: RewardSettings
    sampling: Sampling
    sft: SftSettings
    dpo: DpoSettings
    rounds: tuple[Turn, ...]
    measure: MeasureSettings
    bars: Bars

    def __post_init__(self) -> None:
        _check_mix(self)


@recipes.add
def tiny(s: TinySettings) -> Report:
    """Raw pages to a chat model of a million weights and a report, in minutes on two CPU cores."""
    data = prepared(s)
    tokens, vocabulary = data.tokens, data.vocabulary
    law = scaling_law(tokens, vocabulary, s)
    base = pretrained(data, s)
    scores = (measured(base, tokens, "base", s), *aligned(base, tokens, s))
    return write_report(scores, (audit(data.corpus, data.crawls), law), title=s.title, bars=s.bars)


@dataclass(frozen=True)
class Ground:
    """What studies of alignment stand on, planned: a recipe's numbers, its tokens, and its base model."""

    numbers: TinySettings
    tokens: Tokens
    base: Checkpoint

    @classmethod
    def of(cls, recipe: str) -> Ground:
        """Raises SettingsError for a recipe that is not of `tiny`'s kind."""
        numbers = load_recipe(recipe, recipes).settings
        if not isinstance(numbers, TinySettings):
            raise SettingsError(f"{recipe} has no base model to align; name `tiny` or a recipe with its wiring")
        data = prepared(numbers)
        return cls(numbers, data.tokens, pretrained(data, numbers))

    @property
    def gold(self) -> Use:
        """What knows whether an answer is right."""
        return verifiers.use("true_in_world", world=self.numbers.world)

    def shown(self, counts: dict[str, int], curt_share: float, purpose: str = "demonstrations") -> Dialogues:
        """Demonstrations."""
        asked = Asked(counts=counts, purpose=purpose)
        return demonstrate(world=self.numbers.world, asked=asked, curt_share=curt_share)


def pretrained(data: Prepared, s: TinySettings) -> Checkpoint:
    """The base model: pre-trained, made to read longer rows, annealed."""
    base = pretrain(data.tokens, data.vocabulary, settings=s.base)
    for longer in s.longer:
        base = extend_context(base, data.tokens, settings=longer)
    return anneal(base, data.tokens, settings=s.anneal)


def scaling_law(tokens: Tokens, vocabulary: Tokenizer, s: TinySettings) -> Law:
    """The law that a ladder of small models gives, asked about the base run."""
    ladder, rows = s.ladder, s.pairs + len(CONTROL_TOKENS)
    models = tuple(
        pretrain(
            tokens,
            vocabulary,
            settings=replace(
                s.base,
                size=rung.size,
                tokens=rung.tokens,
                length=ladder.length,
                batch=(BatchPhase(until=1.0, batch_tokens=ladder.batch_tokens),),
                mix=(MixPhase(until=1.0, shares=ladder.shares),),
                lr=ladder.lr,
                min_lr_ratio=ladder.min_lr_ratio,
                layout=Layout(),  # models so small are not spread
            ),
        )
        for rung in rungs(ladder, vocabulary=rows)
    )
    shape = s.base.size.shape(vocabulary=rows, context=s.base.length)
    flops = s.base.tokens * shape.training_flops(s.base.length)
    return fit_law(models, budgets=ladder.budgets, target_flops=flops)


def aligned(base: Checkpoint, tokens: Tokens, s: TinySettings) -> list[Scores]:
    """Round after round of alignment (4.1.6), each from the last round's model; what each model can do."""
    shown = demonstrate(
        world=s.world, asked=Asked(counts=s.demonstrations, purpose="demonstrations"), curt_share=s.curt_share
    )
    chat = sft(base, (shown,), settings=s.sft)
    scores = [measured(chat, tokens, "SFT", s)]
    preferences: tuple[Preferences, ...] = ()
    gold = verifiers.use("true_in_world", world=s.world)
    for number, turn in enumerate(s.rounds, start=1):
        to_rank = ask(world=s.world, asked=Asked(counts=turn.ranked, purpose=f"ranked {number}"))
        preferences += (annotate((chat,), to_rank, world=s.world, sampling=s.sampling),)
        judge = train_reward(base, preferences, settings=s.reward)
        prompts = ask(world=s.world, asked=Asked(counts=turn.prompts, purpose=f"prompts {number}"))
        best = select(judge, chat, prompts, settings=SelectSettings(sampling=s.sampling, tries=turn.tries, gold=gold))
        tuned = sft(base, (shown, best), settings=s.sft)
        chat = average(tuple(dpo(tuned, preferences, settings=replace(s.dpo, seed=seed)) for seed in turn.seeds))
        scores += [measured(tuned, tokens, f"SFT {number}", s), measured(chat, tokens, f"DPO {number}", s)]
    return scores


def measured(model: Checkpoint, tokens: Tokens, label: str, s: TinySettings) -> Scores:
    return measure(model, tokens, label=label, world=s.world, settings=s.measure)


def _check_mix(s: TinySettings) -> None:
    """Raises SettingsError when a mix names a source that no page will have."""
    known = s.known
    mixes = {"ladder.shares": s.ladder.shares, "anneal.shares": s.anneal.shares}
    mixes |= {f"base.mix.{number}.shares": phase.shares for number, phase in enumerate(s.base.mix)}
    mixes |= {f"longer.{number}.shares": longer.shares for number, longer in enumerate(s.longer)}
    for field, shares in mixes.items():
        for name in (name for name, share in shares.items() if share > 0 and name not in known):
            hint = did_you_mean(name, known)
            raise SettingsError(f"{field}: no page is of source {name!r}; give it the share 0 or name another{hint}")

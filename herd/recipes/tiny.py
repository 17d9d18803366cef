"""The whole recipe on a laptop: raw pages to a chat model and a report, in minutes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from herd.align.average import average_models
from herd.align.dpo import DpoSettings, dpo
from herd.align.interpolation import InterpolationSettings, interpolate_models
from herd.align.joining import join_dialogues
from herd.align.knowledge import KnowledgeProbeSettings, probe_knowledge
from herd.align.rejection_sampling import RejectionSamplingSettings, rejection_sample
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.align.subsets import sample_by_source
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Report, Scores, Tokens
from herd.core.errors import SettingsError, did_you_mean
from herd.core.registry import PluginConfig
from herd.core.seeds import spread_seed
from herd.core.settings import NonNegativeInt, PositiveInt, Share, settings
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.generate.engine import SamplingParams
from herd.judge.verifiers import verifiers
from herd.pretrain.anneal import AnnealSettings
from herd.pretrain.long_context import LongContextSettings
from herd.pretrain.mix import ProportionalMix
from herd.pretrain.pretrain import PretrainSettings
from herd.recipes import recipes
from herd.recipes.data import PreparedData, numbers_of, prepare_data
from herd.recipes.pretraining import pretrain_base, scaling_law, train_ladder
from herd.recipes.tiny_data import TinyDataSettings
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.scaling.budget import LadderSettings
from herd.tokens.tokenizer import CONTROL_TOKENS
from herd.world import NOTE
from herd.world.annotators import QuestionSet, annotate, demonstrate, draw_prompts, draw_trivia
from herd.world.audit import audit
from herd.world.questions import TRIVIA_KINDS
from herd.world.tasks import in_world
from herd.world.truth import World
from herd.world.verifiers import true_in_world


@settings
class AlignmentRound:
    """One round of alignment. ranked_prompts: prompts, by kind, whose answers people rank. tested_prompts: others that
    a reward model is tested with, of facts those of people whom nothing is learnt about; a share of those ranked when
    empty. prompts: those whose best of `num_samples` answers the next round learns from, none when empty. seeds: a DPO
    run for each; the round's model is their average."""

    ranked_prompts: dict[str, NonNegativeInt]
    tested_prompts: dict[str, NonNegativeInt] = field(default_factory=dict)
    prompts: dict[str, NonNegativeInt]
    num_samples: PositiveInt = 10
    seeds: tuple[int, ...] = (0, 1)


@settings
class RefusalSettings:
    """How a model learns to say that it does not know (4.3.6). trivia: by kind of question, how many dialogues: of
    `known` questions those that the base model answers rightly, of the others those that it does not. probe: how it is
    asked. demonstrations: others among them, by kind. sft: the tuning. alphas, targets: how far the round's model goes
    on the line from the model before this tuning, chosen on questions that nothing is learnt from, of each kind at most
    `validation_questions`."""

    trivia: dict[str, NonNegativeInt]
    probe: KnowledgeProbeSettings
    demonstrations: dict[str, NonNegativeInt]
    sft: SftSettings
    alphas: tuple[float, ...]
    targets: dict[str, Share]
    validation_questions: PositiveInt = 250


@settings
class TinySettings(TinyDataSettings):
    """seed: of the world and of everything random in it, training and sampling; other seeds are added to a thousand
    times it. longer, anneal, refusals, dpo: left out where empty or null; without `refusals` people rank two answers of
    one model. demonstrations: dialogues, by kind. reward: null leaves the choice among answers to the verifier.
    average_sft: a round's SFT model is averaged with those of the rounds before. measure: what every model is asked;
    examine: what the last is asked."""

    title: str
    seed: NonNegativeInt = 0
    ladder: LadderSettings
    base: PretrainSettings
    longer: tuple[LongContextSettings, ...]
    anneal: AnnealSettings | None
    demonstrations: dict[str, NonNegativeInt]
    reward: RewardSettings | None
    sampling: SamplingParams
    sft: SftSettings
    average_sft: bool = True
    refusals: RefusalSettings | None
    dpo: DpoSettings | None
    rounds: tuple[AlignmentRound, ...]
    measure: EvaluationSettings
    examine: EvaluationSettings
    criteria: Criteria

    def __post_init__(self) -> None:
        _check_mix(self)


@recipes.add
def tiny(s: TinySettings) -> Report:
    """Raw pages to a chat model of a million weights and a report, in minutes on two CPU cores."""
    s = spread_seed(s)
    data = prepare_data(s)
    tokens, vocabulary = data.tokens, data.vocabulary
    rows = s.base_vocab_size + len(CONTROL_TOKENS)
    law = scaling_law(train_ladder(tokens, vocabulary, s.ladder, s.base, vocab_size=rows))
    base = base_of(data, s)
    scores = (measure_model(base, tokens, "base", s), *align_in_rounds(base, tokens, s))
    return write_report(scores, (audit(data.corpus, data.crawls), law), title=s.title, criteria=s.criteria, note=NOTE)


@dataclass(frozen=True)
class AlignmentBase:
    """What studies of alignment stand on, planned: a recipe's numbers, its tokens, and its base model."""

    numbers: TinySettings
    tokens: Tokens
    base: Checkpoint

    @classmethod
    def of(cls, recipe: str) -> AlignmentBase:
        """Raises SettingsError for a recipe that is not of `tiny`'s kind."""
        numbers = numbers_of(recipe)
        if not isinstance(numbers, TinySettings):
            raise SettingsError(f"{recipe} has no base model to align; name `tiny` or a recipe with its wiring")
        data = prepare_data(numbers)
        return cls(numbers, data.tokens, base_of(data, numbers))

    @property
    def gold(self) -> PluginConfig:
        """What knows whether an answer is right."""
        return verifiers.configure(true_in_world.__name__, world=self.numbers.world)

    def demonstrations(
        self, counts: dict[str, int], curt_share: float = 0.0, purpose: str = "demonstrations"
    ) -> Dialogues:
        """Demonstrations, as conversations."""
        world, request = self.numbers.world, QuestionSet(counts=counts, purpose=purpose)
        return as_conversations((demonstrate(world=world, questions=request, curt_share=curt_share),), world)


def base_of(data: PreparedData, s: TinySettings) -> Checkpoint:
    """The base model that the recipe's numbers make of its data."""
    return pretrain_base(data.tokens, data.vocabulary, s.base, s.longer, s.anneal)


def align_in_rounds(base: Checkpoint, tokens: Tokens, s: TinySettings) -> list[Scores]:
    """Round after round of alignment (4.1.6), each from the base model, with the best answers of the round before; what
    each model can do.

    In a round the base model learns skills, then what it knows and what it does not (4.3.6), then people's preferences
    between these two models; how far it goes on this line is chosen on questions that nothing was learnt from.
    """
    shown = demonstrate(world=s.world, questions=QuestionSet(counts=s.demonstrations, purpose="demonstrations"))
    skills = as_conversations((shown,), s.world)
    refusals = (refusal_dialogues(base, s.refusals, s.world),) if s.refusals else ()
    gold = verifiers.configure(true_in_world.__name__, world=s.world)
    scores: list[Scores] = []
    preferences: tuple[Preferences, ...] = ()
    learnt: tuple[Dialogues, ...] = (skills,)
    tuned: tuple[Checkpoint, ...] = ()
    for number, round_settings in enumerate(s.rounds, start=1):
        is_last = number == len(s.rounds)
        skilled = sft(base, learnt, tokens if s.sft.replay else None, settings=s.sft)
        tuned = (*tuned, skilled)
        if s.average_sft and len(tuned) > 1:
            skilled = average_models(tuned)
        chat = skilled
        models = {f"SFT {number}": skilled}
        if s.refusals:
            chat = sft(skilled, refusals, tokens if s.refusals.sft.replay else None, settings=s.refusals.sft)
            models[f"refusals {number}"] = chat
        to_rank = tuple(models.values())
        preferences += (
            rank_answers(to_rank, QuestionSet(counts=round_settings.ranked_prompts, purpose=f"ranked {number}"), s),
        )
        if s.dpo:
            tunings = [replace(s.dpo, seed=seed) for seed in round_settings.seeds]
            chat = average_models(tuple(dpo(chat, preferences, settings=tuning) for tuning in tunings))
            models[f"DPO {number}"] = chat
        if s.refusals:
            extent = InterpolationSettings(
                verifier=gold, alphas=s.refusals.alphas, targets=s.refusals.targets, max_tokens=s.sampling.max_tokens
            )
            validation = draw_trivia(
                world=s.world, kinds=tuple(s.refusals.targets or s.refusals.trivia), validation=True
            )
            chat = interpolate_models(skilled, chat, validation, settings=extent)
        scores += [measure_model(model, tokens, label, s) for label, model in models.items()]
        label, asked = ("final", s.examine) if is_last else (f"chat {number}", s.measure)
        scores.append(evaluate_model(chat, tokens, label=label, settings=asking_about(s.world, asked)))
        if round_settings.prompts and not is_last:
            judge = None
            if s.reward:
                tests = QuestionSet(counts=round_settings.tested_prompts, purpose=f"tested {number}", validation=True)
                tested = rank_answers(to_rank, tests, s) if tests.counts else None
                judge = train_reward(base, preferences, tested, settings=s.reward)
            prompts = draw_prompts(
                world=s.world, questions=QuestionSet(counts=round_settings.prompts, purpose=f"prompts {number}")
            )
            selection = RejectionSamplingSettings(
                sampling=s.sampling, num_samples=round_settings.num_samples, verifier=gold, gold_verifier=gold
            )
            learnt = (skills, rejection_sample(judge, chat, prompts, settings=selection))
    return scores


def rank_answers(models: tuple[Checkpoint, ...], questions: QuestionSet, s: TinySettings) -> Preferences:
    """Answers of these models to the same questions, ranked by people."""
    prompts = draw_prompts(world=s.world, questions=questions)
    return annotate(models, prompts, world=s.world, sampling=s.sampling)


def refusal_dialogues(base: Checkpoint, refusals: RefusalSettings, world: World) -> Dialogues:
    """What the base model knows and what it does not, and others among them, as conversations: whoever was just told
    that something is not known is not to hear it of the next question too."""
    others = QuestionSet(counts=refusals.demonstrations, purpose="beside refusals")
    dialogues = [demonstrate(world=world, questions=others)]
    for kind, count in ((kind, count) for kind, count in refusals.trivia.items() if count):
        # Half of what is drawn may be of the other verdict.
        drawn = draw_trivia(world=world, kinds=(kind,), at_most=2 * count)
        probed = probe_knowledge(base, drawn, settings=refusals.probe)
        verdict = "known" if kind.startswith("known") else "unknown"
        dialogues.append(sample_by_source((probed,), counts={verdict: count}, seed=world.seed))
    return as_conversations(tuple(dialogues), world)


def as_conversations(dialogues: tuple[Dialogues, ...], world: World) -> Dialogues:
    """The dialogues, many of them one after another; long texts stay alone."""
    return join_dialogues(dialogues, alone=("needle",), seed=world.seed)


def measure_model(model: Checkpoint, tokens: Tokens, label: str, s: TinySettings) -> Scores:
    return evaluate_model(model, tokens, label=label, settings=asking_about(s.world, s.measure))


def asking_about(world: World, settings: EvaluationSettings) -> EvaluationSettings:
    """The settings with the tasks of a world asking about this one."""
    return replace(settings, tasks=in_world(settings.tasks, world))


def _check_mix(s: TinySettings) -> None:
    """Raises SettingsError when a mix names a source that no page will have, or refusals a kind of no question."""
    mixes = {"ladder.mixture_weights": s.ladder.mixture_weights or {}}
    mixes |= {"anneal.mixture_weights": s.anneal.mixture_weights or {}} if s.anneal else {}
    phases = () if isinstance(s.base.mix, ProportionalMix) else s.base.mix
    mixes |= {f"base.mix.{number}.mixture_weights": phase.mixture_weights for number, phase in enumerate(phases)}
    mixes |= {
        f"longer.{number}.mixture_weights": longer.mixture_weights or {} for number, longer in enumerate(s.longer)
    }
    mixes |= {"sft.replay.mixture_weights": s.sft.replay.mixture_weights} if s.sft.replay else {}
    if s.refusals:
        replay = s.refusals.sft.replay
        mixes |= {"refusals.sft.replay.mixture_weights": replay.mixture_weights} if replay else {}
        for field in ("trivia", "targets"):
            _check_names(f"refusals.{field}", getattr(s.refusals, field), TRIVIA_KINDS, "no question is of kind", "")
    hint = "give it the share 0 or "
    for field, shares in mixes.items():
        used = [name for name, share in shares.items() if share > 0]
        _check_names(field, used, s.source_names, "no page is of source", hint)


def _check_names(field: str, names: Iterable[str], known: Collection[str], fault: str, hint: str) -> None:
    for name in names:
        if name not in known:
            raise SettingsError(f"{field}: {fault} {name!r}; {hint}name another{did_you_mean(name, known)}")

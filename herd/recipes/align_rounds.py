"""Rounds of alignment on prompts, dialogues and ranked answers of one's own (4.1.6)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from herd.align.average import average_models
from herd.align.curation import CurationSettings, curate_dialogues
from herd.align.dpo import DpoSettings, dpo
from herd.align.loading import check_first_rows, load_dialogues, load_preferences, load_pretrained
from herd.align.model_selection import select_best_model
from herd.align.rejection_sampling import RejectionSamplingSettings, rejection_sample
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.align.splitting import (
    gather_held_out,
    gather_held_out_preferences,
    hold_out_prompts,
    split_dialogues,
    split_preferences,
)
from herd.align.subsets import mix_by_share, preference_prompts
from herd.core.artifacts import Artifact, Checkpoint, Dialogues, Preferences, Report, Scores, Tokens
from herd.core.errors import SettingsError, did_you_mean
from herd.core.registry import PluginConfig
from herd.core.seeds import spread_seed
from herd.core.settings import InputFile, MixtureWeights, NonNegativeInt, PositiveInt, Share, settings
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.judge.verifiers import verifiers
from herd.recipes import recipes
from herd.recipes.own_rows import RowFiles
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.tokens.stages import pack


@settings
class RoundFiles:
    """What a round brings, files of rows each. preferences: ranked answers. prompts: rows that need no answer, and of
    which none counts; answered by the model of the round before, and judged by the reward model; those of the
    preferences when there are none. problems: prompts with known
    answers, of which only answers that the verifier finds right are learnt. dialogues: learnt as they are, in this
    round and those after it."""

    preferences: tuple[str, ...] = ()
    prompts: RowFiles = ()
    problems: RowFiles = ()
    dialogues: RowFiles = ()


@settings
class AlignRoundsSettings:
    """Rounds of alignment of one model, whatever it is.

    rounds: what each brings; a single one is what all of `num_rounds` bring. max_samples: of each kind of rows of a
    round so many count; all when 0. tests: rows with known answers; rows of the rounds that hold one of their questions
    are left out, and the model is kept, of all rounds, that answers most of them right. verifier: what finds an answer
    to problems and tests right. prompt_suffix: to every problem and test, such as the form an answer shall have.
    first_policy: who answers the prompts of the first round: the model itself, where it can chat, or the model after
    fine-tuning on that round's dialogues. reward: of the judge of answers, trained on all preferences so far; absent,
    verifier and rubric judge choose alone. curation: of what is learnt; judge_url: of a model that it asks. shares: of
    dialogues, by source, and max_repeats: how often one may stand there at most; all once when absent. held_out_share:
    of the prompts of dialogues and preferences so many are never learnt, in whatever file and round they stand; SFT and
    DPO are measured on all so far by epoch, and of several seeds only those models are averaged that make it better
    there. sft_seeds, dpo_seeds: a training each, whose models are averaged. recent_rounds: DPO learns the preferences
    of so many last rounds."""

    rounds: tuple[RoundFiles, ...] = ()
    num_rounds: PositiveInt = 1
    max_samples: NonNegativeInt = 0
    tests: tuple[str, ...] = ()
    max_tests: NonNegativeInt = 0
    verifier: Annotated[PluginConfig, verifiers.choice] | None = None
    prompt_suffix: str = ""
    first_policy: Literal["model", "dialogues"] = "model"
    reward: RewardSettings | None
    selection: RejectionSamplingSettings
    curation: CurationSettings | None = None
    judge_url: str = ""
    shares: MixtureWeights | None = None
    max_repeats: PositiveInt = 4
    held_out_share: Share = 0.0
    sft: SftSettings
    sft_seeds: tuple[int, ...] = (0,)
    dpo: DpoSettings | None
    dpo_seeds: tuple[int, ...] = (0,)
    recent_rounds: PositiveInt = 2

    def __post_init__(self) -> None:
        if len(self.rounds) > 1 and len(self.rounds) != self.num_rounds:
            raise SettingsError(
                f"rounds names files of {len(self.rounds)} rounds and num_rounds is {self.num_rounds}; name files of "
                "each, or of one that all bring"
            )
        for name in ("sft_seeds", "dpo_seeds"):
            if not getattr(self, name):
                raise SettingsError(f"{name} is empty; name one seed at least, such as [0]")
        for number, brought in enumerate(self.rounds):
            _check_round(self, number, brought)
        _check_early_stop(self)

    @property
    def each_round(self) -> tuple[RoundFiles, ...]:
        """What every round brings; nothing where no files are named."""
        return self.rounds * self.num_rounds if len(self.rounds) == 1 else self.rounds


@settings
class AlignSettings(AlignRoundsSettings):
    """model: a folder in Hugging Face's layout, as `herd import` makes it. chat_template: for a model that brings none.
    texts: files of pre-training text by the name of their source, of which fine-tuning may replay and losses are
    measured on. measure: what every model is asked."""

    title: str
    seed: NonNegativeInt = 0
    model: str
    chat_template: Literal["", "llama3", "chatml"] | InputFile = ""
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    held_out_text: Share = 0.05
    measure: EvaluationSettings
    criteria: Criteria = Criteria()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("model", "rounds"):
            if not getattr(self, name):
                raise SettingsError(f"{name} is not said; write a YAML file with `recipe: align` and your {name}")
        if not self.texts and (self.sft.replay or self.measure.loss_length or self.measure.needle_lengths):
            raise SettingsError("replay, losses and needles want pre-training text; name files in texts, or leave them")


@dataclass(frozen=True)
class RoundRows:
    """What a round brings, as artifacts: `RoundFiles` once they are read. held_out, held_out_preferences: what is never
    learnt of all dialogues, and of all preferences, that rounds have brought so far."""

    preferences: Preferences | None = None
    prompts: tuple[Dialogues, ...] = ()
    problems: tuple[Dialogues, ...] = ()
    dialogues: tuple[Dialogues, ...] = ()
    held_out: Dialogues | None = None
    held_out_preferences: Preferences | None = None


@dataclass(frozen=True)
class AlignedModel:
    """What rounds of alignment end with: the model, what it and those before it can do, and what a report says of how
    it was made."""

    model: Checkpoint
    scores: tuple[Scores, ...]
    artifacts: tuple[Artifact, ...]


@recipes.add
def align_rounds(s: AlignSettings) -> Report:
    """A chat model in rounds of your own data: reward model, rejection sampling, SFT, DPO, averages, and a report."""
    s = spread_seed(s)
    start = load_pretrained(folder=s.model, chat_template=s.chat_template)
    tokens = None
    if s.texts:
        ready = CurateSettings(rules={"default": ()})
        corpus = curate(tuple(files(*patterns, source=source) for source, patterns in s.texts.items()), settings=ready)
        tokens = pack(corpus, start, held_out_share=s.held_out_text)
    before = evaluate_model(start, tokens, label="before", settings=s.measure)
    tests, rounds = load_rounds(s)
    outcome = align_on_rows(start, rounds, s, tokens, tests, measure=s.measure)
    return write_report((before, *outcome.scores), outcome.artifacts, title=s.title, criteria=s.criteria)


def load_rounds(s: AlignRoundsSettings) -> tuple[Dialogues | None, tuple[RoundRows, ...]]:
    """Tests, where there are some, and the rows of every round without theirs, planned."""
    tests = None
    if s.tests:
        tests = load_dialogues(
            files=s.tests, source="tests", max_samples=s.max_tests, prompt_suffix=s.prompt_suffix, split="test"
        )
        check_first_rows(s.tests, "dialogues", "test")
    rounds = []
    for brought in s.each_round:
        preferences = None
        if brought.preferences:
            preferences = load_preferences(tests, files=brought.preferences, max_samples=s.max_samples)
            check_first_rows(brought.preferences, "preferences")
        rows = RoundRows(
            preferences,
            prompts=_load(tests, brought.prompts, s.max_samples, kind="prompts"),
            problems=_load(tests, brought.problems, s.max_samples, s.prompt_suffix),
            dialogues=_load(tests, brought.dialogues, s.max_samples),
        )
        rounds.append(rows)
    return tests, hold_out(rounds, s.held_out_share, s.prompt_suffix)


def hold_out(rounds: Sequence[RoundRows], share: float, prompt_suffix: str = "") -> tuple[RoundRows, ...]:
    """The rounds, of whose prompts a share is never learnt, whatever file brings them: those that a later round adds
    are decided on with that round, so that what earlier ones made stays. prompt_suffix: of problems."""
    if not share:
        return tuple(rounds)
    split: dict[str, Any] = {}  # what is learnt of an artifact, which may come again in a later round
    dialogues, asked, preferences = (), (), ()  # of the rounds so far
    prompts, unseen, unseen_preferences = None, None, None
    apart = []
    for brought in rounds:
        ranked = () if brought.preferences is None else (brought.preferences,)
        new_dialogues, new_preferences = _new(brought.dialogues, dialogues), _new(ranked, preferences)
        if new_dialogues or new_preferences:
            prompts = hold_out_prompts(
                new_dialogues, new_preferences, _different((*dialogues, *asked)), preferences, prompts,
                held_out_share=share, prompt_suffix=prompt_suffix,
            )  # fmt: skip
        dialogues, preferences = (*dialogues, *new_dialogues), (*preferences, *new_preferences)
        asked = _different((*asked, *brought.prompts, *brought.problems))
        if prompts is None:
            apart.append(brought)
            continue
        unseen = gather_held_out(dialogues, prompts) if new_dialogues else unseen
        unseen_preferences = (
            gather_held_out_preferences(preferences, prompts) if new_preferences else unseen_preferences
        )
        for rows in (*brought.dialogues, *brought.prompts):
            split.setdefault(rows.key, split_dialogues(rows, prompts, part="train"))
        for rows in brought.problems:
            split.setdefault(rows.key, split_dialogues(rows, prompts, part="train", prompt_suffix=prompt_suffix))
        for rows in ranked:
            split.setdefault(rows.key, split_preferences(rows, held_out_prompts=prompts, part="train"))
        apart.append(
            RoundRows(
                None if brought.preferences is None else split[brought.preferences.key],
                *(tuple(split[rows.key] for rows in kind) for kind in (brought.prompts, brought.problems)),
                dialogues=tuple(split[rows.key] for rows in brought.dialogues),
                held_out=unseen,
                held_out_preferences=unseen_preferences,
            )
        )
    return tuple(apart)


def align_on_rows(
    base: Checkpoint,
    rounds: Sequence[RoundRows],
    s: AlignRoundsSettings,
    tokens: Tokens | None = None,
    tests: Dialogues | None = None,
    *,
    measure: EvaluationSettings,
) -> AlignedModel:
    """Round after round (4.1.6). A reward model on `base` learns all preferences so far; of several answers of the
    round before's model the best are learnt, beside all dialogues so far, by `base` again; then the preferences of the
    last rounds by DPO.

    tokens: pre-training text for replay, losses and needles. Differs: a reward model is not averaged, since the report
    does not say of which.
    """
    preferences: list[Preferences] = []
    judge: Checkpoint | None = None
    policy, people, models = base, (), [base]
    held_out: Dialogues | None = None
    held_out_preferences: Preferences | None = None
    scores: list[Scores] = []
    made: list[Artifact] = []
    for number, brought in enumerate(rounds, start=1):
        preferences += [brought.preferences] if brought.preferences is not None else []
        if s.reward and preferences:
            judge = train_reward(base, _different(preferences), settings=s.reward)
            made.append(judge)
        people = _different((*people, *brought.dialogues))
        held_out = brought.held_out or held_out
        held_out_preferences = brought.held_out_preferences or held_out_preferences
        if number == 1 and s.first_policy == "dialogues" and people:
            policy = _tune(base, _learnt(people, s, judge), s, tokens, held_out)
        sampled = _best_answers(judge, policy, brought, s, preferences[-1:], number)
        made += sampled
        learnt = _learnt((*people, *sampled), s, judge)
        if not learnt:
            raise SettingsError(f"rounds.{number - 1} has nothing to learn; name prompts, problems, or dialogues")
        tuned = _tune(base, learnt, s, tokens, held_out)
        labels = {f"SFT {number}": tuned}
        policy = tuned
        if s.dpo and preferences:
            recent = _different(preferences[-s.recent_rounds :])
            tunings = [replace(s.dpo, seed=s.dpo.seed + seed) for seed in s.dpo_seeds]
            unseen = held_out_preferences
            policy = _mean(tuple(dpo(tuned, recent, unseen, settings=tuning) for tuning in tunings), held_out)
            labels[f"DPO {number}"] = policy
        models += labels.values()
        scores += [evaluate_model(model, tokens, label=label, settings=measure) for label, model in labels.items()]
    if tests is not None and s.verifier is not None:
        policy = select_best_model(
            _different(models), tests, verifier=s.verifier, max_tokens=s.selection.sampling.max_tokens
        )
    return AlignedModel(policy, tuple(scores), (*_different(made), policy))


def _best_answers(
    judge: Checkpoint | None, policy: Checkpoint, brought: RoundRows, s: AlignRoundsSettings,
    preferences: list[Preferences], number: int,
) -> tuple[Dialogues, ...]:  # fmt: skip
    """The best of several answers of `policy` to the round's prompts and problems."""
    sampling = replace(s.selection.sampling, seed=s.selection.sampling.seed + number)
    selection = replace(s.selection, sampling=sampling)
    verified = replace(selection, verifier=selection.verifier or s.verifier)
    prompts = brought.prompts
    if not prompts and preferences:
        prompts = (preference_prompts(tuple(preferences)),)
    if judge is None and selection.rubric_judge is None and selection.verifier is None:
        prompts = ()  # nothing would choose among the answers
    return (
        *(rejection_sample(judge, policy, asked, settings=selection) for asked in prompts),
        *(rejection_sample(judge, policy, asked, settings=verified) for asked in brought.problems),
    )


def _learnt(
    dialogues: tuple[Dialogues, ...], s: AlignRoundsSettings, judge: Checkpoint | None
) -> tuple[Dialogues, ...]:
    """The dialogues after curation, in their shares; none where there are none."""
    if not dialogues:
        return ()
    if s.curation:
        dialogues = (curate_dialogues(dialogues, judge, settings=s.curation, url=s.judge_url),)
    if s.shares:
        dialogues = (mix_by_share(dialogues, shares=s.shares, max_repeats=s.max_repeats),)
    return dialogues


def _tune(
    base: Checkpoint,
    dialogues: tuple[Dialogues, ...],
    s: AlignRoundsSettings,
    tokens: Tokens | None,
    held_out: Dialogues | None,
) -> Checkpoint:
    """Fine-tuned once for each of the seeds, and averaged (4.1.5)."""
    replayed = tokens if s.sft.replay else None
    tunings = [replace(s.sft, seed=s.sft.seed + seed) for seed in s.sft_seeds]
    return _mean(tuple(sft(base, dialogues, replayed, held_out, settings=tuning) for tuning in tunings), held_out)


def _mean(models: tuple[Checkpoint, ...], held_out: Dialogues | None) -> Checkpoint:
    return models[0] if len(models) == 1 else average_models(models, held_out)


def _load(
    tests: Dialogues | None, row_files: RowFiles, max_samples: int, prompt_suffix: str = "",
    kind: Literal["dialogues", "prompts"] = "dialogues",
) -> tuple[Dialogues, ...]:  # fmt: skip
    """The rows of the files, those of each source apart where sources are named."""
    loaded = []
    for name, places in (row_files if isinstance(row_files, dict) else {"": row_files}).items():
        if places:
            rows = load_dialogues(
                tests, files=places, source=name, max_samples=max_samples, prompt_suffix=prompt_suffix, kind=kind
            )
            check_first_rows(places, kind)
            loaded.append(rows)
    return tuple(loaded)


def _different(artifacts: Any) -> tuple[Any, ...]:
    """Each once: what rounds have in common is not counted twice."""
    return tuple({artifact.key: artifact for artifact in artifacts}.values())


def _new(artifacts: tuple[Any, ...], before: tuple[Any, ...]) -> tuple[Any, ...]:
    """Those that are not among those before."""
    keys = {artifact.key for artifact in before}
    return tuple(artifact for artifact in _different(artifacts) if artifact.key not in keys)


def _check_round(s: AlignRoundsSettings, number: int, brought: RoundFiles) -> None:
    """Raises SettingsError for files that nothing is there to use."""
    where = f"rounds.{number}"
    if brought.problems and not (s.verifier or s.selection.verifier):
        raise SettingsError(f"{where}.problems have known answers, and nothing compares with them; name a verifier")
    if brought.prompts and not (s.reward or s.selection.rubric_judge or s.selection.verifier):
        raise SettingsError(f"{where}.prompts: nothing would choose among answers; name reward, or bring problems")
    if number == 0 and brought.prompts and s.reward and not brought.preferences:
        raise SettingsError(f"{where} has prompts and no preferences for the reward model that judges their answers")
    if s.curation and s.curation.difficulty != "words" and not s.judge_url:
        raise SettingsError(
            f"curation.difficulty {s.curation.difficulty} asks a model; name its address as judge_url, or take words"
        )
    _check_shares(s, where, brought)


def _check_early_stop(s: AlignRoundsSettings) -> None:
    """Raises SettingsError for `early_stop` of a training that has no held-out rows."""
    for name, training in (("sft", s.sft), ("dpo", s.dpo)):
        if training is None or not training.early_stop:
            continue
        if not s.held_out_share:
            raise SettingsError(
                f"{name}.early_stop keeps the best epoch on held-out rows; set held_out_share above 0, or leave "
                "early_stop out"
            )
        if name == "sft" and s.rounds and not s.rounds[0].dialogues:
            raise SettingsError(
                "sft.early_stop keeps the best epoch on held-out dialogues, and rounds.0 brings none to hold out of; "
                "name dialogues, or leave early_stop out"
            )


def _check_shares(s: AlignRoundsSettings, where: str, brought: RoundFiles) -> None:
    """Raises SettingsError for a source that has no share, where all of a round's have names."""
    groups = (brought.prompts, brought.problems, brought.dialogues)
    names: Collection[str] = [name for group in groups if isinstance(group, dict) for name in group]
    for name in names if s.shares else ():
        if name not in (s.shares or {}):
            raise SettingsError(f"{where}: source {name!r} has no share in shares{did_you_mean(name, s.shares or {})}")

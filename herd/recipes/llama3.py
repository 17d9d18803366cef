"""The Llama 3 report's recipe end to end: raw text to a base model, and rounds of alignment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, replace
from pathlib import Path

from herd.core.artifacts import Artifact, Checkpoint, Corpus, Dialogues, Report, Scores, Tokenizer, Tokens
from herd.core.errors import SettingsError, did_you_mean
from herd.core.seeds import spread_seed
from herd.core.settings import MixtureWeights, NonNegativeInt, PositiveInt, Share, settings
from herd.core.stage import plan_of
from herd.corpus.columns import ColumnsOrName
from herd.corpus.settings import CurateOrName
from herd.corpus.sources import crawls_of
from herd.corpus.stages import curate
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.pretrain.anneal import AnnealSettings
from herd.pretrain.long_context import LongContextSettings
from herd.pretrain.mix import ProportionalMix
from herd.pretrain.pretrain import PretrainSettings
from herd.pretrain.vocabulary import TokenizerSettings, planned_vocab_size
from herd.recipes import recipes
from herd.recipes.align_rounds import AlignedModel, AlignRoundsSettings, RoundRows, align_on_rows, hold_out, load_rounds
from herd.recipes.declared import declared_dialogues, declared_preferences, declared_text, declared_tokenizer
from herd.recipes.pretraining import pretrain_base, tokenizer_of, train_ladder
from herd.recipes.task_forecasts import forecasts_of
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.scaling.budget import LadderSettings
from herd.tokens.stages import pack


@settings
class Llama3Settings:
    """files: raw text by the name of its source: paths, folders or patterns. declared: tokens of every source, which
    count while it has no files, so that the recipe can be planned without them. columns: what tables of a source hold
    where, `default` for all others. ready_text: sources that no rule of
    `curate` judges, where that does not name them; copies among them are found all the same. tokenizer: `vocab_size`
    counts while `file` is not there. ladder: small models and their law, none when null. longer: stages of longer
    context. measure: what the base and every aligned model are asked. alignment: its rounds; null for a base model
    alone."""

    title: str
    seed: NonNegativeInt = 0
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    declared: dict[str, PositiveInt]
    columns: dict[str, ColumnsOrName] = field(default_factory=dict)
    curate: CurateOrName
    ready_text: tuple[str, ...] = ()
    tokenizer: TokenizerSettings
    held_out_share: Share
    ladder: LadderSettings | None = None
    base: PretrainSettings
    longer: tuple[LongContextSettings, ...]
    anneal: AnnealSettings | None
    measure: EvaluationSettings
    alignment: AlignRoundsSettings | None
    criteria: Criteria = Criteria()

    def __post_init__(self) -> None:
        _check_sources(self)

    @property
    def mixes(self) -> dict[str, MixtureWeights]:
        """Every mix, by the name of its setting."""
        return dict(_mixes(self))


@recipes.add
def llama3(s: Llama3Settings) -> Report:
    """The Llama 3 report's recipe: text, vocabulary, pre-training, longer contexts, annealing, rounds of alignment."""
    s = spread_seed(s)
    corpus = planned_corpus(s)
    vocabulary = planned_vocabulary(corpus, s.tokenizer)
    tokens = pack(corpus, vocabulary, held_out_share=s.held_out_share)
    base = pretrain_base(tokens, vocabulary, s.base, s.longer, s.anneal)
    artifacts: tuple[Artifact, ...] = ()
    measure = s.measure
    if s.ladder:
        vocab_size = planned_vocab_size(plan_of(vocabulary))
        assert vocab_size is not None  # of every stage that `planned_vocabulary` plans
        artifacts = forecasts_of(train_ladder(tokens, vocabulary, s.ladder, s.base, vocab_size=vocab_size))
        if s.ladder.tasks:
            measure = replace(measure, gold_nll=True)  # what is forecast is measured
    scores: tuple[Scores, ...] = (evaluate_model(base, tokens, label="base", settings=measure),)
    if s.alignment:
        outcome = planned_alignment(base, tokens, s.alignment, s.measure)
        scores, artifacts = (*scores, *outcome.scores), (*artifacts, *outcome.artifacts)
    return write_report(scores, artifacts, title=s.title, criteria=s.criteria)


def planned_corpus(s: Llama3Settings) -> Corpus:
    """Documents of the files; of a source without any what is declared of it."""
    crawls = list(crawls_of({source: patterns for source, patterns in s.files.items() if patterns}, s.columns))
    absent = {source: tokens for source, tokens in s.declared.items() if not s.files.get(source)}
    used = {name for shares in s.mixes.values() for name, share in shares.items() if share > 0}
    crawls += [declared_text(source=source, tokens=tokens) for source, tokens in absent.items() if source in used]
    rules = {**dict.fromkeys(s.ready_text, ()), **s.curate.rules}
    return curate(tuple(crawls), settings=replace(s.curate, rules=rules))


def planned_vocabulary(corpus: Corpus, s: TokenizerSettings) -> Tokenizer:
    """The vocabulary, or what is declared of it while its file is not there."""
    if s.file and s.vocab_size and not Path(s.file).expanduser().exists():
        return declared_tokenizer(vocab_size=s.vocab_size, file=s.file)
    return tokenizer_of(corpus, s)


def planned_alignment(
    base: Checkpoint, tokens: Tokens, s: AlignRoundsSettings, measure: EvaluationSettings
) -> AlignedModel:
    """Rounds of the files that are named; of as many rounds what is declared where none are."""
    tests, rounds = load_rounds(s)
    if not rounds:
        rounds = hold_out([declared_round(number) for number in range(s.num_rounds)], s.held_out_share)
    return align_on_rows(base, rounds, s, tokens, tests, measure=measure)


def declared_round(number: int) -> RoundRows:
    """A round of ranked answers, prompts and dialogues that nobody named."""
    setting = f"alignment.rounds.{number}"

    def rows(kind: str) -> tuple[Dialogues, ...]:
        return (declared_dialogues(setting=f"{setting}.{kind}"),)

    preferences = declared_preferences(setting=f"{setting}.preferences")
    return RoundRows(preferences, prompts=rows("prompts"), dialogues=rows("dialogues"))


def _mixes(s: Llama3Settings) -> Iterator[tuple[str, MixtureWeights]]:
    named: dict[str, MixtureWeights | None] = {"ladder.mixture_weights": s.ladder.mixture_weights if s.ladder else None}
    for number, phase in enumerate(() if isinstance(s.base.mix, ProportionalMix) else s.base.mix):
        named[f"base.mix.{number}.mixture_weights"] = phase.mixture_weights
    for number, longer in enumerate(s.longer):
        named[f"longer.{number}.mixture_weights"] = longer.mixture_weights
    named["anneal.mixture_weights"] = s.anneal.mixture_weights if s.anneal else None
    yield from ((name, shares) for name, shares in named.items() if shares)


def _check_sources(s: Llama3Settings) -> None:
    """Raises SettingsError where a mix names a source that has no files and is not declared."""
    known = {*s.declared, *s.files}
    for name, shares in s.mixes.items():
        for source in (source for source, share in shares.items() if share > 0 and source not in known):
            raise SettingsError(
                f"{name}: no text is of source {source!r}; name files.{source} or give it the share 0"
                f"{did_you_mean(source, known)}"
            )
    texts = [(f"longer.{number}.text_sources", longer.text_sources) for number, longer in enumerate(s.longer)]
    for name, sources in (*texts, ("measure.needle_sources", s.measure.needle_sources)):
        for source in (source for source in sources if source not in known):
            raise SettingsError(f"{name}: no text is of source {source!r}{did_you_mean(source, known)}")

"""What recipes of pre-training share: text to a corpus, a ladder to its law, and a base model by its stages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from herd.core.artifacts import Checkpoint, Corpus, Law, Mix, Tokenizer, Tokens
from herd.core.errors import SettingsError, did_you_mean
from herd.corpus.columns import TextColumns
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import crawls_of
from herd.corpus.stages import curate
from herd.evals.stages import EvaluationSettings
from herd.pretrain.anneal import AnnealSettings, anneal
from herd.pretrain.long_context import LongContextSettings, extend_context
from herd.pretrain.mix import ProportionalMix
from herd.pretrain.pretrain import PretrainSettings, pretrain
from herd.pretrain.vocabulary import TokenizerSettings, load_tokenizer, tokenizer_files
from herd.scaling.budget import LadderRun, LadderSettings, ladder_runs, models_per_budget
from herd.scaling.stages import fit_law
from herd.tokens.stages import extend_tokenizer, train_tokenizer
from herd.train.layout import ParallelLayout
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase


def curated_text(
    paths: Mapping[str, Sequence[str]],
    curate_settings: CurateSettings,
    columns: Mapping[str, TextColumns] | None = None,
) -> Corpus:
    """Documents of a user's own text (3.1), planned. paths: files, folders, patterns or addresses by the source they
    are of. columns: what tables of a source hold where; `default` is for sources not named."""
    return curate(crawls_of(paths, columns or {}), settings=curate_settings)


def check_sources(
    paths: Mapping[str, Sequence[str]],
    columns: Mapping[str, TextColumns],
    base: PretrainSettings,
    longer: Sequence[LongContextSettings] = (),
    anneal_settings: AnnealSettings | None = None,
) -> None:
    """Raises SettingsError for shares of a source that no file is of; what rows of tables name as theirs is not known
    before."""
    known = set(paths)
    if any(one.source for one in columns.values()):
        return
    phases = () if isinstance(base.mix, ProportionalMix) else base.mix
    for number, phase in enumerate(phases):
        _check_known(f"mix.{number}.mixture_weights", phase.sources, known)
    later = [(f"longer.{number}", one.mixture_weights) for number, one in enumerate(longer)]
    later += [("anneal", anneal_settings.mixture_weights)] if anneal_settings else []
    for name, weights in later:
        _check_known(f"{name}.mixture_weights", [source for source, share in (weights or {}).items() if share], known)


def check_held_out(share: float, longer: Sequence[LongContextSettings], measure: EvaluationSettings) -> None:
    """Raises SettingsError for needle tests where no text is held out, which they hide needles in."""
    for name, wanted in (("longer", longer), ("measure.needle_lengths", measure.needle_lengths)):
        if wanted and not share:
            raise SettingsError(
                f"{name} hides needles in held-out text and held_out_share is 0; raise it, or take {name} away"
            )


def _check_known(field: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise SettingsError(f"{field} names {name!r}, and the files are of {', '.join(known)}{hint}")


def tokenizer_of(corpus: Corpus, s: TokenizerSettings) -> Tokenizer:
    """The vocabulary of a new model (3.2), planned: learnt from the corpus, or that of a file, extended where asked."""
    if not s.file:
        assert s.vocab_size is not None  # which the settings see to
        return train_tokenizer(corpus, vocab_size=s.vocab_size, digits_together=s.digits_together)
    if s.extra:
        return extend_tokenizer(corpus, base=s.file, extra=s.extra)
    return load_tokenizer(files=tokenizer_files(s.file))


def pretrain_base(
    tokens: Tokens,
    init_from: Tokenizer | Checkpoint,
    base: PretrainSettings,
    longer: Sequence[LongContextSettings] = (),
    anneal_settings: AnnealSettings | None = None,
    mix: Mix | None = None,
) -> Checkpoint:
    """A base model (3.4), planned: pre-trained, made to read longer rows stage by stage, annealed where that is asked
    for. init_from: a tokenizer for a new model, or the model to go on from. mix: a found one, for a base that names no
    shares."""
    model = pretrain(tokens, init_from, mix, settings=base)
    for stage_settings in longer:
        model = extend_context(model, tokens, settings=stage_settings)
    return anneal(model, tokens, settings=anneal_settings) if anneal_settings else model


@dataclass(frozen=True)
class Ladder:
    """Small models planned below a base, which tell how loss and scores follow compute (3.2.1): what each of `runs` is,
    budget by budget, and the models in the same order. vocab_size: rows of their embedding, control tokens included."""

    settings: LadderSettings
    base: PretrainSettings
    vocab_size: int
    runs: tuple[LadderRun, ...]
    models: tuple[Checkpoint, ...]


def train_ladder(
    tokens: Tokens,
    vocabulary: Tokenizer,
    ladder: LadderSettings,
    base: PretrainSettings,
    mix: Mix | None = None,
    *,
    vocab_size: int,
) -> Ladder:
    """The ladder's models, each trained as the base is, but for its size, tokens, batch, mix and rate. mix: a found
    one, for a ladder that names no shares."""
    weights = ladder.mixture_weights
    phases = (MixPhase(until=1.0, mixture_weights=weights),) if weights else ()
    runs = tuple(ladder_runs(ladder, vocabulary=vocab_size))
    models = tuple(
        pretrain(
            tokens,
            vocabulary,
            None if weights else mix,
            settings=replace(
                base,
                size=rung.size,
                tokens=rung.tokens,
                epochs=None,
                length=ladder.length,
                batch=(BatchPhase(until=1.0, batch_tokens=rung.batch_tokens),),
                mix=phases or base.mix,
                lr=rung.lr,
                min_lr_ratio=ladder.min_lr_ratio,
                warmup=_relative_warmup(base) if ladder.warmup is None else ladder.warmup,
                schedule_steps=None,  # each to the end of its own
                layout=ParallelLayout(),  # models so small are not spread
            ),
        )
        for rung in runs
    )
    return Ladder(ladder, base, vocab_size, runs, models)


def _relative_warmup(base: PretrainSettings) -> float:
    """The base's warm-up as a share of its steps, so that models of other lengths have their part of it."""
    if base.warmup < 1 or base.tokens is None:
        return base.warmup
    steps = base.schedule_steps or BatchRamp(base.batch, base.tokens, base.length).steps
    return min(base.warmup / steps, 0.99)  # 1 would be one step


def scaling_law(ladder: Ladder) -> Law:
    """The law that the ladder's models give (3.2.1), planned, asked about the FLOPs of the base run.

    Raises SettingsError for a base without a size of its own."""
    counts = models_per_budget(ladder.runs) if ladder.settings.skip_sizes else ()
    target = base_flops(ladder.base, vocab_size=ladder.vocab_size)
    return fit_law(ladder.models, budgets=ladder.settings.budgets, target_flops=target, models_per_budget=counts)


def base_flops(base: PretrainSettings, *, vocab_size: int) -> float:
    """Training FLOPs of a new model, which small runs are asked about. Raises SettingsError for a model that goes on,
    and for one whose tokens follow from its text."""
    if base.size is None or base.tokens is None:
        raise SettingsError(
            "small runs forecast a new model trained on so many tokens; write `base.size` and `base.tokens`, or take "
            "`ladder` and `mix_search` away"
        )
    return base.tokens * base.size.shape(vocab_size=vocab_size, max_seq_len=base.length).training_flops(base.length)

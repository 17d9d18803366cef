"""A base model from text of your own: vocabulary, mix, ladder, pre-training, longer contexts, annealing."""

from __future__ import annotations

from dataclasses import field, replace

from herd.core.artifacts import Artifact, Report
from herd.core.errors import SettingsError
from herd.core.seeds import spread_seed
from herd.core.settings import NonNegativeInt, Share, settings
from herd.core.stage import plan_of
from herd.corpus.columns import ColumnsOrName
from herd.corpus.settings import CurateSettings
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.pretrain.anneal import AnnealSettings
from herd.pretrain.long_context import LongContextSettings
from herd.pretrain.mix import ProportionalMix
from herd.pretrain.pretrain import PretrainSettings
from herd.pretrain.vocabulary import TokenizerSettings, planned_vocab_size
from herd.recipes import recipes
from herd.recipes.mixing_search import MixSearchSettings, search_mix
from herd.recipes.pretraining import (
    base_flops,
    check_held_out,
    check_sources,
    curated_text,
    pretrain_base,
    tokenizer_of,
    train_ladder,
)
from herd.recipes.task_forecasts import forecasts_of
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.scaling.budget import LadderSettings
from herd.tokens.stages import pack


@settings
class BaseModelSettings:
    """files: your text, by the name of the source it is of; paths, folders, patterns or addresses. columns: what tables
    of a source hold where, `default` for all others. mix_search: finds the shares that `base.mix` and the ladder leave
    open, by a method or as the best of candidates. ladder: small models whose law forecasts the base. longer,
    anneal: left out where empty or null. seed: other seeds are added to a thousand times it. measure: what the model is
    asked."""

    title: str
    seed: NonNegativeInt = 0
    files: dict[str, tuple[str, ...]]
    columns: dict[str, ColumnsOrName] = field(default_factory=dict)
    curate: CurateSettings
    tokenizer: TokenizerSettings
    held_out_share: Share
    mix_search: MixSearchSettings | None = None
    ladder: LadderSettings | None = None
    base: PretrainSettings
    longer: tuple[LongContextSettings, ...] = ()
    anneal: AnnealSettings | None = None
    measure: EvaluationSettings
    criteria: Criteria = Criteria()

    def __post_init__(self) -> None:
        if not self.files:
            raise SettingsError(
                "files is not said; write a YAML file with `recipe: base_model`, or a preset of it, and your files, "
                "such as `files: {books: [/data/books]}`, or give `herd pretrain` the paths"
            )
        check_sources(self.files, self.columns, self.base, self.longer, self.anneal)
        if self.mix_search is not None and not isinstance(self.base.mix, ProportionalMix):
            raise SettingsError(
                "both mix_search and base.mix say the shares; write base: {mix: {max_epochs: 4.0}}, or take mix_search "
                "away"
            )
        check_held_out(self.held_out_share, self.longer, self.measure)


@recipes.add
def base_model(s: BaseModelSettings) -> Report:
    """A model from your own text: curated or ready, its tokenizer, a ladder and its law if asked, longer contexts and
    annealing."""
    s = spread_seed(s)
    corpus = curated_text(s.files, s.curate, s.columns)
    vocabulary = tokenizer_of(corpus, s.tokenizer)
    tokens = pack(corpus, vocabulary, held_out_share=s.held_out_share)
    rows = planned_vocab_size(plan_of(vocabulary))
    assert rows is not None  # a tokenizer's stage always says how large it will be
    mix = None
    if s.mix_search is not None:
        # Only candidates are forecast at the compute of the run to come.
        target = base_flops(s.base, vocab_size=rows) if s.mix_search.candidates else 0.0
        mix = search_mix(tokens, s.mix_search, target_flops=target)
    forecasts: tuple[Artifact, ...] = ()
    measure = s.measure
    if s.ladder is not None:
        forecasts = forecasts_of(train_ladder(tokens, vocabulary, s.ladder, s.base, mix, vocab_size=rows))
        if s.ladder.tasks:
            measure = replace(measure, gold_nll=True)  # what is forecast is measured
    model = pretrain_base(tokens, vocabulary, s.base, s.longer, s.anneal, mix)
    scores = evaluate_model(model, tokens, label="base", settings=measure)
    return write_report((scores,), forecasts, title=s.title, criteria=s.criteria)

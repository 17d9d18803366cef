"""Pre-training that goes on from a model that is there, on text of your own, and what that costs elsewhere."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Literal, TypeVar

from herd.align.loading import load_pretrained
from herd.core.artifacts import Artifact, Report
from herd.core.errors import SettingsError
from herd.core.seeds import spread_seed
from herd.core.settings import InputFile, NonNegativeInt, Share, settings
from herd.corpus.columns import ColumnsOrName
from herd.corpus.settings import CurateSettings
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.pretrain.anneal import AnnealSettings
from herd.pretrain.long_context import LongContextSettings
from herd.pretrain.mix import ProportionalMix
from herd.pretrain.pretrain import PretrainSettings
from herd.recipes import recipes
from herd.recipes.pretraining import check_held_out, check_sources, curated_text, pretrain_base
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.serve.stages import ExportLayout, export_model
from herd.tokens.stages import pack
from herd.train.schedule import MixPhase

_NOT_MEASURED = (
    "What this cost on other text was not measured: no general text was named. `herd pretrain --general PATH`, or "
    "`general:` in the recipe, measures it and reads some of it again."
)


@settings
class ContinuedPretrainingSettings:
    """model: a folder in Hugging Face's layout, as `herd import` makes it. chat_template: for a model that brings none.
    files: your text, by source. general: text as the model knows it, by source, measured before and after and read
    again as far as `replay_share` of all tokens. columns: what tables of a source hold where. bos_token, eos_token:
    around a document, as `pack` has them. pretrain: where its `mix` has phases, these alone say what is read. longer,
    anneal: left out where empty or null; with general text they read the same shares where they name none. measure:
    what is asked before and after. export_layout: how the model is given away, and in what form; none where null."""

    title: str
    seed: NonNegativeInt = 0
    model: str
    chat_template: Literal["", "llama3", "chatml"] | InputFile = ""
    files: dict[str, tuple[str, ...]]
    general: dict[str, tuple[str, ...]] = field(default_factory=dict)
    replay_share: Share = 0.05
    columns: dict[str, ColumnsOrName] = field(default_factory=dict)
    curate: CurateSettings
    held_out_share: Share
    bos_token: str | None = None
    eos_token: str | None = None
    pretrain: PretrainSettings
    longer: tuple[LongContextSettings, ...] = ()
    anneal: AnnealSettings | None = None
    measure: EvaluationSettings
    criteria: Criteria = Criteria()
    export_layout: ExportLayout | None = None
    weight_format: str = "bfloat16"

    def __post_init__(self) -> None:
        for name in ("model", "files"):
            if not getattr(self, name):
                raise SettingsError(
                    f"{name} is not said; write a YAML file with `recipe: continued_pretraining` and your {name}, or "
                    "use `herd pretrain --from MODEL PATH`"
                )
        if both := self.files.keys() & self.general.keys():
            raise SettingsError(f"{', '.join(sorted(both))} is both your text and general; give one another name")
        check_sources({**self.files, **self.general}, self.columns, self.pretrain, self.longer, self.anneal)
        check_held_out(self.held_out_share, self.longer, self.measure)


@recipes.add
def continued_pretraining(s: ContinuedPretrainingSettings) -> Report:
    """A model pre-trained on with your text, a share of general text read again among it; the losses on both, before
    and after."""
    s = spread_seed(s)
    start = load_pretrained(folder=s.model, chat_template=s.chat_template)
    corpus = curated_text({**s.files, **s.general}, s.curate, s.columns)
    tokens = pack(corpus, start, held_out_share=s.held_out_share, bos_token=s.bos_token, eos_token=s.eos_token)
    training = replace(s.pretrain, mix=_mix(s))
    ending = s.anneal and _as_before(s.anneal, s)
    trained = pretrain_base(tokens, start, training, [_as_before(longer, s) for longer in s.longer], ending)
    models = {"before": start, "after": trained}
    scores = tuple(evaluate_model(model, tokens, label=label, settings=s.measure) for label, model in models.items())
    shown: tuple[Artifact, ...] = ()
    if s.export_layout:
        shown = (export_model(trained, layout=s.export_layout, weight_format=s.weight_format),)
    note = "" if s.general else _NOT_MEASURED
    return write_report(scores, shown, title=s.title, criteria=s.criteria, note=note)


def _mix(s: ContinuedPretrainingSettings) -> tuple[MixPhase, ...] | ProportionalMix:
    """What is read, general text among it."""
    if isinstance(s.pretrain.mix, ProportionalMix) and s.general:
        return replace(s.pretrain.mix, replay_share=s.replay_share, replay_sources=tuple(s.general))
    return s.pretrain.mix


_Later = TypeVar("_Later", LongContextSettings, AnnealSettings)


def _as_before(stage: _Later, s: ContinuedPretrainingSettings) -> _Later:
    """A stage that reads what was read before it, where it says nothing else: in proportion, general text may be most
    of all."""
    if stage.mixture_weights or stage.mix or not s.general:
        return stage
    mix = _mix(s)
    if isinstance(mix, ProportionalMix):
        return replace(stage, mix=mix)
    return replace(stage, mixture_weights=dict(mix[-1].mixture_weights))

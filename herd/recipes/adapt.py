"""An imported model on data of your own: more pre-training, fine-tuning, preferences, and the model given away."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from herd.align.dpo import DpoSettings, dpo
from herd.align.loading import check_first_rows, load_dialogues, load_preferences, load_pretrained
from herd.align.model_selection import select_best_model
from herd.align.rejection_sampling import RejectionSamplingSettings, rejection_sample
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Report
from herd.core.errors import SettingsError
from herd.core.registry import PluginConfig
from herd.core.settings import InputFile, Share, settings
from herd.corpus.columns import ColumnsOrName
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import crawls_of
from herd.corpus.stages import curate
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.judge.verifiers import verifiers
from herd.pretrain.pretrain import PretrainSettings, pretrain
from herd.recipes import recipes
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.serve.stages import ExportLayout, export_model
from herd.tokens.stages import pack


@settings
class AdaptSettings:
    """model: a folder in Hugging Face's layout, as `herd import` makes it. chat_template: for a model that brings none.
    texts: files by the name of their source. columns: what tables among them hold where, by source; `default` for the
    others. bos_token, eos_token: around a document, as `pack` has them. dialogues,
    preferences, tests: files of rows, the last with known answers. verifier: what finds an answer to a test right.
    answers: how tests are answered in the end. export_layout: how the model is written, and in what form."""

    title: str
    model: str
    chat_template: Literal["", "llama3", "chatml"] | InputFile
    texts: dict[str, tuple[str, ...]]
    columns: dict[str, ColumnsOrName] = field(default_factory=dict)
    curate: CurateSettings
    held_out_share: Share
    bos_token: str | None = None
    eos_token: str | None = None
    pretrain: PretrainSettings
    dialogues: tuple[str, ...]
    preferences: tuple[str, ...]
    tests: tuple[str, ...]
    verifier: Annotated[PluginConfig, verifiers.choice]
    sft: SftSettings
    dpo: DpoSettings
    reward: RewardSettings
    measure: EvaluationSettings
    answers: RejectionSamplingSettings
    export_layout: ExportLayout
    weight_format: str

    def __post_init__(self) -> None:
        for name in ("model", "texts", "dialogues", "preferences", "tests"):
            if not getattr(self, name):
                raise SettingsError(f"{name} is not said; write a YAML file with `recipe: adapt` and your {name}")


@recipes.add
def adapt(s: AdaptSettings) -> Report:
    """An imported model pre-trained on your text and fine-tuned on your dialogues and preferences. Measured before and
    after; the better of both tunes is kept, of its answers to each test a reward model chooses one, and it is
    exported."""
    start = load_pretrained(folder=s.model, chat_template=s.chat_template)
    corpus = curate(crawls_of(s.texts, s.columns), settings=s.curate)
    tokens = pack(corpus, start, held_out_share=s.held_out_share, bos_token=s.bos_token, eos_token=s.eos_token)
    base = pretrain(tokens, start, settings=s.pretrain)
    tests = load_dialogues(files=s.tests, source="tests", split="test")
    dialogues = load_dialogues(tests, files=s.dialogues)
    tuned = sft(base, (dialogues,), tokens if s.sft.replay else None, settings=s.sft)
    ranked = load_preferences(tests, files=s.preferences)
    check_first_rows(s.tests, "dialogues", "test")
    check_first_rows(s.dialogues, "dialogues")
    check_first_rows(s.preferences, "preferences")
    preferred = dpo(tuned, (ranked,), settings=s.dpo)
    judge = train_reward(base, (ranked,), settings=s.reward)
    best_model = select_best_model(
        (tuned, preferred), tests, verifier=s.verifier, max_tokens=s.answers.sampling.max_tokens
    )
    models = {"imported": start, "pre-trained on": base, "SFT": tuned, "DPO": preferred}
    scores = tuple(evaluate_model(model, tokens, label=label, settings=s.measure) for label, model in models.items())
    answers = rejection_sample(judge, best_model, tests, settings=s.answers)
    exported = export_model(best_model, layout=s.export_layout, weight_format=s.weight_format)
    return write_report(scores, (judge, answers, exported), title=s.title, criteria=Criteria())

"""One round of alignment on a model and data of your own: ranked answers, and problems whose results are known."""

from __future__ import annotations

from typing import Annotated

from herd.align.dpo import DpoSettings, dpo
from herd.align.loading import load_dialogues, load_preferences, load_pretrained
from herd.align.model_selection import select_best_model
from herd.align.rejection_sampling import RejectionSamplingSettings, rejection_sample
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Report
from herd.core.errors import SettingsError
from herd.core.registry import PluginConfig
from herd.core.settings import NonNegativeInt, PositiveInt, settings
from herd.generate.engine import SamplingParams
from herd.judge.verifiers import verifiers
from herd.recipes import recipes
from herd.report.stages import write_report
from herd.report.verdicts import Criteria


@settings
class RoundSettings:
    """model: a folder in Hugging Face's layout, as `herd import` makes it. problems, tests, preferences: files of rows,
    the first two with known answers. max_samples: of problems and of ranked answers are used; all when 0. max_tests: of
    tests. prompt_suffix: added to every problem. verifier: what finds an answer right. sampling: of the answers to
    learn from; tests are answered greedily, with as many tokens."""

    title: str
    model: str
    problems: tuple[str, ...]
    tests: tuple[str, ...]
    preferences: tuple[str, ...]
    max_samples: NonNegativeInt
    max_tests: NonNegativeInt
    prompt_suffix: str
    verifier: Annotated[PluginConfig, verifiers.choice]
    sampling: SamplingParams
    num_samples: PositiveInt
    reward: RewardSettings
    sft: SftSettings
    dpo: DpoSettings

    def __post_init__(self) -> None:
        for name in ("model", "problems", "tests", "preferences"):
            if not getattr(self, name):
                raise SettingsError(f"{name} is not said; write a YAML file with `recipe: one_round` and your {name}")


@recipes.add
def one_round(s: RoundSettings) -> Report:
    """A reward model from ranked answers; of several answers to problems the best of the right ones; fine-tuning on
    these; and DPO. Of the models before, between and after, the one is kept that answers most tests right."""
    chat = load_pretrained(folder=s.model)
    tests = load_dialogues(
        files=s.tests, source="tests", max_samples=s.max_tests, prompt_suffix=s.prompt_suffix, split="test"
    )
    preferences = load_preferences(tests, files=s.preferences, max_samples=s.max_samples)
    problems = load_dialogues(
        tests, files=s.problems, source="problems", max_samples=s.max_samples, prompt_suffix=s.prompt_suffix
    )
    judge = train_reward(chat, (preferences,), settings=s.reward)
    selection = RejectionSamplingSettings(
        sampling=s.sampling, num_samples=s.num_samples, verifier=s.verifier, require_answers=True
    )
    best = rejection_sample(judge, chat, problems, settings=selection)
    tuned = sft(chat, (best,), settings=s.sft)
    last = dpo(tuned, (preferences,), settings=s.dpo)
    best_model = select_best_model((chat, tuned, last), tests, verifier=s.verifier, max_tokens=s.sampling.max_tokens)
    return write_report((), (judge, best, best_model), title=s.title, criteria=Criteria())

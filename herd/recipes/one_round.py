"""One round of alignment on a model and data of your own: ranked answers, and problems whose results are known."""

from __future__ import annotations

from typing import Annotated

from herd.align.dpo import DpoSettings, dpo
from herd.align.given import bring_dialogues, bring_model, bring_preferences
from herd.align.reward import RewardSettings, train_reward
from herd.align.rounds import choose
from herd.align.select import SelectSettings, select
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Report
from herd.core.errors import SettingsError
from herd.core.registry import Use
from herd.core.settings import Count, Positive, settings
from herd.generate.engine import SamplingParams
from herd.judge.verifiers import verifiers
from herd.recipes import recipes
from herd.report.stages import write_report
from herd.report.verdicts import Bars


@settings
class RoundSettings:
    """model: a folder in Hugging Face's layout, as `herd import` makes it. problems, tests, ranked: files of rows, the
    first two with known answers. most: of problems and of ranked answers are used; all when 0. tested: of tests. form:
    added to every problem. verify: what finds an answer right. sampling: of the answers to learn from; tests are
    answered greedily, with as many tokens."""

    title: str
    model: str
    problems: tuple[str, ...]
    tests: tuple[str, ...]
    ranked: tuple[str, ...]
    most: Count
    tested: Count
    form: str
    verify: Annotated[Use, verifiers.choice]
    sampling: SamplingParams
    tries: Positive
    reward: RewardSettings
    sft: SftSettings
    dpo: DpoSettings

    def __post_init__(self) -> None:
        for name in ("model", "problems", "tests", "ranked"):
            if not getattr(self, name):
                raise SettingsError(f"{name} is not said; write a YAML file with `recipe: one_round` and your {name}")


@recipes.add
def one_round(s: RoundSettings) -> Report:
    """A reward model from ranked answers; of several answers to problems the best of the right ones; fine-tuning on
    these; and DPO. Of the models before, between and after, the one is kept that answers most tests right."""
    chat = bring_model(folder=s.model)
    tests = bring_dialogues(files=s.tests, source="tests", most=s.tested, added=s.form)
    ranked = bring_preferences(tests, files=s.ranked, most=s.most)
    problems = bring_dialogues(tests, files=s.problems, source="problems", most=s.most, added=s.form)
    judge = train_reward(chat, (ranked,), settings=s.reward)
    drawn = SelectSettings(sampling=s.sampling, tries=s.tries, verify=s.verify)
    best = select(judge, chat, problems, settings=drawn)
    tuned = sft(chat, (best,), settings=s.sft)
    last = dpo(tuned, (ranked,), settings=s.dpo)
    kept = choose((chat, tuned, last), tests, right=s.verify, max_tokens=s.sampling.max_tokens)
    return write_report((), (judge, best, kept), title=s.title, bars=Bars())

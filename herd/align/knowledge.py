"""What a model knows: questions that it answers rightly every time, and a refusal for those it does not (4.3.6)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from herd.align.loading import write_dialogues
from herd.align.rejection_sampling import (
    PromptCandidates,
    RejectionSamplingSettings,
    answer_all,
    answerable_prompts,
    grade_answers,
)
from herd.align.results import KnowledgeCounts, KnowledgeProbe
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import DataError, SettingsError
from herd.core.records import Conversation, Message
from herd.core.registry import PluginConfig
from herd.core.settings import PositiveInt, Share, settings
from herd.core.stage import Work, stage
from herd.generate.params import SamplingParams
from herd.judge.verifiers import verifiers
from herd.model.collectives import RankGroup
from herd.model.config import read_shape
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of

Knowledge = Literal["known", "unknown", "uncertain"]

_QUESTION = "{question}"


@settings
class KnowledgeProbeSettings:
    """num_samples: answers a question. verifier: says which of them are right. known_share: at least this share of a
    question's answers is right where it is known. unknown_share: at most this share is, and the others came to an end
    and are wrong, where it is unknown. refusal: what is said to unknown questions, with the question for `{question}`;
    a question's `metadata["refusal"]` stands in its place. prompt_format: what a base model continues, such as
    examples before the `{question}`; its answer ends at a stop text of `sampling`, or at the end of the line when
    there is none."""

    sampling: SamplingParams = SamplingParams(temperature=0.7)
    num_samples: PositiveInt = 6
    verifier: Annotated[PluginConfig, verifiers.choice]
    known_share: Share = 1.0
    unknown_share: Share = 1 / 3
    refusal: str = "I don't know."
    prompt_format: str = _QUESTION

    def __post_init__(self) -> None:
        if self.unknown_share >= self.known_share:
            raise SettingsError(
                f"unknown_share {self.unknown_share:g} is not below known_share {self.known_share:g}, so that a "
                "question may be both known and unknown; lower unknown_share"
            )
        if _QUESTION not in self.prompt_format:
            raise SettingsError(f"prompt_format has no place for the question; write {_QUESTION} where it stands")


@dataclass(frozen=True)
class CompletionFormat:
    """Questions as text that a base model continues. stop: texts before which its answer ends."""

    tokenizer: TextTokenizer
    prompt_format: str
    stop: tuple[str, ...]

    def encode_prompt(self, conversation: Conversation) -> list[int]:
        """What opens a text, and the question in its place, as ids."""
        question = "\n".join(message.content for message in conversation.messages)
        return [*self.tokenizer.opening, *self.tokenizer.encode(self.prompt_format.replace(_QUESTION, question))]

    def parse_message(self, ids: Sequence[int]) -> Message:
        """The answer, without what follows it."""
        text = self.tokenizer.decode(ids)
        ends = [text.find(stop) for stop in self.stop if stop in text]
        return Message("assistant", text[: min(ends, default=len(text))].strip())


@stage(paper="4.3.6", version=1, gpu=True, data_parallel=True)
def probe_knowledge(
    work: Work, model: Checkpoint, questions: Dialogues, *, settings: KnowledgeProbeSettings
) -> Dialogues:
    """`questions`, whose last message is the right answer, as dialogues that teach `model` to know what it knows: with
    that answer where its own answers are right, with a refusal where they are wrong; those in between are left out.

    Their sources are `known` and `unknown`; the question's own stands in `metadata["knowledge"]`, with how many answers
    were right. `model` chats, or is a base model that continues text. Answers are kept as they come: a run that is
    stopped asks nothing twice. Source: Llama 3, 4.3.6. Differs: the questions come with their answers, which a verifier
    compares, in the place of a model that reads both; an answer is informative when it comes to an end. Raises
    DataError when of no question it can be said whether it is known.
    """
    tokenizer, ranks = TextTokenizer.load(model.path), RankGroup.of(work)
    is_base, sampling = kind_of(model.path) == "base", settings.sampling
    if is_base and not sampling.stop:
        sampling = replace(sampling, stop=("\n",))
    prompt_format = (
        CompletionFormat(tokenizer, settings.prompt_format, sampling.stop) if is_base else chat_template_of(tokenizer)
    )
    entries, left_out = answerable_prompts(questions, prompt_format, read_shape(model.path).max_seq_len, ())
    left_out["it has no known answer"] = sum(entry.reference is None for entry in entries)
    entries = [entry for entry in entries if entry.reference is not None]
    rejection = RejectionSamplingSettings(
        sampling=sampling, num_samples=settings.num_samples, verifier=settings.verifier
    )
    answer_all(work, entries, model, tokenizer, prompt_format, rejection, ranks, keep_truncated=is_base)
    grade_answers(work, entries, rejection, ranks)
    probes = [Probe.of(entry, settings) for entry in entries]
    judged = [probe for probe in probes if not probe.unjudged]
    left_out["the verifier can say nothing of an answer"] = len(probes) - len(judged)
    if not judged:
        raise DataError(
            f"of none of {left_out.total()} questions {settings.verifier.name} can say whether an answer "
            "is right; give questions whose last message is the right answer"
        )
    counts = Counter(probe.knowledge for probe in judged)
    left_out["it is uncertain whether it is known"] = counts["uncertain"]
    result = probe_result(judged, settings.num_samples)
    work.record(result)
    right = sum(probe.right for probe in judged) / (len(judged) * settings.num_samples)
    return write_dialogues(
        work,
        [probe.dialogue(settings) for probe in judged if probe.knowledge != "uncertain"],
        f"{counts['known']:,} known, {counts['unknown']:,} unknown, {counts['uncertain']:,} uncertain; {right:.0%} of "
        "all answers right",
        left_out=+left_out,
    )


@dataclass(frozen=True)
class Probe:
    """A question and the answers to it. right, wrong: how many are; those without an end are neither. unjudged: how
    many the verifier can say nothing of."""

    entry: PromptCandidates
    right: int
    wrong: int
    unjudged: int
    knowledge: Knowledge

    @classmethod
    def of(cls, entry: PromptCandidates, settings: KnowledgeProbeSettings) -> Probe:
        times = Counter[bool | None]()
        for answer in entry.answers:
            times[answer.right] += answer.times
        knowledge = classify_knowledge(
            times[True], times[False], settings.num_samples,
            known_share=settings.known_share, unknown_share=settings.unknown_share,
        )  # fmt: skip
        return cls(entry, times[True], times[False], times[None], knowledge)

    def dialogue(self, settings: KnowledgeProbeSettings) -> Conversation:
        """The question with its right answer where that is known, else with a refusal."""
        prompt, reference = self.entry.prompt, self.entry.reference
        assert reference is not None
        if self.knowledge == "unknown":
            question = "\n".join(message.content for message in prompt.messages if message.role == "user")
            refusal = prompt.metadata.get("refusal") or settings.refusal.replace(_QUESTION, question)
            reference = Message("assistant", refusal)
        knowledge = {"source": prompt.source, "right": self.right, "num_samples": settings.num_samples}
        return replace(
            prompt.with_messages(reference),
            source=self.knowledge,
            metadata={**prompt.metadata, "knowledge": knowledge},
        )


def classify_knowledge(
    right: int, wrong: int, num_samples: int, *, known_share: float, unknown_share: float
) -> Knowledge:
    """Whether a model knows the answer to a question. right, wrong: how many of `num_samples` answers are. Answers that
    are neither speak against both: a question is unknown when at most `unknown_share` of its answers are not wrong."""
    rounding = 1e-9  # 2 of 6 are a third
    if right >= known_share * num_samples - rounding:
        return "known"
    return "unknown" if num_samples - wrong <= unknown_share * num_samples + rounding else "uncertain"


def probe_result(probes: Sequence[Probe], num_samples: int) -> KnowledgeProbe:
    """What the probes found, by the sources of their questions."""
    by_source: dict[str, list[Probe]] = defaultdict(list)
    for probe in probes:
        by_source[probe.entry.prompt.source].append(probe)
    by_right = Counter(probe.right for probe in probes)
    without_end = sum(num_samples - probe.right - probe.wrong for probe in probes)
    return KnowledgeProbe(
        sources={source: _counts(by_source[source], num_samples) for source in sorted(by_source)},
        by_right=tuple(by_right[right] for right in range(num_samples + 1)),
        truncated_share=without_end / (len(probes) * num_samples),
    )


def _counts(probes: Sequence[Probe], num_samples: int) -> KnowledgeCounts:
    counts = Counter(probe.knowledge for probe in probes)
    right = sum(probe.right for probe in probes) / (len(probes) * num_samples)
    return KnowledgeCounts(counts["known"], counts["unknown"], counts["uncertain"], right)

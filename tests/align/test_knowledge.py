"""Probing what a model knows: which questions are known, what is taught of each, and what a stop costs."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.align.knowledge import CompletionFormat, KnowledgeProbeSettings, classify_knowledge, probe_knowledge
from herd.align.results import DialogueCount, KnowledgeCounts, KnowledgeProbe
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import DataError, SettingsError, StoppedError
from herd.core.records import Conversation, Message
from herd.core.stage import Work
from herd.core.storage import read_conversations, write_conversations
from herd.generate.params import SamplingParams
from herd.judge.verifiers import verifiers
from herd.report.sections.alignment import alignment_section
from herd.run.executors import LocalExecutor
from herd.train.checkpoint import Kind, write_checkpoint
from tests.model.test_transformer import SMALL, model
from tests.results import Made
from tests.tokens.test_chat import TOKENIZER

EXACT = verifiers.configure("exact_match")


def question(number: int, answer: str, source: str = "people", **metadata: str) -> Conversation:
    messages = (Message("user", f"Who is {number}?"), Message("assistant", answer))
    return Conversation(messages, id=f"{number}", source=source, metadata=metadata)


def checkpoint(tmp_path: Path, kind: Kind) -> Checkpoint:
    folder = tmp_path / kind
    if not folder.exists():
        folder.mkdir()
        shape = replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=256)
        write_checkpoint(folder, model(shape), TOKENIZER, kind=kind)
    return Checkpoint(folder)


def probe(
    tmp_path: Path, kind: Kind, questions: list[Conversation], *, name: str = "probe", **settings: Any
) -> tuple[Work, list[Conversation]]:
    for folder in (tmp_path / f"{name} questions", tmp_path / name / "out", tmp_path / name / "scratch"):
        folder.mkdir(parents=True, exist_ok=True)
    write_conversations(tmp_path / f"{name} questions", questions)
    work = Work(tmp_path / name / "out", tmp_path / name / "scratch", LocalExecutor(lambda: 1))
    probe_knowledge.body(
        work,
        checkpoint(tmp_path, kind),
        Dialogues(tmp_path / f"{name} questions"),
        settings=KnowledgeProbeSettings(verifier=EXACT, **settings),
    )
    return work, list(read_conversations(work.out))


SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda pair: pair[0] < pair[1] - 1e-6)


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n))), SHARES)
def test_more_right_answers_never_make_a_question_less_known(counts: tuple[int, int, int], shares: Any) -> None:
    right, wrong, samples = counts
    wrong = min(wrong, samples - right)
    order, (unknown_share, known_share) = ("unknown", "uncertain", "known"), shares

    def place(right: int, wrong: int) -> int:
        return order.index(
            classify_knowledge(right, wrong, samples, known_share=known_share, unknown_share=unknown_share)
        )

    assert place(samples, 0) == 2
    assert place(0, samples) == 0
    if wrong:
        assert place(right + 1, wrong - 1) >= place(right, wrong)
        assert place(right, wrong - 1) >= place(right, wrong)  # an answer without an end speaks for no refusal
    if right:
        assert place(right - 1, wrong) <= place(right, wrong)


@pytest.mark.parametrize(
    ("right", "wrong", "knowledge"),
    [(6, 0, "known"), (5, 1, "uncertain"), (3, 3, "uncertain"), (2, 4, "unknown"), (0, 6, "unknown"),
     (0, 3, "uncertain"), (0, 0, "uncertain"), (2, 3, "uncertain")],
)  # fmt: skip
def test_a_third_right_is_unknown_and_all_right_known(right: int, wrong: int, knowledge: str) -> None:
    assert classify_knowledge(right, wrong, 6, known_share=1.0, unknown_share=1 / 3) == knowledge


def test_shares_that_overlap_and_a_format_without_a_question_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"unknown_share 0\.5 is not below known_share 0\.5"):
        KnowledgeProbeSettings(verifier=EXACT, known_share=0.5, unknown_share=0.5)
    with pytest.raises(SettingsError, match="no place for the question"):
        KnowledgeProbeSettings(verifier=EXACT, prompt_format="Q: ?")


def test_a_base_model_reads_plain_text_and_its_answer_ends_with_the_line() -> None:
    few_shot = "hello {there}?\nthere\n{question}\n"
    prompt_format = CompletionFormat(TOKENIZER, few_shot, ("\n", "###"))
    ids = prompt_format.encode_prompt(Conversation((Message("user", "Who {x}?"),)))
    assert ids[:1] == [TOKENIZER.bos_id]
    assert TOKENIZER.decode(ids[1:]) == "hello {there}?\nthere\nWho {x}?\n"
    for text in (" hello.", " hello.\nthere", " hello. ### no\n", " hello.\n\n\n"):
        assert prompt_format.parse_message(TOKENIZER.encode(text)) == Message("assistant", "hello.")


def test_known_questions_keep_their_answer_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    """A model that may write only "seven" and goes on after the line, asked what is seven and what is not."""
    questions = [
        *(question(number, "Seven") for number in range(70)),
        *(question(number, "8", "numbers") for number in range(70, 73)),
        question(73, "8", "numbers", refusal="Nobody told me."),
        replace(question(74, "9"), messages=question(74, "9").messages[:1]),
    ]
    sampling = SamplingParams(temperature=0.7, max_tokens=9, choices=("seven\nthere",))
    work, rows = probe(tmp_path, "base", questions, sampling=sampling, refusal="{question} I do not know.")
    assert Counter(row.source for row in rows) == {"known": 70, "unknown": 4}
    assert all(row.last.content == "Seven" for row in rows[:70])
    assert [row.last.content for row in rows[70:]] == [
        "Who is 70? I do not know.", "Who is 71? I do not know.", "Who is 72? I do not know.", "Nobody told me.",
    ]  # fmt: skip
    assert rows[73].metadata["knowledge"] == {"source": "numbers", "right": 0, "num_samples": 6}
    assert rows[73].metadata["refusal"] == "Nobody told me."
    assert [row.messages[0] for row in rows] == [row.messages[0] for row in questions[:74]]
    assert work.results[KnowledgeProbe] == KnowledgeProbe(
        sources={"numbers": KnowledgeCounts(0, 4, 0, 0.0), "people": KnowledgeCounts(70, 0, 0, 1.0)},
        by_right=(4, 0, 0, 0, 0, 0, 70),
        truncated_share=0.0,
    )
    assert work.results[DialogueCount].left_out == {"it has no known answer": 1}
    assert work.headline == "70 known, 4 unknown, 0 uncertain; 95% of all answers right"
    section = alignment_section([Made(work.results[KnowledgeProbe])])  # type: ignore[list-item]
    assert section is not None
    assert re.findall(r"<td>people</td>\s*(?:<td class=\"n\">([^<]*)</td>\s*)+", section.html) == ["100.0%"]


def test_every_answer_counts_and_those_between_are_left_out(tmp_path: Path) -> None:
    sampling = SamplingParams(temperature=2.0, max_tokens=3, choices=("7", "8"))
    work, rows = probe(tmp_path, "chat", [question(n, "7") for n in range(40)], sampling=sampling, num_samples=3)
    result = work.results[KnowledgeProbe]
    counts = result.sources["people"]
    assert sum(result.by_right) == 40
    # Of 3 answers all right is known, at most one unknown.
    assert result.by_right == (*result.by_right[:2], counts.uncertain, counts.known)
    assert counts.unknown == result.by_right[0] + result.by_right[1]
    assert counts.right == pytest.approx(sum(k * count for k, count in enumerate(result.by_right)) / 120)
    assert all(result.by_right)
    assert len(rows) == 40 - counts.uncertain
    for row in rows:
        right = row.metadata["knowledge"]["right"]
        assert row.source == ("known" if right == 3 else "unknown")
        assert row.last.content == ("7" if right == 3 else "I don't know.")
    assert work.results[DialogueCount].left_out == {"it is uncertain whether it is known": counts.uncertain}


def test_a_chat_models_answers_without_an_end_make_nothing_unknown(tmp_path: Path) -> None:
    questions = [question(number, "7") for number in range(4)]
    sampling = SamplingParams(max_tokens=1, temperature=0.7, logit_bias={TOKENIZER.encode("8")[0]: 1000.0})
    work, rows = probe(tmp_path, "chat", questions, sampling=sampling)
    assert rows == []
    assert work.results[KnowledgeProbe].truncated_share == 1.0
    assert work.results[KnowledgeProbe].sources["people"].uncertain == 4
    # Text that a base model continues has no end of its own: what is there is read.
    work, rows = probe(tmp_path, "base", questions, name="base probe", sampling=sampling)
    assert work.results[KnowledgeProbe].truncated_share == 0.0
    assert Counter(row.source for row in rows) == {"unknown": 4}


def test_a_probe_that_is_stopped_asks_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = [question(number, "7") for number in range(70)]
    sampling = SamplingParams(temperature=2.0, max_tokens=3, choices=("7\n", "8\n"))
    work, rows = probe(tmp_path, "base", questions, sampling=sampling, num_samples=2)
    scratch = tmp_path / "again" / "scratch"
    scratch.mkdir(parents=True)
    for name in ("answers.jsonl", "answers.sha256"):  # stopped after the first part
        first_part = (work.scratch / name).read_bytes().splitlines(keepends=True)[0]
        (scratch / name).write_bytes(first_part)
    assert probe(tmp_path, "base", questions, name="again", sampling=sampling, num_samples=2)[1] == rows
    monkeypatch.setattr(
        "herd.align.rejection_sampling.load_transformer", lambda path: (_ for _ in ()).throw(StoppedError("asked"))
    )
    assert probe(tmp_path, "base", questions, name="again", sampling=sampling, num_samples=2)[1] == rows


def test_questions_of_which_nothing_can_be_said_teach_nothing(tmp_path: Path) -> None:
    without = replace(question(1, "7"), messages=question(1, "7").messages[:1])
    with pytest.raises(DataError, match="of none of 1 questions exact_match can say"):
        probe(tmp_path, "base", [without], sampling=SamplingParams(max_tokens=2))

"""What a task's examples, answers and grades become."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from herd.core.errors import DataError, SettingsError
from herd.evals.harness import TaskScore, TextScore, evaluate, gold_nll
from herd.evals.intervals import Interval
from herd.evals.task import Example, Generate, Grade, LogLikelihood, ModelAnswer, Perplexity, Prompt, Task
from herd.generate.engine import Engine, SamplingParams, score_greedy
from tests.evals.models import Scripted
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import TOKENIZER

NETWORK = model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=64))
ENGINE = Engine(NETWORK, TOKENIZER.stop_token_ids, tokenizer=TOKENIZER)
SUMS = [Example(f"{a}", {"a": a}, f" {a + 1}") for a in range(1, 6)]


def ask(example: Example) -> str:
    return f"after {example.row['a']} comes"


def grade(example: Example, answer: ModelAnswer) -> Grade:
    said = answer.text.strip()
    return Grade(float(said == example.target.strip()), said, "because")


def scored(task: Task, say, *, chat: bool = False) -> TaskScore:
    found = evaluate(Scripted(TOKENIZER, say), TOKENIZER, task, chat=chat)
    assert isinstance(found, TaskScore)
    return found


def successor(asked: str) -> str:
    return f" {int(asked.split('after ')[1].split()[0]) + 1}"


def test_right_answers_are_counted_and_told_with_what_was_read_out_of_them() -> None:
    task = Task(SUMS, ask, Generate(), grade)
    found = scored(task, lambda asked: successor(asked) if "after 1 " not in asked else " no")
    assert found.scores == (0.0, 1.0, 1.0, 1.0, 1.0)
    result = found.result()
    assert (result.share, result.questions, result.void, result.right) == (0.8, 5, 0, (0, 1, 1, 1, 1))
    assert asdict(result.samples[0]) | {"prompt": ""} == {
        "prompt": "",
        "answer": " no",
        "right": False,
        "score": 0.0,
        "extracted": "no",
        "reason": "because",
    }


def test_text_that_goes_on_ends_at_the_first_stop_string_and_a_turn_by_itself() -> None:
    task = Task(SUMS, ask, Generate(stop=("\n\n", "Q:")), grade)
    found = scored(task, lambda asked: f"{successor(asked)}Q: and so on\n\n")
    assert set(found.scores) == {1.0}
    assert found.truncated_share == 0
    assert set(scored(task, lambda asked: f"{successor(asked)}Q: and so on", chat=True).scores) == {0.0}
    assert set(scored(task, successor, chat=True).scores) == {1.0}


def test_the_engine_ends_answers_at_stop_strings_which_changes_no_answer_and_saves_tokens() -> None:
    params = SamplingParams(max_tokens=32)
    prompts = [[*TOKENIZER.opening, *TOKENIZER.encode(ask(example))] for example in SUMS]
    texts = [TOKENIZER.decode(completion.token_ids) for completion in ENGINE.generate(prompts, params)]
    stop = (texts[0][4:7], texts[1][9:11], "never so")
    cut = [text[: min((text.index(each) for each in stop if each in text), default=None)] for text in texts]
    assert any(len(short) < len(text) for short, text in zip(cut, texts, strict=True))
    answers: list[ModelAnswer] = []

    def hear(example: Example, answer: ModelAnswer) -> Grade:
        answers.append(answer)
        return Grade(1.0)

    whole, stopped = (
        evaluate(ENGINE, TOKENIZER, Task(SUMS, ask, Generate(max_tokens=32, stop=strings), hear), chat=False)
        for strings in ((), stop)
    )
    assert isinstance(whole, TaskScore)
    assert isinstance(stopped, TaskScore)
    assert [answer.text for answer in answers] == [*texts, *cut]
    assert [answer.finished for answer in answers[5:]] == [
        answer.finished or short != text for answer, short, text in zip(answers, cut, texts, strict=False)
    ]
    assert stopped.tokens < 0.8 * whole.tokens


def test_a_chat_model_is_asked_in_its_format_and_others_the_plain_text() -> None:
    heard: list[str] = []
    chat = Prompt.of("spoken").chat
    task = Task(SUMS[:1], lambda example: Prompt(chat, "written"), Generate(), grade)
    for taught in (False, True):
        scored(task, lambda asked: heard.append(asked) or "", chat=taught)
    assert heard[0] == "written"
    assert "spoken" in heard[1]
    assert "written" not in heard[1]


def counted_on(example: Example) -> Prompt:
    """Two turns: what comes after a number, and what after that."""
    return replace(Prompt.of(ask(example)), turns=("and then",))


def grade_both(example: Example, answer: ModelAnswer) -> Grade:
    told = [turn.text.strip() for turn in (*answer.earlier, answer)]
    return Grade(float(told == [str(example.row["a"] + 1), str(example.row["a"] + 2)]), " ".join(told))


@pytest.mark.parametrize("chat", [False, True])
def test_later_turns_are_put_after_the_models_own_answers(chat: bool) -> None:
    asked: list[str] = []

    def own_answer(prompt: str) -> str:
        asked.append(prompt)
        return successor(prompt) if "and then" not in prompt else " 0"

    task = Task(SUMS, counted_on, Generate(stop=("\n",)), grade_both)
    found = scored(task, own_answer, chat=chat)
    assert set(found.scores) == {0.0}  # the second turn is wrong, and the first alone is not enough
    assert [answer.grade.extracted for answer in found.answers] == [f"{a + 1} 0" for a in range(1, 6)]
    later = [prompt for prompt in asked if "and then" in prompt]
    assert len(asked) == 2 * len(later) == 10
    for a, prompt in enumerate(later, start=1):
        # The model's own answer stands between the turns.
        assert prompt.index(f"after {a} comes") < prompt.index(f" {a + 1}") < prompt.index("and then")
    assert found.answers[0].prompt.endswith("\nand then")
    assert found.answers[0].answer.splitlines()[-1].strip() == "0"


def test_every_sample_goes_on_from_its_own_answers() -> None:
    said: list[str] = []

    def say(prompt: str) -> str:
        if "and then" in prompt:
            return " seen" if any(f"comes {word}" in prompt for word in said) else " lost"
        said.append(f"word{len(said)}")
        return f" {said[-1]}"

    grades: list[tuple[str, ...]] = []

    def remember(example: Example, answer: ModelAnswer) -> Grade:
        grades.append(tuple(turn.text.strip() for turn in (*answer.earlier, answer)))
        return Grade(1.0)

    scored(Task(SUMS[:2], counted_on, Generate(stop=("\n",), num_samples=2, temperature=1.0), remember), say)
    assert grades == [(f"word{n}", "seen") for n in range(4)]


def test_a_later_turn_that_does_not_fit_any_more_is_answered_with_nothing() -> None:
    heard: list[tuple[str, ...]] = []

    def remember(example: Example, answer: ModelAnswer) -> Grade:
        heard.append(tuple(turn.text.strip()[:5] for turn in (*answer.earlier, answer)))
        assert answer.finished == (example.row["a"] == 1)
        return Grade(float(answer.finished))

    def say(prompt: str) -> str:
        return " short" if "after 1 " in prompt else " long" * 60

    task = Task(SUMS[:2], counted_on, Generate(), remember)
    found = evaluate(Scripted(TOKENIZER, say, context=64), TOKENIZER, task, chat=False)
    assert isinstance(found, TaskScore)
    assert heard == [("short", "short"), ("long ", "")]
    assert found.truncated_share == 1 / 4


@pytest.mark.parametrize("fitting", [0, 1])
def test_a_prompt_that_the_context_does_not_hold_is_refused_or_answered_with_nothing(fitting: int) -> None:
    examples = [Example("long", {}, ""), Example("short", {}, "")][: 1 + fitting]

    def prompt(example: Example) -> str:
        return "word " * (ENGINE.max_seq_len if example.id == "long" else 3)

    def told(example: Example, answer: ModelAnswer) -> Grade:
        return Grade(float(answer.finished or bool(answer.text)))

    with pytest.raises(DataError, match="the model reads 1 to"):
        evaluate(ENGINE, TOKENIZER, Task(examples, prompt, Generate(max_tokens=4), told), chat=False)
    task = Task(examples, prompt, Generate(max_tokens=4, long_prompts="unanswered"), told)
    found = evaluate(ENGINE, TOKENIZER, task, chat=False)
    assert isinstance(found, TaskScore)
    assert found.scores == (0.0, 1.0)[: 1 + fitting]
    assert found.answers[0].answer == ""


def test_turns_of_a_task_in_which_nothing_is_written_are_refused() -> None:
    task = Task(SUMS, counted_on, LogLikelihood(lambda example: [" 1", " 2"]))
    with pytest.raises(SettingsError, match="has several turns and its model writes nothing"):
        evaluate(ENGINE, TOKENIZER, task, chat=False)


def test_what_is_void_counts_in_no_score() -> None:
    def some(example: Example, answer: ModelAnswer) -> Grade:
        return Grade(None, reason="the machine is overloaded") if example.row["a"] < 3 else grade(example, answer)

    found = scored(Task(SUMS, ask, Generate(), some), successor)
    assert found.scores == (None, None, 1.0, 1.0, 1.0)
    assert (found.interval.value, found.result().void) == (1.0, 2)
    assert "2 of them void" in str(found)


def test_partly_right_answers_count_as_what_they_are_worth() -> None:
    found = scored(Task(SUMS, ask, Generate(), lambda example, answer: Grade(example.row["a"] / 10)), successor)
    assert found.interval.value == pytest.approx(0.3)
    assert found.interval.low < 0.3 < found.interval.high


@pytest.mark.parametrize(("k", "wanted"), [(1, 2 / 5), (2, 1 - 3 / 10), (4, 1.0)])
def test_the_best_of_k_samples_is_the_unbiased_estimate(k: int, wanted: float) -> None:
    """Chen et al. 2021: 1 - C(n - c, k) / C(n, k), here of five samples, two of them right."""
    turns = iter([" 2", " no", " 2", " no", " no"])
    task = Task(SUMS[:1], ask, Generate(num_samples=5, temperature=0.7, k=k), grade)
    assert scored(task, lambda asked: next(turns)).scores[0] == pytest.approx(wanted)


# ---- the likeliest of several texts ----

CHOICES = (" the boat on the river", " a cat", " seven of them")


def nats(prompt: str, text: str) -> tuple[float, int]:
    """The plain way: one row, every token's log-probability added up."""
    before, whole = (TOKENIZER.encode(one) for one in (prompt, prompt + text))
    ids = [*TOKENIZER.opening, *whole]
    with torch.inference_mode():
        log_probs = NETWORK(torch.tensor([ids]))[0].log_softmax(-1)
    first = len(TOKENIZER.opening) + len(before)
    found = sum(float(log_probs[place - 1, ids[place]]) for place in range(first, len(ids)))
    return found, len(ids) - first


@pytest.mark.parametrize("normalize", ["none", "characters", "tokens"])
def test_the_likeliest_choice_is_the_models_answer(normalize) -> None:
    counted = [nats("we saw", one) for one in CHOICES]
    sizes = {"none": [1] * 3, "characters": [len(one.strip()) for one in CHOICES], "tokens": [n for _, n in counted]}
    weighed = [found / size for (found, _), size in zip(counted, sizes[normalize], strict=True)]
    likeliest = CHOICES[weighed.index(max(weighed))]
    examples = [Example(one, {}, one) for one in CHOICES]
    heard: list[ModelAnswer] = []

    def hear(example: Example, answer: ModelAnswer) -> Grade:
        heard.append(answer)
        return Grade(float(answer.text == example.target))

    for judge in (None, hear):
        task = Task(examples, lambda example: "we saw", LogLikelihood(lambda example: CHOICES, normalize), judge)
        found = evaluate(ENGINE, TOKENIZER, task, chat=False)
        assert isinstance(found, TaskScore)
        assert found.scores == tuple(float(one == likeliest) for one in CHOICES)
    assert heard[0].log_likelihoods == pytest.approx([found for found, _ in counted], abs=1e-4)


def test_spaces_at_the_prompts_end_belong_to_the_choice() -> None:
    how = LogLikelihood(lambda example: [one.strip() for one in CHOICES])
    heard: list[tuple[float, ...]] = []

    def hear(example: Example, answer: ModelAnswer) -> Grade:
        heard.append(answer.log_likelihoods)
        return Grade(1.0)

    evaluate(ENGINE, TOKENIZER, Task(SUMS[:1], lambda example: "we saw ", how, hear), chat=False)
    assert heard[0] == pytest.approx([nats("we saw", one)[0] for one in CHOICES], abs=1e-4)


def test_a_choice_that_does_not_fit_or_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="the model reads 64"):
        evaluate(ENGINE, TOKENIZER, Task(SUMS, ask, LogLikelihood(lambda example: ["a", "b" * 400])), chat=False)
    with pytest.raises(DataError, match="no two choices"):
        evaluate(ENGINE, TOKENIZER, Task(SUMS, ask, LogLikelihood(lambda example: ["a"])), chat=False)


# ---- how likely a text is ----


def test_bits_a_byte_are_those_of_the_losses_of_all_tokens() -> None:
    text = "we saw the boat on the river with all of them"
    ids = torch.tensor([[*TOKENIZER.opening, *TOKENIZER.encode(text)]])
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(NETWORK(ids)[0, :-1], ids[0, 1:], reduction="sum")
    task = Task([Example("a", {"text": text})] * 2, lambda example: example.row["text"], Perplexity())
    found = evaluate(ENGINE, TOKENIZER, task, chat=False)
    assert isinstance(found, TextScore)
    assert found.interval.value == pytest.approx(float(loss) / math.log(2) / len(text.encode()), rel=1e-4)
    assert found.result().token_perplexity == pytest.approx(math.exp(float(loss) / (ids.shape[1] - 1)), rel=1e-4)
    assert "bits a byte" in str(found)


def test_a_text_longer_than_the_context_is_read_in_windows() -> None:
    task = Task([Example("a", {"text": "word after word " * 40})], lambda example: example.row["text"], Perplexity())
    found = evaluate(ENGINE, TOKENIZER, task, chat=False)
    assert isinstance(found, TextScore)
    assert sum(found.tokens) == len(TOKENIZER.encode("word after word " * 40))
    assert found.tokens[0] > 64


def test_a_long_text_says_how_far_it_is_and_in_few_windows_at_once_it_scores_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = Task([Example("a", {"text": "word after word " * 40})], lambda example: example.row["text"], Perplexity())
    together = evaluate(ENGINE, TOKENIZER, task, chat=False)
    monkeypatch.setattr("herd.evals.text_scoring._SCORED_TOKENS", 1)
    told: list[tuple[float, float]] = []
    apart = evaluate(ENGINE, TOKENIZER, task, chat=False, report=lambda done, total, *_: told.append((done, total)))
    assert isinstance(together, TextScore)
    assert isinstance(apart, TextScore)
    assert apart.tokens == together.tokens
    assert apart.interval.value == pytest.approx(together.interval.value, rel=1e-5)
    assert len(told) > 1
    assert [done for done, _ in told] == list(range(len(told)))


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(DataError, match="is empty"):
        evaluate(ENGINE, TOKENIZER, Task(SUMS[:1], lambda example: "", Perplexity()), chat=False)


def test_nats_a_character_are_of_examples_that_have_a_target() -> None:
    task = Task([SUMS[0], replace(SUMS[1], target="")], ask, Generate(), grade)
    wanted = -nats("after 1 comes", " 2")[0] / 2
    assert gold_nll(ENGINE, TOKENIZER, task) == pytest.approx(wanted, rel=1e-3)
    with pytest.raises(DataError, match="plain text could go on with"):
        gold_nll(ENGINE, TOKENIZER, replace(task, examples=[task.examples[1]]))


# ---- what benchmarks need ----


def heard_answers(task: Task, **how: Any) -> tuple[TaskScore, list[ModelAnswer]]:
    answers: list[ModelAnswer] = []

    def hear(example: Example, answer: ModelAnswer) -> Grade:
        answers.append(answer)
        return Grade(float(answer.text == example.target))

    found = evaluate(ENGINE, TOKENIZER, replace(task, grade=hear), chat=False, **how)
    assert isinstance(found, TaskScore)
    return found, answers


def test_bytes_and_pmi_weigh_the_same_log_likelihoods_otherwise() -> None:
    choices = (" the bôat on the river", " a cat", " seven of them")
    alone = [nats("Answer:", one)[0] for one in choices]
    told = [nats("we saw", one)[0] for one in choices]
    weighed = {
        "bytes": [found / len(one.strip().encode()) for found, one in zip(told, choices, strict=True)],
        "pmi": [found - other for found, other in zip(told, alone, strict=True)],
    }
    for normalize, values in weighed.items():
        how = LogLikelihood(lambda example: choices, normalize)  # type: ignore[arg-type]
        _, answers = heard_answers(Task(SUMS[:1], lambda example: "we saw", how))
        assert answers[0].choice == values.index(max(values))
        assert answers[0].log_likelihoods == pytest.approx(told, abs=1e-4)


def test_a_prompt_of_its_own_for_every_choice() -> None:
    contexts = ("the cat saw that the cat", "the cat saw that the boat")
    how = LogLikelihood(lambda example: [" was old"] * 2, contexts=lambda example: contexts)
    likely = [nats(context, " was old")[0] for context in contexts]
    target = contexts[likely.index(max(likely))] + " was old"
    found, answers = heard_answers(Task([Example("a", {}, target)], lambda example: "", how))
    assert answers[0].log_likelihoods == pytest.approx(likely, abs=1e-4)
    assert found.scores == (1.0,)
    assert found.choices[0].right == likely.index(max(likely))
    with pytest.raises(DataError, match="1 contexts of 2 choices"):
        heard_answers(Task(SUMS[:1], ask, replace(how, contexts=lambda example: contexts[:1])))


def test_a_text_is_greedy_when_the_model_would_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = [*TOKENIZER.opening, *TOKENIZER.encode("we saw")]
    ids = ENGINE.generate([prompt], SamplingParams(max_tokens=3))[0].token_ids
    other = [*ids[:-1], (ids[-1] + 1) % TOKENIZER.vocab_size]
    rows = score_greedy(ENGINE, [prompt, prompt], [ids, other])
    assert [greedy for _, greedy in rows] == [True, False]
    assert [logp for logp, _ in rows] == pytest.approx(ENGINE.score([prompt, prompt], [ids, other]))

    examples = [Example("a", {}, " boat"), Example("b", {}, " seven")]
    task = Task(examples, lambda example: "we saw", LogLikelihood(lambda example: [example.target], greedy=True))
    monkeypatch.setattr("herd.evals.harness.score_greedy", lambda *_: [(-1.0, True), (-2.0, False)])
    found, answers = heard_answers(task)
    assert found.scores == (1.0, 0.0)
    assert [answer.log_likelihoods for answer in answers] == [(-1.0,), (-2.0,)]
    assert found.choices == ()
    assert found.result().chance is None


def test_an_answer_goes_on_from_what_it_begins_with_and_is_graded_without_it() -> None:
    asked: list[str] = []

    def say(prompt: str) -> str:
        asked.append(prompt)
        return " B."

    begun = replace(Prompt.of("Which?"), response_prefix="The best answer is", turns=("Sure?",))
    for chat in (False, True):
        task = Task(SUMS[:1], lambda example: begun, Generate(), grade)
        found = scored(task, say, chat=chat)
        assert found.answers[0].text.strip() == "B."
    assert asked[0].endswith("Which? The best answer is")
    assert asked[1].endswith("Which? The best answer is B.\nSure?")
    assert asked[2].endswith("The best answer is")
    assert "The best answer is B." in asked[3]


def test_a_chat_ends_at_strings_of_its_own() -> None:
    task = Task(SUMS[:1], ask, Generate(stop=("Q:",), chat_stop=("!",)), grade)
    assert scored(task, lambda asked: " 2! and more", chat=True).scores == (1.0,)
    assert scored(task, lambda asked: " 2Q: and more").scores == (1.0,)


def test_groups_metrics_parts_and_notes_go_with_the_score() -> None:
    def graded(example: Example, answer: ModelAnswer) -> Grade:
        return Grade(1.0, unparsed=example.row["a"] == 1, parts={"f1": example.row["a"] / 10})

    def mean_f1(grades) -> Interval:
        values = [own[0].parts["f1"] for own in grades]
        return Interval(sum(values) / len(values), min(values), max(values))

    task = Task(
        SUMS,
        ask,
        Generate(),
        graded,
        {"f1": mean_f1},
        lambda example: "odd" if example.row["a"] % 2 else "even",
        ("half",),
    )
    found = scored(task, successor)
    assert found.metrics["f1"] == pytest.approx((0.3, 0.1, 0.5))
    assert found.groups == ("odd", "even", "odd", "even", "odd")
    assert [answer.group for answer in found.answers] == list(found.groups)
    assert (found.unparsed, found.notes) == (1, ("half",))


def test_long_prompts_lose_their_first_tokens_only_where_asked_and_are_counted() -> None:
    examples = [Example("long", {}, " word"), Example("short", {}, " word")]

    def prompt(example: Example) -> str:
        return "word " * (80 if example.id == "long" else 3) + "word"

    how = LogLikelihood(lambda example: [" word", " boat"])
    with pytest.raises(DataError, match="let prompts be truncated"):
        evaluate(ENGINE, TOKENIZER, Task(examples, prompt, how), chat=False)
    found, _ = heard_answers(Task(examples, prompt, how), truncate_left=True)
    assert found.left_truncated == 1
    told = Task(examples, prompt, Generate(max_tokens=4), grade)
    written = evaluate(ENGINE, TOKENIZER, told, chat=False, truncate_left=True)
    assert isinstance(written, TaskScore)
    assert written.left_truncated == 1
    assert len(TOKENIZER.encode(written.answers[0].full_prompt)) <= 64


def test_prompts_that_are_read_once_give_the_same_scores() -> None:
    def long(example: Example) -> str:
        return f"we saw the boat on the river and then after {example.row['a']} comes"

    plain = Task(SUMS, long, LogLikelihood(lambda example: CHOICES, "pmi"))
    shared = Task(SUMS, long, LogLikelihood(lambda example: CHOICES, "pmi", share_prompts=True))
    for chat in (False, True):
        told, again = (heard_answers(task)[1] if not chat else _in_chat(task) for task in (plain, shared))
        for first, second in zip(told, again, strict=True):
            assert second.log_likelihoods == pytest.approx(first.log_likelihoods, abs=1e-4)
            assert second.choice == first.choice


def _in_chat(task: Task) -> list[ModelAnswer]:
    network = model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=256))
    engine = Engine(network, TOKENIZER.stop_token_ids, tokenizer=TOKENIZER)
    answers: list[ModelAnswer] = []

    def hear(example: Example, answer: ModelAnswer) -> Grade:
        answers.append(answer)
        return Grade(1.0)

    evaluate(engine, TOKENIZER, replace(task, grade=hear), chat=True)
    return answers

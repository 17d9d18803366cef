"""Every stage of alignment on a model of others in its chat format: losses, scores and answers as transformers has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from herd.align.average import average_models
from herd.align.critiques import add_critiques, critic_dialogues
from herd.align.dpo import DpoSettings, dpo, reference_log_probs
from herd.align.loading import load_pretrained, write_dialogues
from herd.align.losses import losses
from herd.align.model_selection import select_best_model
from herd.align.rejection_sampling import RejectionSamplingSettings, rejection_sample
from herd.align.results import DialogueCount, FinetuningResult, RejectionSampling
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues, Preferences
from herd.core.errors import DataError
from herd.core.records import Conversation, Message, Preference
from herd.core.storage import read_conversations, read_preferences, write_preferences
from herd.generate.engine import SamplingParams
from herd.judge.reward import RewardJudge
from herd.judge.verifiers import verifiers
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of
from herd.train.log import METRICS_FILE, read_steps
from herd.train.preferences import encode_preferences
from tests.imported import GENERATION, imported, made, theirs, work
from tests.serve.test_models_of_others import OWN, byte_level, folder_of

SAMPLING = SamplingParams(temperature=1.0, max_tokens=200)
DIALOGUES = tuple(
    Conversation((Message("user", f"What is {n}?"), Message("assistant", f"It is number {n}.")), f"{n}")
    for n in range(8)
)
PAIRS = tuple(
    Preference(
        prompt=Conversation((Message("user", f"What is {n}?"),), f"{n}"),
        chosen=(Message("assistant", f"It is number {n}."),),
        rejected=(Message("assistant", "The user knows."),),
        strength="better",
    )
    for n in range(8)
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return imported(tmp_path_factory.mktemp("aligned") / "model")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Dialogues:
    return write_dialogues(work(tmp_path_factory.mktemp("shown")), DIALOGUES, "")


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Preferences:
    folder = tmp_path_factory.mktemp("ranked")
    write_preferences(folder, PAIRS)
    return Preferences(folder)


@pytest.fixture(scope="module")
def tuned(model: Checkpoint, shown: Dialogues, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    settings = SftSettings(length=256, batch_size=8, epochs=1, lr=1e-3, warmup=0.0)
    return sft.body(work(tmp_path_factory.mktemp("tuned")), model, (shown,), settings=settings)


def nats(reference: Any, prompt: list[int], whole: list[int]) -> torch.Tensor:
    """Of each token of `whole` after `prompt`."""
    ids = torch.tensor([whole])
    with torch.inference_mode():
        logits = reference(ids[:, :-1]).logits[0]
    found = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
    return found[len(prompt) - 1 :]


def rows_of(tokenizer: Any, messages: tuple[Message, ...]) -> tuple[list[int], list[int]]:
    """A prompt and the whole conversation as transformers writes them."""
    rows = [one.to_row() for one in messages]
    opened = tokenizer.apply_chat_template(rows[:-1], add_generation_prompt=True)["input_ids"]
    return opened, tokenizer.apply_chat_template(rows)["input_ids"]


def test_fine_tuning_begins_at_the_loss_of_transformers(model: Checkpoint, tuned: Checkpoint) -> None:
    reference, tokenizer = theirs(model.path)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    total = count = 0.0
    for one in DIALOGUES:
        opened, whole = rows_of(tokenizer, one.messages)
        answer = nats(reference, opened, whole)[: whole[len(opened) :].index(end) + 1]  # the ending is learnt
        total, count = total + float(answer.sum()), count + len(answer)
    steps = read_steps(tuned.path / METRICS_FILE)
    assert steps[0].loss_denominator == count
    assert steps[0].loss == pytest.approx(total / count, abs=1e-5)


def test_dialogues_that_are_too_long_are_told_where_the_stage_is_summed_up(model: Checkpoint, tmp_path: Path) -> None:
    long = Conversation((Message("user", "What?"), Message("assistant", "It is number 7. " * 40)), "long")
    given = write_dialogues(work(tmp_path / "given"), (*DIALOGUES, long), "")
    settings = SftSettings(length=128, batch_size=8, epochs=1, lr=1e-3)
    sft.body(done := work(tmp_path / "tuned"), model, (given,), settings=settings)
    assert done.headline.startswith("8 dialogues, once")
    assert done.headline.endswith("; 1 longer than 128 tokens left out")


def test_a_tune_can_be_copied_loaded_by_transformers_and_brought_in_again(tuned: Checkpoint, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(tuned.path, tmp_path / "copy")
    again = load_pretrained.body(work(tmp_path / "again"), folder=str(copy))
    reference, tokenizer = theirs(again.path)
    text, network = TextTokenizer.load(again.path), load_transformer(tuned.path)
    ids = chat_template_of(text).encode_prompt(PAIRS[0].prompt)
    assert (
        ids
        == tokenizer.apply_chat_template([{"role": "user", "content": "What is 0?"}], add_generation_prompt=True)[
            "input_ids"
        ]
    )
    with torch.inference_mode():
        assert torch.allclose(network(torch.tensor([ids])), reference(torch.tensor([ids])).logits, atol=1e-5)
    assert kind_of(again.path) == "chat"
    assert {name: text.generation.fields[name] for name in GENERATION} == GENERATION
    assert reference.generation_config.temperature == 0.6
    assert set(reference.generation_config.eos_token_id) == set(text.stop_token_ids)


def test_preferences_are_weighed_as_transformers_weighs_them(
    tuned: Checkpoint, ranked: Preferences, tmp_path: Path
) -> None:
    text, (reference, tokenizer) = TextTokenizer.load(tuned.path), theirs(tuned.path)
    pairs = encode_preferences(PAIRS, chat_template_of(text), max_answers=2, context=256).preferences
    ours = reference_log_probs(load_transformer(tuned.path), pairs, text.pad_id)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    for pair, found in zip(PAIRS, ours, strict=True):
        for answer, log_prob in zip((pair.chosen, pair.rejected), found, strict=True):
            opened, whole = rows_of(tokenizer, (*pair.prompt.messages, *answer))
            words = nats(reference, opened, whole)[: whole[len(opened) :].index(end)]  # without what ends it
            assert float(log_prob) == pytest.approx(-float(words.sum()), abs=1e-4)
    settings = DpoSettings(loss=losses.configure("dpo"), batch_size=4, lr=1e-3)
    preferred = dpo.body(done := work(tmp_path), tuned, (ranked,), settings=settings)
    assert done.results[FinetuningResult].examples == len(PAIRS)
    assert (kind_of(preferred.path), TextTokenizer.load(preferred.path).template) == ("chat", text.template)


def test_a_reward_model_scores_as_transformers_does_and_picks_answers(
    tuned: Checkpoint, ranked: Preferences, shown: Dialogues, tmp_path: Path
) -> None:
    import transformers

    settings = RewardSettings(batch_size=4, epochs=1, lr=1e-3)
    judge = train_reward.body(work(tmp_path / "reward"), tuned, (ranked,), settings=settings)
    reference = transformers.AutoModelForSequenceClassification.from_pretrained(judge.path, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(judge.path)
    scores = RewardJudge.load(judge).score(DIALOGUES)
    for one, score in zip(DIALOGUES, scores, strict=True):
        _, whole = rows_of(tokenizer, one.messages)
        with torch.inference_mode():
            assert float(reference(torch.tensor([whole])).logits) == pytest.approx(score, abs=1e-4)
    done = work(tmp_path / "selected")
    picked = rejection_sample.body(
        done, judge, tuned, shown, settings=RejectionSamplingSettings(sampling=SAMPLING, num_samples=4)
    )
    for one in read_conversations(picked.path):
        assert [message.role for message in one.messages] == ["user", "assistant"]
    # Answers of random bytes take more tokens to write again than they had; some are longer than the judge reads.
    assert done.results[RejectionSampling].not_scored > 0
    left_out = sum(done.results[DialogueCount].left_out.values())
    assert done.results[RejectionSampling].prompts + left_out == len(DIALOGUES)


def test_critics_averages_and_rounds_take_it(
    model: Checkpoint, tuned: Checkpoint, ranked: Preferences, shown: Dialogues, tmp_path: Path
) -> None:
    criticized = add_critiques.body(work(tmp_path / "critiques"), tuned, (ranked,), max_tokens=8)
    assert len(list(read_preferences(criticized.path))) == len(PAIRS)
    lessons = critic_dialogues.body(work(tmp_path / "lessons"), (criticized,))
    assert len(list(read_conversations(lessons.path))) == 2 * len(PAIRS)
    both = made(model, tmp_path / "first"), made(tuned, tmp_path / "second")
    mean = average_models.body(work(tmp_path / "average"), both, shown)
    assert kind_of(mean.path) == "chat"
    assert TextTokenizer.load(mean.path).stop_token_ids == TextTokenizer.load(model.path).stop_token_ids
    right = verifiers.configure("numeric_match")
    kept = select_best_model.body(work(tmp_path / "chosen"), both, shown, verifier=right, max_tokens=4)
    assert (kept.path / "generation_config.json").read_bytes() == (model.path / "generation_config.json").read_bytes()


def test_a_base_model_is_taught_a_format_that_it_does_not_bring(shown: Dialogues, tmp_path: Path) -> None:
    base = imported(tmp_path / "base", chats=False)
    assert kind_of(base.path) == "base"
    brought = load_pretrained.body(work(tmp_path / "brought"), folder=str(base.path), chat_template="chatml")
    assert kind_of(brought.path) == "base"  # it has yet to be taught it
    settings = SftSettings(length=256, batch_size=8, epochs=1, lr=1e-3)
    taught = sft.body(work(tmp_path / "tuned"), brought, (shown,), settings=settings)
    text, (reference, tokenizer) = TextTokenizer.load(taught.path), theirs(taught.path)
    assert kind_of(taught.path) == "chat"
    assert text.stop_token_ids == {text.control("<|im_end|>"), text.control("<|endoftext|>")}
    assert set(reference.config.eos_token_id) == text.stop_token_ids
    assert tokenizer.eos_token == "<|im_end|>"
    assert chat_template_of(text).encode(DIALOGUES[0]).ids == rows_of(tokenizer, DIALOGUES[0].messages)[1]


def test_models_that_read_other_ids_have_no_average(model: Checkpoint, tmp_path: Path) -> None:
    tokens = ("<|endoftext|>", "<|im_end|>", "<|im_start|>")  # in another order
    other = Checkpoint(folder_of(tmp_path / "other", byte_level(tokens), OWN))
    with pytest.raises(DataError, match="2 models of several tokenizers have no average"):
        average_models.body(work(tmp_path / "average"), (model, other))

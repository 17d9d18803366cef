"""A reward model: the trunk it was made on, and answers that do not see one another."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.model.heads import RewardModel, trunk_of
from tests.model.test_transformer import SMALL, ids, model


def judge() -> RewardModel:
    made = RewardModel.from_transformer(model())
    torch.nn.init.normal_(made.score.weight, generator=torch.Generator().manual_seed(0))
    return made.eval()


def test_it_stands_on_the_weights_of_a_pretrained_model_and_knows_nothing_yet() -> None:
    pretrained = model()
    made = RewardModel.from_transformer(pretrained)
    assert trunk_of(made) is made.trunk
    assert trunk_of(pretrained) is pretrained
    assert made.shape == SMALL
    with torch.inference_mode():
        assert torch.equal(made.trunk.hidden_states(ids(2, 9)), pretrained.hidden_states(ids(2, 9)))
        assert not made(ids(2, 9)).any()
    assert not any(name.startswith("trunk.output") for name in made.state_dict())


def test_scores_are_of_the_states_and_whole_in_16_bits_too() -> None:
    made, tokens = judge(), ids(2, 9)
    with torch.inference_mode():
        wanted = made.trunk.hidden_states(tokens) @ made.score.weight[0]
        assert torch.allclose(made(tokens), wanted, atol=1e-5)
        assert made.bfloat16()(tokens).dtype == torch.float32


JUDGE = judge()


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 8), st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(1, 5))
def test_answers_side_by_side_are_scored_as_each_alone(trunk: int, answers: list[int], other: int) -> None:
    prompt, after = ids(1, trunk, 3), ids(1, other, 4)
    texts = [ids(1, length, 10 + number) for number, length in enumerate(answers)]
    row = torch.cat((prompt, *texts, after), 1)
    branches = [0] * trunk + [number + 1 for number, length in enumerate(answers) for _ in range(length)] + [0] * other
    documents = [0] * (trunk + sum(answers)) + [1] * other
    with torch.inference_mode():
        found = JUDGE(row, documents_BT=torch.tensor([documents]), branches_BT=torch.tensor([branches]))[0]
        at = trunk
        for text in texts:
            alone = JUDGE(torch.cat((prompt, text), 1))[0, trunk:]
            assert torch.allclose(found[at : at + text.shape[1]], alone, atol=1e-4)
            at += text.shape[1]
        assert torch.allclose(found[at:], JUDGE(after)[0], atol=1e-4)

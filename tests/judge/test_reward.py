"""Scores from a reward model do not depend on who is scored beside whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from herd.core.artifacts import Checkpoint
from herd.core.errors import ArtifactError
from herd.core.records import Conversation, Message
from herd.judge.reward import RewardJudge
from herd.model.heads import RewardModel
from herd.serve.folders import artifacts_in
from tests.model.test_transformer import SMALL
from tests.tokens.test_chat import TOKENIZER


def test_a_score_is_the_same_alone_and_in_a_batch() -> None:
    torch.manual_seed(0)
    model = RewardModel(replace(SMALL, vocab_size=TOKENIZER.vocab_size))
    torch.nn.init.normal_(model.score.weight)
    judge = RewardJudge(model, TOKENIZER)
    talks = [Conversation((Message("user", "hi"), Message("assistant", "yes " * n))) for n in (1, 9, 3)]
    together = judge.score(talks)
    assert together == pytest.approx([judge.score([talk])[0] for talk in talks], abs=1e-5)
    assert len(set(together)) == 3


def test_a_model_that_writes_text_is_no_judge(smoke_run: Path) -> None:
    chat = next(one for one in artifacts_in(smoke_run) if one.metadata["stage"] == "sft")
    with pytest.raises(ArtifactError, match="writes text; name a reward model"):
        RewardJudge.load(Checkpoint(chat.path))
    reward = next(one for one in artifacts_in(smoke_run) if one.metadata["stage"] == "train_reward")
    assert RewardJudge.load(Checkpoint(reward.path)).pad > 0

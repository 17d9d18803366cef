"""What one rank of a test does: runs stages that generate, score and evaluate, and leaves what they wrote.

python -m tests.model.inference FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor

from herd.align.average import average_models
from herd.align.critiques import add_critiques, evaluate_critics, rank_own_answers
from herd.align.curation import CurationSettings, curate_dialogues
from herd.align.interpolation import InterpolationSettings, interpolate_models
from herd.align.knowledge import KnowledgeProbeSettings, probe_knowledge
from herd.align.model_selection import select_best_model
from herd.align.rejection_sampling import RejectionSamplingSettings, rejection_sample
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Tokens
from herd.core.records import Conversation, Message
from herd.core.results import results
from herd.core.stage import Work
from herd.core.storage import write_conversations, write_preferences
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.evals.tasks import tasks
from herd.generate.engine import Engine, SamplingParams
from herd.generate.runner import ModelRunner
from herd.judge import reward
from herd.judge.verifiers import verifiers
from herd.model.heads import RewardModel
from herd.model.transformer import Transformer
from herd.pretrain.long_context import LongContextSettings, extend_context
from herd.pretrain.pretrain import PretrainSettings, pretrain
from herd.run.executors import LocalExecutor
from herd.run.ranks import Rank
from herd.train.checkpoint import write_checkpoint
from herd.train.layout import ParallelLayout
from herd.train.schedule import BatchPhase, MixPhase
from herd.world.annotators import annotate
from herd.world.questions import Questions
from herd.world.truth import World
from tests.model.test_devices import SHAPE, shards
from tests.model.test_transformer import model
from tests.tokens.test_chat import HELLO, TOKENIZER
from tests.train.test_preferences import preference

WORLD = World()
# A model without training seldom ends an answer.
SAMPLING = SamplingParams(temperature=1.0, max_tokens=12, logit_bias=dict.fromkeys(TOKENIZER.stop_token_ids, 3.0))


def inputs(root: Path) -> None:
    """Models, texts, dialogues, prompts and ranked answers, as stages read them."""
    for name in ("chat", "base", "other", "judge", "dialogues", "prompts", "questions", "ranked", "tokens"):
        (root / name).mkdir()
    write_checkpoint(root / "chat", model(SHAPE), TOKENIZER, kind="chat")
    write_checkpoint(root / "base", model(SHAPE, seed=1), TOKENIZER, kind="base")
    write_checkpoint(root / "other", model(SHAPE, seed=2), TOKENIZER, kind="chat")
    judge = RewardModel(SHAPE)
    judge.trunk.load_state_dict(model(SHAPE, seed=3).state_dict(), strict=False)
    judge.score.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    write_checkpoint(root / "judge", judge, TOKENIZER, kind="reward")
    dialogues = [replace(HELLO, id=f"{n}", messages=(*HELLO.messages, Message("user", "so " * n))) for n in range(12)]
    write_conversations(root / "dialogues", [each.with_messages(Message("assistant", "Yes.")) for each in dialogues])
    asked = [(Message("user", f"What comes after {n}?"), Message("assistant", f"{n + 1}")) for n in range(10)]
    write_conversations(root / "prompts", [Conversation(turns, id=f"{n}", source="s") for n, turns in enumerate(asked)])
    questions = Questions(WORLD)
    write_conversations(root / "questions", [questions.draw("sum", number).prompt for number in range(8)])
    write_preferences(root / "ranked", [replace(preference(number), strength="better") for number in range(10)])
    shards(root / "tokens")
    rows = [{"question": f"What comes after {n}?", "answer": f"{n + 1}", "choices": list("abcd")} for n in range(40)]
    (root / "rows.jsonl").write_text("\n".join(json.dumps(row | {"text": row["question"] * 9}) for row in rows))


@dataclass(frozen=True)
class Inputs:
    """What was written to a folder."""

    root: Path

    def checkpoint(self, name: str) -> Checkpoint:
        return Checkpoint(self.root / name)

    def evaluation(self) -> EvaluationSettings:
        rows = str(self.root / "rows.jsonl")
        return EvaluationSettings(
            tasks=(
                tasks.configure("short_answer", data=rows, max_tokens=24, limit=12),
                tasks.configure("multiple_choice", data=rows, answer="question", choices=("question", "answer")),
                tasks.configure("perplexity", data=rows, limit=9),
            ),
            needle_lengths=(256,),
            needle_seeds=1,
            needle_sources=("a",),
            loss_length=32,
        )


STAGES: dict[str, Callable[[Work, Inputs], Any]] = {
    "rejection_sample": lambda work, i: rejection_sample.body(
        work, i.checkpoint("judge"), i.checkpoint("chat"), Dialogues(i.root / "prompts"), i.checkpoint("other"),
        settings=RejectionSamplingSettings(
            sampling=SAMPLING, num_samples=3, gold_verifier=verifiers.configure("numeric_match")
        ),
    ),
    "annotate": lambda work, i: annotate.body(
        work, (i.checkpoint("chat"), i.checkpoint("other")), Dialogues(i.root / "questions"), world=WORLD,
        sampling=SAMPLING,
    ),
    "select_best_model": lambda work, i: select_best_model.body(
        work, (i.checkpoint("chat"), i.checkpoint("other")), Dialogues(i.root / "prompts"),
        verifier=verifiers.configure("numeric_match"), max_tokens=12,
    ),
    "average_models": lambda work, i: average_models.body(
        work, tuple(SimpleNamespace(path=i.root / name, key=name) for name in ("chat", "other")),  # type: ignore[arg-type]
        Dialogues(i.root / "dialogues"),
    ),
    "interpolate_models": lambda work, i: interpolate_models.body(
        work, i.checkpoint("chat"), i.checkpoint("other"), Dialogues(i.root / "prompts"),
        settings=InterpolationSettings(
            verifier=verifiers.configure("numeric_match"), alphas=(0.5, 1.5), parameters=("output.*",), max_tokens=12
        ),
    ),
    "probe_knowledge": lambda work, i: probe_knowledge.body(
        work, i.checkpoint("base"), Dialogues(i.root / "prompts"),
        settings=KnowledgeProbeSettings(
            verifier=verifiers.configure("numeric_match"), sampling=SAMPLING, num_samples=3
        ),
    ),
    "curate_dialogues": lambda work, i: curate_dialogues.body(
        work, (Dialogues(i.root / "dialogues"),), i.checkpoint("judge"),
        settings=CurationSettings(keep="good", similarity=1.0, top_share=0.5),
    ),
    "add_critiques": lambda work, i: add_critiques.body(
        work, i.checkpoint("chat"), (Preferences(i.root / "ranked"),), max_tokens=6
    ),
    "rank_own_answers": lambda work, i: rank_own_answers.body(
        work, i.checkpoint("chat"), Dialogues(i.root / "prompts"), sampling=SAMPLING, num_samples=2, critiques=1
    ),
    "evaluate_critics": lambda work, i: evaluate_critics.body(
        work, (i.checkpoint("chat"),), (Preferences(i.root / "ranked"),)
    ),
    "evaluate_model": lambda work, i: evaluate_model.body(
        work, i.checkpoint("base"), Tokens(i.root / "tokens"), label="base", settings=i.evaluation()
    ),
}  # fmt: skip


def training(work: Work) -> dict[str, Any]:
    """Settings of a few steps of two rows."""
    return {
        "lr": 1e-3, "length": 512, "batch_tokens": 1024, "layout": ParallelLayout(data=work.ranks),
        "mixture_weights": {"a": 0.5, "b": 0.5},
    }  # fmt: skip


# Models that are trained on a layout's ranks are measured by all of them.
MEASURED: dict[str, Callable[[Work, Inputs], Any]] = {
    "extend_context": lambda work, i: extend_context.body(
        work, i.checkpoint("base"), Tokens(i.root / "tokens"),
        settings=LongContextSettings(
            **training(work), check_tokens=1024, checks=2, gate=0.0, until=1.0, needle_seeds=1,
            short_loss_tolerance=1.0, text_sources=("a",),
        ),
    ),
    "pretrain": lambda work, i: pretrain.body(
        work, Tokens(i.root / "tokens"), i.checkpoint("base"),
        settings=PretrainSettings(
            length=64, tokens=512, lr=1e-3, batch=(BatchPhase(until=1.0, batch_tokens=128),),
            mix=(MixPhase(until=1.0, mixture_weights={"a": 0.5, "b": 0.5}),),
            layout=ParallelLayout(data=work.ranks),
        ),
    ),
}  # fmt: skip


@dataclass
class TokenCounter:
    """Tokens that models of this process read or wrote without learning, and the answers that engines gave it."""

    tokens: int = 0
    answers: list[list[int]] = field(default_factory=list)


@contextmanager
def token_counter() -> Iterator[TokenCounter]:
    counter = TokenCounter()
    hidden, generate = Transformer.hidden_states, Engine.generate
    prefill, decode = ModelRunner.prefill, ModelRunner.decode

    def count_hidden(self: Transformer, tokens_BT: Tensor, **settings: Any) -> Tensor:
        counter.tokens += tokens_BT.numel() * (not torch.is_grad_enabled())
        return hidden(self, tokens_BT, **settings)

    def count_prefill(self: ModelRunner, answers: Any) -> Any:
        counter.tokens += sum(len(answer.tokens) - answer.cached for answer in answers)
        return prefill(self, answers)

    def count_decode(self: ModelRunner, running: Any) -> Any:
        counter.tokens += len(running)
        return decode(self, running)

    def record_answers(self: Engine, *args: Any, **settings: Any) -> Any:
        outputs = generate(self, *args, **settings)
        counter.answers += [output.token_ids for output in outputs]
        return outputs

    Transformer.hidden_states, Engine.generate = count_hidden, record_answers  # type: ignore[method-assign]
    ModelRunner.prefill, ModelRunner.decode = count_prefill, count_decode  # type: ignore[method-assign]
    try:
        yield counter
    finally:
        Transformer.hidden_states, Engine.generate = hidden, generate  # type: ignore[method-assign]
        ModelRunner.prefill, ModelRunner.decode = prefill, decode  # type: ignore[method-assign]


def run_stages(root: Path, rank: Rank) -> dict[str, Any]:
    """Every stage's results, its models' answers and the tokens that this rank computed; in FOLDER/STAGE-SIZE-RANK is
    what it wrote."""
    outcomes = {}
    for name, body in (STAGES | MEASURED).items():
        out = root / f"{name}-{rank.world_size}-{rank.number}"
        scratch = root / f"scratch-{name}-{rank.world_size}"
        out.mkdir()
        scratch.mkdir(exist_ok=True)
        work = Work(out, scratch, LocalExecutor(), ranks=rank.world_size)
        # Rows that a reward model scores at once are scored by one rank; there are few here.
        with token_counter() as counter, patch.object(reward, "_ROWS", 2):
            body(work, Inputs(root))
        outcomes[name] = {"results": results.to_rows(work.results.values()), **asdict(counter)}
    return outcomes


if __name__ == "__main__":
    folder, own_rank = Path(sys.argv[1]), Rank.from_env()
    text = json.dumps(run_stages(folder, own_rank))
    (folder / f"outcomes-{own_rank.number}.json").write_text(text, encoding="utf-8")
    dist.destroy_process_group()

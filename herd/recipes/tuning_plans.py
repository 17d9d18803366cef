"""Fine-tunings that are planned on files of rows, counted before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from herd.align.columns import ParsedRows, RowKind, split_files
from herd.align.contamination import HeldOutQuestions, drop_contaminated
from herd.align.dpo import DpoSettings
from herd.align.loading import load_named_rows
from herd.align.losses import uses_reference
from herd.align.reward import RewardSettings
from herd.align.sft import SftSettings
from herd.align.step_counts import StepCount, count_steps
from herd.core.addresses import is_address
from herd.core.artifacts import Artifact
from herd.core.settings import build, input_path, input_place
from herd.core.stage import Plan, plan_of
from herd.model.adapters import num_adapter_params
from herd.model.config import read_shape
from herd.model.sizes import Shape
from herd.tokens.jinja import chat_template_of, with_chat_template
from herd.tokens.tokenizer import TextTokenizer
from herd.train.cost import TrainingJob
from herd.train.layout import TrainableParams

TUNING_SETTINGS: dict[str, type[SftSettings | DpoSettings | RewardSettings]] = {
    "sft": SftSettings,
    "dpo": DpoSettings,
    "train_reward": RewardSettings,
}
_MOST_BYTES = 50_000_000  # of files that are read for a plan: some ten thousands of rows, a minute
_KINDS: dict[str, RowKind] = {"load_dialogues": "dialogues", "load_preferences": "preferences"}
_MOST_MEASURED = 100  # times that held-out rows are


@dataclass(frozen=True)
class PlannedFinetuning:
    """A fine-tuning that is planned. counted: its rows, as training will take them."""

    plan: Plan
    settings: SftSettings | DpoSettings | RewardSettings
    shape: Shape
    counted: StepCount

    is_new_model = False
    epochs = None  # nothing is guessed from bytes

    @property
    def steps(self) -> int:
        return self.counted.steps

    @property
    def sequences(self) -> int:
        """Texts that see themselves alone in a row of the batch: one of SFT, the answers of a preference."""
        counted = self.counted
        return max(1, round(counted.step_tokens / counted.per_step / counted.length))

    @property
    def micro_batch(self) -> int | None:
        """Sequences worked on at once, where the settings say how many rows."""
        rows = self.settings.micro_batch
        return None if rows is None else rows * self.sequences

    @property
    def job(self) -> TrainingJob:
        """What is to be trained, in sequences of the mean length."""
        s, counted, shape = self.settings, self.counted, self.shape
        trainable = None
        if s.lora is not None:
            trainable = TrainableParams(num_adapter_params(shape, s.lora))
        elif s.unfrozen_parameters or s.optimizer.name != "adamw":
            trainable = s.trainable_params(shape)
        batch_tokens = counted.per_step * self.sequences * counted.length
        return TrainingJob(
            shape, tokens=batch_tokens * counted.steps, length=counted.length, batch_tokens=batch_tokens,
            dtype=s.dtype, recompute=s.recompute, compiled=s.compile, trainable=trainable, all_flops=self.flops,
        )  # fmt: skip

    @property
    def flops(self) -> float:
        """Of the steps, and of what is read and not learnt: held-out rows by epoch, and by DPO all pairs before and
        after training. Beside adapters the way back is one pass and no two, as the weights have no gradients; a reward
        model has a number in the place of logits."""
        counted, shape, s = self.counted, self.shape, self.settings
        forward = shape.forward_flops(counted.length)
        if isinstance(s, RewardSettings):
            forward -= 2 * shape.vocab_size * shape.dim
        learnt = counted.step_tokens * counted.steps
        return forward * (learnt * (3 if s.lora is None else 2) + self.read_tokens)

    @property
    def read_tokens(self) -> float:
        """Tokens that are read and not learnt."""
        s, counted = self.settings, self.counted
        measured = (
            1 + min(_MOST_MEASURED, -(-counted.epochs // 1)) + (counted.steps // s.eval_steps if s.eval_steps else 0)
        )
        if isinstance(s, RewardSettings) and not (s.eval_by_epoch or s.early_stop or s.eval_steps):
            measured = 1
        elif isinstance(s, DpoSettings):
            measured += uses_reference(s.loss.name)
        before_and_after = 2 * counted.pass_tokens if isinstance(s, DpoSettings) else 0.0
        return measured * counted.held_out_tokens + before_and_after


def planned_finetunings(plans: Sequence[Plan]) -> Iterator[PlannedFinetuning]:
    """Of the fine-tunings among `plans` those of an imported model on files of rows that are here and of no more than
    50 MB: these are read and counted. Replayed text is not counted. Raises DataError for rows that cannot be learnt."""
    for plan in plans:
        kind = TUNING_SETTINGS.get(plan.stage.name)
        base = plan.inputs.get("base") or plan.inputs.get("model")
        if kind is None or not isinstance(base, Artifact) or plan_of(base).stage.name != "load_pretrained":
            continue
        rows = _planned_rows(plan)
        if rows is None:
            continue
        model = plan_of(base).settings
        folder, template = input_path(model["folder"]), model.get("chat_template") or ""
        tokenizer, shape = TextTokenizer.load(folder), read_shape(folder)
        if template:
            tokenizer = with_chat_template(tokenizer, str(input_path(template)))
        settings = build(kind, plan.settings["settings"], where=plan.key)
        data, held_out, split = rows
        counted = count_steps(
            data, settings, chat_template_of(tokenizer), tokenizer, shape.max_seq_len, held_out=held_out, **split
        )
        yield PlannedFinetuning(plan, settings, shape, counted)


def _planned_rows(plan: Plan) -> tuple[ParsedRows, ParsedRows | None, dict[str, Any]] | None:
    """The rows that a fine-tuning will learn from, those named to be held out, and what else says which are; None where
    they are made by a run, come from several stages, or are many."""
    inputs = plan.inputs.get("dialogues") or plan.inputs.get("preferences")
    if not isinstance(inputs, tuple) or len(inputs) != 1:
        return None
    rows = plan_of(inputs[0])
    if not rows.stage.name.startswith("split_"):
        data = _loaded(rows)
        return None if data is None else (data, None, {})
    if rows.settings["part"] != "train" or rows.inputs.get("held_out_prompts"):
        return None
    source, others = rows.inputs.get("dialogues") or rows.inputs.get("preferences"), rows.inputs.get("held_out")
    data = _loaded(plan_of(source)) if isinstance(source, Artifact) else None
    held_out = _loaded(plan_of(others)) if isinstance(others, Artifact) else None
    if data is None or (others is not None and held_out is None):
        return None
    return data, held_out, {name: rows.settings[name] for name in ("held_out_share", "at_least")}


def _loaded(plan: Plan) -> ParsedRows | None:
    """What a stage will load; None where it is another stage, or the files are not here or large."""
    kind = _KINDS.get(plan.stage.name)
    if kind is None or plan.settings.get("kind", kind) != kind:
        return None
    s = plan.settings
    places, split = list(map(input_place, s["files"])), s.get("split", "train")
    if any(map(is_address, places)) or _total_bytes(places, split) > _MOST_BYTES:
        return None
    own_source = [s["source"]] * len(places) if s.get("source") else []
    data = load_named_rows(
        places, s.get("sources") or own_source, row_sources=s.get("row_sources", False), split=split, kind=kind
    )
    tests = plan.inputs.get("tests")
    if isinstance(tests, Artifact):
        asked = _loaded(plan_of(tests))
        if asked is None:
            return None
        drop_contaminated(data, HeldOutQuestions(asked.conversations))
    most = s.get("max_samples") or None
    return replace(data, conversations=data.conversations[:most], preferences=data.preferences[:most])


def _total_bytes(places: Sequence[str], split: Any) -> int:
    return sum(os.path.getsize(file) for place in places for file in split_files(place, split) if os.path.isfile(file))

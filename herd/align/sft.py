"""Supervised fine-tuning (4.1.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any

from herd.align.columns import ParsedRows
from herd.align.loading import read_dialogues
from herd.align.preflight import check_trainable
from herd.align.results import FinetuningResult
from herd.align.tuning import finetune, load_for_finetuning
from herd.core.artifacts import Checkpoint, Dialogues, Tokens
from herd.core.errors import DataError, SettingsError
from herd.core.settings import AddedLater, NonNegativeFloat, PositiveFloat, PositiveInt, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations
from herd.core.terminal import count_of
from herd.evals.losses import dialogue_losses
from herd.evals.validation import METRIC, ExampleFigures, Validation, validation_words
from herd.model.collectives import RankGroup
from herd.model.config import read_shape
from herd.model.sizes import Shape
from herd.tokens.jinja import ChatTemplate, chat_template_of
from herd.tokens.shards import TokenShards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.dialogues import DialogueBatches, inputs_and_targets
from herd.train.objectives import next_token_loss
from herd.train.replay import ReplaySampler, ReplaySettings
from herd.train.results import TrainingResult
from herd.train.rows import InputsTargets
from herd.train.settings import FinetuneSettings, num_ranks


@settings
class SftSettings(FinetuneSettings):
    """length: tokens in a packed row, of which a step has `batch_size`. repeats: how often a source is read in an
    epoch, once where none is named: 2.5 reads it twice and a half of it, drawn anew each epoch, once more; 0 leaves it
    out. replay: pre-training documents among the dialogues, which the stage is given as `tokens`. lr: by the model's
    size when absent (`herd.train.schedule.lr_by_size`)."""

    length: PositiveInt = 512
    repeats: dict[str, NonNegativeFloat] = field(default_factory=dict)
    replay: ReplaySettings | None = None
    batch_size: PositiveInt = 4
    epochs: PositiveInt = 3
    lr: PositiveFloat | None = None
    warmup: NonNegativeFloat = 0.03


@stage(paper="4.1.3", version=5, ranks=num_ranks, gpu=True)
def sft(
    work: Work,
    base: Checkpoint,
    dialogues: tuple[Dialogues, ...],
    tokens: Tokens | None = None,
    held_out: AddedLater[Dialogues | None] = None,
    *,
    settings: SftSettings,
) -> Checkpoint:
    """`base`, taught to answer: cross-entropy on the assistant's words and nothing else; with `lora` only the adapters
    beside it, in peft's format.

    Every round starts from the pre-trained model, as in the report. tokens: pre-training documents, packed with the
    model's own tokenizer, of which `replay` says how many are learnt as well, as whole texts. held_out: dialogues that
    are never learnt; the loss on the assistant's words there is measured before training and by epoch. Raises
    SettingsError for `replay` without tokens or tokens without it, and for `early_stop` without `held_out`.
    """
    tokenizer, shape = TextTokenizer.load(base.path), read_shape(base.path)
    length = min(settings.length, shape.max_seq_len)
    replay = _replay_sampler(tokens, tokenizer, shape, length, settings)
    conversations = read_dialogues(dialogues)
    chat_template = chat_template_of(tokenizer)
    notes = check_trainable(ParsedRows(conversations), chat_template, tokenizer, length)
    held_out_texts, held_out_sources = _held_out_texts(held_out, chat_template, length, settings)
    trainable = load_for_finetuning(work, base.path, settings)
    batches = DialogueBatches(
        conversations, chat_template, length=length, rows=settings.batch_size, epochs=settings.epochs,
        seed=settings.seed, pad=tokenizer.pad_id, repeats=settings.repeats, replay=replay, steps=settings.steps,
        ranks=settings.layout.data, drop_last=settings.dataloader_drop_last,
    )  # fmt: skip
    validation = None
    if held_out_texts:
        measure = _loss_on(held_out_texts, tokenizer.pad_id, settings)
        validation = Validation(work, trainable, batches, measure, settings, held_out_sources)
    steps, lr = finetune(work, trainable, batches, loss=next_token_loss, settings=settings, validation=validation)
    trained_tokens = batches.tokens * len(steps) // len(batches) if settings.early_stop else batches.tokens
    trainable.save(tokenizer, kind="chat")
    loss = sum(step.loss for step in steps[-10:]) / len(steps[-10:])
    work.record(
        FinetuningResult(
            examples=batches.examples,
            step_unit="tokens learnt",
            lr=lr,
            left_out={"too long": batches.left_out},
            notes=notes,
            sources=dict(Counter(conversation.source for conversation in conversations)),
            shares=batches.shares,
        )
    )
    work.record(
        TrainingResult(
            num_params=trainable.shape.num_params,
            tokens=trained_tokens,
            flops=trained_tokens * trainable.shape.training_flops(batches.length),
            loss=loss,
            length=batches.length,
            sources=batches.replayed,
        )
    )
    longer = f"; {batches.left_out:,} longer than {batches.length} tokens left out" if batches.left_out else ""
    replayed = sum(source.tokens for source in batches.replayed.values())
    beside = f" beside {replayed:,} tokens of pre-training" if replayed else ""
    read = f"{settings.epochs if settings.steps is None else batches.epoch_of(len(batches)):.3g}"
    times = "once" if read == "1" else f"{read} times"
    unread = batches.unread_rows if settings.steps is None else 0
    partial = f" but for {count_of(unread, 'row')} of the last pass that would fill no step" if unread else ""
    measured = validation_words(validation.curve) if validation else ""
    work.headline = (
        f"{count_of(batches.examples, 'dialogue')}, {times}{partial}{beside}, training loss {loss:.3f}{longer}"
        f"{measured}{trainable.trainable_note}"
    )
    return Checkpoint(work.out)


def _held_out_texts(
    held_out: Dialogues | None, chat_template: ChatTemplate, length: int, settings: SftSettings
) -> tuple[list[InputsTargets], list[str]]:
    """What is measured by epoch, of the dialogues that fit as training's have to, and their sources; nothing without
    `held_out`."""
    if held_out is None:
        if settings.early_stop:
            raise SettingsError(
                "early_stop keeps the best epoch on held-out dialogues and there are none; give some, "
                "`sft(base, dialogues, held_out=..., settings=...)`, or leave early_stop out"
            )
        return [], []
    rows = list(read_conversations(held_out.path))
    encoded = [(chat_template.encode(row), row.source) for row in rows]
    fitting = [(row, source) for row, source in encoded if len(row) - 1 <= length and any(row.loss_mask)]
    if not fitting:
        raise DataError(f"none of {len(rows)} held-out dialogues fits into {length} tokens; set a longer `length`")
    return [inputs_and_targets(row) for row, _ in fitting], [source for _, source in fitting]


def _loss_on(
    texts: Sequence[InputsTargets], pad: int, settings: SftSettings
) -> Callable[[Any], dict[str, ExampleFigures]]:
    """Asks a model for its loss on every dialogue."""
    collective = settings.layout.devices == settings.layout.data

    def measure(model: Any) -> dict[str, ExampleFigures]:
        nats, counts = dialogue_losses(model, texts, pad=pad, ranks=RankGroup.joined(), collective=collective)
        return {METRIC: ExampleFigures(nats, [float(count) for count in counts])}

    return measure


def _replay_sampler(
    tokens: Tokens | None, tokenizer: TextTokenizer, shape: Shape, length: int, settings: SftSettings
) -> ReplaySampler | None:
    """None where nothing is replayed."""
    if settings.replay is None and tokens is None:
        return None
    if settings.replay is None:
        raise SettingsError("sft has tokens and no `replay` in its settings; say its share, or leave the tokens out")
    if tokens is None:
        raise SettingsError(
            "sft has `replay` and no tokens; give it packed documents, `sft(base, dialogues, tokens, settings=...)`, "
            "or leave `replay` out"
        )
    shards = TokenShards(tokens.path)
    shards.check_packed_for(tokenizer, shape.vocab_size)
    return ReplaySampler(shards, settings.replay, length=length, seed=settings.seed)

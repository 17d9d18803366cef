"""Supervised fine-tuning (4.1.3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import field

from herd.align.columns import ParsedRows
from herd.align.loading import read_dialogues
from herd.align.preflight import check_trainable
from herd.align.results import FinetuningResult
from herd.align.tuning import finetune, load_for_finetuning
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.settings import NonNegativeFloat, PositiveFloat, PositiveInt, settings
from herd.core.stage import Work, stage
from herd.model.config import read_shape
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer
from herd.train.dialogues import DialogueBatches
from herd.train.objectives import next_token_loss
from herd.train.results import TrainingResult
from herd.train.settings import FinetuneSettings, num_ranks


@settings
class SftSettings(FinetuneSettings):
    """length: tokens in a packed row, of which a step has `batch_size`. repeats: how often a source is read in an
    epoch, once where none is named: 2.5 reads it twice and a half of it, drawn anew each epoch, once more; 0 leaves it
    out. lr: by the model's size when absent (`herd.train.schedule.lr_by_size`)."""

    length: PositiveInt = 512
    repeats: dict[str, float] = field(default_factory=dict)
    batch_size: PositiveInt = 4
    epochs: PositiveInt = 3
    lr: PositiveFloat | None = None
    warmup: NonNegativeFloat = 0.03


@stage(paper="4.1.3", version=4, ranks=num_ranks, gpu=True)
def sft(work: Work, base: Checkpoint, dialogues: tuple[Dialogues, ...], *, settings: SftSettings) -> Checkpoint:
    """`base`, taught to answer: cross-entropy on the assistant's words and nothing else; with `lora` only the adapters
    beside it, in peft's format.

    Every round starts from the pre-trained model, as in the report.
    """
    tokenizer = TextTokenizer.load(base.path)
    conversations = read_dialogues(dialogues)
    chat_template, length = chat_template_of(tokenizer), min(settings.length, read_shape(base.path).max_seq_len)
    notes = check_trainable(ParsedRows(conversations), chat_template, tokenizer, length)
    trainable = load_for_finetuning(work, base.path, settings)
    batches = DialogueBatches(
        conversations,
        chat_template,
        length=length,
        rows=settings.batch_size,
        epochs=settings.epochs,
        seed=settings.seed,
        pad=tokenizer.pad_id,
        repeats=settings.repeats,
    )
    steps, lr = finetune(work, trainable, batches, loss=next_token_loss, settings=settings)
    trainable.save(tokenizer, kind="chat")
    loss = sum(step.loss for step in steps[-10:]) / len(steps[-10:])
    work.record(
        FinetuningResult(
            examples=len(batches.texts),
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
            tokens=batches.tokens,
            flops=batches.tokens * trainable.shape.training_flops(batches.length),
            loss=loss,
            length=batches.length,
        )
    )
    longer = f"; {batches.left_out:,} longer than {batches.length} tokens left out" if batches.left_out else ""
    work.headline = (
        f"{len(batches.texts):,} dialogues, {settings.epochs} times, loss {loss:.3f}{longer}{trainable.trainable_note}"
    )
    return Checkpoint(work.out)

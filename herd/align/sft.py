"""Supervised fine-tuning (4.1.3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import field

from herd.align.columns import Given
from herd.align.preflight import check
from herd.align.results import FinetuningResult
from herd.align.tuning import finetune, prepare
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.settings import NotNegative, Positive, Rate, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations
from herd.model.config import shape_in
from herd.tokens.jinja import chat_format
from herd.tokens.tokenizer import TextTokenizer
from herd.train.dialogues import DialogueBatches
from herd.train.objectives import next_token
from herd.train.results import TrainingResult
from herd.train.settings import FinetuneSettings, ranks_of


@settings
class SftSettings(FinetuneSettings):
    """length: tokens in a packed row, of which a step has `batch_size`. repeats: how often a source is read in an
    epoch, once where none is named: 2.5 reads it twice and a half of it, drawn anew each epoch, once more; 0 leaves it
    out. lr: by the model's size when absent (`herd.train.schedule.lr_by_size`)."""

    length: Positive = 512
    repeats: dict[str, float] = field(default_factory=dict)
    batch_size: Positive = 4
    epochs: Positive = 3
    lr: Rate | None = None
    warmup: NotNegative = 0.03


@stage(paper="4.1.3", version=4, ranks=ranks_of, gpu=True)
def sft(work: Work, base: Checkpoint, dialogues: tuple[Dialogues, ...], *, settings: SftSettings) -> Checkpoint:
    """`base`, taught to answer: cross-entropy on the assistant's words and nothing else; with `lora` only the adapters
    beside it, in peft's format.

    Every round starts from the pre-trained model, as in the report.
    """
    text = TextTokenizer.load(base.path)
    conversations = [one for each in dialogues for one in read_conversations(each.path)]
    form, length = chat_format(text), min(settings.length, shape_in(base.path).context)
    notes = check(Given(conversations), form, text, length)
    made = prepare(work, base.path, settings)
    batches = DialogueBatches(
        conversations,
        form,
        length=length,
        rows=settings.batch_size,
        epochs=settings.epochs,
        seed=settings.seed,
        pad=text.pad,
        repeats=settings.repeats,
    )
    steps, lr = finetune(work, made, batches, loss=next_token, settings=settings)
    made.save(text, kind="chat")
    loss = sum(step.loss for step in steps[-10:]) / len(steps[-10:])
    work.record(
        FinetuningResult(
            examples=len(batches.texts),
            step_unit="tokens learnt",
            lr=lr,
            left_out={"too long": batches.left_out},
            notes=notes,
            sources=dict(Counter(one.source for one in conversations)),
            shares=batches.shares,
        )
    )
    work.record(
        TrainingResult(
            num_params=made.shape.weights,
            tokens=batches.tokens,
            flops=batches.tokens * made.shape.training_flops(batches.length),
            loss=loss,
            length=batches.length,
        )
    )
    longer = f"; {batches.left_out:,} longer than {batches.length} tokens left out" if batches.left_out else ""
    work.headline = f"{len(batches.texts):,} dialogues, {settings.epochs} times, loss {loss:.3f}{longer}"
    return Checkpoint(work.out)

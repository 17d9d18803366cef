"""Supervised fine-tuning (4.1.3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import field

from herd.align.columns import Given
from herd.align.preflight import check
from herd.align.tuning import tune
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.settings import Positive, Rate, Share, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations
from herd.model.config import shape_in
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_format
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import write_checkpoint
from herd.train.dialogues import DialogueBatches
from herd.train.lora import LoraSettings
from herd.train.objectives import next_token
from herd.train.optimizer import AdamWSettings


@settings
class SftSettings:
    """length: tokens in a packed row. rows: how many a step. repeats: how often a source is read in an epoch, once
    where none is named: 2.5 reads it twice and a half of it, drawn anew each epoch, once more; 0 leaves it out.
    peak_rate: by the model's size when absent (`tuning.rate_by_size`)."""

    length: Positive = 512
    rows: Positive = 4
    epochs: Positive = 3
    repeats: dict[str, float] = field(default_factory=dict)
    peak_rate: Rate | None = None
    warmup_share: Share = 0.03
    final_share: Share = 0.1
    lora: LoraSettings | None = None
    optimizer: AdamWSettings = AdamWSettings()
    seed: int = 0


@stage(paper="4.1.3", version=2)
def sft(work: Work, base: Checkpoint, dialogues: tuple[Dialogues, ...], *, settings: SftSettings) -> Checkpoint:
    """`base`, taught to answer: cross-entropy on the assistant's words and nothing else.

    Every round starts from the pre-trained model, as in the report.
    """
    text = TextTokenizer.load(base.path)
    conversations = [one for each in dialogues for one in read_conversations(each.path)]
    form, length = chat_format(text), min(settings.length, shape_in(base.path).context)
    work.figure("notes", check(Given(conversations), form, text, length))
    model = load_transformer(base.path)
    batches = DialogueBatches(
        conversations,
        form,
        length=length,
        rows=settings.rows,
        epochs=settings.epochs,
        seed=settings.seed,
        pad=text.pad,
        repeats=settings.repeats,
    )
    steps = tune(work, model, batches, loss=next_token, settings=settings)
    write_checkpoint(work.out, model, text, kind="chat")
    loss = sum(step.loss for step in steps[-10:]) / len(steps[-10:])
    work.figure("dialogues", len(batches.texts))
    work.figure("too_long", batches.left_out)
    work.figure("sources", dict(Counter(one.source for one in conversations)))
    work.figure("shares", batches.shares)
    work.figure("tokens", batches.tokens)
    work.figure("flops", batches.tokens * model.shape.training_flops(batches.length))
    work.figure("loss", loss)
    work.figure("headline", f"{len(batches.texts):,} dialogues, {settings.epochs} times, loss {loss:.3f}")
    return Checkpoint(work.out)

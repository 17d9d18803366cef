"""The average of several models (4.1.5)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from herd.align.results import ModelAverage
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import DataError
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations
from herd.model.devices import place_model
from herd.model.fused import quickly
from herd.model.transformer import Transformer
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_format
from herd.tokens.tokenizer import TextTokenizer
from herd.train.averaging import average as mean
from herd.train.checkpoint import kind_of, write_checkpoint
from herd.train.dialogues import DialogueBatches
from herd.train.objectives import next_token

Weights = dict[str, Tensor]


@stage(paper="4.1.5", version=2, gpu=True)
def average(work: Work, models: tuple[Checkpoint, ...], held_out: Dialogues | None = None) -> Checkpoint:
    """One model with the mean of the others' weights; with `held_out`, of those that make it better there.

    Then models are tried from the best on, and one is taken into the mean where that lowers the loss on the assistant's
    words of these dialogues: no average is worse there than the best model alone. Source: Wortsman et al. 2022 (Model
    soups), recipe 1. Raises DataError when shapes or vocabularies differ.
    """
    loaded = [load_transformer(model.path) for model in models]  # their mean is made where they are read
    shapes = {model.shape for model in loaded}
    if len(shapes) != 1:
        raise DataError(f"{len(models)} models of {len(shapes)} shapes have no average; name models of one shape")
    text, *others = (TextTokenizer.load(model.path) for model in models)
    if any(one.fingerprint != text.fingerprint for one in others):
        raise DataError(f"{len(models)} models of several tokenizers have no average; name some that read the same ids")
    result, members = copy.deepcopy(loaded[0]), [one.state_dict() for one in loaded]
    taken, losses = list(range(len(members))), dict[str, float]()
    if held_out is not None:
        place_model(result, work.device)
        batches = _batches(held_out, result, text)
        taken, losses = greedily(members, lambda weights: _loss(result, weights, batches))
    result.load_state_dict(mean([members[number] for number in taken]))
    write_checkpoint(work.out, result, text, kind=kind_of(models[0].path))
    work.record(ModelAverage(tuple(models[number].key for number in taken), losses))
    chosen = "" if held_out is None else f", of {len(models)} tried"
    work.headline = f"the mean of {len(taken)} models{chosen}"
    return Checkpoint(work.out)


def greedily(members: Sequence[Weights], loss: Callable[[Weights], float]) -> tuple[list[int], dict[str, float]]:
    """Which members' mean has the lowest loss when each, the best first, is taken in only where that lowers it; and the
    losses of the best alone, of all together, and of the mean."""
    alone = [loss(member) for member in members]
    order = sorted(range(len(members)), key=lambda number: alone[number])
    taken, lowest = order[:1], alone[order[0]]
    for number in order[1:]:
        tried = loss(mean([members[one] for one in (*taken, number)]))
        if tried <= lowest:
            taken, lowest = [*taken, number], tried
    return taken, {"best": min(alone), "all": loss(mean(members)), "chosen": lowest}


def _batches(held_out: Dialogues, model: Transformer, text: TextTokenizer) -> DialogueBatches:
    """A row at a time: with more a remainder would be left out."""
    dialogues, context = list(read_conversations(held_out.path)), model.shape.context
    return DialogueBatches(dialogues, chat_format(text), length=context, rows=1, epochs=1, seed=0, pad=text.pad)


@torch.inference_mode()
def _loss(model: Transformer, weights: Weights, batches: DialogueBatches) -> float:
    """Nats per learnt token."""
    model.load_state_dict(weights)
    model.eval()
    total = count = 0.0
    with quickly(model):
        for step in range(len(batches)):
            batch = batches.batch(step).to(model.embedding.weight.device)
            total += float(next_token(model, batch)[0])
            count += batch.weight
    return total / count

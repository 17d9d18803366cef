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
from herd.model.attention_backends import long_rows
from herd.model.collectives import RankGroup
from herd.model.devices import place_model
from herd.model.fused import fused_kernels
from herd.model.transformer import Transformer
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer
from herd.train.averaging import average_weights as mean
from herd.train.checkpoint import kind_of, write_checkpoint
from herd.train.dialogues import DialogueBatches
from herd.train.objectives import next_token_loss

StateDict = dict[str, Tensor]


@stage(paper="4.1.5", version=2, gpu=True, data_parallel=True)
def average_models(work: Work, models: tuple[Checkpoint, ...], held_out: Dialogues | None = None) -> Checkpoint:
    """One model with the mean of the others' weights; with `held_out`, of those that make it better there.

    Then models are tried from the best on, and one is taken into the mean where that lowers the loss on the assistant's
    words of these dialogues: no average is worse there than the best model alone. Source: Wortsman et al. 2022 (Model
    soups), recipe 1. Raises DataError when shapes or vocabularies differ.
    """
    loaded, tokenizer = load_mergeable(models)
    result, members = copy.deepcopy(loaded[0]), [model.state_dict() for model in loaded]
    selected, losses, ranks = list(range(len(members))), dict[str, float](), RankGroup.of(work)
    if held_out is not None:
        # Measured as models are read; what is written is the mean in fp32.
        measured = place_model(copy.deepcopy(result), work.device, work.dtype)
        batches = _batches(held_out, measured, tokenizer)
        selected, losses = greedy_soup(members, lambda weights: _loss(measured, weights, batches, ranks))
    if not ranks.first:  # one is enough to write
        return Checkpoint(work.out)
    result.load_state_dict(mean([members[number] for number in selected]))
    write_checkpoint(work.out, result, tokenizer, kind=kind_of(models[0].path))
    work.record(ModelAverage(tuple(models[number].key for number in selected), losses))
    chosen = "" if held_out is None else f", of {len(models)} tried"
    work.headline = f"the mean of {len(selected)} models{chosen}"
    return Checkpoint(work.out)


def load_mergeable(models: Sequence[Checkpoint]) -> tuple[list[Transformer], TextTokenizer]:
    """Models whose weights mean the same, and the tokenizer of the first. Raises DataError when shapes or vocabularies
    differ."""
    loaded = [load_transformer(model.path) for model in models]  # their mean is made where they are read
    shapes = {model.shape for model in loaded}
    if len(shapes) != 1:
        raise DataError(f"{len(models)} models of {len(shapes)} shapes have no average; name models of one shape")
    tokenizer, *other_tokenizers = (TextTokenizer.load(model.path) for model in models)
    if any(tokenizer_of_model.fingerprint != tokenizer.fingerprint for tokenizer_of_model in other_tokenizers):
        raise DataError(f"{len(models)} models of several tokenizers have no average; name some that read the same ids")
    return loaded, tokenizer


def greedy_soup(members: Sequence[StateDict], loss: Callable[[StateDict], float]) -> tuple[list[int], dict[str, float]]:
    """Which members' mean has the lowest loss when each, the best first, is taken in only where that lowers it; and the
    losses of the best alone, of all together, and of the mean."""
    alone = [loss(member) for member in members]
    order = sorted(range(len(members)), key=lambda number: alone[number])
    selected, lowest = order[:1], alone[order[0]]
    for number in order[1:]:
        candidate_loss = loss(mean([members[index] for index in (*selected, number)]))
        if candidate_loss <= lowest:
            selected, lowest = [*selected, number], candidate_loss
    return selected, {"best": min(alone), "all": loss(mean(members)), "chosen": lowest}


def _batches(held_out: Dialogues, model: Transformer, tokenizer: TextTokenizer) -> DialogueBatches:
    """A row at a time: with more a remainder would be left out."""
    dialogues, context = list(read_conversations(held_out.path)), model.shape.max_seq_len
    return DialogueBatches(
        dialogues, chat_template_of(tokenizer), length=context, rows=1, epochs=1, seed=0, pad=tokenizer.pad_id
    )


@torch.inference_mode()
def _loss(model: Transformer, weights: StateDict, batches: DialogueBatches, ranks: RankGroup) -> float:
    """Nats per learnt token."""
    model.load_state_dict(weights)
    model.eval()

    def measure(step: int) -> tuple[float, float]:
        batch = batches.batch(step).to(model.embedding.weight.device)
        return float(next_token_loss(model, batch)[0]), batch.loss_denominator

    total = count = 0.0
    with fused_kernels(model), long_rows(model, batches.length):
        for nats, tokens in ranks.map(range(len(batches)), measure):
            total += nats
            count += tokens
    return total / count

"""The average of several models (4.1.5)."""

from __future__ import annotations

from herd.core.artifacts import Checkpoint
from herd.core.errors import DataError
from herd.core.stage import Work, stage
from herd.model.weights import load_transformer
from herd.tokens.tokenizer import TextTokenizer
from herd.train.averaging import average as mean
from herd.train.checkpoint import kind_of, write_checkpoint


@stage(paper="4.1.5", version=1)
def average(work: Work, models: tuple[Checkpoint, ...]) -> Checkpoint:
    """One model with the mean of the others' weights. Raises DataError when their shapes differ."""
    loaded = [load_transformer(model.path) for model in models]
    shapes = {model.shape for model in loaded}
    if len(shapes) != 1:
        raise DataError(f"{len(models)} models of {len(shapes)} shapes have no average; name models of one shape")
    result = loaded[0]
    result.load_state_dict(mean([model.state_dict() for model in loaded]))
    write_checkpoint(work.out, result, TextTokenizer.load(models[0].path), kind=kind_of(models[0].path))
    work.figure("members", [model.key for model in models])
    work.figure("headline", f"the mean of {len(models)} models")
    return Checkpoint(work.out)

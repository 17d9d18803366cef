"""What a recipe's trainings compute in: bf16 beside weights in fp32 on GPUs, as the packaged recipes for GPUs do."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from herd.align.sft import SftSettings
from herd.core.recipe import Recipe
from herd.pretrain.anneal import AnnealSettings
from herd.pretrain.long_context import LongContextSettings
from herd.pretrain.pretrain import PretrainSettings
from herd.recipes.layouts import over_trainings
from herd.train.settings import FinetuneSettings, TrainingSettings

_PRETRAINING = (PretrainSettings, LongContextSettings, AnnealSettings)


def choose_dtype(recipe: Recipe, dtype: Literal["fp32", "bf16"]) -> tuple[Recipe, list[str]]:
    """The recipe with every training in `dtype`, and what is another than before in words.

    What comes to be in bf16 is compiled too where its rows are all of one length, for which blocks are compiled once;
    small models that try a mix of data stay as they are. dtype counts for an artifact's key. Raises SettingsError for
    8-bit products beside fp32.
    """
    changed: list[str] = []
    compiled: list[str] = []

    def convert(s: TrainingSettings, path: str) -> TrainingSettings:
        if s.dtype == dtype or not isinstance(s, (*_PRETRAINING, FinetuneSettings)):
            return s
        changed.append(path)
        compiles = s.compile or (dtype == "bf16" and _has_equal_rows(s))
        if compiles and not s.compile:
            compiled.append(path)
        return replace(s, dtype=dtype, compile=compiles)

    settings = over_trainings(recipe.settings, convert, "")
    if not changed:
        return recipe, []
    words = [f"{', '.join(changed)}: training in {_WORDS[dtype]}"]
    if compiled:
        words.append(f"{', '.join(compiled)}: compiled, which takes a minute or two before the first step")
    return replace(recipe, settings=settings), words


_WORDS = {
    "bf16": "bf16, with weights and their moments in fp32 (--dtype fp32: all in fp32), which is part of what a run is",
    "fp32": "fp32, which is part of what a run is",
}


def _has_equal_rows(s: TrainingSettings) -> bool:
    """Rows of ranked answers differ from step to step, and adapters are a small part of what is compiled."""
    return isinstance(s, _PRETRAINING) or (isinstance(s, SftSettings) and s.lora is None)

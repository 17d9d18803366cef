"""A model given away at the end of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from herd.core.artifacts import Checkpoint, Export
from herd.core.results import results
from herd.core.stage import Work, stage
from herd.model.adapters import is_adapter
from herd.serve.folders import export

ExportLayout = Literal["hugging_face", "gguf"]


@results.add(version=1)
@dataclass(frozen=True)
class ExportResult:
    """A model as other programs read it, and how large all its files are."""

    bytes: int


@stage(paper="-", version=1)
def export_model(
    work: Work, model: Checkpoint, *, layout: ExportLayout = "hugging_face", weight_format: str = ""
) -> Export:
    """`model` as `herd export` writes it. weight_format: of the weights, such as bfloat16 or, in GGUF, q8_0; as they
    are when absent. Adapters and the model they stand beside become one. Raises SettingsError for a form that there is
    none of."""
    target = work.out / ("model.gguf" if layout == "gguf" else "model")
    export(model.path, target, weight_format=weight_format or None, merge=is_adapter(model.path))
    size = sum(file.stat().st_size for file in work.out.rglob("*") if file.is_file())
    work.record(ExportResult(size))
    work.headline = f"{target.name}, {weight_format or 'weights as they are'}, {size / 1e6:,.1f} MB"
    return Export(work.out)

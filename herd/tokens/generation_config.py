"""How answers of a model are sampled when nobody says otherwise: `generation_config.json`, read and kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from herd.core.errors import ArtifactError
from herd.core.manifests import check_files

GENERATION_CONFIG_FILE = "generation_config.json"
# Written anew from the tokenizer and the program at hand, never carried over.
_NOT_CARRIED = ("bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "_from_model_config")
# Fields that change what is drawn, and the values with which they change nothing. Source: transformers,
# `GenerationConfig`.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "typical_p": (1.0,),
    "no_repeat_ngram_size": (0,),
    "num_beams": (1,),
}


@dataclass(frozen=True)
class GenerationConfig:
    """The sampling defaults of a model, under transformers' names. fields: as its file has them, without token ids."""

    fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> GenerationConfig:
        """Empty where there is no file. Raises ArtifactError for one that is no JSON object, or has no number where one
        should be."""
        file = folder / GENERATION_CONFIG_FILE
        check_files(folder, GENERATION_CONFIG_FILE)
        if not file.exists():
            return cls()
        try:
            row = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as fault:
            raise ArtifactError(f"{file} is not JSON ({fault}); fetch or make the model again") from None
        if not isinstance(row, dict):
            raise ArtifactError(f"{file} holds a {type(row).__name__}, not an object; fetch or make the model again")
        for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty"):
            value = row.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
                raise ArtifactError(f"{file}: {name} is {value!r}, which is no number from 0 up; mend the file")
        return cls({name: value for name, value in row.items() if name not in _NOT_CARRIED})

    def add_to(self, folder: Path) -> None:
        """Writes the fields into the file in `folder`, whose token ids stay."""
        file = folder / GENERATION_CONFIG_FILE
        row = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        own = {name: value for name, value in row.items() if name in _NOT_CARRIED}
        file.write_text(json.dumps(own | {"do_sample": False} | dict(self.fields), indent=2), encoding="utf-8")

    @property
    def temperature(self) -> float:
        """0 where the likeliest token is always taken. transformers draws only where `do_sample` is set."""
        return float(self._number("temperature", 1.0)) if self.fields.get("do_sample") else 0.0

    @property
    def top_p(self) -> float:
        return min(1.0, float(self._number("top_p", 1.0)))

    @property
    def top_k(self) -> int:
        """0 for all tokens. transformers draws among 50 where a model that draws says nothing."""
        return int(self._number("top_k", 50 if self.fields.get("do_sample") else 0))

    @property
    def min_p(self) -> float:
        return min(1.0, float(self._number("min_p", 0.0)))

    @property
    def repetition_penalty(self) -> float:
        """Of greedy answers too, as in transformers; a penalty of 0 is none."""
        return float(self._number("repetition_penalty", 1.0)) or 1.0

    @property
    def ignored_fields(self) -> dict[str, Any]:
        """Fields that would change what is drawn and that herd's sampler has no place for."""
        values = {name: self.fields.get(name) for name in _NEUTRAL}
        return {name: value for name, value in values.items() if value is not None and value not in _NEUTRAL[name]}

    def _number(self, name: str, default: float) -> float:
        value = self.fields.get(name)
        return default if value is None else value


GREEDY_CONFIG = GenerationConfig()

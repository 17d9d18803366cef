"""Floor 7: whole recipes. A recipe is a function that wires stages; its numbers lie beside it as YAML."""

from __future__ import annotations

from herd.core.recipe import RecipeFunction
from herd.core.registry import Registry

recipes: Registry[RecipeFunction] = Registry("recipes", __name__, requires_source=False)

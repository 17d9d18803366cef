"""Floor 8: recipes that answer a question, over seeds and beside controls."""

from __future__ import annotations

from herd.core.recipe import RecipeFunction
from herd.core.registry import Registry

studies: Registry[RecipeFunction] = Registry("studies", __name__, requires_source=False)

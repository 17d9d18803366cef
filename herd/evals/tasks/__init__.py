"""What is asked of a model. One function is one task; a new file here is found, and so is one that a recipe loads."""

from __future__ import annotations

from collections.abc import Callable

from herd.core.registry import Registry
from herd.evals.sized import SizedTask
from herd.evals.task import Example, Generate, Grade, LogLikelihood, ModelAnswer, Perplexity, Prompt, Task

__all__ = ["Example", "Generate", "Grade", "LogLikelihood", "ModelAnswer", "Perplexity", "Prompt", "Task", "tasks"]

# A task is built from its keyword-only arguments, which are its settings.
tasks: Registry[Callable[..., Task | SizedTask]] = Registry("tasks", __name__)

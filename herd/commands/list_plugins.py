"""`herd list`: what can be named in a recipe."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any

from herd.commands.arguments import add_plugins
from herd.commands.command import Command

_REGISTRIES = {
    "recipes": ("herd.recipes", "recipes"),
    "studies": ("herd.studies", "studies"),
    "filters": ("herd.corpus.filters", "filters"),
    "rewrites": ("herd.corpus.rewrites", "rewrites"),
    "dedups": ("herd.corpus.dedup", "dedups"),
    "losses": ("herd.align.losses", "losses"),
    "tasks": ("herd.evals.tasks", "tasks"),
    "verifiers": ("herd.judge.verifiers", "verifiers"),
    "mixes": ("herd.mixing.methods", "methods"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=(*_REGISTRIES, "stages"))
    add_plugins(parser)


def run(options: argparse.Namespace) -> None:
    from herd.core.plugins import load_plugins, user_file_of
    from herd.core.registry import doc_summary

    load_plugins(options.plugins, "--plugins")
    lines = {}
    for name, plugin in _plugins(options.kind).items():
        own = user_file_of(plugin)
        lines[name] = f"{doc_summary(plugin)}{f' ({own})' if own else ''}"
    if options.kind == "recipes":
        from herd.core.recipe import packaged_presets, preset_summary
        from herd.recipes import recipes

        lines |= {name: preset_summary(file) for name, file in packaged_presets(recipes).items()}
    for name, words in sorted(lines.items()):
        print(f"{name:24} {words}")


def _plugins(kind: str) -> dict[str, Callable[..., Any]]:
    # The packaged recipes import all stages.
    module, name = _REGISTRIES["recipes" if kind == "stages" else kind]
    plugins = getattr(importlib.import_module(module), name).all()
    if kind == "stages":
        from herd.core.stage import Stage

        return {name: stage.body for name, stage in sorted(Stage.registry.items())}
    return plugins


COMMAND = Command("list", "list what can be named in a recipe", add_options, run)

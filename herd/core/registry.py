"""Plug-ins found by name: a filter, a loss, a task is one function in one file."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from herd.core.errors import SettingsError, did_you_mean
from herd.core.settings import PluginSchema, check_arguments, dump_arguments

F = TypeVar("F", bound=Callable[..., Any])
_HERD = f"{__name__.partition('.')[0]}."
_ADDRESS = re.compile(rf"({re.escape(_HERD)}[\w.]+):\w+")


@dataclass(frozen=True)
class PluginConfig:
    """One plug-in chosen, with all its settings filled in; part of a stage's identity. module: of herd, where it
    lies when that is not its registry's own package: another process has to import it first."""

    kind: str
    name: str
    settings: Mapping[str, Any]
    module: str = ""

    @property
    def address(self) -> str:
        """`name`, or `module:name`: what finds it in any process."""
        return f"{self.module}:{self.name}" if self.module else self.name

    def to_row(self) -> dict[str, Any]:
        """As `Registry.parse` reads it; a plug-in may be a setting of another."""
        return {
            self.address: {
                name: value.to_row() if isinstance(value, PluginConfig) else value
                for name, value in self.settings.items()
            }
        }


class Registry(Generic[F]):
    """The plug-ins of one kind.

    kind: the word for them, as `herd list` prints it. package: where their files lie; every module in
    it is imported when a name is first looked up, so that adding a file is all it takes. requires_source: whether each
    says in its docstring where it comes from.
    """

    instances: ClassVar[list[Registry[Any]]] = []

    def __init__(self, kind: str, package: str, *, requires_source: bool = True) -> None:
        self.kind, self.requires_source = kind, requires_source
        Registry.instances.append(self)
        self._package = package
        self._plugins: dict[str, F] = {}
        self._searched = False

    def add(self, plugin: F) -> F:
        """Registers `plugin` under its own name; keyword-only arguments are its settings."""
        name = getattr(plugin, "__name__", "")
        if name in self._plugins and not is_same_definition(self._plugins[name], plugin):
            places = " and ".join(map(location_of, (self._plugins[name], plugin)))
            raise SettingsError(f"two {self.kind} are called {name!r} ({places}); rename one of them")
        self._plugins[name] = plugin
        return plugin

    def configure(self, name: str, **settings: Any) -> PluginConfig:
        """`name` with these settings and its defaults. Raises SettingsError with the nearest name."""
        return self._configure(name, settings)

    def _configure(self, name: str, settings: Mapping[str, Any], *, from_json: bool = False) -> PluginConfig:
        plugin = self.get(name)
        filled = check_arguments(plugin, settings, where=name, from_json=from_json)
        return PluginConfig(self.kind, name.rpartition(":")[2], filled, self._elsewhere(plugin.__module__))

    def _elsewhere(self, module: str) -> str:
        """The module, if it is herd's and not in the registry's package. A user's own file is loaded by whoever was
        given its path, under whatever name: that is no part of what a plug-in is."""
        inside = module == self._package or module.startswith(f"{self._package}.")
        return module if module.startswith(_HERD) and not inside else ""

    def get(self, name: str) -> F:
        """The plug-in called `name`, or at the address `module:name`. Raises SettingsError with the nearest name."""
        self._search()
        module, _, own = name.rpartition(":")
        # Only herd's own: what a recipe or a model of others names is no reason to import it.
        if own not in self._plugins and module.startswith(_HERD):
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as fault:
                if not (fault.name or "").startswith(_HERD):
                    raise
        if own not in self._plugins or (module and self._plugins[own].__module__ != module):
            raise SettingsError(f"{name!r} is not one of the {self.kind}{did_you_mean(own, self._plugins)}")
        return self._plugins[own]

    def make(self, config: PluginConfig) -> Callable[..., Any]:
        """The plug-in with its settings bound, ready to be called on data."""
        return partial(self.get(config.address), **config.settings)

    def dump(self, config: PluginConfig) -> dict[str, Any]:
        """The choice as plain JSON data, which `parse` reads."""
        return {config.address: dump_arguments(self.get(config.address), config.settings)}

    def loaded_plugins(self) -> Mapping[str, F]:
        """Those that are registered by now, without looking for more."""
        return self._plugins

    def all(self) -> dict[str, F]:
        """Every plug-in by name, in alphabetical order."""
        self._search()
        return dict(sorted(self._plugins.items()))

    @property
    def folder(self) -> Path:
        """Where the files of the registry's package lie."""
        return Path(importlib.import_module(self._package).__path__[0])

    def _search(self) -> None:
        if self._searched:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
            importlib.import_module(f"{self._package}.{module.name}")
        self._searched = True

    # A recipe's YAML names a plug-in as `name` or as `name: {setting: value}`.
    def parse(self, value: object) -> PluginConfig:
        if isinstance(value, PluginConfig):
            return value
        if isinstance(value, str):
            return self.configure(value)
        if isinstance(value, dict) and len(value) == 1:
            ((name, settings),) = value.items()
            return self._configure(name, settings or {}, from_json=True)
        raise SettingsError(f"{value!r} names none of the {self.kind}; write `name` or `name: {{setting: value}}`")

    @property
    def choice(self) -> PluginSchema:
        """For annotations: `Annotated[Use, filters.choice]` is a setting that holds one plug-in."""
        return PluginSchema(self.parse, PluginConfig.to_row)


def plugin_modules(settings: object) -> set[str]:
    """The modules of herd that plain settings name, as addresses of plug-ins that lie outside their registry."""
    if isinstance(settings, str):
        match = _ADDRESS.fullmatch(settings)
        return {match[1]} if match else set()
    if isinstance(settings, Mapping):
        return set().union(*map(plugin_modules, (*settings.keys(), *settings.values())))
    return set().union(*map(plugin_modules, settings)) if isinstance(settings, list | tuple) else set()


def is_same_definition(first: Callable[..., Any], second: Callable[..., Any]) -> bool:
    """Whether both come from the same lines of the same file, as when a module is imported again."""
    if first is second:
        return True
    here, there = (getattr(inspect.unwrap(function), "__code__", None) for function in (first, second))
    if here is None or there is None:
        return False
    return here == there and os.path.realpath(here.co_filename) == os.path.realpath(there.co_filename)


def location_of(plugin: Callable[..., Any]) -> str:
    """File and line of a definition, for messages."""
    code = getattr(inspect.unwrap(plugin), "__code__", None)
    return plugin.__module__ if code is None else f"{code.co_filename}, line {code.co_firstlineno}"


def doc_summary(plugin: Callable[..., Any]) -> str:
    """The first line of a plug-in's docstring: what it is, for lists."""
    return (inspect.getdoc(plugin) or "").partition("\n")[0]

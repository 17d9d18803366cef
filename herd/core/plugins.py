"""Python files of a user's own: loaded once per process, and again in every process that works for this one."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from herd.core.errors import HerdError, SettingsError
from herd.core.fingerprint import fingerprint
from herd.core.registry import PluginConfig, Registry, location_of

UserFiles = tuple[tuple[str, str], ...]  # (module, file)

_loaded: dict[str, str] = {}  # files by module, as other processes are given them


def load_plugins(files: Iterable[Path | str], where: str) -> tuple[str, ...]:
    """Loads files whose plug-ins and stages are known from then on, here and in workers; gives their absolute paths.

    where: what named them, for messages. Raises SettingsError for one that is not there or cannot be loaded, that calls
    a plug-in or stage as another one is called, or whose plug-in names no source.
    """
    paths = []
    for file in files:
        path = Path(file).resolve()
        if not path.is_file() or path.suffix != ".py":
            problem = "there is no such file" if not path.exists() else "not a Python file"
            raise SettingsError(f"{path}: {problem}; name a .py file of plug-ins in {where}")
        _check(load_user_file(path, module_name(path)))
        paths.append(str(path))
    return tuple(paths)


def _check(module: ModuleType) -> None:
    for registry in Registry.instances:
        own = {
            name: function
            for name, function in registry.loaded_plugins().items()
            if function.__module__ == module.__name__
        }
        if own:
            registry.all()  # so that a packaged one of the same name is found now, and not half-way through a run
        for name, plugin in own.items() if registry.requires_source else ():
            if "Source:" not in (inspect.getdoc(plugin) or ""):
                raise SettingsError(
                    f"{location_of(plugin)}: {name!r} of the {registry.kind} names no source; add a line `Source: ...` "
                    "to its docstring, be it `Source: ours`"
                )


def module_name(path: Path) -> str:
    """The module name of a file outside the package; two files of one name in two folders have two."""
    return f"herd_file_{re.sub(r'[^0-9a-zA-Z_]', '_', path.stem)}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def load_user_file(path: Path, module: str) -> ModuleType:
    """`load_file`, also in the processes that will work for this one."""
    loaded = load_file(path, module)
    _loaded[module] = str(path)
    return loaded


def user_files() -> UserFiles:
    """What `load_user_files` loads in another process."""
    return tuple(_loaded.items())


def load_user_files(files: Iterable[Iterable[str]]) -> None:
    for module, path in files:
        load_user_file(Path(path), module)


def load_file(path: Path, module: str) -> ModuleType:
    """A Python file outside the package as the module `module`, once per process.

    Raises SettingsError, with the line, for one that cannot be loaded.
    """
    if module in sys.modules:
        loaded = sys.modules[module]
        if Path(loaded.__file__ or "").resolve() != path.resolve():
            raise SettingsError(f"{path}: a module {module} is loaded already, from {loaded.__file__}; rename the file")
        return loaded
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{path}: not a Python file; a recipe ends in .py or .yaml")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    try:
        spec.loader.exec_module(loaded)
    except BaseException as fault:
        del sys.modules[module]
        if isinstance(fault, HerdError) or not isinstance(fault, Exception):
            raise
        raise SettingsError(_describe_fault(fault, path)) from fault
    return loaded


def _describe_fault(fault: Exception, path: Path) -> str:
    if isinstance(fault, SyntaxError) and fault.filename == str(path):
        return f"{path}, line {fault.lineno}: {fault.msg}; mend the file"
    lines = [frame.lineno for frame in traceback.extract_tb(fault.__traceback__) if frame.filename == str(path)]
    place = f"{path}, line {lines[-1]}" if lines else f"{path}"
    return f"{place}: {type(fault).__name__}: {fault}; mend the file"


# ---- what came from such files ----


def user_file_of(plugin: Callable[..., Any]) -> str | None:
    """The user's file that a plug-in or the body of a stage lies in; None for what is packaged."""
    return _loaded.get(plugin.__module__)


def _chosen_plugins(settings: object) -> Iterator[Callable[..., Any]]:
    """The loaded plug-ins that configurations in `settings` name."""
    for config in _plugin_configs(settings):
        for registry in Registry.instances:
            if registry.kind == config.kind and config.name in registry.loaded_plugins():
                yield registry.loaded_plugins()[config.name]


def user_code_digests(settings: object) -> list[str]:
    """A fingerprint of every user's file that a plug-in chosen in `settings` comes from."""
    plugins = _chosen_plugins(settings)
    files = {plugin.__module__: file for plugin in plugins if (file := user_file_of(plugin)) is not None}
    return sorted(fingerprint(module, Path(file)) for module, file in files.items())


def _plugin_configs(value: object) -> Iterator[PluginConfig]:
    """The plug-ins chosen anywhere in settings."""
    inner: Iterable[object] = ()
    if isinstance(value, PluginConfig):
        yield value
        inner = value.settings.values()
    elif is_dataclass(value):
        inner = (getattr(value, field.name) for field in fields(value))
    elif isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, list | tuple):
        inner = value
    for member in inner:
        yield from _plugin_configs(member)

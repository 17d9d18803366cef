"""Settings: typed, frozen, keyword-only; wrong ones are refused with file, field and nearest name.

The only file that knows pydantic.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import inspect
import itertools
import json
import os
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic import BeforeValidator as BeforeValidator  # for the types of settings in other files
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import core_schema
from typing_extensions import dataclass_transform

from herd.core.addresses import files_at, is_address, remote_checksum
from herd.core.errors import HerdError, SettingsError
from herd.core.file_hashes import file_hashes
from herd.core.setting_errors import alternatives, sentences_of
from herd.core.yaml_loader import DEEPEST as DEEPEST
from herd.core.yaml_loader import Loader, TooMuchError

_T = TypeVar("_T")

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _check_sum(shares: dict[str, float]) -> dict[str, float]:
    """Raises ValueError for what is no whole mix: scaled without a word, it would be another than was written."""
    total = sum(shares.values())
    if abs(total - 1) > 1e-6:
        listing = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise ValueError(f"the shares ({listing}) sum to {total:.6g}; write shares of all sources that sum to 1")
    return shares


_REPLACED_WHOLE = "replaced as a whole by what is laid over it"
# What each source makes up of all tokens. Laid over others they replace them: those not named have none.
MixtureWeights = Annotated[dict[str, Share], AfterValidator(_check_sum), _REPLACED_WHOLE]


class InPlaceOf(str):
    """Marks a setting by the name of one that it stands in the place of: laid over that, it takes it away."""


def _with_hash(path: str) -> str:
    """`path` with a hash of what lies there now, so that other contents make another identity."""
    if _HASH in path:
        return path
    digest = hashlib.sha256()
    for name, content in _hashes(path):
        digest.update(f"{name} {content}\n".encode())
    return f"{path}{_HASH}{digest.hexdigest()[:16]}"


def _hashes(path: str) -> typing.Iterator[tuple[str, str]]:
    """The files that `path` names, as a folder, a pattern or an address may several, each with what tells its contents
    apart. Raises ValueError where one cannot be read."""
    if is_address(path):
        try:
            yield from ((file, remote_checksum(file)) for file in files_at(path) or [path])
        except HerdError as fault:
            raise ValueError(str(fault)) from None
        return
    root = Path(path).expanduser()
    files = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
    if not root.exists() and (matches := sorted(glob.glob(str(root), recursive=True))):
        root, files = Path(os.path.sep), [Path(match).absolute() for match in matches if os.path.isfile(match)]
    try:
        hashes = file_hashes(files, remembered_bytes=_REMEMBERED_BYTES)
    except OSError as fault:
        raise ValueError(f"{fault.filename} cannot be read ({fault.strerror}); check the path") from None
    for file, content in zip(files, hashes, strict=True):
        yield str(file.relative_to(root)), content


_REMEMBERED_BYTES = 1 << 20  # of a file that is large, as those of a model; smaller ones are read each time
_HASH = "@sha256:"
# A file, folder, pattern or address that a stage reads: its contents count for the stage's identity, for those at an
# address what the service says of them.
InputFile = Annotated[str, AfterValidator(_with_hash)]


def input_path(file: str) -> Path:
    """Where an InputFile lies."""
    return Path(file.partition(_HASH)[0]).expanduser()


def input_place(file: str) -> str:
    """The path or address that an InputFile names."""
    place = file.partition(_HASH)[0]
    return place if is_address(place) else str(Path(place).expanduser())


_NOT_IN_KEY = "not part of a stage's identity"
# A stage's argument that changes nothing about its result, such as where a file lies.
NotInKey = Annotated[_T, _NOT_IN_KEY]

_ADDED_LATER = "left out of a stage's identity while it has its default"
# A setting, or an input of a stage, that came when artifacts had been made without it: while it has its default the
# keys are those of before, so that nothing is made again.
AddedLater = Annotated[_T, _ADDED_LATER]

# Strict: "4" is no number and 1 is no truth; what a user typed by mistake must not pass by luck.
_CONFIG = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[_T]) -> type[_T]:
    """Makes `cls` a frozen, keyword-only class whose fields are checked when it is made."""
    dataclass_type: Any = pydantic_dataclass(frozen=True, kw_only=True, config=_CONFIG)(cls)
    check = dataclass_type.__init__

    @functools.wraps(check)
    def init(self: _T, *args: Any, **kwargs: Any) -> None:
        try:
            check(self, *args, **kwargs)
        except ValidationError as fault:
            raise SettingsError(sentences_of(fault.errors(), dataclass_type, cls.__name__, {})) from None

    dataclass_type.__init__ = init
    return typing.cast("type[_T]", dataclass_type)


class PluginSchema:
    """Lets an annotated field hold a plug-in: parsed from a name, written back as a name."""

    def __init__(self, parse: Callable[[object], Any], dump: Callable[[Any], Any]) -> None:
        self._parse, self._dump = parse, dump

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return core_schema.no_info_plain_validator_function(
            self._parse, serialization=core_schema.plain_serializer_function_ser_schema(self._dump)
        )


def or_name(load: Callable[[str], Any]) -> BeforeValidator:
    """For annotations: a setting that may stand as text, of which `load` makes its value. load: raises SettingsError
    for what it does not know."""

    def resolve(value: object) -> object:
        if not isinstance(value, str):
            return _with_tuples(value)
        try:
            return load(value)
        except SettingsError as fault:
            raise ValueError(str(fault)) from None

    return BeforeValidator(resolve)


def _with_tuples(value: object) -> object:
    """What a function has seen is no JSON any more to pydantic, which then takes no list for a tuple."""
    if isinstance(value, dict):
        return {key: _with_tuples(inner) for key, inner in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def refuse_unknown_fields(kind: type[Any]) -> None:
    """Makes `build` refuse names that the dataclass `kind`, or one inside it, has no field for."""
    kind.__pydantic_config__ = ConfigDict(extra="forbid")


def build(kind: Any, values: object, *, where: str, lines: Mapping[str, int] | None = None) -> Any:
    """`values` (plain lists, dicts, numbers, text) as the settings type `kind`.

    where: the file or option the values come from. lines: line numbers by dotted field name.
    Raises SettingsError with the place, the field and the nearest valid name.
    """
    try:
        # By way of JSON, where a list may become a tuple although types are strict.
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as fault:
        raise SettingsError(sentences_of(fault.errors(), kind, where, lines or {})) from None


def dump(value: object) -> Any:
    """`value` as plain JSON data, with every default written out."""
    return TypeAdapter(type(value)).dump_python(value, mode="json") if value is not None else None


def check_arguments(
    function: Callable[..., Any], arguments: Mapping[str, Any], *, where: str, from_json: bool = False
) -> dict[str, Any]:
    """`arguments` checked against the keyword-only arguments of `function`, with its defaults filled in.

    from_json: whether they come from a file, where a tuple is written as a list.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints.get(name, Any), ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    model = create_model(f"{function.__name__}_settings", __config__=_CONFIG, **fields)
    try:
        checked = (
            model.model_validate_json(json.dumps(arguments)) if from_json else model.model_validate(dict(arguments))
        )
    except ValidationError as fault:
        raise SettingsError(sentences_of(fault.errors(), model, where, {})) from None
    return {name: getattr(checked, name) for name in fields}


def dump_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Checked arguments of `function` as plain JSON data, without those `AddedLater` that have their defaults."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters
    return {
        name: _without_later_defaults(
            value, TypeAdapter(hints.get(name, Any), config=None).dump_python(value, mode="json")
        )
        for name, value in arguments.items()
        if not (_is_added_later(hints.get(name)) and value == parameters[name].default)
    }


def _without_later_defaults(value: Any, row: Any) -> Any:
    """`row`, which is `value` as plain data, without the settings `AddedLater` that have their defaults."""
    if isinstance(value, list | tuple) and isinstance(row, list):
        return [_without_later_defaults(*pair) for pair in zip(value, row, strict=True)]
    if isinstance(value, Mapping) and isinstance(row, dict):
        pairs = zip(row.items(), value.values(), strict=True)
        return {name: _without_later_defaults(part, dumped) for (name, dumped), part in pairs}
    fields: dict[str, Any] | None = getattr(type(value), "__pydantic_fields__", None)
    if fields is None or not isinstance(row, dict):
        return row
    hints = typing.get_type_hints(type(value), include_extras=True)
    parts = {name: getattr(value, name) for name in fields}
    return {
        name: _without_later_defaults(part, row[name])
        for name, part in parts.items()
        if not (_is_added_later(hints[name]) and part == fields[name].get_default(call_default_factory=True))
    }


def _is_added_later(hint: Any) -> bool:
    return _ADDED_LATER in getattr(hint, "__metadata__", ())


def load_arguments(function: Callable[..., Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `dump_arguments`."""
    hints = typing.get_type_hints(function, include_extras=True)
    return {name: build(hints[name], value, where=function.__name__) for name, value in row.items()}


def is_in_key(function: Callable[..., Any], name: str) -> bool:
    """Whether the argument `name` of a stage's function is part of the stage's identity."""
    hint = typing.get_type_hints(function, include_extras=True).get(name)
    return _NOT_IN_KEY not in getattr(hint, "__metadata__", ())


def is_added_later(function: Callable[..., Any], name: str) -> bool:
    """Whether the argument `name` of a stage's function came when artifacts had been made without it."""
    return _is_added_later(typing.get_type_hints(function, include_extras=True).get(name))


# ---- YAML ----


def parse_yaml(text: str, *, where: str) -> Any:
    """`text` as plain data. Raises SettingsError with line and column when it is no YAML."""
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(fault, "problem", None) or str(fault)
        if isinstance(fault, TooMuchError | yaml.constructor.ConstructorError):
            raise SettingsError(f"{where}{at}: {problem}; write it shorter or mend the line") from None
        raise SettingsError(f"{where}{at}: not YAML: {problem}") from None


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """A YAML file as a dict, and the line of every dotted field name in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as fault:
        raise SettingsError(f"{path}: cannot be read: {fault.strerror}; check the path") from None
    except UnicodeDecodeError as fault:
        raise SettingsError(f"{path}: not UTF-8 at byte {fault.start}; save it as UTF-8") from None
    values = parse_yaml(text, where=str(path))
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: holds a {type(values).__name__}; write `name: value` lines")
    return values, dict(_lines(yaml.compose(text, Loader=Loader), ""))


def _lines(node: Any, prefix: str) -> typing.Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(index), value, value) for index, value in enumerate(node.value)]
    else:
        return
    for name, marked, child in children:
        yield f"{prefix}{name}", marked.start_mark.line + 1
        yield from _lines(child, f"{prefix}{name}.")


def write_yaml(values: Mapping[str, Any]) -> str:
    """`values` as YAML that `read_yaml` reads back."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=110)


def merge_settings(below: Mapping[str, Any], above: Mapping[str, Any], kind: Any = None) -> dict[str, Any]:
    """`below` with the values of `above` laid over it, dict by dict; other plug-ins, and shares, replace those below,
    and what stands in the place of another setting takes that away.

    kind: the settings type that both are for, which says where plug-ins and shares stand.
    """
    merged = dict(below)
    for name, value in above.items():
        old, inner = merged.get(name), _type_within(kind, name)
        # `{dpo: {beta: .2}}` changes a number of dpo, `{ipo: {}}` over it is a choice of its own.
        if isinstance(old, dict) and isinstance(value, dict):
            replaced = _is_replaced(inner, is_other_plugin=old.keys() != value.keys())
            value = value if replaced else merge_settings(old, value, inner)
        merged[name] = value
        for other in _marks(inner):
            if isinstance(other, InPlaceOf) and None not in (value, merged.get(other)) and above.get(other) is None:
                merged[other] = None
    return merged


def _is_replaced(kind: Any, *, is_other_plugin: bool) -> bool:
    """Whether a value of `kind` is replaced as a whole: shares always, a plug-in by `is_other_plugin`."""
    return any(mark == _REPLACED_WHOLE or (is_other_plugin and isinstance(mark, PluginSchema)) for mark in _marks(kind))


def _marks(kind: Any) -> typing.Iterator[Any]:
    """What `kind`, and the types that a value of it may have, are marked with."""
    return itertools.chain.from_iterable(getattr(part, "__metadata__", ()) for part in (kind, *alternatives(kind)))


def _type_within(kind: Any, name: str) -> Any:
    """The type of the setting `name` of `kind`; None where nothing is known of it."""
    for alternative in alternatives(kind):
        if typing.get_origin(alternative) is Annotated:
            return _type_within(typing.get_args(alternative)[0], name)
        if typing.get_origin(alternative) is dict:
            return typing.get_args(alternative)[1]
        if isinstance(alternative, type) and name in (hints := typing.get_type_hints(alternative, include_extras=True)):
            return hints[name]
    return None

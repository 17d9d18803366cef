"""Rows of benchmarks, from the files people have of them: the release of their authors, the cache of `datasets` (which
lm-eval reads), a folder from the Hub, or the Hub itself.

A benchmark says in which forms its rows are written (`RowForm`) and how large its splits are (`BenchmarkData`). What is
read comes with notes on what is not as it should be, which go with the score.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from herd.core.addresses import is_address
from herd.core.errors import DataError
from herd.core.rowfiles import ROW_SUFFIXES, RowError, iter_rows, row_files
from herd.core.settings import input_place

DatasetRow = Mapping[str, Any]
# By what names files and folders say which split they hold.
SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
# Of several files that differ by their endings only, the first is read.
_PREFERRED = (".jsonl", ".ndjson", ".parquet", ".arrow", ".json", ".csv", ".tsv")
_PACKED = (".gz", ".bz2", ".zst", ".xz")
_NO_ROWS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json")


@dataclass(frozen=True)
class RowForm:
    """One way in which rows of a benchmark are written. columns: that such a row has. convert: the row, or the rows in
    it, as the benchmark's task reads them, of a row and the name of its file under the place that was named; its `id`
    is kept where it has one. Raises KeyError and ValueError for a row that is not so. table: the columns of a CSV file
    without a header."""

    columns: tuple[str, ...]
    convert: Callable[[DatasetRow, str], DatasetRow | list[DatasetRow]]
    table: tuple[str, ...] = ()


@dataclass(frozen=True)
class BenchmarkData:
    """Where rows of a benchmark are found, and what they are like.

    hub: its name on the Hub; config: the part of it; configs: all of its parts, where the benchmark is of several, and
    which the name may hold as `{config}`. names: of its file or folder among others. forms: the first whose columns a
    row has is its own. sizes: rows of the whole release by split. splits: by what words files say theirs.
    passed_over: words of names of files, or of folders in it, that are no part of it.
    """

    hub: str
    forms: tuple[RowForm, ...]
    config: str = ""
    configs: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: SPLIT_WORDS)
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class BenchmarkRows:
    """Rows of a split, each with an `id` that no other has. notes: what is not as it should be."""

    rows: tuple[DatasetRow, ...]
    notes: tuple[str, ...] = ()


def benchmark_rows(data: str | None, split: str, source: BenchmarkData) -> BenchmarkRows:
    """The rows of a split: of a file, folder or address, or of the Hub where there is none.

    Raises DataError for files that are not there, a split they have not, a row of another form, and a Hub that cannot
    be reached.
    """
    if data is None:
        rows = _with_ids(_convert(row, name, number, source) for name, number, row in _hub_rows(source, split))
    else:
        rows = _with_ids(_file_rows(input_place(data), split, source))
    if not rows:
        raise DataError(f"{data or source.hub} holds no rows of split {split!r}; fetch it again")
    size = source.sizes.get(split)
    notes = ()
    if size is not None and len(rows) != size:
        notes = (
            f"{len(rows):,} of the {size:,} examples of split {split}"
            if len(rows) < size
            else f"{len(rows):,} examples, where split {split} has {size:,}",
        )
    return BenchmarkRows(tuple(rows), notes)


def has_split(data: str | None, split: str, source: BenchmarkData) -> bool:
    """Whether there are rows of a split; the Hub is not asked."""
    if data is None:
        return split in source.sizes
    place = input_place(data)
    return not _is_file(place) and any(_split_of(name, source) == split for name in _names(place, source).values())


def find_data(folder: str, source: BenchmarkData) -> str | None:
    """A benchmark's file or folder in one that holds several, or in a folder of it: by its own names, or as the Hub's
    and `datasets`' caches call it; None where there is none."""
    owner = source.hub.replace("/", "___"), source.hub.replace("/", "--")
    labels = {
        _plain(name) for name in (*source.names, source.hub.rpartition("/")[2], owner[0], f"datasets--{owner[1]}")
    }
    root = Path(folder).expanduser()
    for level in ("*", "*/*"):
        for entry in sorted(root.glob(level)):
            name = entry.name if entry.is_dir() else _stem(entry.name)
            if _plain(name) in labels and (entry.is_dir() or _suffix(entry.name)):
                return str(entry)
    return None


# ---- files ----


def _is_file(place: str) -> bool:
    return os.path.isfile(place) if not is_address(place) else bool(_suffix(place))


def _suffix(name: str) -> str:
    """`.jsonl` of `rows.jsonl.gz`; empty where a file holds no rows."""
    ending = PurePosixPath(_unpacked(name)).suffix
    return ending if ending in ROW_SUFFIXES else ""


def _unpacked(name: str) -> str:
    lower = name.lower()
    return next((lower.removesuffix(ending) for ending in _PACKED if lower.endswith(ending)), lower)


def _stem(name: str) -> str:
    """`rows` of `rows.jsonl.gz`."""
    return name[: len(_unpacked(name)) - len(_suffix(name))]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _names(place: str, source: BenchmarkData) -> dict[str, str]:
    """The files of rows at a place with their names under it, of the configuration asked for where there are several,
    each once."""
    root = place.partition("*")[0].rstrip("/")
    files = {file: file.removeprefix(root).strip("/") for file in row_files(place)}
    names = {file: name for file, name in files.items() if _belongs(name, source)}
    config = _plain(source.config)
    own = {file: name for file, name in names.items() if config and _is_of(name, config)}
    chosen: dict[str, tuple[int, str]] = {}
    for file, name in (own or names).items():
        rank = _PREFERRED.index(_suffix(name))
        stem = str(PurePosixPath(name).parent / _stem(PurePosixPath(name).name))
        if stem not in chosen or rank < chosen[stem][0]:
            chosen[stem] = rank, file
    return {file: names[file] for _, file in chosen.values()}


def _belongs(name: str, source: BenchmarkData) -> bool:
    base = PurePosixPath(name).name
    passed_over = set(source.passed_over) & set(_words(name))
    return not passed_over and base not in _NO_ROWS and not base.startswith("cache-") and bool(_suffix(base))


def _is_of(name: str, config: str) -> bool:
    *folders, base = PurePosixPath(name).parts
    return any(_plain(folder) == config for folder in folders) or _plain(base).startswith(config)


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


def _split_of(name: str, source: BenchmarkData) -> str:
    """The split that a file's name or a folder's says it holds, the nearest; empty where none does, or several."""
    for part in reversed(PurePosixPath(name).parts):
        words = set(_words(part))
        splits = [split for split, own in source.splits.items() if not words.isdisjoint(own)]
        if len(splits) == 1:
            return splits[0]
        if splits:
            return ""
    return ""


def _file_rows(place: str, split: str, source: BenchmarkData) -> Iterator[DatasetRow]:
    if _is_file(place):
        chosen = {place: place.rpartition("/")[2]}
    else:
        names = _names(place, source)
        splits = {file: _split_of(name, source) for file, name in names.items()}
        chosen = {file: name for file, name in names.items() if splits[file] == split}
        if not chosen and not any(splits.values()):
            chosen = names  # one set of files without splits
        if not chosen:
            there = ", ".join(sorted(set(filter(None, splits.values())))) or "none"
            raise DataError(f"{place} has no split {split!r} (it has {there}); name another with `split`, or a file")
    for file, name in sorted(chosen.items()):
        for number, row in _read(file, source):
            yield from _convert(row, name, number, source)


def _read(file: str, source: BenchmarkData) -> Iterator[tuple[int, DatasetRow]]:
    table = next((form.table for form in source.forms if form.table), ())
    rows = iter_rows(file)
    if table and _suffix(file) in (".csv", ".tsv"):
        first = next(iter_rows(file), (0, {}))[1]
        if not (isinstance(first, Mapping) and _form_of(first, source)):
            rows = iter_rows(file, table)
    labels = _labels_beside(file)
    for number, row in rows:
        where = f"{file.rpartition('/')[2]}, row {number}"
        if isinstance(row, RowError):
            raise DataError(f"{where}: {row}; mend it")
        if not isinstance(row, Mapping):
            raise DataError(f"{where} is a {type(row).__name__}; write an object of columns")
        if labels and len(labels) < number:
            raise DataError(f"{where} has no label; the file of labels beside it ends earlier: fetch both again")
        yield number, {**row, "label": labels[number - 1]} if labels else row


def _labels_beside(file: str) -> list[str]:
    """The labels of rows whose release has them in a file of its own, such as `dev-labels.lst` of `dev.jsonl`."""
    path = Path(file)
    beside = path.with_name(f"{_stem(path.name)}-labels.lst")
    return beside.read_text(encoding="utf-8").split() if not is_address(file) and beside.exists() else []


def _form_of(row: DatasetRow, source: BenchmarkData) -> RowForm | None:
    return next((form for form in source.forms if set(form.columns) <= row.keys()), None)


def _convert(row: DatasetRow, name: str, number: int, source: BenchmarkData) -> list[DatasetRow]:
    """The rows in a row, each with an id."""
    form = _form_of(row, source)
    where = f"{name}, row {number}"
    if form is None:
        labels = " or ".join(", ".join(form.columns) for form in source.forms)
        columns = ", ".join(map(str, row))[:200]
        raise DataError(
            f"{where} has the columns {columns}; herd reads rows of {source.hub} with {labels}: rename them"
        )
    try:
        converted = form.convert(row, name)
    except (KeyError, IndexError) as fault:
        raise DataError(f"{where} lacks {fault}, which rows with {', '.join(form.columns)} have; mend it") from None
    except (TypeError, ValueError, AttributeError) as fault:
        raise DataError(f"{where} cannot be used ({str(fault)[:120]}); mend it") from None
    if isinstance(converted, list):
        return [{"id": f"{_identity(name)}/{number}.{part}", **fields} for part, fields in enumerate(converted, 1)]
    return [{"id": f"{_identity(name)}/{number}", **converted}]


def _identity(name: str) -> str:
    """Of a file, whatever kind it is."""
    return re.sub(r"-\d{5}-of-\d{5}", "", _stem(PurePosixPath(name).name))


def _with_ids(rows: Iterable[DatasetRow | list[DatasetRow]]) -> list[DatasetRow]:
    """All rows; of those with one id the later ones are numbered."""
    counts: dict[str, int] = {}
    unique: list[DatasetRow] = []
    for entry in rows:
        for row in entry if isinstance(entry, list) else [entry]:
            identity = str(row["id"])
            counts[identity] = counts.get(identity, 0) + 1
            unique.append({**row, "id": identity if counts[identity] == 1 else f"{identity}#{counts[identity]}"})
    return unique


# ---- the Hub ----


def _hub_rows(source: BenchmarkData, split: str) -> Iterator[tuple[str, int, DatasetRow]]:
    """(part and split, number, row) of every row."""
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError:
        raise DataError(
            f"no `data` was given, and fetching {source.hub} takes the package datasets; `pip install "
            "'herd[benchmarks]'`, or fetch it yourself and give its folder as `data`"
        ) from None
    number = 0
    for config in source.configs or (source.config,):
        hub = source.hub.format(config=config)
        try:
            table: Any = datasets.load_dataset(hub, None if hub != source.hub else config or None, split=split)
        except Exception as fault:  # it raises errors of every layer below it
            words = str(fault).partition("\n")[0][:160]
            raise DataError(
                f"{hub} cannot be fetched ({type(fault).__name__}: {words}); fetch it where there is a network, and "
                "give its folder as `data`"
            ) from None
        for row in table:
            number += 1
            yield f"{config}/{split}" if config else split, number, row

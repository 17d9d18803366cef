"""Through how many of herd's functions a page goes until it is in a training batch, and a setting until it is used.

Prints one JSON line. `python benchmarks/hops.py` measures this checkout, `--commit C` the package as it was at a
commit, `--list` names the functions, a line each. Everything runs in this process, on one thread, under
`sys.setprofile`.

page_to_batch: one HTML page in a WARC is curated (one filter, minhash), packed with a tokenizer learnt from it, and
read as the first batch of `TokenBatches`. Counted is every function or method in herd's files, once, that has the page:
an argument, a local variable, or a value that it returns or yields is or holds its bytes, its text, a part of that, or
its tokens, as bytes, strings, lists, Arrow data, arrays, tensors, or objects of herd that hold these. So does a
function that hands such a value straight from one call to the next. Of its own object a method has only what it names
and what is the page itself. Comprehensions and lambdas belong to the function they stand in. Not counted: set-up that
sees paths, settings, counts or statistics only; constructors of dataclasses; generators that are passed on unread;
libraries and compiled kernels, inside which nothing is looked at; learning the tokenizer, which is no part of a page's
way to a batch.

rope_theta: from a `Size` to the table of the rotary embedding of a model that is built from it. dpo_beta: from
`DpoSettings.loss` to the loss of a batch. Counted is every function that has the value as an argument, a local variable
or a result, by itself or bound in a dict, tuple, list or `partial`, or that reads an attribute of the setting's name.
Not counted: the checks of settings when they are made, and functions that pass on the whole object it is a field of.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
WORDS = ("vexquill", "dromagant", "sporrowick")  # on no other page, and in every sentence of this one
THETA, BETA = 345_678.5, 0.34567
LENGTH, BATCH_TOKENS = 64, 128
_DEPTH = 8  # of values in values
_SETTINGS = "core/settings.py"  # which checks settings when they are made
_INNER = "<listcomp> <setcomp> <dictcomp> <genexpr> <lambda>".split()


# ---- who has a value ----


class Functions:
    """The functions of the package in `root` of whose arguments, variables or results `has` says yes to one, or that
    read an attribute. has: called on a value, and with `objects=False` where what objects of herd hold is not meant."""

    def __init__(self, root: Path, has: Callable[..., bool], attribute: str = "") -> None:
        self._root, self._has, self._attribute = f"{root}{os.sep}", has, attribute
        self.names: dict[str, None] = {}  # in the order in which they were met

    @contextmanager
    def traced(self) -> Iterator[None]:
        sys.setprofile(self._on_event)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _on_event(self, frame: types.FrameType, event: str, value: Any) -> None:
        name = self._name(frame)
        if event not in ("call", "return") or name is None:
            return
        is_return = event == "return"
        passed = [value] if is_return else [given for key, given in frame.f_locals.items() if key != "self"]
        if any(map(self._has, passed)):
            self._count(name)
            # Its caller gave it that, or gets it.
            caller = frame.f_back and self._name(frame.f_back)
            if caller:
                self._count(caller)
        elif name not in self.names and self._has_inside(frame):
            self._count(name)

    def _has_inside(self, frame: types.FrameType) -> bool:
        variables, names = dict(frame.f_locals), frame.f_code.co_names
        own = getattr(variables.pop("self", None), "__dict__", {})
        return (
            self._attribute in names
            or any(map(self._has, variables.values()))
            or any(self._has(own[name], objects=False) for name in names if name in own)
        )

    def _name(self, frame: types.FrameType) -> str | None:
        """The function's file and name, without what stands inside of it and has no name."""
        code = frame.f_code
        if not code.co_filename.startswith(self._root):
            return None
        parts = [part for part in code.co_qualname.split(".") if part not in _INNER]
        name = ".".join(part for part in parts if part != "<locals>")
        file = code.co_filename.removeprefix(self._root)
        return f"{file}:{name}" if name and name != "<module>" and file != _SETTINGS else None

    def _count(self, name: str) -> None:
        self.names.setdefault(name)

    @property
    def figures(self) -> dict[str, int]:
        return {"functions": len(self.names), "files": len({name.partition(":")[0] for name in self.names})}


def has_number(number: float) -> Callable[..., bool]:
    """Whether a value is this number, or holds it where a call's settings are held."""

    def has(value: Any, depth: int = 3, *, objects: bool = False) -> bool:
        if isinstance(value, float):
            return value == number
        if not depth:
            return False
        if isinstance(value, functools.partial):
            return has([*value.args, *value.keywords.values()], depth - 1)
        if isinstance(value, dict):
            return any(has(entry, depth - 1) for entry in value.values())
        return isinstance(value, list | tuple) and any(has(entry, depth - 1) for entry in value)

    return has


class Page:
    """Whether a value is or holds part of the page. tokens: ids of WORDS, once a tokenizer is there."""

    def __init__(self) -> None:
        self.tokens: list[int] = []

    def __call__(self, value: Any, *, objects: bool = True) -> bool:
        return self._holds(value, {}, _DEPTH, objects)

    def _holds(self, value: Any, visited: dict[int, Any], depth: int, objects: bool) -> bool:
        import numpy as np
        import pyarrow as arrow
        import torch

        if value is None or not depth or id(value) in visited or isinstance(value, bool | int | float | type):
            return False
        visited[id(value)] = value  # kept, so that no other value gets its id
        inner: list[Any]
        match value:
            case str():
                return any(word in value for word in WORDS)
            case bytes() | bytearray() | memoryview():
                return self._in_bytes(bytes(value))
            case io.BytesIO():
                return self._in_bytes(value.getvalue())
            case arrow.Buffer():
                return self._in_bytes(value.to_pybytes())
            case np.ndarray() | torch.Tensor():
                return self._in_array(value if isinstance(value, np.ndarray) else value.detach().cpu().numpy())
            case arrow.Table() | arrow.RecordBatch():
                inner = value.columns
            case arrow.Array() | arrow.ChunkedArray():
                inner = [value.to_pylist()]
            case arrow.Scalar():
                inner = [value.as_py()]
            case functools.partial():
                inner = [*value.args, *value.keywords.values()]
            case Mapping():
                inner = [*value.keys(), *value.values()]
            case list() | tuple() | set() | frozenset():
                if value and all(type(entry) is int for entry in value):
                    return self._in_array(np.array(list(value)))
                inner = list(value)
            case _ if objects and type(value).__module__.partition(".")[0] == "herd":
                slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
                inner = [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in slots)]
            case _:
                return False
        return any(self._holds(entry, visited, depth - 1, objects) for entry in inner)

    def _in_bytes(self, data: bytes) -> bool:
        import numpy as np

        ids = [np.array(self.tokens, kind).tobytes() for kind in (np.uint16, np.uint32)] if self.tokens else []
        return any(pattern in data for pattern in (*(word.encode() for word in WORDS), *ids))

    def _in_array(self, array: Any) -> bool:
        import numpy as np

        if array.dtype.itemsize == 1:
            return self._in_bytes(array.tobytes())
        if not self.tokens or array.dtype.kind not in "iu":
            return False
        return np.array(self.tokens, np.int64).tobytes() in array.astype(np.int64).tobytes()


# ---- what is run: names as they are now, and as they were ----


def first_name(module: str, *names: str) -> Any:
    """What a module, or the first of several modules separated by `|`, calls by one of these names."""
    for path in module.split("|"):
        try:
            home = importlib.import_module(path)
        except ModuleNotFoundError:
            continue
        for name in names:
            if hasattr(home, name):
                return getattr(home, name)
    raise SystemExit(f"{module} has none of {', '.join(names)}; teach benchmarks/hops.py how they are called there")


def either(kind: Callable[..., Any], *choices: dict[str, Any], **rest: Any) -> Any:
    """An object of settings, by the first choice of names that it knows."""
    for choice in choices:
        if choice.keys() <= set(kind.__dataclass_fields__):  # type: ignore[attr-defined]
            return kind(**choice, **rest)
    raise SystemExit(
        f"{kind.__name__} knows none of {', '.join(map(str, choices))}; teach benchmarks/hops.py its names"
    )


def configured(registry: Any, name: str, **settings: Any) -> Any:
    return (registry.configure if hasattr(registry, "configure") else registry.use)(name, **settings)


def warc() -> bytes:
    """A page of sentences that differ, each with WORDS, as an archive of one record."""
    sentences = [
        f"In the year {1700 + n} the people of the {n}th valley told each other that {' '.join(WORDS)} was the name of "
        f"a river which had {n * 7 % 31} bridges and the oldest mill of them all."
        for n in range(40)
    ]
    paragraphs = "".join(f"<p>{' '.join(sentences[n : n + 4])}</p>" for n in range(0, len(sentences), 4))
    html = f"<html><head><title>Rivers</title></head><body><article><h1>Rivers</h1>{paragraphs}</article></body></html>"
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}"
    return (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:1>\r\nWARC-Target-URI: https://a.example/rivers\r\n"
        "WARC-Date: 2024-01-01T00:00:00Z\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(answer)}\r\n\r\n{answer}\r\n\r\n"
    ).encode()


def page_to_batch(root: Path, folder: Path) -> Functions:
    run_stages = first_name("herd.run.runner|herd.core.runner", "run_stages", "run")
    filters, dedups = first_name("herd.corpus.filters", "filters"), first_name("herd.corpus.dedup", "dedups")
    text_tokenizer = first_name("herd.tokens.tokenizer", "TextTokenizer")
    train_tokenizer = first_name("herd.tokens.stages", "train_tokenizer")
    schedule, batches = (importlib.import_module(f"herd.train.{name}") for name in ("schedule", "batches"))
    file = folder / "page.warc"
    file.write_bytes(warc())
    crawl = first_name("herd.corpus.sources", "files")(str(file), source="web")
    rules = first_name("herd.corpus.settings", "CurateSettings")(
        rules={"default": (configured(filters, "word_count"),)}, dedup=(configured(dedups, "minhash"),)
    )
    corpus = first_name("herd.corpus.stages", "curate")((crawl,), settings=rules)
    size = "vocab_size" if "vocab_size" in train_tokenizer.__annotations__ else "pairs"
    tokenizer = train_tokenizer(corpus, **{size: 300})
    packed = first_name("herd.tokens.stages", "pack")(corpus, tokenizer, held_out_share=0.0)
    run = functools.partial(run_stages, folder=folder / "run", jobs=0)

    page = Page()
    functions = Functions(root, page)
    with functions.traced():
        run(corpus)
    text = text_tokenizer.load(run(tokenizer).path)
    page.tokens = text.encode(f" {' '.join(WORDS)}")
    assert len(page.tokens) > 3, "so few ids may stand in other arrays too"
    with functions.traced():
        folder_of_tokens = run(packed).path
        shards = first_name("herd.tokens.shards", "TokenShards", "Shards")(folder_of_tokens)
        mix = (either(schedule.MixPhase, {"mixture_weights": {"web": 1.0}}, {"shares": {"web": 1.0}}, until=1.0),)
        ramp = schedule.BatchRamp((schedule.BatchPhase(until=1.0, batch_tokens=BATCH_TOKENS),), BATCH_TOKENS, LENGTH)
        batch = batches.TokenBatches(shards, mix, ramp, 0, 0).batch(0)
    assert page(batch), "the batch holds no token of the page"
    return functions


def small_size(**settings: Any) -> Any:
    return either(
        first_name("herd.model.sizes", "Size"),
        {"dim": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 32},
        {"width": 16, "layers": 1, "heads": 2, "kv_heads": 1, "hidden": 32},
        **settings,
    )


def small_model(size: Any) -> Any:
    old = "vocabulary" in type(size).shape.__annotations__
    names = ("vocabulary", "context") if old else ("vocab_size", "max_seq_len")
    return first_name("herd.model.transformer", "Transformer")(size.shape(**dict(zip(names, (32, 16), strict=True))))


def theta_to_table(root: Path) -> Functions:
    size = small_size(rope_theta=THETA)
    functions = Functions(root, has_number(THETA), "rope_theta")
    with functions.traced():
        small_model(size)
    return functions


def beta_to_loss(root: Path) -> Functions:
    import torch

    losses, objective = first_name("herd.align.losses", "losses"), first_name("herd.align.dpo", "objective")
    conversation = first_name("herd.tokens.chat", "EncodedConversation", "Encoded")
    module = "herd.train.preferences|herd.train.ranked"
    preference = first_name(module, "EncodedPreference", "Ranked")
    answers = tuple(conversation([1, 2, n], [False, False, True], [False] * 3) for n in (3, 4))
    batch = first_name(module, "PreferenceBatch", "RankedBatch")((preference(0, 0, 2, answers),), 0, 16)
    loss, model = configured(losses, "dpo", beta=BETA), small_model(small_size())
    functions = Functions(root, has_number(BETA), "beta")
    with functions.traced():
        objective(losses.make(loss), torch.zeros(1, 2), 0.0)(model, batch)
    return functions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", help="measure the package as it was at this commit")
    parser.add_argument("--list", action="store_true", help="name the functions of every figure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        checkout = ROOT
        if options.commit:
            checkout = Path(scratch) / "checkout"
            command = ["git", "archive", options.commit, "herd"]
            archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
            with tarfile.open(fileobj=io.BytesIO(archive)) as files:
                files.extractall(checkout, filter="data")
        sys.path.insert(0, str(checkout))
        import torch

        torch.set_num_threads(1)
        root = checkout / "herd"
        ways = {
            "page_to_batch": page_to_batch(root, Path(scratch)),
            "rope_theta": theta_to_table(root),
            "dpo_beta": beta_to_loss(root),
        }
    figures = {f"{name}_{unit}": count for name, functions in ways.items() for unit, count in functions.figures.items()}
    print(json.dumps({"benchmark": "hops", "commit": options.commit or "checkout", **figures}))
    if options.list:
        for name, functions in ways.items():
            for function in functions.names:
                print(f"{name}: {function}")


if __name__ == "__main__":
    main()

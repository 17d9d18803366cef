"""`herd pretrain`: a base model from text of one's own, or a model that goes on with it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from herd.commands.arguments import add_column_options, amount, bounded_number, columns_of, sources_of
from herd.commands.command import Command
from herd.commands.job import add_job_options, run_job
from herd.core.errors import HerdError, SettingsError

_NAMED_SOURCES = 3  # in the name of a run's folder


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data", nargs="+", metavar="[NAME=]DATA", help="files, folders, patterns or addresses (s3://...) of a source"
    )
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--size", help="of a new model: 4m, 30m, 150m, 1b, ..., width=512,layers=8 or a .yaml")
    start.add_argument(
        "--from", dest="model", type=Path, metavar="MODEL", help="go on from a model's folder, or a run's newest"
    )
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--tokens", type=amount, help="to train on, such as 2B (default: all text once)")
    much.add_argument("--epochs", type=bounded_number(0.0), help="how often the text is read (default: 1)")
    vocabulary = parser.add_mutually_exclusive_group()
    vocabulary.add_argument(
        "--tokenizer", metavar="FILE", help="a model's folder, tokenizer.json, GGUF or tiktoken file"
    )
    vocabulary.add_argument("--vocab-size", type=amount, help="base tokens to learn from the text (default: by size)")
    add_column_options(parser)
    parser.add_argument(
        "--rules", help="clean the text: fineweb, dclm, c4, gopher, llama3 or a .yaml (default: it is taken as it is)"
    )
    parser.add_argument(
        "--mix", help="shares: NAME=SHARE,..., a method (herd list mixes), a mix.json or a run with one"
    )
    parser.add_argument("--length", type=context_length, help="tokens in a row, such as 2048 or 2k (default: by size)")
    parser.add_argument("--batch-tokens", type=amount, help="tokens of a batch (default: by size and text)")
    parser.add_argument("--learning-rate", type=bounded_number(0.0), help="the peak (default: by size)")
    parser.add_argument("--lengths", metavar="4k,8k", help="then read longer rows, one length after another")
    parser.add_argument(
        "--anneal", type=bounded_number(0.0, 0.9), metavar="SHARE", help="of the tokens at the end, the rate to zero"
    )
    parser.add_argument(
        "--ladder", action="store_true", help="of a new model: train small ones first, whose law forecasts its loss"
    )
    parser.add_argument(
        "--held-out-share", type=bounded_number(0.0, 0.9), metavar="SHARE", help="of each source, never learnt"
    )
    parser.add_argument(
        "--general",
        nargs="+",
        default=[],
        metavar="[NAME=]DATA",
        help="with --from: text as the model knows it; measured too, and a share of it read again",
    )
    parser.add_argument(
        "--replay", type=bounded_number(0.0, 0.9), metavar="SHARE", help="of general text (default: 0.05)"
    )
    parser.add_argument(
        "--tasks", nargs="+", default=[], metavar="TASK", help="measured too: names, or `name: {setting: value}`"
    )
    add_job_options(parser)


def context_length(text: str) -> int:
    """Tokens in a row: `4k` is 4,096, as contexts are counted."""
    scale, number = (1024, text[:-1]) if text[-1:].lower() == "k" else (1, text)
    if not number.isdecimal() or not int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no length; write 2048 or 2k")
    return int(number) * scale


def run(options: argparse.Namespace) -> None:
    sources = sources_of(options.data)
    numbers: dict[str, Any] = {"files": {name: list(paths) for name, paths in sources.items()}}
    if columns := columns_of(options, {**sources, **sources_of(options.general)}):
        numbers["columns"] = {name: one.to_row() for name, one in columns.items()}
    if options.rules:
        numbers["curate"] = _rules(options.rules)
    if options.held_out_share is not None:
        numbers["held_out_share"] = options.held_out_share
    if options.model is None:
        preset = "pretrain"
        numbers |= _new_model(options, sources)
    else:
        preset = "continue"
        numbers |= _continued(options, sources)
    title = f"{_start_name(options)} on {', '.join(sources)}"
    run_job(preset, {"title": title, **numbers}, run_folder(options), options)


def run_folder(options: argparse.Namespace) -> Path:
    """The folder of the run: as said, else named by what is trained and the sources."""
    sources = list(sources_of(options.data))
    return options.out or Path("runs") / _folder_name(f"{_start_name(options)}-{_source_names(sources)}")


def _start_name(options: argparse.Namespace) -> str:
    """What training starts from: a size, or a model."""
    if options.model is not None:
        return _model_name(options.model)
    return Path(options.size).stem if options.size.endswith((".yaml", ".yml")) else options.size


def _new_model(options: argparse.Namespace, sources: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """What the options say of a new model, the rest by its size."""
    from herd.core.settings import dump
    from herd.model.sizes import SIZES, parse_size
    from herd.recipes.defaults import (
        CHINCHILLA_TOKENS,
        base_vocab_size,
        batch_size_tokens,
        computing,
        default_length,
        ladder_of,
        peak_lr,
    )

    if options.general or options.replay is not None:
        raise SettingsError("--general and --replay are of a model that knows text already; give --from MODEL")
    size = parse_size(options.size)
    tokenizer: dict[str, Any] = {"vocab_size": options.vocab_size or base_vocab_size(size)}
    if options.tokenizer:
        tokenizer = {"file": _existing(options.tokenizer, "--tokenizer")}
    length = options.length or default_length(size)
    rows = _vocab_size(tokenizer)
    weights = size.shape(vocab_size=rows, max_seq_len=length).num_params
    text = _text_tokens(options, sources)
    tokens = options.tokens or text * (options.epochs or 1.0)
    lr = options.learning_rate or peak_lr(weights)
    batch = options.batch_tokens or batch_size_tokens(weights, length, tokens, options.gpus or 1)
    base: dict[str, Any] = {"size": options.size if options.size in SIZES else dump(size)}
    base |= _training(options, length, batch, lr) | computing(options.gpus)
    numbers: dict[str, Any] = {"tokenizer": tokenizer, "base": base}
    numbers |= _mixed(options, base, length, tokens) | _later(options, base, batch, tokens, lr)
    if options.ladder:
        if options.tokens is None:
            raise SettingsError("--ladder forecasts a model trained on so many tokens; say --tokens too")
        numbers["ladder"] = ladder_of(size, vocab_size=rows, length=length, tokens=options.tokens)
        if options.tasks:
            numbers["ladder"]["tasks"] = _measure(options, length)["tasks"]
    numbers["measure"] = _measure(options, length)
    print(f"a new model of {weights:,} weights; {_chosen(options, batch, lr)}")
    for line in _text_lines(options, text, batch):
        print(line)
    if text:
        print(
            f"so many weights learn from some {_short(CHINCHILLA_TOKENS * weights)} tokens with best use of the compute"
        )
    return numbers


def _continued(options: argparse.Namespace, sources: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """What the options say of a model that goes on, the rest by its size."""
    from herd.model.config import read_shape
    from herd.recipes.defaults import batch_size_tokens, computing
    from herd.serve.folders import model_in
    from herd.train.schedule import lr_by_size

    if options.ladder:
        raise SettingsError("a ladder is of new models; take --ladder away, or give --size")
    if options.tokenizer or options.vocab_size:
        raise SettingsError("a model has a vocabulary of its own; take --tokenizer and --vocab-size away")
    if options.model.is_file():
        name = options.model.name.partition(".")[0]
        raise SettingsError(
            f"{options.model} is a file; `herd import {options.model} {name}` makes a folder of it first"
        )
    if options.replay is not None and not options.general:
        raise SettingsError("--replay is a share of general text; name some by --general")
    if options.replay is not None and options.mix:
        raise SettingsError("--mix says the shares of all text, general text too; take --replay away, or --mix")
    folder = model_in(options.model)
    shape = read_shape(folder)
    length = options.length or min(512 if options.gpus is None else 2048, shape.max_seq_len)
    if length > shape.max_seq_len:
        raise SettingsError(
            f"--length is {length:,} and the model reads {shape.max_seq_len:,} tokens; take at most that, and "
            f"--lengths {length} to make it read more"
        )
    text = _text_tokens(options, sources)
    tokens = options.tokens or text * (options.epochs or 1.0)
    lr = options.learning_rate or float(f"{lr_by_size(shape.num_params):.2g}")
    batch = options.batch_tokens or batch_size_tokens(shape.num_params, length, tokens, options.gpus or 1)
    training = _training(options, length, batch, lr) | computing(options.gpus)
    numbers: dict[str, Any] = {"model": str(folder.resolve()), "pretrain": training}
    general = sources_of(options.general)
    if general:
        numbers["general"] = {name: list(paths) for name, paths in general.items()}
    if options.replay is not None:
        numbers["replay_share"] = options.replay
    mix = _mixed(options, training, length, tokens)
    if mix:
        raise SettingsError("a method finds shares with new models; write --mix NAME=SHARE,... for one that goes on")
    numbers |= _later(options, training, batch, tokens, lr, shape.max_seq_len)
    numbers["measure"] = _measure(options, length)
    print(f"all {shape.num_params:,} weights of {folder} go on; {_chosen(options, batch, lr)}")
    for line in _text_lines(options, text, batch):
        print(line)
    if not general:
        print("what it costs on other text is not measured; --general PATH does, and reads some of it again")
    return numbers


def _text_tokens(options: argparse.Namespace, sources: Mapping[str, tuple[str, ...]]) -> float:
    """About how many tokens of text there are; 0 where an address does not say how much it holds and --tokens says how
    many are trained on."""
    from herd.core.addresses import is_address
    from herd.corpus.sources import find_files, text_tokens

    try:
        return text_tokens(file for source, places in sources.items() for file in find_files(places, source=source))
    except HerdError as fault:
        if not any(is_address(place) for places in sources.values() for place in places):
            raise
        if options.tokens is None:
            raise SettingsError(f"how much text there is could not be asked ({fault}); say --tokens") from None
        return 0.0


def _training(options: argparse.Namespace, length: int, batch: int, lr: float) -> dict[str, Any]:
    much: dict[str, Any] = {"tokens": options.tokens}
    if options.tokens is None:
        much = {"tokens": None, "epochs": options.epochs or 1.0}
    return {"length": length, **much, "batch": [{"until": 1.0, "batch_tokens": batch}], "lr": lr}


def _mixed(options: argparse.Namespace, training: dict[str, Any], length: int, tokens: float) -> dict[str, Any]:
    """Shares go into `training`; of a method comes the search."""
    from herd.mixing.methods import methods
    from herd.recipes.defaults import proxy_run

    if not options.mix:
        return {}
    if options.mix in methods.all():
        return {"mix_search": {"method": options.mix, "proxy": proxy_run(length, tokens)}}
    training["mix"] = [{"until": 1.0, "mixture_weights": _shares(options.mix)}]
    return {}


def _shares(text: str) -> dict[str, float]:
    """`books=0.7,wiki=0.3`, or what a search in a file or a run has found."""
    from herd.core.artifacts import Mix
    from herd.core.errors import did_you_mean
    from herd.mixing.methods import methods
    from herd.pretrain.mix import mix_shares

    path = Path(text)
    if path.exists():
        files = (
            [path]
            if path.is_file()
            else sorted(path.glob("artifacts/*/mix.json"), key=lambda file: file.stat().st_mtime)
        )
        if not files:
            raise SettingsError(f"{path} has found no mix; run its search to the end, or write --mix NAME=SHARE,...")
        return mix_shares(Mix(files[-1].parent))
    if "=" not in text:
        raise SettingsError(
            f"--mix {text!r} is no file, no run, no NAME=SHARE,... and none of the methods"
            f"{did_you_mean(text, methods.all())}"
        )
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = (piece.strip() for piece in part.partition("="))
        try:
            shares[name] = float(share)
        except ValueError:
            raise SettingsError(f"--mix {text!r}: {part!r} is no share; write NAME=SHARE,... that sum to 1") from None
    return shares


def _later(
    options: argparse.Namespace, training: dict[str, Any], batch: int, tokens: float, lr: float, context: int = 0
) -> dict[str, Any]:
    """The stages after the first. An annealing takes its share of the tokens from `training`. context: tokens that the
    model reads before."""
    from herd.recipes.defaults import computing, later_lengths

    later: dict[str, Any] = {}
    length, extra = training["length"], computing(options.gpus)
    if options.lengths:
        try:
            lengths = [context_length(part.strip()) for part in options.lengths.split(",")]
        except argparse.ArgumentTypeError as fault:
            raise SettingsError(f"--lengths: {fault}") from None
        if sorted({length, *lengths}) != [length, *lengths]:
            raise SettingsError(f"--lengths {options.lengths} do not rise from {length:,} on; write them in order")
        if lengths[0] <= context:
            raise SettingsError(
                f"--lengths {options.lengths}: the model reads {context:,} tokens already; write longer ones, or take "
                "--length up to that to train on rows of what it reads"
            )
        later["longer"] = [stage | extra for stage in later_lengths(lengths, batch, tokens, lr)]
        length = lengths[-1]
    if options.anneal:
        if options.tokens is None:
            raise SettingsError("--anneal takes a share of so many tokens; say --tokens too")
        last = max(batch, round(options.tokens * options.anneal))
        training["tokens"] = max(batch, options.tokens - last)
        rows = max(1, batch // length)
        later["anneal"] = {"tokens": last, "length": length, "batch_tokens": rows * length, "lr": lr / 10} | extra
    return later


def _measure(options: argparse.Namespace, length: int) -> dict[str, Any]:
    from herd.core.settings import parse_yaml

    return {"tasks": [parse_yaml(text, where=f"--tasks {text}") for text in options.tasks], "loss_length": length}


def _text_lines(options: argparse.Namespace, text: float, batch: int) -> Iterator[str]:
    """What there is to read. Raises SettingsError where that is no batch."""
    if not text:
        return
    if 2 * text < batch:
        raise SettingsError(
            f"the text is about {text:,.0f} tokens by its bytes, less than a batch of {batch:,}; add text, or give a "
            "smaller --length or --batch-tokens"
        )
    times = options.tokens / text if options.tokens else options.epochs or 1.0
    often = "; above four times each reading teaches less" if times > 4 else ""
    yield f"about {_short(text)} tokens of text by its bytes, read {times:.2g} time{'s' * (times != 1)}{often}"


def _chosen(options: argparse.Namespace, batch: int, lr: float) -> str:
    by = [] if options.learning_rate and options.batch_tokens else ["chosen by size and text"]
    return ", ".join([f"learning rate {lr:g}, batches of {batch:,} tokens", *by])


def _short(count: float) -> str:
    """A count in words of a few digits: 1.2M."""
    for ending, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g}{ending}"
    return f"{count:.0f}"


def _rules(reference: str) -> Any:
    from herd.core.settings import dump
    from herd.corpus.settings import load_rules

    return dump(load_rules(reference))


def _vocab_size(tokenizer: Mapping[str, Any]) -> int:
    from herd.core.stage import plan_of
    from herd.pretrain.vocabulary import load_tokenizer, planned_vocab_size, tokenizer_files
    from herd.tokens.tokenizer import CONTROL_TOKENS

    if "file" not in tokenizer:
        return int(tokenizer["vocab_size"]) + len(CONTROL_TOKENS)
    rows = planned_vocab_size(plan_of(load_tokenizer(files=tokenizer_files(tokenizer["file"]))))
    assert rows is not None  # a tokenizer's stage always says how large it will be
    return rows


def _model_name(model: Path) -> str:
    """What a run on `model` is called: the model's folder, or the run's that made it."""
    folder = model.resolve()
    return folder.parent.parent.name if folder.parent.name == "artifacts" else folder.name


def _source_names(sources: Sequence[str]) -> str:
    """All sources by name, so that other data have another folder; of many the first few."""
    more = [f"and-{len(sources) - _NAMED_SOURCES}"] if len(sources) > _NAMED_SOURCES else []
    return "-".join([*sources[:_NAMED_SOURCES], *more])


def _folder_name(text: str) -> str:
    """`text` as the name of a folder, and no path."""
    return re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).strip("-.")[:64] or "pretrain"


def _existing(path: str, option: str) -> str:
    file = Path(path).expanduser().absolute()
    if not file.exists():
        raise SettingsError(f"{option} {path}: there is no such file; check the path")
    return str(file)


COMMAND = Command(
    "pretrain", "make a base model from text of your own, or go on with one that is there", add_options, run, run_folder
)

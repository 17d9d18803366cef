"""What can be said to the command `herd`: its commands and their options, and nothing of what they do."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

Add = Callable[[str, str, str], argparse.ArgumentParser]  # the word, which command it is, what it does


def parser(commands: Mapping[str, object]) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="herd",
        description="The Llama 3 recipe as one piece of software: raw pages in, a chat model and a report out.",
    )
    top.add_argument("--version", action="version", version=_version())
    words_known = top.add_subparsers(dest="name", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show where an error came from")

    def add(name: str, command: str, words: str) -> argparse.ArgumentParser:
        made = words_known.add_parser(name, help=words, description=words, parents=[shared])
        made.set_defaults(command=commands[command])
        return made

    _add_recipes(add)
    _add_budget(add)
    _add_corpus(add)
    _add_models(add)
    return top


def _add_recipes(add: Add) -> None:
    for name, command, words, listed in (
        ("run", "run", "run a recipe; what is made already is skipped", "recipes"),
        ("study", "run", "run a study: methods beside controls, over seeds, in one report", "studies"),
        ("plan", "plan", "show what a run would make, and make nothing", "recipes, herd list studies"),
    ):
        one = add(name, command, words)
        one.add_argument("recipe", help=f"a packaged name (herd list {listed}), a .yaml of numbers, or a .py file")
        one.add_argument("--out", type=Path, help="folder of the run (default: runs/RECIPE)")
        one.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one number")
        one.add_argument("--until", metavar="STAGE", help="end when every call of this stage is made")
        if name != "plan":
            one.add_argument(
                "--jobs", type=number(0), default=_jobs(), help="stages side by side (default: %(default)s)"
            )
            one.add_argument(
                "--place", help="local, torchrun, slurm, ray or ray://HOST:PORT (default: the recipe's, else local)"
            )
            one.add_argument(
                "--log",
                action="append",
                default=[],
                metavar="TRACKER",
                help="draw curves of training: tensorboard, wandb or trackio",
            )
            one.add_argument(
                "--save-every",
                type=number(0.0),
                default=15.0,
                metavar="SECONDS",
                help="between checkpoints of training (default: %(default)s)",
            )
            one.add_argument(
                "--silent",
                type=number(0.0),
                default=30.0,
                metavar="SECONDS",
                help="after which a rank counts as frozen (default: %(default)s)",
            )
            one.add_argument(
                "--restarts",
                type=number(0),
                default=3,
                help="how often ranks are started again without getting on (default: %(default)s)",
            )
            one.add_argument(
                "--compare-every",
                type=int,
                default=10,
                metavar="STEPS",
                help="between comparisons of what several ranks hold in memory (default: %(default)s)",
            )
            _add_device(one)
        else:
            one.add_argument("--yaml", action="store_true", help="print all numbers, as a file for herd run")
            one.add_argument(
                "--rehearse",
                action="store_true",
                help="try a few steps of every pre-training here, half a minute, and say what all will take; the "
                "report of a run in this folder holds it against what they took",
            )
            one.add_argument("--jobs", type=number(1), default=_jobs(), help="side by side (default: %(default)s)")


def _add_device(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--device", default="auto", help="where models lie: auto, cpu, cuda or cuda:NUMBER (default: %(default)s)"
    )
    one.add_argument(
        "--dtype",
        choices=("fp32", "bf16"),
        default="fp32",
        help="of the weights of models that only read and write (default: %(default)s)",
    )


def _add_budget(add: Add) -> None:
    one = add("budget", "budget", "say what a training run costs: FLOPs, days, money, memory, layout, failures")
    one.add_argument("--size", required=True, help="a model size, such as 8b or 405b")
    one.add_argument("--tokens", type=amount, required=True, help="to train on, such as 15.6T")
    one.add_argument("--gpus", type=amount, required=True, help="how many devices")
    one.add_argument("--tflops", type=number(0.0), help="what each reaches (default: as foretold for the layout)")
    one.add_argument("--length", type=amount, default=8192, help="tokens in a sequence (default: %(default)s)")
    one.add_argument("--batch", type=amount, default=2**24, help="tokens in a batch (default: %(default)s)")
    one.add_argument("--vocabulary", type=amount, default=128_256, help="(default: %(default)s)")
    one.add_argument("--machine", default="h100", help="by name in the file of machines (default: %(default)s)")
    one.add_argument("--machines", type=Path, help="a file of your own with machines and prices")
    one.add_argument("--price", type=number(0.0), help="dollars a device hour (default: the file's)")
    one.add_argument("--law", type=Path, help="a run with a ladder, or its law.json: prints the loss to expect")
    one.add_argument(
        "--results",
        type=Path,
        help="a CSV of what models scored (task,flops,nll,accuracy,questions,chance): prints the scores to expect",
    )
    one.add_argument("--plot", type=Path, help="an SVG file: draws what --results foretells, with its bands")
    one.add_argument("--days", type=number(0.0), help="a time you were told: prints the speed it would take")
    one.add_argument("--json", action="store_true", help="print JSON")


KINDS = ("recipes", "studies", "filters", "rewrites", "dedups", "losses", "tasks", "mixes", "stages")


def amount(text: str) -> int:
    """A whole number with an ending: 16k, 15.6T, 4M."""
    scale = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}.get(text[-1:].lower(), 1)
    try:
        found = round(float((text if scale == 1 else text[:-1]).replace("_", "").replace(",", "")) * scale)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number; write 15.6T, 16M or 8192") from None
    if found < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above zero")
    return found


N = TypeVar("N", int, float)


def number(least: N, most: N | None = None) -> Callable[[str], N]:
    """Reads a number from `least` to `most`, whole where `least` is."""
    kind = type(least)

    def read(text: str) -> N:
        try:
            found = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {'whole ' * (kind is int)}number") from None
        if not (found >= least and (found <= most if most is not None else found != float("inf"))):
            bounds = f"from {least} to {most}" if most is not None else f"{least} or more"
            raise argparse.ArgumentTypeError(f"{text} cannot be; give {bounds}")
        return found

    return read


def _add_corpus(add: Add) -> None:
    one = add("curate", "curate", "make a corpus of raw pages, without training anything")
    one.add_argument("input", nargs="+", help="files, folders, patterns or addresses (s3://...)")
    one.add_argument("--out", type=Path, required=True, help="folder for documents, rejects and the page about them")
    one.add_argument(
        "--rules", default="fineweb", help="fineweb, dclm, c4, gopher, llama3 or a .yaml (default: %(default)s)"
    )
    one.add_argument("--source", default="web", help="what the pages are called as a source (default: %(default)s)")
    one.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one number")
    one.add_argument("--workers", type=number(1), default=_jobs(), help="processes at once (default: %(default)s)")
    one.add_argument("--place", default="local", help="local, ray, or ray://HOST:PORT (default: %(default)s)")
    one.add_argument("--dry-run", action="store_true", help="say what would be read and by which rules, and stop")
    one = add("retune", "retune", "say what other thresholds would drop, without reading text again")
    one.add_argument("corpus", type=Path, help="folder made by herd curate with --set keep_stats=true")
    one.add_argument("--rules", default="fineweb", help="as for herd curate; its rewriting rules must be the same")
    one.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one number")
    one = add("extract", "extract", "print the main text of pages as JSON lines")
    one.add_argument("page", nargs="+", help="HTML files, web archives, folders, patterns or addresses")
    one.add_argument("--markdown", action="store_true", help="keep headings, lists and tables as Markdown")
    one.add_argument("--everything", action="store_true", help="all that a page shows, not only its main content")


def _add_models(add: Add) -> None:
    one = add("judge-data", "judge_data", "say what a data set of your own would add: anneal a checkpoint on it")
    one.add_argument("checkpoint", type=Path, help="folder of a model that a run pre-trained, or of the run")
    one.add_argument("data", nargs="+", help="files, folders or patterns of the new set")
    one.add_argument("--tokens", type=amount, default=200_000, help="of each annealing (default: %(default)s)")
    one.add_argument("--batch", type=amount, default=2048, help="tokens in a batch (default: %(default)s)")
    one.add_argument("--share", type=number(0.0, 1.0), default=0.3, help="of rows that are new (default: %(default)s)")
    one.add_argument("--seeds", type=number(1), default=3, help="pairs of runs (default: %(default)s)")
    one.add_argument(
        "--targets", nargs="+", default=[], metavar="SOURCE", help="whose held-out loss counts (default: all)"
    )
    one.add_argument("--rate", type=number(0.0), help="the learning rate to fall from (default: the checkpoint's last)")
    one = add("show", "show", "show an artifact: what it was made of, its settings and figures")
    one.add_argument(
        "artifact", type=Path, help="folder of an artifact, or of a run to list what it holds; with --mask a file too"
    )
    one.add_argument("--verify", action="store_true", help="read every file again and compare")
    one.add_argument(
        "--mask", type=Path, metavar="MODEL", help="rows of conversations or preferences as MODEL would read them"
    )
    one.add_argument("--tests", type=Path, help="with --mask: rows whose questions no row may hold")
    one.add_argument("--rows", type=amount, default=3, help="with --mask: how many are shown (default: %(default)s)")
    one = add("list", "list_plugins", "list what can be named in a recipe")
    one.add_argument("kind", choices=KINDS)
    one = add("eval", "evaluate", "measure a model")
    one.add_argument("checkpoint", type=Path, help="folder of a model, or of a run for its newest")
    one.add_argument("tasks", nargs="*", help="names of tasks (herd list tasks); all when none is named")
    one.add_argument("--json", action="store_true", help="print JSON")
    _add_device(one)
    one = add("chat", "chat", "talk to a model in the terminal")
    one.add_argument("checkpoint", type=Path, help="folder of a model, or of a run for its newest")
    one.add_argument("--temperature", type=number(0.0), default=0.0, help="0 always takes the likeliest token")
    one.add_argument("--seed", type=int, default=0)
    _add_device(one)
    one = add("compare", "compare", "talk to two models side by side in a browser, and keep which answer is better")
    one.add_argument("checkpoints", nargs=2, type=Path, help="folders of models, or of runs for their newest")
    one.add_argument("--out", type=Path, default=Path("preferences.jsonl"), help="added to (default: %(default)s)")
    one.add_argument("--port", type=number(0, 65_535), default=8765, help="0 takes a free one (default: %(default)s)")
    one.add_argument("--temperature", type=number(0.0), default=0.7, help="of both (default: %(default)s)")
    one = add("export", "export", "write a model as a Hugging Face folder or a GGUF file")
    one.add_argument("checkpoint", type=Path, help="folder of a model, or of a run for its newest")
    one.add_argument("folder", type=Path, help="new folder to write, or a new file that ends in .gguf")
    one.add_argument("--form", help="of the weights: float32, bfloat16, float16; in GGUF f32, f16, bf16, q8_0")
    one.add_argument("--merge", action="store_true", help="adapters become one model with the one they stand beside")
    one.add_argument("--shard-gb", type=number(0.001), default=5.0, help="largest file (default: %(default)s)")
    one = add("import", "bring_in", "bring in a model: a GGUF file, Meta's folder or Hugging Face's")
    one.add_argument("source", type=Path, help=".gguf file, or folder with params.json or config.json")
    one.add_argument("folder", type=Path, help="new folder to write")
    one = add("rows", "rows", "check every system of the recipe against its bar")
    one.add_argument("--json", action="store_true", help="print JSON")
    one.add_argument("--markdown", action="store_true", help="print docs/recipe.md; runs no checks")
    one.add_argument("--slow", action="store_true", help="run slow checks too")
    one.add_argument("--record", action="store_true", help="run slow checks and keep what they measure in the checkout")
    one.add_argument("--row", type=int, action="append", metavar="N", help="only this row")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"herd {version('herd')}"
    except PackageNotFoundError:
        return "herd (not installed)"


def _jobs() -> int:
    from herd.core.places import cores

    return min(cores(), 4)

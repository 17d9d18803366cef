"""The command `herd`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from herd.core.errors import as_sentence

# Only what parsing needs is imported here; each command imports its own, so that --help is instant.

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 0, 1 for failed, 2 for wrong use, 130 for Ctrl-C."""
    options = parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from what is whole", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stderr.close()
        return 0
    except Exception as fault:
        if options.debug:
            raise
        known = as_sentence(fault, f"herd {options.name}")
        print(f"herd: {known}", file=sys.stderr)
        return known.exit_code


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="herd",
        description="The Llama 3 recipe as one piece of software: raw pages in, a chat model and a report out.",
    )
    top.add_argument("--version", action="version", version=_version())
    commands = top.add_subparsers(dest="name", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show where an error came from")

    def add(name: str, command: object, words: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=words, description=words, parents=[shared])
        made.set_defaults(command=command)
        return made

    for name, command, words in (
        ("run", run, "run a recipe; what is made already is skipped"),
        ("plan", plan, "show what a run would make, and make nothing"),
    ):
        one = add(name, command, words)
        one.add_argument("recipe", help="a packaged name (herd list recipes), a .yaml of numbers, or a .py file")
        one.add_argument("--out", type=Path, help="folder of the run (default: runs/RECIPE)")
        one.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one number")
        one.add_argument("--until", metavar="STAGE", help="end when every call of this stage is made")
        if name == "run":
            one.add_argument("--jobs", type=int, default=_jobs(), help="stages side by side (default: %(default)s)")
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
                type=float,
                default=15.0,
                metavar="SECONDS",
                help="between checkpoints of training (default: %(default)s)",
            )
            one.add_argument(
                "--silent",
                type=float,
                default=30.0,
                metavar="SECONDS",
                help="after which a rank counts as frozen (default: %(default)s)",
            )
            one.add_argument(
                "--restarts",
                type=int,
                default=3,
                help="how often ranks are started again without getting on (default: %(default)s)",
            )
        else:
            one.add_argument("--yaml", action="store_true", help="print all numbers, as a file for herd run")
    one = add("curate", curate, "make a corpus of raw pages, without training anything")
    one.add_argument("input", nargs="+", help="files, folders, patterns or addresses (s3://...)")
    one.add_argument("--out", type=Path, required=True, help="folder for documents, rejects and the page about them")
    one.add_argument(
        "--rules", default="fineweb", help="fineweb, dclm, c4, gopher, llama3 or a .yaml (default: %(default)s)"
    )
    one.add_argument("--source", default="web", help="what the pages are called as a source (default: %(default)s)")
    one.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one number")
    one.add_argument("--workers", type=int, default=_jobs(), help="processes at once (default: %(default)s)")
    one.add_argument("--place", default="local", help="local, ray, or ray://HOST:PORT (default: %(default)s)")
    one.add_argument("--dry-run", action="store_true", help="say what would be read and by which rules, and stop")
    one = add("retune", retune, "say what other thresholds would drop, without reading text again")
    one.add_argument("corpus", type=Path, help="folder made by herd curate with --set keep_stats=true")
    one.add_argument("--rules", default="fineweb", help="as for herd curate; its rewriting rules must be the same")
    one.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one number")
    one = add("extract", extract, "print the main text of pages as JSON lines")
    one.add_argument("page", nargs="+", help="HTML files, web archives, folders, patterns or addresses")
    one.add_argument("--markdown", action="store_true", help="keep headings, lists and tables as Markdown")
    one.add_argument("--everything", action="store_true", help="all that a page shows, not only its main content")
    one = add("show", show, "show an artifact: what it was made of, its settings and figures")
    one.add_argument("artifact", type=Path, help="folder of an artifact, or of a run to list what it holds")
    one.add_argument("--verify", action="store_true", help="read every file again and compare")
    one = add("list", list_plugins, "list what can be named in a recipe")
    one.add_argument("kind", choices=("recipes", "filters", "rewrites", "dedups", "losses", "tasks", "stages"))
    one = add("eval", evaluate, "measure a model")
    one.add_argument("checkpoint", type=Path, help="folder of a model, or of a run for its newest")
    one.add_argument("tasks", nargs="*", help="names of tasks (herd list tasks); all when none is named")
    one.add_argument("--json", action="store_true", help="print JSON")
    one = add("chat", chat, "talk to a model in the terminal")
    one.add_argument("checkpoint", type=Path, help="folder of a model, or of a run for its newest")
    one.add_argument("--temperature", type=float, default=0.0, help="0 always takes the likeliest token")
    one.add_argument("--seed", type=int, default=0)
    one = add("export", export, "write a model as a Hugging Face folder or a GGUF file")
    one.add_argument("checkpoint", type=Path, help="folder of a model, or of a run for its newest")
    one.add_argument("folder", type=Path, help="new folder to write, or a new file that ends in .gguf")
    one.add_argument("--form", help="of the weights: float32, bfloat16, float16; in GGUF f32, f16, bf16, q8_0")
    one.add_argument("--shard-gb", type=float, default=5.0, help="largest file of weights (default: %(default)s)")
    one = add("import", bring_in, "bring in a model: a GGUF file, Meta's folder or Hugging Face's")
    one.add_argument("source", type=Path, help=".gguf file, or folder with params.json or config.json")
    one.add_argument("folder", type=Path, help="new folder to write")
    one = add("rows", rows, "check every system of the recipe against its bar")
    one.add_argument("--json", action="store_true", help="print JSON")
    one.add_argument("--markdown", action="store_true", help="print docs/recipe.md; runs no checks")
    one.add_argument("--slow", action="store_true", help="run slow checks too")
    one.add_argument("--row", type=int, action="append", metavar="N", help="only this row")
    return top


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"herd {version('herd')}"
    except PackageNotFoundError:
        return "herd (not installed)"


def _jobs() -> int:
    from herd.core.places import cores

    return min(cores(), 4)


# ---- recipes ----


def _planned(options: argparse.Namespace):  # noqa: ANN202
    from herd.core.recipe import load_recipe
    from herd.recipes import recipes

    recipe = load_recipe(options.recipe, recipes, options.set)
    folder = options.out or Path("runs") / Path(options.recipe).stem
    return recipe, folder


def run(options: argparse.Namespace) -> None:
    from herd.core.artifacts import Report
    from herd.core.progress import display
    from herd.core.runner import run as run_recipe
    from herd.core.stage import Manner

    recipe, folder = _planned(options)
    place, jobs = options.place or recipe.place, options.jobs
    if place in ("torchrun", "slurm"):
        from herd.core.joined import JoinedPlace, join
        from herd.core.ranks import Rank

        if Rank.here().number > 0:
            join(folder)
            return
        place, jobs = f"joined:{folder}", 0
    try:
        made = run_recipe(
            recipe.plan(),
            folder,
            jobs=jobs,
            until=options.until,
            place=place,
            manner=Manner(tuple(options.log), options.save_every, options.silent, options.restarts),
            display=display(),
        )
    finally:
        if place.startswith("joined:"):
            JoinedPlace(folder).end()
    if isinstance(made, Report):
        print(f"\nreport: {made.path / 'report.html'}")
    else:
        print(f"\nmade: {made.path}")
    from herd.serve.folders import newest_model

    if newest_model(folder) is not None:
        print(f"chat:   herd chat {folder}")


def plan(options: argparse.Namespace) -> None:
    from herd.core.artifacts import is_whole
    from herd.core.runner import needed
    from herd.core.settings import write_yaml
    from herd.core.worker import RunFolder

    recipe, folder = _planned(options)
    if options.yaml:
        print(write_yaml(recipe.to_row()), end="")
        return
    plans = needed(recipe.plan(), options.until)
    for one in plans:
        made = is_whole(RunFolder(folder).artifact(one.key))
        inputs = ", ".join(dict.fromkeys(parent.stage.name for parent in one.parents))
        print(f"{'made ' if made else 'to do'}  {one.key:34} {one.stage.makes.__name__:12} {inputs}")
    print(f"{len(plans)} stages in {folder}; `herd plan {options.recipe} --yaml` prints every number")


def list_plugins(options: argparse.Namespace) -> None:
    from herd.core.registry import first_line

    for name, plugin in _plugins(options.kind).items():
        print(f"{name:24} {first_line(plugin)}")


def _plugins(kind: str):  # noqa: ANN202
    if kind == "filters":
        from herd.corpus.filters import filters as found
    elif kind == "rewrites":
        from herd.corpus.rewrites import rewrites as found
    elif kind == "dedups":
        from herd.corpus.dedup import dedups as found
    elif kind == "losses":
        from herd.align.losses import losses as found
    elif kind == "tasks":
        from herd.evals.tasks import tasks as found
    else:
        from herd.recipes import recipes as found
    everything = found.all()
    if kind == "stages":  # the packaged recipes import all of them
        from herd.core.stage import Stage

        return {name: stage.body for name, stage in sorted(Stage.known.items())}
    return everything


# ---- the corpus alone ----


def curate(options: argparse.Namespace) -> None:
    from herd.core.artifacts import Corpus
    from herd.core.progress import display
    from herd.core.runner import run as run_stages
    from herd.corpus.looks import samples
    from herd.corpus.settings import load_rules
    from herd.corpus.sources import files
    from herd.corpus.stages import curate as curate_stage
    from herd.corpus.stages import describe_input, funnel_lines, link_results
    from herd.report.browse import render_browser

    settings = load_rules(options.rules, options.set)
    crawl = files(*options.input, source=options.source)
    if options.dry_run:
        for line in describe_input(options.input, options.source, settings):
            print(line)
        return
    plan = curate_stage((crawl,), settings=settings)
    corpus = run_stages(plan, options.out, jobs=max(1, options.workers), place=options.place, display=display())
    assert isinstance(corpus, Corpus)
    for line in funnel_lines(corpus.figures):
        print(line)
    link_results(corpus.path, options.out)
    page = options.out / "browse.html"
    page.write_text(render_browser(samples(corpus), f"{options.out.name}: kept and removed"), encoding="utf-8")
    print(f"\ndocuments: {options.out / 'documents'}\nrejects:   {options.out / 'rejects'}\nlook:      {page}")


def retune(options: argparse.Namespace) -> None:
    from herd.corpus.judging import retune as tried
    from herd.corpus.settings import load_rules

    settings = load_rules(options.rules, options.set)
    print(f"{'rule':24}{'in':>12}{'dropped':>12}{'alone':>12}")
    for name, row in tried(options.corpus, settings.rules, settings.languages):
        print(f"{name:24}{row['in']:>12,}{row['dropped']:>12,}{row['alone']:>12,}")


def extract(options: argparse.Namespace) -> None:
    import json

    from herd.corpus.extract import ExtractSettings, extract_files
    from herd.corpus.sources import find_files

    settings = ExtractSettings(form="markdown" if options.markdown else "plain", main_only=not options.everything)
    for row in extract_files(find_files(options.page, source="pages"), settings):
        print(json.dumps(row, ensure_ascii=False))


# ---- artifacts and models ----


def show(options: argparse.Namespace) -> None:
    from herd.serve.folders import describe

    for line in describe(options.artifact, verify=options.verify):
        print(line)


def evaluate(options: argparse.Namespace) -> None:
    import json

    from herd.evals.harness import TaskScore
    from herd.evals.stages import score_folder
    from herd.evals.tasks import tasks
    from herd.serve.folders import model_in, world_of

    uses = [tasks.parse(name) for name in options.tasks or tasks.all()]
    folder = model_in(options.checkpoint)
    rows = {}

    def report(name: str, score: TaskScore) -> None:
        rows[name] = score.to_row()
        if not options.json:
            print(f"{name:20} {score.interval}  {len(score.right)} questions", flush=True)

    score_folder(folder, uses, world_of(folder), report)
    if options.json:
        print(json.dumps({"model": str(folder), "tasks": rows}, indent=1))


def chat(options: argparse.Namespace) -> None:
    from herd.generate.engine import Sampling
    from herd.serve.chat import Chat, talk
    from herd.serve.folders import model_in, world_of

    folder = model_in(options.checkpoint)
    sampling = Sampling(temperature=options.temperature, max_tokens=256, seed=options.seed)
    conversation = Chat(folder, world_of(folder).everybody, sampling)
    typing = sys.stdin.isatty()
    if typing:
        print(f"{folder}\n/clear starts anew, /exit or Ctrl-D ends")
    talk(conversation, lambda: input("> " if typing else ""), lambda piece: print(piece, end="", flush=True))


def export(options: argparse.Namespace) -> None:
    from herd.serve.folders import export as write
    from herd.serve.folders import model_in

    write(model_in(options.checkpoint), options.folder, form=options.form, shard_gb=options.shard_gb)
    if options.folder.suffix == ".gguf":
        print(f"{options.folder}: llama-cli -m {options.folder} reads it")
    else:
        print(f"{options.folder}: transformers.AutoModelForCausalLM.from_pretrained({str(options.folder)!r}) reads it")


def bring_in(options: argparse.Namespace) -> None:
    from herd.serve.imports import bring_in as bring

    made = bring(options.source, options.folder)
    print(
        f"{options.folder}: {made.shape.weights:,} weights; logits of {made.tokens_checked} tokens agree with the "
        f"original's to {made.difference:.0e} of the largest\nchat: herd chat {options.folder}"
    )


def rows(options: argparse.Namespace) -> int:
    from herd import rows as table

    if options.markdown:
        print(table.markdown(), end="")
        return 0
    found = table.check(options.row or [], slow=options.slow)
    print(table.as_json(found) if options.json else table.as_text(found))
    return int(any(one.state == "does not hold" for one in found))


if __name__ == "__main__":
    sys.exit(main())

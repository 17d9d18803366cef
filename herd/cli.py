"""The command `herd`."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from herd.core.errors import SettingsError, as_sentence
from herd.core.terminal import colours_of, doors, json_line, read_utf8
from herd.options import parser as options_of

# Only what parsing needs is imported here; each command imports its own, so that --help is instant.

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 0, 1 for failed, 2 for wrong use, 130 for Ctrl-C."""
    with doors():
        return _run_one(parser().parse_args(arguments))


def _run_one(options: argparse.Namespace) -> int:
    try:
        code = options.command(options) or 0
        sys.stdout.flush()  # what cannot be written is told here, and not when Python ends
        return code
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from what is whole", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has seen enough
        return 0
    except Exception as fault:
        if options.debug:
            raise
        known = as_sentence(fault, f"herd {options.name}")
        print(f"herd: {known}", file=sys.stderr)
        return known.exit_code


def parser() -> argparse.ArgumentParser:
    """All commands, each with what it runs."""
    recipes, data = (run, plan, budget), (curate, retune, extract, show, list_plugins, judge_data, rows)
    models = evaluate, chat, compare, export, bring_in
    return options_of({one.__name__: one for one in (*recipes, *data, *models)})


# ---- recipes ----


def _planned(options: argparse.Namespace):  # noqa: ANN202
    from herd.core.recipe import load_recipe
    from herd.recipes import recipes
    from herd.studies import studies

    # A recipe's name is looked for first: studies import much that no recipe needs.
    is_study = options.name == "study" or (options.recipe not in recipes.all() and options.recipe in studies.all())
    known = studies if is_study else recipes
    recipe = load_recipe(options.recipe, known, options.set)
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
            manner=Manner(
                tuple(options.log),
                options.save_every,
                options.silent,
                options.restarts,
                options.compare_every,
                options.device,
                options.dtype,
            ),
            display=display(),
        )
    finally:
        if place.startswith("joined:"):
            JoinedPlace(folder).end()
    if isinstance(made, Report):
        print(f"\nreport: {made.path / 'report.html'}")
    else:
        print(f"\nmade: {made.path}")
    from herd.serve.folders import can_chat

    if can_chat(folder):
        print(f"chat:   herd chat {folder}")


def plan(options: argparse.Namespace) -> None:
    from herd.core.artifacts import is_whole
    from herd.core.runner import needed
    from herd.core.settings import write_yaml
    from herd.core.worker import RunFolder
    from herd.pretrain.planning import foretell, foretold_lines, layout_lines, text_lines, write_foretold

    recipe, folder = _planned(options)
    if options.yaml:
        print(write_yaml(recipe.to_row()), end="")
        return
    plans = needed(recipe.plan(), options.until)
    for one in plans:
        made = is_whole(RunFolder(folder).artifact(one.key))
        inputs = ", ".join(dict.fromkeys(parent.stage.name for parent in one.parents))
        print(f"{'made ' if made else 'to do'}  {one.key:34} {one.stage.makes.__name__:12} {inputs}")
    for words in (layout_lines, text_lines):
        for line in words(plans, RunFolder(folder).artifacts):
            print(line)
    if options.rehearse:
        found = foretell(plans, options.jobs)
        write_foretold(found, RunFolder(folder).plan)
        for line in foretold_lines(found, options.jobs):
            print(line)
    print(f"{len(plans)} stages in {folder}; `herd plan {options.recipe} --yaml` prints every number")


def budget(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from herd.model.sizes import size
    from herd.scaling.cost import MACHINES, Job, cost, expected_loss, lines, loss_line, machine, to_row, told_line

    if options.plot is not None and options.results is None:
        raise SettingsError("--plot draws what --results foretells; give a CSV of results too")
    on = machine(options.machine, options.machines or MACHINES)
    on = on if options.price is None else replace(on, price_per_hour=options.price)
    shape = size(options.size).shape(vocabulary=options.vocabulary, context=options.length)
    job = Job(shape, options.tokens, options.length, options.batch)
    speed = None if options.tflops is None else options.tflops * 1e12
    found = cost(job, options.gpus, on, flops_per_second=speed)
    expected = None if options.law is None else expected_loss(job, options.law)
    if options.json:
        print(json.dumps(to_row(found) | ({} if expected is None else {"expected_loss": expected}), indent=1))
        return
    for line in lines(found, on):
        print(line)
    if expected is not None:
        print(loss_line(expected))
    if options.results is not None:
        _print_scores(options.results, job.flops, options.plot)
    if options.days is not None:
        print(told_line(found, options.days))


def _print_scores(results: Path, flops: float, picture: Path | None) -> None:
    """What a table of results foretells, and a drawing of it where one is asked for."""
    from herd.scaling.downstream import forecasts, score_lines, steps_drawn

    told = forecasts(results, flops)
    for line in score_lines(told):
        print(f"score     {line}")
    if picture is None:
        return
    known = {task: steps_drawn(runs, found) for task, (runs, found) in told.items() if not isinstance(found, str)}
    if not known:
        print(f"          nothing is foretold, so {picture} is not drawn")
        return
    from herd.report.plots import two_steps

    picture.write_text(two_steps(known), encoding="utf-8")
    print(f"drawn     {picture}")


def list_plugins(options: argparse.Namespace) -> None:
    from herd.core.registry import first_line

    for name, plugin in _plugins(options.kind).items():
        print(f"{name:24} {first_line(plugin)}")


_REGISTRIES = {
    "filters": ("herd.corpus.filters", "filters"),
    "rewrites": ("herd.corpus.rewrites", "rewrites"),
    "dedups": ("herd.corpus.dedup", "dedups"),
    "losses": ("herd.align.losses", "losses"),
    "tasks": ("herd.evals.tasks", "tasks"),
    "mixes": ("herd.mixing.methods", "methods"),
    "studies": ("herd.studies", "studies"),
    "recipes": ("herd.recipes", "recipes"),
}


def _plugins(kind: str):  # noqa: ANN202
    # The packaged recipes import all stages.
    module, name = _REGISTRIES["recipes" if kind == "stages" else kind]
    everything = getattr(importlib.import_module(module), name).all()
    if kind == "stages":
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
    from herd.corpus.sources import files, look_for, passed_over_in_words
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
    if others := look_for(options.input, source=options.source).passed_over:
        print(passed_over_in_words(others))
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
    from herd.corpus.extract import ExtractSettings, extract_files
    from herd.corpus.sources import find_files

    settings = ExtractSettings(form="markdown" if options.markdown else "plain", main_only=not options.everything)
    for row in extract_files(find_files(options.page, source="pages"), settings):
        print(json_line(row))


# ---- artifacts and models ----


def show(options: argparse.Namespace) -> None:
    if options.mask is not None:
        _show_mask(options)
        return
    from herd.serve.folders import describe

    for line in describe(options.artifact, verify=options.verify):
        print(line)


def _show_mask(options: argparse.Namespace) -> None:
    """Rows as a model would read them, with what is learnt; fails when some must not be trained on."""
    from herd.align.columns import given_in
    from herd.align.contamination import HeldOut
    from herd.align.preflight import examine, found_lines, lines
    from herd.model.config import shape_in
    from herd.serve.folders import model_in
    from herd.tokens.jinja import chat_format
    from herd.tokens.tokenizer import TextTokenizer

    folder, given = model_in(options.mask), given_in(options.artifact)
    text = TextTokenizer.load(folder)
    form, context = chat_format(text), shape_in(folder).context
    for line in lines(given, form, text, rows=options.rows, colour=sys.stdout.isatty()):
        print(line, file=colours_of(sys.stdout))
    tests = HeldOut(given_in(options.tests).conversations) if options.tests is not None else None
    found = examine(given, form, text, context, tests)
    for line in found_lines(given, found):
        print(line)
    found.refuse()


def evaluate(options: argparse.Namespace) -> None:
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

    score_folder(folder, uses, world_of(folder), report, device=options.device, dtype=options.dtype)
    if options.json:
        print(json.dumps({"model": str(folder), "tasks": rows}, indent=1))


def judge_data(options: argparse.Namespace) -> None:
    from herd.core.progress import display
    from herd.core.runner import run as run_stages
    from herd.mixing.probe import ProbeSettings
    from herd.recipes.judging import checkpoint_in, judged, length_for

    folder = checkpoint_in(options.checkpoint)
    settings = ProbeSettings(
        tokens=options.tokens,
        length=length_for(folder, options.batch),
        batch_tokens=options.batch,
        new_share=options.share,
        targets=dict.fromkeys(options.targets, 1.0) or None,
        lr=options.rate,
        seeds=tuple(range(options.seeds)),
    )
    plan = judged(folder, options.data, settings)
    made = run_stages(plan, folder.parent.parent, jobs=1, display=display())
    print(f"\n{made.figures['headline']}")
    for source, gain in sorted(made.figures["probe"]["by_source"].items(), key=lambda pair: -pair[1]):
        print(f"  {source:20} {gain:+.4f} nats")


def chat(options: argparse.Namespace) -> None:
    from herd.generate.engine import Sampling
    from herd.serve.chat import Chat, talk
    from herd.serve.folders import model_in, world_of

    folder = model_in(options.checkpoint)
    sampling = Sampling(temperature=options.temperature, max_tokens=256, seed=options.seed)
    conversation = Chat(folder, world_of(folder).everybody, sampling, device=options.device, dtype=options.dtype)
    read_utf8(sys.stdin)
    typing = sys.stdin.isatty()
    if typing:
        print(f"{folder}\n/clear starts anew, /exit or Ctrl-D ends")
    talk(conversation, lambda: input("> " if typing else ""), lambda piece: print(piece, end="", flush=True))


def compare(options: argparse.Namespace) -> None:
    from herd.serve.compare import hold
    from herd.serve.folders import model_in

    folders = [model_in(one) for one in options.checkpoints]
    hold(folders, options.out, port=options.port, temperature=options.temperature)


def export(options: argparse.Namespace) -> None:
    from herd.serve.folders import export as write
    from herd.serve.folders import model_in

    write(
        model_in(options.checkpoint), options.folder, form=options.form, shard_gb=options.shard_gb, merge=options.merge
    )
    if options.folder.suffix == ".gguf":
        print(f"{options.folder}: llama-cli -m {options.folder} reads it")
        return
    reader = "transformers.AutoModelForCausalLM"
    if (options.folder / "adapter_config.json").exists():
        reader = "peft.AutoPeftModelForCausalLM"
    print(f"{options.folder}: {reader}.from_pretrained({str(options.folder)!r}) reads it")


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

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    slow = options.slow or options.record
    checked = table.check(options.row or [], slow=slow, keep=options.record, say=progress)
    print(table.as_json(checked) if options.json else table.as_text(checked))
    return int(any(entry.state == "does not hold" for entry in checked))


if __name__ == "__main__":
    sys.exit(main())

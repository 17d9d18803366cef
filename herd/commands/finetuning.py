"""What `herd sft`, `herd dpo` and `herd reward` share: their options, the numbers these make, and rows shown first."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from herd.commands.arguments import (
    ASSUMED_MACHINE,
    amount,
    bounded_number,
    has_source_name,
    named_machine,
    sources_of,
)
from herd.commands.job import add_job_options, run_job
from herd.commands.plan import by_title, training_lines
from herd.core.errors import DataError, SettingsError
from herd.core.terminal import colour_stream

if TYPE_CHECKING:
    from herd.align.columns import ParsedRows
    from herd.align.step_counts import StepCount
    from herd.core.recipe import Recipe
    from herd.recipes.own_rows import RowFiles
    from herd.tokens.tokenizer import TextTokenizer

RowsSetting = Literal["dialogues", "preferences"]
_LORA_ABOVE, _LORA_RANK = 1e9, 16  # weights that one device trains whole; of adapters where nothing is said
_MOST_COUNTED = 100_000  # rows that are encoded once more only to say how many steps they make
_LORA_LR = 10  # times the rate of full training; Schulman et al. 2025 (LoRA Without Regret)


def add_finetuning_options(parser: argparse.ArgumentParser, rows: str) -> None:
    """rows: what the files hold."""
    parser.add_argument("model", type=Path, help="folder of a model, or of a run for its newest")
    parser.add_argument(
        "files", nargs="+", metavar="[NAME=]ROWS", help=f"{rows}; named, their results are shown by these names"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--lora",
        type=amount,
        metavar="RANK",
        help="train adapters (default: of rank 16 above 1B weights on one device)",
    )
    size.add_argument("--full", action="store_true", help="train all weights")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=amount, help="how often all rows are read")
    length.add_argument("--steps", type=amount, help="so many steps, over as many epochs as they take")
    parser.add_argument("--learning-rate", type=bounded_number(0.0), help="the peak (default: by the model's size)")
    parser.add_argument("--batch-size", type=amount, help="rows a step")
    parser.add_argument("--drop-last", action="store_true", help="leave unread what does not fill a batch")
    parser.add_argument(
        "--held-out", nargs="+", default=[], metavar="[NAME=]ROWS", help="rows that are measured and never learnt"
    )
    parser.add_argument(
        "--held-out-share", type=bounded_number(0.0, 1.0), help="of the prompts, without --held-out (default: 0.1)"
    )
    parser.add_argument("--eval-steps", type=amount, help="measure every so many steps too, not only every epoch")
    parser.add_argument(
        "--early-stop", action="store_true", help="keep the weights of the lowest held-out loss, and end after it"
    )
    parser.add_argument("--patience", type=amount, help="measurements without a lower loss before the end (default: 1)")
    parser.add_argument(
        "--tests", nargs="+", default=[], metavar="FILE", help="rows with questions of these are left out"
    )
    parser.add_argument("--chat-template", help="for a model that brings none: llama3, chatml or a Jinja file")
    parser.add_argument("--rows", type=amount, default=2, help="how many are shown first (default: %(default)s)")
    add_job_options(parser)


def add_tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tasks",
        nargs="+",
        default=[],
        metavar="TASK",
        help="measured before and after: names (herd list tasks), or `name: {setting: value}`",
    )


def finetune_rows(
    options: argparse.Namespace, stage: str, rows: RowsSetting, own: Mapping[str, Any], *, lr_share: float = 1.0
) -> None:
    """Runs the preset `stage` on the model and the files that the options name. rows: its setting for the files. own:
    more numbers of the stage. lr_share: of the rate that the model's size suggests for SFT."""
    from herd.core.settings import parse_yaml

    folder = _model_folder(options)
    numbers: dict[str, Any] = {"title": f"{stage} of {folder_name(options.model)}", "model": str(folder.resolve())}
    numbers[rows] = _named_paths(options.files)
    if options.chat_template:
        numbers["chat_template"] = options.chat_template
    if options.held_out:
        numbers["held_out"] = _named_paths(options.held_out)
    if options.tests:
        numbers["tests"] = _paths(options.tests)
    if options.held_out_share is not None:
        numbers["held_out_share"] = options.held_out_share
    numbers[stage] = {**stage_numbers(options, folder, lr_share), **_shared_batch(options, stage), **own}
    if getattr(options, "tasks", []):
        numbers["measure"] = {"tasks": [parse_yaml(text, where=f"--tasks {text}") for text in options.tasks]}
    run_job(
        stage,
        numbers,
        run_folder(options),
        options,
        before=partial(_before, options=options, folder=folder, stage=stage, rows=rows),
        count_rows=False,  # they are read only once, where they are shown
    )


def run_folder(options: argparse.Namespace) -> Path:
    """The folder of the run: as said, else named by the command and the model."""
    return options.out or Path("runs") / f"{options.name}-{folder_name(options.model)}"


def _before(recipe: Recipe, *, options: argparse.Namespace, folder: Path, stage: str, rows: RowsSetting) -> None:
    """Shows rows with their mask, and how many steps they make."""
    settings = getattr(recipe.settings, stage)
    include_eos = getattr(settings, "include_eos", True)
    files: RowFiles = getattr(recipe.settings, rows)
    data = shown_rows(
        folder, files, options.rows, kind=rows, chat_template=options.chat_template or "",
        include_eos=include_eos,
    )  # fmt: skip
    if stage == "reward":
        print("of a pair the whole text is read and scored at its end; the marks show what answers")
    elif not include_eos:
        print("the token that ends an answer is in both and does not count here; --set dpo.include_eos=true counts it")
    if len(data.conversations) + len(data.preferences) > _MOST_COUNTED:
        print("so many rows are not counted into steps here; the first stages say how many are held out and learnt")
        return
    for line in _cost_lines(
        recipe, _counted(recipe.settings, settings, data, folder, options.chat_template or ""), options
    ):
        print(line)


def _cost_lines(recipe: Recipe, counted: StepCount, options: argparse.Namespace) -> Iterator[str]:
    """How many rows are learnt, in how many steps, and what that takes."""
    from herd.core.settings import build
    from herd.core.stage import walk
    from herd.core.titles import plan_titles
    from herd.model.config import read_shape
    from herd.recipes.tuning_costs import forecast_tuning
    from herd.recipes.tuning_plans import TUNING_SETTINGS, PlannedFinetuning
    from herd.run.worker import RunFolder
    from herd.train.machines import load_machine

    yield from counted.lines()
    named, run, shape = named_machine(options), run_folder(options), read_shape(_model_folder(options))
    (plan,) = (plan for plan in walk(recipe.plan()) if plan.stage.name in TUNING_SETTINGS)
    settings = build(TUNING_SETTINGS[plan.stage.name], plan.settings["settings"], where=plan.key)
    forecast = forecast_tuning(
        PlannedFinetuning(plan, settings, shape, counted), named or load_machine(ASSUMED_MACHINE),
        artifacts=RunFolder(run).artifacts,
    )  # fmt: skip
    yield from by_title(training_lines([forecast], run, named, with_counts=False), plan_titles([plan]))


def _counted(own: Any, settings: Any, data: ParsedRows, folder: Path, chat_template: str) -> StepCount:
    """How many rows are learnt, in how many steps. own: the settings of the recipe, settings: those of its training."""
    from herd.align.columns import ParsedRows, load_rows
    from herd.align.contamination import HeldOutQuestions, drop_contaminated
    from herd.align.step_counts import count_steps
    from herd.model.config import read_shape
    from herd.recipes.own_rows import AT_LEAST, NamedFiles
    from herd.tokens.jinja import chat_template_of

    tests = ParsedRows()
    for file in own.tests:
        tests.add(load_rows(file, "test"))
    held_out = NamedFiles.of(own.held_out).read("rows", "test") if own.held_out else None
    questions = HeldOutQuestions(tests.conversations)
    for rows in (data, held_out) if own.tests else ():
        if rows is not None:
            drop_contaminated(rows, questions)
    text = _tokenizer(folder, chat_template)
    return count_steps(
        data, settings, chat_template_of(text), text, read_shape(folder).max_seq_len, held_out=held_out,
        held_out_share=own.held_out_share, at_least=AT_LEAST,
    )  # fmt: skip


def stage_numbers(options: argparse.Namespace, folder: Path, lr_share: float) -> dict[str, Any]:
    """The training settings that the options say; what was chosen for whoever did not is printed."""
    from herd.model.config import read_shape
    from herd.train.schedule import lr_by_size

    count = read_shape(folder).num_params
    names = ("epochs", "steps", "batch_size", "eval_steps", "patience")
    numbers: dict[str, Any] = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.early_stop:
        numbers["early_stop"] = True
    if not options.drop_last:
        numbers["dataloader_drop_last"] = False
    several = (options.gpus or 1) > 1
    rank = options.lora or (_LORA_RANK if count > _LORA_ABOVE and not several and not options.full else None)
    if rank:
        numbers["lora"] = {"rank": rank}
    lr = options.learning_rate or float(f"{lr_by_size(count) * lr_share * (_LORA_LR if rank else 1):.2g}")
    numbers["lr"] = lr
    chosen = "" if options.learning_rate else ", chosen by the model's size"
    trained = f"adapters of rank {rank} beside {count:,} weights" if rank else f"all {count:,} weights"
    print(f"training {trained}; learning rate {lr:g}{chosen}")
    return numbers


def _shared_batch(options: argparse.Namespace, stage: str) -> dict[str, int]:
    """The preset's batch with as many rows more as all devices want to have equally many; nothing where the options say
    a batch: of that, layouts take as many devices as share it."""
    from herd.core.recipe import packaged_presets
    from herd.core.settings import read_yaml
    from herd.recipes import recipes

    devices = options.gpus or 1
    usual: int = read_yaml(packaged_presets(recipes)[stage])[0][stage]["batch_size"]
    if options.batch_size is not None or usual % devices == 0:
        return {}
    rows = -(-usual // devices) * devices
    print(f"batches of {rows} rows in the place of {usual}, so that {devices:,} devices share them (--batch-size)")
    return {"batch_size": rows}


def shown_rows(
    folder: Path, files: RowFiles, rows: int, *, tests: Path | None = None,
    kind: Literal["", "dialogues", "preferences"] = "", chat_template: str = "", include_eos: bool = True,
) -> ParsedRows:  # fmt: skip
    """All rows of the files, after the first of them, and one of each source at least, were shown as the model in
    `folder` would read them, with what is learnt. files: by name, or a list. kind: `dialogues` or `preferences` alone.
    include_eos: whether what ends answers of pairs is learnt. Raises DataError when there is none of the kind, and when
    some must not be trained on."""
    from herd.align.columns import load_rows
    from herd.align.contamination import HeldOutQuestions
    from herd.align.preflight import inspect_rows, preview_lines, report_lines
    from herd.model.config import read_shape
    from herd.recipes.own_rows import NamedFiles
    from herd.tokens.jinja import chat_template_of

    named = NamedFiles.of(files)
    data = named.read(kind or "rows")
    if kind:
        _only(data, kind, named.files)
    text = _tokenizer(folder, chat_template)
    form, context = chat_template_of(text), read_shape(folder).max_seq_len
    for line in preview_lines(data, form, text, rows=rows, colour=sys.stdout.isatty(), include_eos=include_eos):
        print(line, file=colour_stream(sys.stdout))
    questions = HeldOutQuestions(load_rows(tests, "test").conversations) if tests is not None else None
    findings = inspect_rows(data, form, text, context, questions, include_eos=include_eos)
    for line in report_lines(data, findings):
        print(line)
    findings.refuse()
    return data


def _only(data: ParsedRows, kind: str, files: Sequence[str]) -> None:
    """Takes rows of the other kind out, and says so."""
    names = ", ".join(file.rstrip("/").rpartition("/")[2] for file in files)
    wanted, others = ("conversations", "preferences") if kind == "dialogues" else ("preferences", "conversations")
    if not getattr(data, wanted):
        command = "`herd dpo` and `herd reward` take those" if kind == "dialogues" else "`herd sft` takes those"
        raise DataError(f"{names}: no {wanted}, only {others}; {command}")
    if count := len(getattr(data, others)):
        print(f"{count:,} rows are {others} and are left out")
        setattr(data, others, [])


def folder_name(model: Path) -> str:
    """What a run on `model` is called: the model's folder, or the run's that made it."""
    from herd.core.names import file_name

    folder = model.resolve()
    return file_name(folder.parent.parent.name if folder.parent.name == "artifacts" else folder.name)


def _tokenizer(folder: Path, chat_template: str) -> TextTokenizer:
    from herd.tokens.jinja import with_chat_template
    from herd.tokens.tokenizer import TextTokenizer

    tokenizer = TextTokenizer.load(folder)
    return with_chat_template(tokenizer, chat_template) if chat_template else tokenizer


def _model_folder(options: argparse.Namespace) -> Path:
    from herd.serve.folders import model_in

    if options.model.is_file():
        name = options.model.name.partition(".")[0]
        raise SettingsError(
            f"{options.model} is a file; `herd import {options.model} {name}` makes a folder of it first"
        )
    return model_in(options.model)


def _named_paths(texts: Sequence[str]) -> list[str] | dict[str, list[str]]:
    """The files by their names where one has a name; else a list, of which rows may name their sources themselves."""
    if not any(map(has_source_name, texts)):
        return _paths(texts)
    return {name: _paths(paths) for name, paths in sources_of(texts).items()}


def _paths(files: Sequence[str]) -> list[str]:
    """Wherever the recipe is run from later; addresses as they are."""
    from herd.core.addresses import is_address

    places = []
    for file in files:
        place = file if is_address(file) else str(Path(file).expanduser().absolute())
        if not is_address(file) and not Path(place).exists() and not glob.glob(place, recursive=True):
            raise SettingsError(f"{file}: there is no such file; name a file of rows")
        places.append(place)
    return places

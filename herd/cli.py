"""The command `herd`: finds the command that is meant, and says what went wrong in one sentence."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from herd.commands import (
    acceptance,
    back_test,
    budget,
    chat,
    compare,
    curate,
    dpo,
    evaluate,
    export,
    extract,
    import_model,
    judge_data,
    list_plugins,
    metrics,
    plan,
    pretrain,
    reward,
    run,
    sandbox,
    sft,
    show,
    study,
    sweep_thresholds,
    threshold,
)
from herd.commands.launched import one_of_ranks
from herd.core.errors import to_herd_error
from herd.core.terminal import safe_output

INTERRUPT_EXIT_CODE = 130
_FILES = (
    run, pretrain, sft, dpo, reward, study, plan, budget, threshold, metrics, back_test, curate, sweep_thresholds,
    extract, judge_data, show, list_plugins, evaluate, chat, compare, export, import_model, sandbox, acceptance,
)  # fmt: skip
COMMANDS = tuple(file.COMMAND for file in _FILES)


# Where it is worth saying that kernels will be slow.
_COMPUTING = {
    "run", "pretrain", "sft", "dpo", "reward", "study", "curate", "extract", "judge-data", "eval", "chat", "compare",
}  # fmt: skip
# Which keep what they have made when they are stopped.
_KEEPING = {"run", "pretrain", "sft", "dpo", "reward", "study", "curate", "extract", "judge-data"}
# Which come to want all kernels, and not at once.
_WHOLE_RECIPES = {"run", "pretrain", "study"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 0, 1 for failed, 2 for wrong use, 130 for Ctrl-C."""
    with safe_output():
        return _dispatch(parser().parse_args(arguments))


def _dispatch(options: argparse.Namespace) -> int:
    try:
        with one_of_ranks(options.command, options) as leads:
            return _run(options) if leads else 0
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from what is whole" if options.name in _KEEPING else ""
        print(f"\nstopped{goes_on}", file=sys.stderr)
        return INTERRUPT_EXIT_CODE
    except BrokenPipeError:  # whoever read the output has seen enough
        return 0
    except Exception as fault:
        if options.debug:
            raise
        error = to_herd_error(fault, f"herd {options.name}")
        print(f"herd: {error}", file=sys.stderr)
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    if options.name in _COMPUTING:
        from herd.core.native import kernel_warning, start_building

        if sentence := kernel_warning():
            print(f"herd: {sentence}", file=sys.stderr)
        elif options.name in _WHOLE_RECIPES:
            start_building()
    code = options.command.run(options) or 0
    sys.stdout.flush()  # what cannot be written is reported here, and not when Python ends
    return code


def parser() -> argparse.ArgumentParser:
    """Every command with its options. Imports no torch and no numpy, so that --help is instant."""
    top = argparse.ArgumentParser(
        prog="herd",
        description="The Llama 3 recipe as one piece of software: raw pages in, a chat model and a report out.",
    )
    top.add_argument("--version", action="version", version=_version())
    subparsers = top.add_subparsers(dest="name", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show where an error came from")
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name, help=command.summary, description=command.summary, parents=[shared]
        )
        command.add_options(subparser)
        subparser.set_defaults(command=command)
    return top


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"herd {version('herd')}"
    except PackageNotFoundError:
        return "herd (not installed)"


if __name__ == "__main__":
    sys.exit(main())

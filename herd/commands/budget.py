"""`herd budget`: what a training run costs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from herd.commands.arguments import amount, bounded_number
from herd.commands.command import Command
from herd.core.errors import SettingsError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", required=True, help="a model size, such as 8b or 405b")
    parser.add_argument("--tokens", type=amount, required=True, help="to train on, such as 15.6T")
    parser.add_argument("--gpus", type=amount, required=True, help="how many devices")
    parser.add_argument(
        "--tflops", type=bounded_number(0.0), help="what each reaches (default: as estimated for the layout)"
    )
    parser.add_argument("--seq-len", type=amount, default=8192, help="tokens in a sequence (default: %(default)s)")
    parser.add_argument("--batch-tokens", type=amount, default=2**24, help="tokens in a batch (default: %(default)s)")
    parser.add_argument("--vocab-size", type=amount, default=128_256, help="(default: %(default)s)")
    parser.add_argument("--machine", default="h100", help="by name in the file of machines (default: %(default)s)")
    parser.add_argument("--machines", type=Path, help="a file of your own with machines and prices")
    parser.add_argument("--price", type=bounded_number(0.0), help="dollars a device hour (default: the file's)")
    parser.add_argument("--law", type=Path, help="a run with a ladder, or its law.json: prints the loss to expect")
    parser.add_argument(
        "--results",
        type=Path,
        help="a CSV of what models scored (task,flops,nll,accuracy,questions,chance): prints the scores to expect",
    )
    parser.add_argument("--plot", type=Path, help="an SVG file: draws the forecast from --results, with its bands")
    parser.add_argument("--days", type=bounded_number(0.0), help="a time stated elsewhere: prints the speed it implies")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from herd.model.sizes import model_size
    from herd.scaling.cost import (
        MACHINES_FILE,
        TrainingJob,
        cost,
        cost_lines,
        cost_row,
        expected_loss,
        load_machine,
        loss_line,
        stated_days_line,
    )

    if options.plot is not None and options.results is None:
        raise SettingsError("--plot draws the forecast from --results; give a CSV of results too")
    on = load_machine(options.machine, options.machines or MACHINES_FILE)
    on = on if options.price is None else replace(on, price_per_hour=options.price)
    shape = model_size(options.size).shape(vocab_size=options.vocab_size, max_seq_len=options.seq_len)
    job = TrainingJob(shape, options.tokens, options.seq_len, options.batch_tokens)
    speed = None if options.tflops is None else options.tflops * 1e12
    estimate = cost(job, options.gpus, on, flops_per_second=speed)
    expected = None if options.law is None else expected_loss(job, options.law)
    if options.json:
        print(json.dumps(cost_row(estimate) | ({} if expected is None else {"expected_loss": expected}), indent=1))
        return
    for line in cost_lines(estimate, on):
        print(line)
    if expected is not None:
        print(loss_line(expected))
    if options.results is not None:
        _print_scores(options.results, job.flops, options.plot)
    if options.days is not None:
        print(stated_days_line(estimate, options.days))


def _print_scores(results: Path, flops: float, picture: Path | None) -> None:
    """The forecast from a table of results, and a drawing of it where one is asked for."""
    from herd.scaling.downstream import forecast_plot, forecasts, score_lines

    predictions = forecasts(results, flops)
    for line in score_lines(predictions):
        print(f"score     {line}")
    if picture is None:
        return
    drawable = {
        task: forecast_plot(runs, prediction)
        for task, (runs, prediction) in predictions.items()
        if not isinstance(prediction, str)
    }
    if not drawable:
        print(f"          nothing is forecast, so {picture} is not drawn")
        return
    from herd.report.plots import two_steps

    picture.write_text(two_steps(drawable), encoding="utf-8")
    print(f"drawn     {picture}")


COMMAND = Command(
    "budget", "say what a training run costs: FLOPs, days, money, memory, layout, failures", add_options, run
)

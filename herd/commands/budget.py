"""`herd budget`: what a training run costs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from herd.commands.arguments import add_machine, amount, bounded_number, machine_of
from herd.commands.command import Command
from herd.core.errors import SettingsError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size", required=True, help="a size by name, such as 8b, its numbers, width=2048,layers=16, or a YAML of them"
    )
    parser.add_argument("--tokens", type=amount, required=True, help="to train on, such as 15.6T")
    parser.add_argument("--gpus", type=amount, required=True, help="how many devices")
    speed = parser.add_mutually_exclusive_group()
    speed.add_argument(
        "--tflops", type=bounded_number(0.0), help="what each reaches (default: as estimated for the layout)"
    )
    speed.add_argument("--mfu", type=bounded_number(0.0, 1.0), help="the same as a share of what each could do")
    parser.add_argument("--seq-len", type=amount, default=8192, help="tokens in a sequence (default: %(default)s)")
    parser.add_argument("--batch-tokens", type=amount, default=2**24, help="tokens in a batch (default: %(default)s)")
    parser.add_argument("--vocab-size", type=amount, default=128_256, help="(default: %(default)s)")
    parser.add_argument("--micro-batch", type=amount, help="rows worked on at once (default: as many as fit)")
    parser.add_argument(
        "--recompute",
        choices=("none", "selective", "full"),
        default="none",
        help="of what blocks keep for their way back (default: %(default)s)",
    )
    add_machine(parser)
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
    from herd.model.sizes import parse_size
    from herd.scaling.cost import cost_lines, cost_row, expected_loss, loss_line, stated_days_line
    from herd.train.cost import Speed, TrainingJob, cost

    if options.plot is not None and options.results is None:
        raise SettingsError("--plot draws the forecast from --results; give a CSV of results too")
    on = machine_of(options)
    shape = parse_size(options.size).shape(vocab_size=options.vocab_size, max_seq_len=options.seq_len)
    recompute = {"none": False, "selective": "selective", "full": True}[options.recompute]
    job = TrainingJob(shape, options.tokens, options.seq_len, options.batch_tokens, recompute=recompute)
    speed = None
    if options.tflops is not None or options.mfu is not None:
        flops = options.mfu * on.peak_flops if options.tflops is None else options.tflops * 1e12
        speed = Speed(flops, "as given")
    estimate = cost(job, options.gpus, on, micro_batch=options.micro_batch, speed=speed)
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

"""`herd judge-data`: what a data set would add to a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.arguments import amount, number
from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a model that a run pre-trained, or of the run")
    parser.add_argument("data", nargs="+", help="files, folders or patterns of the new set")
    parser.add_argument("--tokens", type=amount, default=200_000, help="of each annealing (default: %(default)s)")
    parser.add_argument("--batch", type=amount, default=2048, help="tokens in a batch (default: %(default)s)")
    parser.add_argument(
        "--share", type=number(0.0, 1.0), default=0.3, help="of rows that are new (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=number(1), default=3, help="pairs of runs (default: %(default)s)")
    parser.add_argument(
        "--targets", nargs="+", default=[], metavar="SOURCE", help="whose held-out loss counts (default: all)"
    )
    parser.add_argument(
        "--rate", type=number(0.0), help="the learning rate to fall from (default: the checkpoint's last)"
    )


def run(options: argparse.Namespace) -> None:
    from herd.mixing.probe import ProbeSettings
    from herd.recipes.judging import checkpoint_in, judged, length_for
    from herd.run.progress import display
    from herd.run.runner import run as run_stages

    folder = checkpoint_in(options.checkpoint)
    settings = ProbeSettings(
        tokens=options.tokens,
        length=length_for(folder, options.batch),
        batch_tokens=options.batch,
        new_share=options.share,
        targets=dict.fromkeys(options.targets, 1.0) or None,
        peak_rate=options.rate,
        seeds=tuple(range(options.seeds)),
    )
    plan = judged(folder, options.data, settings)
    made = run_stages(plan, folder.parent.parent, jobs=1, display=display())
    print(f"\n{made.figures['headline']}")
    for source, gain in sorted(made.figures["probe"]["by_source"].items(), key=lambda pair: -pair[1]):
        print(f"  {source:20} {gain:+.4f} nats")


COMMAND = Command(
    "judge-data", "say what a data set of your own would add: anneal a checkpoint on it", add_options, run
)

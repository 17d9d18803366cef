"""`herd judge-data`: what a data set would add to a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.arguments import add_column_options, amount, bounded_number, columns_of
from herd.commands.command import Command
from herd.core.errors import SettingsError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a model, or of a run that pre-trained one")
    parser.add_argument("data", nargs="+", help="files, folders or patterns of the new set")
    add_column_options(parser)
    parser.add_argument(
        "--default",
        nargs="+",
        default=[],
        metavar="DATA",
        help="the text beside the new set and in its place (default: what the run of the checkpoint packed)",
    )
    parser.add_argument("--out", type=Path, help="folder of the run (default: that of the checkpoint)")
    parser.add_argument("--tokens", type=amount, default=200_000, help="of each annealing (default: %(default)s)")
    parser.add_argument("--batch-tokens", type=amount, default=2048, help="tokens in a batch (default: %(default)s)")
    parser.add_argument(
        "--share", type=bounded_number(0.0, 1.0), default=0.3, help="of rows that are new (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=bounded_number(1), default=3, help="pairs of runs (default: %(default)s)")
    parser.add_argument(
        "--targets", nargs="+", default=[], metavar="SOURCE", help="whose held-out loss counts (default: all)"
    )
    parser.add_argument(
        "--learning-rate",
        type=bounded_number(0.0),
        help="the learning rate to fall from (default: the checkpoint's last)",
    )


def run(options: argparse.Namespace) -> None:
    from herd.corpus.columns import ANY_TABLE
    from herd.mixing.probe import ProbeSettings
    from herd.mixing.results import DataProbe
    from herd.recipes.judging import checkpoint_in, length_for, plan_data_probe
    from herd.run.progress import display
    from herd.run.runner import run_stages

    folder = checkpoint_in(options.checkpoint)
    settings = ProbeSettings(
        tokens=options.tokens,
        length=length_for(folder, options.batch_tokens),
        batch_tokens=options.batch_tokens,
        new_share=options.share,
        targets=dict.fromkeys(options.targets, 1.0) or None,
        lr=options.learning_rate,
        seeds=tuple(range(options.seeds)),
    )
    columns = columns_of(options).get("default", ANY_TABLE)
    plan = plan_data_probe(folder, options.data, settings, options.default, columns)
    if options.out is None and options.default:
        raise SettingsError("text of your own makes a run of its own; name its folder with --out")
    scores = run_stages(plan, options.out or folder.parent.parent, jobs=1, display=display())
    print(f"\n{scores.headline}")
    for source, gain in sorted(scores.result(DataProbe).by_source.items(), key=lambda pair: -pair[1]):
        print(f"  {source:20} {gain:+.4f} nats")


COMMAND = Command(
    "judge-data", "say what a data set of your own would add: anneal a checkpoint on it", add_options, run
)

"""`herd adversarial`: how much of a score on plain examples is left on adversarial ones."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from herd.commands.command import Command
from herd.core.errors import DataError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, nargs="+", help="what `herd eval --json` printed; one file or two")
    parser.add_argument("--plain", required=True, help="name of the plain task, such as squadv2 or gsm8k")
    parser.add_argument("--adversarial", required=True, help="name of the adversarial one")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    from herd.core.terminal import json_line
    from herd.evals.robustness import adversarial_ratio

    tasks: dict[str, Any] = {}
    for file in options.results:
        tasks |= _read(file)
    plain, adversarial = (_scores(tasks, name) for name in (options.plain, options.adversarial))
    ratio = adversarial_ratio(plain, adversarial)
    if options.json:
        print(json_line({"ratio": ratio.value, "low": ratio.low, "high": ratio.high}))
        return
    means = [sum(scores) / len(scores) for scores in (plain, adversarial)]
    print(f"{options.plain} {means[0]:.3f}, {options.adversarial} {means[1]:.3f}: ratio {ratio}")


def _read(file: Path) -> dict[str, Any]:
    try:
        tasks = json.loads(file.read_text(encoding="utf-8"))["tasks"]
    except OSError as fault:
        raise DataError(f"{file} cannot be read ({fault.strerror}); name what `herd eval --json` printed") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{file} is not what `herd eval --json` printed; keep its standard output in a file") from None
    return tasks if isinstance(tasks, dict) else {}


def _scores(tasks: dict[str, Any], name: str) -> list[float]:
    row = tasks.get(name)
    if not isinstance(row, dict) or not isinstance(row.get("right"), list):
        raise DataError(f"there are no scores of {name!r}; there are those of {', '.join(tasks) or 'nothing'}")
    scores = [float(score) for score in row["right"] if score is not None]
    if not scores:
        raise DataError(f"every answer of {name!r} is void; ask it again")
    return scores


COMMAND = Command("adversarial", "compare scores on plain and adversarial examples", add_options, run)

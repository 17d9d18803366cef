"""Rows of the shared data, where it is there."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"


def rows(name: str) -> list[dict[str, Any]]:
    """Of a file of JSON lines under the data's folder; skips the test that wants them where it is absent."""
    file = DATA / name
    if not file.is_file():
        pytest.skip(f"needs ../shared/data/{name}")
    read = gzip.open if file.suffix == ".gz" else open
    with read(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]

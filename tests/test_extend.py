"""What docs/extend.md shows of the code is what stands there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
# A file, what is said of it, and lines of it.
SHOWN = re.compile(r"^`([\w/]+\.py)`:[^\n]*\n\n```python\n(.*?)```", re.MULTILINE | re.DOTALL)


def test_the_lines_of_an_architecture_feature_stand_in_the_files_that_are_named() -> None:
    text = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    section = text.split("## An architecture feature")[1].split("\n## ")[0]
    shown = SHOWN.findall(section)
    assert len(shown) == section.count("```python") == 7
    for file, lines in shown:
        held = (ROOT / file).read_text(encoding="utf-8").splitlines()
        for line in lines.splitlines():
            assert line in held, f"docs/extend.md shows a line that {file} has not: {line.strip()}"

"""Your own text through the recipe `tiny`: five lines of YAML, then `herd run mine.yaml`.

Here only as far as the packed tokens; leave `--until pack` out for a model and its report.
"""

import json
import tempfile
from pathlib import Path

from herd.cli import main
from herd.core.artifacts import Artifact
from herd.corpus.results import CurationResult
from herd.serve.folders import artifacts_in

RECIPE = """\
recipe: tiny
title: my pages
sources: [world]                      # without Python's documentation and Wikipedia
files: {web: [pages], wiki: [notes.jsonl]}
curate: {rules: {web: [word_count: {at_least: 5}]}}
"""


def run(folder: Path) -> Artifact:
    """The curated corpus made from a few pages in `folder`."""
    (folder / "pages").mkdir()
    for number in range(20):
        text = f"<p>This is page {number}. It tells what happened on day {number} of the trip, and who was there.</p>"
        (folder / "pages" / f"{number}.html").write_text(f"<html><body><main>{text}</main></body></html>")
    words = "We saw the boat on the river with all of them in the morning, before it was gone for good. "
    more = "Later that day somebody came to ask what had become of our luggage, and we had to say that nobody knew. "
    notes = [{"text": f"Note {n}. " + (words + more) * 2 + f"End of note {n}."} for n in range(20)]
    (folder / "notes.jsonl").write_text("\n".join(map(json.dumps, notes)))
    (folder / "mine.yaml").write_text(RECIPE)
    main(["run", str(folder / "mine.yaml"), "--out", str(folder / "run"), "--until", "pack"])
    return next(one for one in artifacts_in(folder / "run") if one.metadata["stage"] == "curate")


if __name__ == "__main__":
    import os

    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        corpus = run(Path(scratch))
        result = corpus.result(CurationResult)
        for count in result.funnel:
            print(f"{count.step:22} {count.total:6,} in {count.dropped:6,} dropped")
        print("kept:", {source: size.documents for source, size in result.sources.items()})

"""Languages of texts by fastText's model; runs in the peers' environment. Arguments: a JSON list, the model."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import fasttext


def main(file: str, model: str) -> None:
    texts = [text.replace("\n", " ") for text in json.loads(Path(file).read_text(encoding="utf-8"))]
    known = fasttext.load_model(model)
    began = time.process_time()
    codes = [known.predict(text)[0][0].removeprefix("__label__")[:2] for text in texts]
    print(json.dumps({"codes": codes, "cpu_seconds": time.process_time() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:3])

"""Main texts of pages by another tool; runs in the peers' environment. Arguments: a JSON list of pages, the tool."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def extractor(name: str):
    if name == "resiliparse":
        from resiliparse.extract.html2text import extract_plain_text

        return lambda page: extract_plain_text(page, main_content=True)
    import trafilatura

    return lambda page: trafilatura.extract(page, include_comments=False, favor_precision="precision" in name) or ""


def main(file: str, name: str) -> None:
    pages = json.loads(Path(file).read_text(encoding="utf-8"))
    extract = extractor(name)
    extract("<html><body><p>Warm up, please.</p></body></html>")
    began = time.process_time()
    texts = [extract(page) for page in pages]
    print(json.dumps({"texts": texts, "cpu_seconds": time.process_time() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:3])

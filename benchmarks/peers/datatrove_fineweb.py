"""FineWeb's recipe as datatrove runs it, for `benchmarks/curate.py`; runs in an environment of datatrove's own.

Arguments: folder with WARC files, folder for what is made, extractor (trafilatura or resiliparse), path of the
lid.176.ftz model. Prints one JSON line with processor seconds by step and what was kept.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import tldextract
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.extractors.base import BaseExtractor
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
    URLFilter,
)
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.writers import JsonlWriter, ParquetWriter
from datatrove.utils import lid

SECONDS_A_PAGE = 60  # the default of one second is wall time and loses pages on a busy machine


class Resiliparse(BaseExtractor):
    """The extractor of DataComp-LM, in place of trafilatura."""

    name = "resiliparse"

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout)

    def extract(self, text: str) -> str:
        from resiliparse.extract.html2text import extract_plain_text

        return extract_plain_text(text, main_content=True, alt_texts=False)


class PackagedModel(lid.FT176LID):
    """The same fastText model, compressed, from a package: there is no download here."""

    path = ""

    @property
    def model(self) -> object:
        if self._model is None:
            from fasttext.FastText import _FastText

            self._model = _FastText(self.path)
        return self._model


def cpu() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def main(source: str, out: str, extractor: str, model: str) -> None:
    PackagedModel.path = model
    offline = tldextract.TLDExtract(suffix_list_urls=())
    addresses = URLFilter()
    addresses.tldextractor = offline
    language = LanguageFilter(languages=["en"])
    language.model = PackagedModel(["en"])
    extract = (
        Trafilatura(favour_precision=True, timeout=SECONDS_A_PAGE)
        if extractor == "trafilatura"
        else Resiliparse(SECONDS_A_PAGE)
    )
    steps = {
        "filters": [
            WarcReader(source, glob_pattern="*.warc.gz", default_metadata={"dump": "bench"}),
            addresses,
            extract,
            language,
            GopherRepetitionFilter(),
            GopherQualityFilter(),
            C4QualityFilter(filter_no_terminal_punct=False),
            FineWebQualityFilter(),
            JsonlWriter(f"{out}/base"),
        ],
        "signatures": [
            JsonlReader(f"{out}/base"),
            MinhashDedupSignature(f"{out}/signatures", config=MinhashConfig()),
        ],
        "buckets": [MinhashDedupBuckets(f"{out}/signatures", f"{out}/buckets", config=MinhashConfig())],
        "clusters": [MinhashDedupCluster(f"{out}/buckets", f"{out}/removed", config=MinhashConfig())],
        "write": [JsonlReader(f"{out}/base"), MinhashDedupFilter(f"{out}/removed"), ParquetWriter(f"{out}/kept")],
    }
    start = cpu()
    seconds = {"start": start}
    for name, pipeline in steps.items():
        tasks = 14 if name == "buckets" else 1
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{out}/logs/{name}").run()
        seconds[name] = cpu() - start
        start = cpu()
    import pyarrow.parquet as parquet

    kept = sum(parquet.ParquetFile(file).metadata.num_rows for file in Path(out, "kept").rglob("*.parquet"))
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"cpu_seconds": cpu(), "steps": seconds, "kept": kept, "peak_bytes": peak * 1024}))


if __name__ == "__main__":
    began = time.time()
    main(*sys.argv[1:5])

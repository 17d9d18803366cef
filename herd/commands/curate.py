"""`herd curate`: a corpus of raw pages."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.arguments import (
    add_column_options,
    add_plugins,
    bounded_number,
    columns_of,
    default_jobs,
    sources_of,
)
from herd.commands.command import Command
from herd.core.errors import SettingsError


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", nargs="+", metavar="[NAME=]DATA", help="files, folders, patterns or addresses (s3://...) of a source"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for documents, rejects and the page about them")
    parser.add_argument(
        "--rules", default="fineweb", help="fineweb, dclm, c4, gopher, llama3 or a .yaml (default: %(default)s)"
    )
    parser.add_argument("--source", help=argparse.SUPPRESS)
    add_column_options(parser)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one number")
    parser.add_argument(
        "--workers", type=bounded_number(1), default=default_jobs(), help="processes at once (default: %(default)s)"
    )
    parser.add_argument(
        "--executor",
        help="local, torchrun, slurm, ray or ray://HOST:PORT (default: torchrun where that started herd, else local)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be read and by which rules, and stop")
    add_plugins(parser)


def run(options: argparse.Namespace) -> None:
    if options.source is not None:
        raise SettingsError(f"--source is gone; name the source where its files are, such as {options.source}=crawl/")
    from herd.core.artifacts import Corpus
    from herd.core.plugins import load_plugins
    from herd.corpus.samples import sample_documents
    from herd.corpus.settings import load_rules
    from herd.corpus.sources import crawls_of, describe_passed_over, scan_files
    from herd.corpus.stages import curate as curate_stage
    from herd.corpus.stages import describe_input, funnel_lines, link_results
    from herd.report.browse import render_browser
    from herd.run.launcher import launched_executor, launcher_session
    from herd.run.progress import display
    from herd.run.runner import run_stages

    load_plugins(options.plugins, "--plugins")
    settings = load_rules(options.rules, options.set)
    sources = sources_of(options.input)
    crawls = crawls_of(sources, columns_of(options, sources))
    if options.dry_run:
        for line in describe_input(sources, settings):
            print(line)
        return
    executor = launched_executor(options.executor)
    with launcher_session(executor, options.out, max(1, options.workers)) as (executor, jobs):
        plan = curate_stage(crawls, settings=settings)
        corpus = run_stages(plan, options.out, jobs=jobs, executor=executor, display=display())
    assert isinstance(corpus, Corpus)
    for line in funnel_lines(corpus):
        print(line)
    for source, patterns in sources.items():
        if skipped := scan_files(patterns, source=source).passed_over:
            print(f"{source}: {describe_passed_over(skipped)}")
    if before := _corpus_before(options.out, corpus.path):
        print(
            f"{options.out} led to another corpus, which stays in {before}; documents, rejects and page are of this one"
        )
    link_results(corpus.path, options.out)
    page = options.out / "browse.html"
    page.write_text(render_browser(sample_documents(corpus), f"{options.out.name}: kept and removed"), encoding="utf-8")
    print(f"\ndocuments: {options.out / 'documents'}\nrejects:   {options.out / 'rejects'}\nlook:      {page}")


def _corpus_before(out: Path, corpus: Path) -> Path | None:
    """The corpus that links in `out` lead to, where it is another than `corpus`."""
    link = out / "documents"
    before = link.resolve().parent if link.is_symlink() and link.exists() else corpus.resolve()
    return None if before == corpus.resolve() else before


COMMAND = Command(
    "curate", "make a corpus of raw pages, without training anything", add_options, run, lambda options: options.out
)

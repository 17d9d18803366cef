"""`herd extract`: the main text of pages."""

from __future__ import annotations

import argparse

from herd.commands.command import Command
from herd.core.terminal import json_line


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("page", nargs="+", help="HTML files, web archives, folders, patterns or addresses")
    parser.add_argument("--markdown", action="store_true", help="keep headings, lists and tables as Markdown")
    parser.add_argument("--all-text", action="store_true", help="all that a page shows, not only its main content")


def run(options: argparse.Namespace) -> None:
    from herd.corpus.extract import ExtractSettings, extract_files
    from herd.corpus.sources import find_files

    settings = ExtractSettings(
        output_format="markdown" if options.markdown else "plain", main_only=not options.all_text
    )
    for row in extract_files(find_files(options.page, source="pages"), settings):
        print(json_line(row))


COMMAND = Command("extract", "print the main text of pages as JSON lines", add_options, run)

"""The acceptance table: every system of the recipe, its bar part by part, and what its checks measured."""

from herd.acceptance.check import RowResult, check_acceptance, format_json, format_text
from herd.acceptance.page import markdown
from herd.acceptance.table import AcceptanceRow, table

__all__ = ["AcceptanceRow", "RowResult", "check_acceptance", "format_json", "format_text", "markdown", "table"]

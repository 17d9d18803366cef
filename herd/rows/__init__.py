"""The acceptance table: every system of the recipe, its bar part by part, and what its checks measured."""

from herd.rows.check import Checked, as_json, as_text, check
from herd.rows.page import markdown
from herd.rows.table import Row, table

__all__ = ["Checked", "Row", "as_json", "as_text", "check", "markdown", "table"]

"""Which columns of a table of others hold what, and the other columns that documents keep."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from herd.core.errors import did_you_mean
from herd.core.settings import BeforeValidator, dump, settings
from herd.core.terminal import count_of

NOTE_CHARACTERS = 8_192  # of a value that is kept, as JSON
MAX_NOTES = 64  # values a document keeps of its row
_NAME_CHARACTERS = 200
TOO_LONG = object()  # in the place of a cell that is longer than what may be done with it, and was not read
NAME_THE_COLUMN = (
    "name the column that holds the text: `--text-column NAME`, or in a recipe `columns: {SOURCE: {text: NAME}}`"
)
_WITHOUT_TEXT = "without a text in the column"  # of a table; a row `has no text in the field`
LEFT_OUT = "columns_left_out"  # under which name it stands how many values were not kept


@settings
class TextColumns:
    """Where a row keeps what; a name may be `OUTER.INNER` for what stands inside an object.

    text: the text; html: or a page to be extracted. id, url, added: of the document, the last a day or a time. source:
    a column whose values name the source; when empty all rows are of the source they are read as. keep: other columns
    that stay with the documents, in their notes; all when absent.
    """

    text: str = "text"
    html: str = "html"
    id: str = "id"
    url: str = "url"
    added: str = "added"
    source: str = ""
    keep: tuple[str, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are read for themselves."""
        return tuple(filter(None, (self.text, self.html, self.id, self.url, self.added, self.source)))

    def to_row(self) -> dict[str, Any]:
        return dump(self)


ANY_TABLE = TextColumns()
# Rows as herd's own stages write them, and others' before columns could be named: they say their source.
AS_ROWS_SAY = TextColumns(source="source", keep=())

# What well-known sets call their columns. Source: the sets' cards on the Hub, and for Dolma docs/data-format.md of its
# toolkit.
TEXT_SETS: Mapping[str, TextColumns] = {
    "c4": TextColumns(added="timestamp"),
    "dclm": TextColumns(id="metadata.WARC-Record-ID", added="metadata.WARC-Date"),
    "dolma": TextColumns(),
    "fineweb": TextColumns(added="date"),
    "the_stack": TextColumns(text="content", id="hexsha"),
}


def _columns_named(value: object) -> object:
    """A set's columns by its name. Raises ValueError for one that is not known."""
    if not isinstance(value, str):
        return value
    if value not in TEXT_SETS:
        raise ValueError(
            f"{value[:60]!r} is none of the sets {', '.join(TEXT_SETS)}{did_you_mean(value, TEXT_SETS)}; or write its "
            "columns, such as {text: content}"
        )
    return TEXT_SETS[value]


ColumnsOrName = Annotated[TextColumns, BeforeValidator(_columns_named)]


def without_text(columns: TextColumns, names: Iterable[Any] | None, *, rows: int | None = None) -> str:
    """What to say of a row that has neither text nor page, or of a table of so many rows. names: those of the columns
    that it has; None to leave them out."""
    if rows is None:
        told = f"has no text in the field `{columns.text}` and no page in `{columns.html}`"
        return told if names is None else f"{told}; it has {describe_columns(names)}"
    return (
        f"{count_of(rows, 'row')} {_WITHOUT_TEXT} `{columns.text}` or a page in `{columns.html}`; "
        f"the columns are {describe_columns(names or ())}"
    )


def is_without_text(reason: str) -> bool:
    """Whether this is what `without_text` says."""
    return reason.startswith("has no text in the field `") or f" {_WITHOUT_TEXT} `" in reason


def column_value(row: Mapping[str, Any], name: str) -> Any:
    """The value of a column, or of `OUTER.INNER` inside an object; None where there is none."""
    if name in row:
        return row[name]
    outer, dot, inner = name.partition(".")
    held = row.get(outer) if dot else None
    return held.get(inner) if isinstance(held, Mapping) else None


def row_notes(row: Mapping[str, Any], columns: TextColumns, *, left_out: int = 0) -> str:
    """What a document keeps of its row beside what is read for itself: JSON of a bounded size, empty for nothing.

    left_out: values that were left out before; those that are too long, too many or no JSON are counted with them.
    """
    if columns.keep == ():
        return ""
    used = set(columns.names)
    notes: dict[str, str] = {}
    for name, value in row.items():
        if name in used or value is None or (columns.keep is not None and name not in columns.keep):
            continue
        text = _json(_without_used(name, value, used)) if len(name) <= _NAME_CHARACTERS else None
        if text is None or len(notes) == MAX_NOTES:
            left_out += 1
        elif text != "{}":
            notes[name] = text
    if left_out:
        notes[LEFT_OUT] = str(left_out)
    return f"{{{', '.join(f'{json.dumps(name)}: {text}' for name, text in notes.items())}}}" if notes else ""


def _without_used(name: str, value: Any, used: Iterable[str]) -> Any:
    """An object without what is read of it for itself."""
    inner = {part.partition(".")[2] for part in used if part.startswith(f"{name}.")}
    return (
        {key: held for key, held in value.items() if key not in inner} if inner and isinstance(value, dict) else value
    )


def _json(value: Any) -> str | None:
    """A value as JSON; None for one that is too long or no JSON."""
    if isinstance(value, str | bytes) and len(value) > NOTE_CHARACTERS:
        return None
    try:
        text = json.dumps(value, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError):
        return None
    return text if len(text) <= NOTE_CHARACTERS else None


def _plain(value: Any) -> Any:
    """Dates and exact numbers as text; what else is no JSON is left out."""
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta | decimal.Decimal):
        return str(value)
    raise TypeError


def describe_columns(names: Iterable[Any]) -> str:
    """The first names of columns, for a sentence that says what there is."""
    listing = [str(name)[:60] for name in names]
    more = f" and {len(listing) - 12} more" if len(listing) > 12 else ""
    return f"{', '.join(listing[:12])}{more}" if listing else "none"

"""What is said of a row whose columns are of no known form: the forms for the job at hand, and the nearest one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

_MOST_COLUMNS = 8  # of a row that are named; a table may have hundreds
_NAME = 40  # letters of a column's name that are shown
Form = tuple[str, ...]


def unknown_columns(columns: Iterable[Any], job: str, common: Sequence[Form], others: Sequence[Form] = ()) -> str:
    """What is wrong, without a full stop. columns: those of the row. job: what the row would be, such as `dialogue`.
    common, others: the forms that it could have; of the others it is only said how many there are."""
    names = [str(column) for column in columns]
    shown = ", ".join(name[:_NAME] for name in names[:_MOST_COLUMNS]) + (", ..." if len(names) > _MOST_COLUMNS else "")
    listed = " or ".join(" + ".join(form) for form in common)
    rarer = f", or one of {len(others)} rarer forms" if len(others) > 1 else ""
    return f"columns {shown or '(none)'} make no {job}{_nearest(names, (*common, *others))}; it wants {listed}{rarer}"


def _nearest(names: Collection[str], forms: Sequence[Form]) -> str:
    """What is missing of the form that the row has most of; empty where it has little of any."""
    known = {column for form in forms for column in form}
    free = [name for name in names if name not in known]
    best, words = 0.4, ""
    for form in forms:
        missing = [column for column in form if column not in names]
        guesses = {column: _guess(column, free, alone=len(missing) == 1 < len(form)) for column in missing}
        # Every column that is there counts, and half of one that another name stands for.
        found = (len(form) - len(missing) + sum(0.5 for guess in guesses.values() if guess)) / len(form)
        if found > best:
            best = found
            lacks = [
                f"{name!r}{f' (did you mean it by {guess!r}?)' if guess else ''}" for name, guess in guesses.items()
            ]
            words = (
                f": {' + '.join(form)} lacks {' and '.join(lacks)}" if len(form) > 1 else f": there is no {lacks[0]}"
            )
    return words


def _guess(column: str, free: Sequence[str], *, alone: bool) -> str:
    """Which of the row's other columns may be meant; the only one, where no other column of the form is missing."""
    near = difflib.get_close_matches(column, free, n=1, cutoff=0.7)
    return (near[0] if near else free[0] if alone and len(free) == 1 else "")[:_NAME]

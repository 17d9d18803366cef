"""YAML as people write it, of bounded size: what a few bytes expand to is counted before anything is made of them."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.events import AliasEvent

MAX_VALUES = 100_000  # of a document, what aliases stand for counted each time
DEEPEST = 64  # lists and mappings in one another
_LARGEST_INT = 2**63


class TooMuchError(yaml.MarkedYAMLError):
    """A document that is YAML and more than any recipe is."""


class Loader(yaml.SafeLoader):
    """YAML as people expect it: 1e-3 is a number, and a date is text. Raises YAMLError, with its line, also for a
    key given twice, for numbers that no setting can be, and for documents beyond the bounds above."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._values = self._depth = 0
        self._sizes: dict[int, int] = {}  # by node, what it stands for when it is named again

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        mark, is_alias, before = event.start_mark, isinstance(event, AliasEvent), self._values
        self._depth += 1
        if self._depth > DEEPEST:
            raise TooMuchError(problem=f"lists and mappings lie more than {DEEPEST} deep", problem_mark=mark)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise TooMuchError(problem="an alias stands inside what it names", problem_mark=mark)
        self._values += self._sizes[id(node)] if is_alias else 1
        if self._values > MAX_VALUES:
            location = "with this alias" if is_alias else "here"
            raise TooMuchError(problem=f"it holds more than {MAX_VALUES:,} values {location}", problem_mark=mark)
        if not is_alias:
            self._sizes[id(node)] = self._values - before
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node: Any = super().compose_mapping_node(anchor)
        names = set[tuple[str, str]]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name = key.tag, key.value
                if name in names and key.tag != "tag:yaml.org,2002:merge":
                    raise TooMuchError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
                names.add(name)
        return node


def _number(loader: Loader, node: Any) -> int | float:
    try:
        if node.tag.endswith("int"):
            number = yaml.SafeLoader.construct_yaml_int(loader, node)
        else:
            number = yaml.SafeLoader.construct_yaml_float(loader, node)
    except (ValueError, OverflowError):
        raise ConstructorError(None, None, f"{node.value[:40]!r} is no number", node.start_mark) from None
    if abs(number) >= _LARGEST_INT if isinstance(number, int) else not math.isfinite(number):
        raise ConstructorError(None, None, f"{node.value[:40]} is no number a setting can be", node.start_mark)
    return number


Loader.add_constructor("tag:yaml.org,2002:int", _number)
Loader.add_constructor("tag:yaml.org,2002:float", _number)
# YAML 1.1 reads 1e-3 as text, because it wants 1.0e-3.
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?([eE][-+]?\d+)$"),
    list("-+0123456789"),
)


def _without_dates(rules: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]


# A date stays the text it was written as.
Loader.yaml_implicit_resolvers = {
    first: _without_dates(rules) for first, rules in Loader.yaml_implicit_resolvers.items()
}

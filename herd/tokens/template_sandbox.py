"""Where the chat templates of others are filled in: nothing outside can be reached, work and output are bounded, and
every character of the output tells which text it comes from."""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from herd.core.errors import ArtifactError
from herd.tokens import growth
from herd.tokens.traced import TracedText, join_traced, mark_generated, origins_of, sources_in, trace_coarsely
from herd.tokens.traced_json import to_json

# Names no template can write: what is put around its nodes when it is read.
_STEP, _WEIGH, _TEXT, _JOIN = "a step", "weigh", "as text", "side by side"
# What draws lots, and what is not known to end soon.
_REFUSED = ("random", "urlize", "striptags", "xmlattr", "pprint", "wordwrap", "filesizeformat", "forceescape")
# What a text marked `safe` may meet; among others Jinja escapes for web pages.
_WITH_SAFE = {_TEXT, _JOIN, _WEIGH, "safe", "string", "default", "d", "length", "count", "join", "tojson"}

_LONGEST_REASON = 300


class UnfollowedError(TemplateError):
    """A template does what is not followed here."""


@dataclass
class Budget:
    """What is left to one filling-in. steps: operations; a look at 256 characters is one, and the
    making of 64. characters: of a text."""

    steps: int
    characters: int

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise ArtifactError("the model's chat template is no good: it goes on without end; use another template")

    def check(self, size: int) -> None:
        if size > self.characters:
            raise ArtifactError(
                f"the model's chat template is no good: it makes texts of more than {self.characters:,} characters "
                "of a few; use another template"
            )
        self.spend(size >> 6)


_budget: ContextVar[Budget] = ContextVar("budget")


def _spend(*values: Any) -> None:
    """Counts an operation on `values`."""
    weight = sum(len(value) >> 8 for value in values if isinstance(value, (str, list, tuple, dict, range)))
    _budget.get().spend(1 + weight)


class Environment(ImmutableSandboxedEnvironment):
    """Jinja as transformers sets it up. Source: transformers, `chat_template_utils.py`."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"], optimized=False
        )
        self.filters["tojson"] = to_json
        self.filters["join"] = _join
        self.filters["indent"] = _indent
        self.filters = {
            name: _guard_filter(name, function) for name, function in self.filters.items() if name not in _REFUSED
        }
        self.filters |= {_STEP: _step, _WEIGH: _weigh, _TEXT: render_text, _JOIN: _side_by_side}
        self.tests = {name: _count_test(function) for name, function in self.tests.items()}
        self.globals |= {
            "raise_exception": _raise,
            "strftime_now": lambda form: datetime.now().strftime(form),
            "namespace": _Namespace,
            "dict": _Dictionary(),
        }
        del self.globals["lipsum"]
        self.concat = _concat

    def fill(self, template: Any, values: Mapping[str, Any], budget: Budget) -> str:
        """The template's output. Raises ArtifactError over the budget."""
        token = _budget.set(budget)
        try:
            return template.render(values)
        finally:
            _budget.reset(token)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for kind, word in ((nodes.EvalContextModifier, "autoescape"), (nodes.Include, "include")):
            if tree.find(kind) is not None:
                raise UnfollowedError(f"it uses {word!r}, which herd does not follow")
        for node in tree.find_all(nodes.Filter):
            if node.name in _REFUSED:
                raise UnfollowedError(f"it uses the filter {node.name!r}, which herd does not follow")
        tree = _Watch().visit(tree)
        tree.set_environment(self)
        return tree

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        owner = getattr(value, "__self__", None)
        if isinstance(owner, TracedText) and value.__name__ in ("format", "format_map"):
            value = getattr(str.__str__(owner), value.__name__)
        formatter = super().wrap_str_format(value)
        if formatter is not None:
            formatter.__self__ = owner  # type: ignore[attr-defined] - as the method itself has it
        return formatter

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _spend(left, right)
        _budget.get().check(growth.of_operator(operator, left, right))
        if isinstance(left, Safe) or isinstance(right, Safe):
            raise UnfollowedError("it adds to a text marked 'safe', which herd does not follow")
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return join_traced((left, right))
        return _trace_result(super().call_binop(context, operator, left, right), (left, right))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        owner = getattr(__obj, "__self__", None)
        _spend(owner, *args)
        is_text = isinstance(owner, str)
        if isinstance(owner, (int, float, bytes)):
            raise UnfollowedError("it calls methods of numbers, which herd does not follow")
        if is_text:
            name = __obj.__name__
            _budget.get().check(growth.of_method(name, owner, args, kwargs))
            if isinstance(owner, Safe) or any(isinstance(arg, Safe) for arg in args):
                raise UnfollowedError(f"it uses {name!r} on a text marked 'safe', which herd does not follow")
            if name == "join" and len(args) == 1:
                return join_traced(args[0], owner)
            if name == "encode":
                raise UnfollowedError("it encodes texts, which herd does not follow")
        result = super().call(__context, __obj, *args, **kwargs)
        # Macros, loops and namespaces hand on what was traced inside them.
        inner = isinstance(__obj, (Macro, LoopContext)) or not (is_text or isinstance(__obj, types.BuiltinMethodType))
        return result if inner else _trace_result(result, (owner, args, kwargs))


class Generation(Extension):
    """`{% generation %}`, around what the assistant writes, as transformers reads it."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja wants it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_written"), [], [], body).set_lineno(line)

    def _written(self, caller: Callable[[], str]) -> str:
        return mark_generated(caller())


class Safe(TracedText):
    """A text that is not to be escaped; with most other texts Jinja would escape those."""


class _Watch(NodeTransformer):
    """Puts counting and tracing where Jinja's code would go by itself."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_around(_STEP, nodes.Const(None), node)).set_lineno(node.lineno))
        if node.test is not None:
            node.test = nodes.And(_around(_STEP, nodes.Const(True), node), node.test)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _around(_WEIGH, node.expr, node)
        for operand in node.ops:
            operand.expr = _around(_WEIGH, operand.expr, node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _around(_JOIN, nodes.List(node.nodes).set_lineno(node.lineno), node)

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [
            child if isinstance(child, nodes.TemplateData) else _around(_TEXT, child, node) for child in node.nodes
        ]
        return node


def _around(name: str, node: nodes.Node, at: nodes.Node) -> Any:
    return nodes.Filter(node, name, [], [], None, None).set_lineno(at.lineno)


def _step(value: Any) -> Any:
    _budget.get().spend(1)
    return value


def _weigh(value: Any) -> Any:
    _spend(value)
    return value


def render_text(value: Any) -> str:
    """What Jinja writes for `value`."""
    if isinstance(value, Safe):
        return TracedText(str.__str__(value), origins_of(value))
    if isinstance(value, (str, Undefined)):
        return str(value)
    _spend(value)
    return trace_coarsely(str(value), value)


def _concat(parts: Any) -> str:
    texts = list(parts)
    _budget.get().check(sum(map(len, texts)))
    return join_traced(texts)


def _side_by_side(parts: list[Any]) -> str:
    return _concat(map(render_text, parts))


def _join(value: Any, d: str = "", attribute: str | int | None = None) -> str:
    if attribute is not None:
        raise UnfollowedError("it joins by an attribute, which herd does not follow")
    texts, between = [render_text(part) for part in value], render_text(d)
    _budget.get().check(sum(map(len, texts)) + len(between) * len(texts))
    return join_traced(texts, between)


def _indent(s: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    """As Jinja's own, in pieces that stay traced."""
    fill = width if isinstance(width, str) else " " * width
    lines = join_traced((render_text(s), "\n")).splitlines()
    body = lines if blank else [line if number == 0 or not line else fill + line for number, line in enumerate(lines)]
    text = join_traced(body, "\n" + fill if blank else "\n")
    return fill + text if first else text


def _guard_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, bounded and traced."""

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        own = [arg for arg in args if isinstance(arg, (str, int, float, list, tuple, dict, range))]
        _spend(*own)
        _budget.get().check(growth.of_filter(name, own, kwargs))
        if name not in _WITH_SAFE and any(isinstance(arg, Safe) for arg in own):
            raise UnfollowedError(f"it puts a text marked 'safe' through {name!r}, which herd does not follow")
        result = function(*args, **kwargs)
        if name == "safe":
            return Safe(str.__str__(args[0]), origins_of(args[0])) if isinstance(args[0], str) else result
        return _trace_result(result, (own, kwargs))

    return watched


def _count_test(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        _spend(*args)
        return function(*args, **kwargs)

    return counted


def _trace_result(result: Any, inputs: Any) -> Any:
    """The result of an operation on `inputs`, with the origin of texts that the operation did not trace."""
    if isinstance(result, Markup):
        text = trace_coarsely(str.__str__(result), inputs)
        return Safe(text, origins_of(text))
    if type(result) is str:
        _budget.get().check(len(result))
        return result if _among(result, inputs) else trace_coarsely(result, inputs)
    if isinstance(result, types.GeneratorType):
        return _trace_each(result, inputs)
    if type(result) in (list, tuple):
        _budget.get().check(len(result))
        return type(result)(_trace_result(element, inputs) for element in result)
    if isinstance(result, (bytes, bytearray)) and sources_in(inputs):
        raise UnfollowedError("it encodes texts, which herd does not follow")
    return result


def _trace_each(results: Iterator[Any], inputs: Any) -> Iterator[Any]:
    for element in results:
        _budget.get().spend(1)
        yield _trace_result(element, inputs)


def _among(text: str, inputs: Any) -> bool:
    """Whether the text is one of the inputs, handed on."""
    pending = [inputs]
    while pending:
        value = pending.pop()
        if value is text:
            return True
        if isinstance(value, (list, tuple)):
            pending.extend(value)
        elif isinstance(value, dict):
            pending.extend((*value.keys(), *value.values()))
    return False


def _raise(words: str) -> None:
    raise TemplateError(str(words)[:_LONGEST_REASON])


class _Dictionary:
    """`dict` without what Python's own class leads to."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """Jinja's own without hidden names."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, values = args[0], dict(*args[1:], **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)


def _check_name(name: str) -> None:
    if re.match("_", name):
        raise SecurityError(f"it sets the hidden name {name!r}")

"""What templates may do: Jinja as transformers has it, within bounds, and nothing outside."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import TemplateError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from herd.core.errors import ArtifactError
from herd.tokens.template_sandbox import Budget, Environment, UnfollowedError
from herd.tokens.traced import MIXED_SOURCE, is_generated, is_unsure, origins_of, source_of, trace

ENVIRONMENT = Environment()


def fill(template: str, *, steps: int = 10_000, characters: int = 10_000, **values: Any) -> str:
    return ENVIRONMENT.fill(ENVIRONMENT.from_string(template), values, Budget(steps, characters))


VALUES: dict[str, Any] = {
    "m": {"role": "user", "content": "  Hi <b> \n there, there "},
    "tools": [{"name": "f"}, {"name": "g"}],
    "n": 3,
}
TEMPLATES = [
    "{% for t in tools %}{{ loop.index }}:{{ t.name }}{{ ', ' if not loop.last }}{% endfor %}",
    "{{ m.content | trim | upper }}|{{ m['content'].strip().split(',')[0] }}|{{ m.content | length }}",
    "{{ m.content.replace('there', 'here') }}{{ m.content | replace('there', n) }}",
    "{% set ns = namespace(seen=0) %}{% for t in tools %}{% set ns.seen = ns.seen + n %}{% endfor %}{{ ns.seen }}",
    "{% macro say(x, y=2) %}{{ x }}-{{ y }}{% endmacro %}{{ say('a') }}{{ say('b', y='c') }}",
    "{{ 'a' ~ n ~ m.role ~ none ~ true }}{{ '%s is %03d' % (m.role, n) }}{{ '{:>6}'.format(n) }}",
    "{% if m.role in ['user'] and m is mapping and n is defined and x is undefined %}yes{% endif %}",
    "{{ x | default('d') }}{{ m.name or 'none' }}",
    "{% set text %}a{{ n }}\n b{% endset %}{{ text | indent(2, first=true) }}{{ ['a', n] | join('; ') }}",
    "{% for k, v in m.items() %}{% if k == 'role' %}{% continue %}{% endif %}{{ k }}={{ v }}{% endfor %}",
    "{{ tools | map(attribute='name') | list | join }}{{ (range(4) | list)[1:] }}{{ dict(a=1).get('a') }}",
    "{{ m.content[2:4] }}{{ m.content.split() | first }}{{ 'x'.join(['a', 'b']) }}{{ [1, 2] | sum }}{{ n * 'ab' }}",
    "  {% if true %}\n  a\n  {% endif %}\n  {%- if n %} b {% endif %}\n",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_write_what_jinja_writes_traced_or_not(template: str) -> None:
    theirs = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    wanted = theirs.from_string(template).render(VALUES)
    assert fill(template, **VALUES) == wanted
    assert str.__str__(fill(template, **trace(VALUES, 1))) == wanted


def sources(text: str) -> list[int | None]:
    return [source_of(origin) for origin in origins_of(text)]


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("<{{ a }}{{ b }}>", [None, 1, 2, None]),
        ("{{ a + '-' + b }}", [1, None, 2]),
        ("{{ a ~ '-' ~ b }}", [1, None, 2]),
        ("{{ [a, b] | join('-') }}", [1, None, 2]),
        ("{{ (' ' + a) | trim }}{{ b | upper }}", [1, 2]),
        ("{% set x %}-{{ b }}{% endset %}{{ x }}", [None, 2]),
        ("{% macro f(x) %}-{{ x }}{% endmacro %}{{ f(a) }}", [None, 1]),
        ("{{ a | replace('x', b) }}", [2]),
        ("{{ a | tojson }}", [None, 1, None]),
        ("{{ (a ~ '\n') | indent(1, first=true) }}", [None, 1]),
    ],
)
def test_every_character_says_where_it_comes_from(template: str, wanted: list[int | None]) -> None:
    found = fill(template, a=trace("x", 1), b=trace("y", 2))
    assert sources(found)[: len(wanted)] == wanted
    assert not any(map(is_unsure, origins_of(found)))


def test_what_is_not_followed_may_be_of_all() -> None:
    found = fill("{{ '%s%s' % (a, b) }}", a=trace("x", 1), b=trace("y", 2))
    assert (str.__str__(found), sources(found)) == ("xy", [MIXED_SOURCE, MIXED_SOURCE])
    found = fill("{{ a | reverse }}", a=trace("xy", 1))
    assert str.__str__(found) == "yx"
    assert set(sources(found)) == {1}
    assert sources(fill("{{ [a] }}", a=trace("x", 1))) == [1] * 5


def test_what_the_template_marks_as_generated_is() -> None:
    found = fill("a{% generation %}b{{ x }}{% endgeneration %}c", x=trace("x", 1))
    assert str.__str__(found) == "abxc"
    assert [is_generated(origin) for origin in origins_of(found)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("template", "values"),
    [
        ("{% for i in range(200) %}{% endfor %}", {}),
        ("{% for i in range(200) if i > 500 %}{% endfor %}", {}),
        ("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(9) }}", {}),
        ("{% if a == b %}{% endif %}", {"a": "x" * 60_000, "b": "x" * 60_000}),
        ("{{ a | upper | length }}", {"a": "x" * 60_000}),
    ],
)
def test_work_ends_with_its_budget(template: str, values: dict[str, Any]) -> None:
    assert fill(template, steps=100_000, characters=100_000, **values) is not None
    with pytest.raises(ArtifactError, match="goes on without end"):
        fill(template, steps=100, characters=100_000, **values)


@pytest.mark.parametrize(
    "template",
    ["{{ 'a' * 200 }}", "{{ a ~ a }}", "{{ a + a }}", "{{ a }}{{ a }}", "{{ 'b' | center(200) }}",
     "{{ [a, a] | join }}", "{{ a | replace('x', 'yyy') }}", "{{ [0] * 200 }}", "{{ '%200d' % 1 }}"],
)  # fmt: skip
def test_no_text_or_list_is_longer_than_is_allowed(template: str) -> None:
    assert fill(template, a="x" * 60)
    with pytest.raises(ArtifactError, match="more than 100 characters"):
        fill(template, characters=100, a="x" * 60)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ [1] | random }}", "the filter 'random'"),
        ("{% include 'x' %}", "'include'"),
        ("{% autoescape true %}{% endautoescape %}", "'autoescape'"),
        ("{{ a | safe ~ 'b' + 'c' | safe }}", "marked 'safe'"),
        ("{{ (a | safe).upper() }}", "'upper' on a text marked 'safe'"),
        ("{{ (a | safe) | lower }}", "through 'lower'"),
        ("{{ a.encode() }}", "encodes texts"),
        ("{{ (3).bit_length() }}", "methods of numbers"),
        ("{{ tools | join(attribute='name') }}", "joins by an attribute"),
    ],
)
def test_what_is_not_followed_is_named(template: str, words: str) -> None:
    with pytest.raises(UnfollowedError, match=words):
        fill(template, a=trace("x", 1), tools=[{"name": "f"}])


@pytest.mark.parametrize(
    "template",
    ["{{ ''.__class__.__mro__ }}", "{{ f.__globals__.x }}", "{{ dict.__class__ }}{{ dict.mro() }}",
     "{{ namespace(__x=1) }}", "{% set n = namespace() %}{% set n._x = 1 %}", "{{ tools.append(1) }}"],
)  # fmt: skip
def test_nothing_outside_can_be_reached_or_changed(template: str) -> None:
    with pytest.raises((SecurityError, TemplateError)):
        fill(template, f=fill, tools=[1])


def test_what_a_template_raises_is_cut_to_a_sentence() -> None:
    with pytest.raises(TemplateError) as told:
        fill("{{ raise_exception('x' * 5000) }}")
    assert str(told.value) == "x" * 300

"""The house rules that a machine can hold: floors, sizes, plug-ins, and how fast the door opens."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from herd.align.losses import losses
from herd.corpus.dedup import dedups
from herd.corpus.filters import filters
from herd.corpus.rewrites import rewrites
from herd.evals.tasks import tasks
from herd.mixing.methods import methods
from herd.recipes import recipes
from herd.world import tasks as world_tasks

HERD = Path(__file__).parent.parent / "herd"
TESTS = Path(__file__).parent
FLOORS = {
    "core": 0,
    "run": 1,
    "sandbox": 2,
    "tokens": 2,
    "model": 2,
    "train": 3,
    "generate": 3,
    "judge": 4,
    "evals": 5,
    "corpus": 6,
    "scaling": 6,
    "mixing": 6,
    "pretrain": 6,
    "align": 6,
    "serve": 6,
    "report": 7,
    "recipes": 8,
    "world": 8,
    "acceptance": 8,
    "studies": 9,
    "commands": 10,
    "cli": 11,
    "__main__": 12,
}
assert world_tasks  # whose tasks are held to the same
REGISTRIES = (filters, rewrites, dedups, losses, tasks, methods)
MAX_LINES, MAX_FUNCTION_LINES, MAX_CLASS_LINES = 450, 80, 200
FORBIDDEN = {"utils", "common", "helpers", "misc", "base", "manager"}


@functools.cache
def files() -> tuple[Path, ...]:
    return tuple(sorted(HERD.rglob("*.py")))


@functools.cache
def parsed(file: Path) -> ast.Module:
    """A file's syntax, which nearly every rule looks at."""
    return ast.parse(file.read_text(encoding="utf-8"))


@functools.cache
def texts_of_tests() -> tuple[str, ...]:
    return tuple(file.read_text(encoding="utf-8") for file in TESTS.rglob("test_*.py"))


@pytest.fixture(scope="module", autouse=True)
def _forgotten() -> Iterator[None]:
    """All of herd's syntax is some tens of megabytes."""
    yield
    parsed.cache_clear()
    texts_of_tests.cache_clear()


def room(name: str) -> str:
    """`herd.corpus.stats` lies in `corpus`; the package's own __init__ in none."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "herd":
            yield from (f"herd.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("file", list(files()), ids=lambda file: str(file.relative_to(HERD)))
def test_a_file_imports_only_from_lower_floors(file: Path) -> None:
    parts = file.relative_to(HERD).with_suffix("").parts
    if parts == ("__init__",):
        return
    own = parts[0]
    assert own in FLOORS, f"room {own} is on no floor; give it one here and in docs/style.md"
    for name in imports(parsed(file)):
        if not name.startswith("herd.") or room(name) == own or (room(name) == "world" and may_know_the_world(file)):
            continue
        assert FLOORS[room(name)] < FLOORS[own], f"{own} (floor {FLOORS[own]}) imports {name}"


def module(file: Path) -> str:
    parts = file.relative_to(HERD.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_graph() -> dict[str, set[str]]:
    """What every module of herd imports of herd, at its top, in a function or for its types."""
    trees = {module(file): parsed(file) for file in files()}
    graph: dict[str, set[str]] = {name: set() for name in trees}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & trees.keys()
            elif isinstance(node, ast.ImportFrom) and node.module:
                both = ((f"{node.module}.{alias.name}", node.module) for alias in node.names)
                graph[name] |= {full if full in trees else package for full, package in both} & trees.keys()
    return graph


def in_circles(graph: dict[str, set[str]]) -> set[str]:
    """The nodes of all circles, and of paths between two of them."""
    left = set(graph)
    while True:
        reached = {name for one in left for name in graph[one]}
        inside = {name for name in left if name in reached and graph[name] & left}
        if inside == left:
            return left
        left = inside


def test_no_two_modules_import_each_other_by_any_way() -> None:
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}, "e": set()}) == {"b", "c", "d"}
    graph = module_graph()
    assert sum(map(len, graph.values())) > len(graph)
    assert not in_circles(graph)


def may_know_the_world(file: Path) -> bool:
    """The world is a plug-in of the recipe `tiny` and of the studies."""
    first, name = file.relative_to(HERD).parts[0], file.name
    return first in ("world", "studies") or (first == "recipes" and name.startswith("tiny"))


def knowers_of_the_world(text: str) -> Iterator[str]:
    """Where a file of herd imports the world, late or not, or names one of its modules in a string."""
    tree = ast.parse(text)
    yield from (name for name in imports(tree) if room(name) == "world")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and re.search(r"\bherd[./]world\b", str(node.value)):
            yield str(node.value)


def test_nothing_knows_the_world_but_the_recipe_and_the_studies_it_is_a_plugin_of() -> None:
    found = [
        f"{file.relative_to(HERD)}: {name}"
        for file in files()
        if not may_know_the_world(file)
        for name in knowers_of_the_world(file.read_text(encoding="utf-8"))
    ]
    assert not found
    assert sum(may_know_the_world(file) for file in files()) > 20


@pytest.mark.parametrize(
    "text",
    [
        "import herd.world",
        "from herd import world",
        "from herd.world.truth import World",
        "def late():\n    from herd.world import sums",
        "import_module('herd.world.tasks')",
        "FILE = 'herd/world/facts.py'",
    ],
)
def test_whoever_knows_the_world_is_found(text: str) -> None:
    assert list(knowers_of_the_world(text))


def test_a_run_without_a_world_loads_nothing_of_it() -> None:
    code = (
        "import sys; from herd.recipes import one_round, judging; from herd.serve import chat, folders; "
        "from herd.evals import stages; from herd.mixing import corpora; from herd.report import pages; "
        "from herd.evals.tasks import tasks; tasks.all(); "
        "print([name for name in sys.modules if name.startswith('herd.world')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("file", list(files()), ids=lambda file: str(file.relative_to(HERD)))
def test_files_functions_and_classes_stay_small(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            length = (node.end_lineno or node.lineno) - node.lineno
            assert length <= (MAX_CLASS_LINES if isinstance(node, ast.ClassDef) else MAX_FUNCTION_LINES), node.name


UNMIRRORED = TESTS / "unmirrored.txt"


def holds_code(file: Path) -> bool:
    """Whether a file holds more than a docstring and imports."""
    nodes = parsed(file).body
    bare = (one for one in nodes if not isinstance(one, ast.Import | ast.ImportFrom))
    return not all(isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) for one in bare)


def has_mirror(name: str) -> bool:
    """Whether `x.y` has tests/x/test_y.py; files of a package in a room may share the package's, as plug-ins do."""
    *folders, own = name.split(".")[1:]
    places = [TESTS.joinpath(*folders, f"test_{own}.py")]
    if len(folders) > 1:
        places.append(TESTS.joinpath(*folders[:-1], f"test_{folders[-1]}.py"))
    return any(place.exists() for place in places)


def test_every_file_has_its_test_file() -> None:
    """What has none stands in tests/unmirrored.txt, which may only get shorter."""
    files_with_code = {module(file) for file in files() if holds_code(file)} - {"herd", "herd.__main__"}
    without = {name for name in files_with_code if not has_mirror(name)}
    listed = UNMIRRORED.read_text(encoding="utf-8").split()
    assert listed == sorted(set(listed))
    assert not without - set(listed), "a new file of herd/x/y.py needs tests/x/test_y.py"
    assert not set(listed) - without, "these have a test file now, or are gone: take them off tests/unmirrored.txt"


def test_no_room_or_file_has_an_empty_name() -> None:
    found = {path.stem for path in HERD.rglob("*") if path.suffix == ".py" or path.is_dir()}
    assert not found & FORBIDDEN


def test_only_settings_knows_pydantic_and_core_knows_no_torch() -> None:
    for file in files():
        names = {name.split(".")[0] for name in imports(parsed(file))}
        assert ("pydantic" in names) <= (file.name == "settings.py"), file
        if file.is_relative_to(HERD / "core"):
            assert "torch" not in names, file


def plugins() -> Iterator[tuple[str, str]]:
    for registry in REGISTRIES:
        for name in registry.all():
            yield registry.kind, name


@pytest.mark.parametrize(("kind", "name"), list(plugins()))
def test_a_plugin_names_its_source_and_has_a_test(kind: str, name: str) -> None:
    registry = next(one for one in REGISTRIES if one.kind == kind)
    assert "Source:" in (inspect.getdoc(registry.get(name)) or ""), f"{kind} {name} names no source"
    tested = any(f'"{name}"' in text for text in texts_of_tests())
    assert tested, f"no test names {kind} {name!r}"


def test_recipes_are_found_by_name() -> None:
    assert "tiny" in recipes.all()


def test_help_loads_no_torch() -> None:
    code = (
        "import sys, herd.cli; herd.cli.parser().format_help(); print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_public_functions_say_what_they_give_back() -> None:
    silent = []
    for file in files():
        for node in parsed(file).body:
            if isinstance(node, ast.ClassDef) and not ast.get_docstring(node):
                silent.append(f"{file.name}: {node.name}")
    assert not silent

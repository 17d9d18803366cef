"""How the source is built, in figures: names that say nothing, names that stand twice, sizes, circles, mirrored tests.

Prints one JSON line. `python benchmarks/structure.py` measures this checkout, `--commit C` the package as it was at a
commit, `--worst N` names the N places that weigh most under every figure. Nothing is imported: sources are only parsed.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

# Words that say that there is something, and not what.
PLACEHOLDERS = frozenset(
    """one ones another other others found given made kept told shown asked taken whole thing things stuff every each
    some many few most rest this that these those it both either neither which what who known wanted wished needed used
    seen held put done got had said came left gone went became begun ended drawn written built brought tried item items
    tmp temp foo bar baz""".split()
)
PRONOUNS = frozenset("one it this that these those other others another each every both which what who".split())
PARTICIPLES = frozenset(
    """made told given found kept shown taken held drawn built brought written known seen left put done gone begun
    sent spoken stolen worn thrown grown chosen foretold bound fed felt fought heard laid lent lost meant met paid said
    sold spent stood taught thought understood won""".split()
)
# Words in -ed that are nouns or adjectives of the field, or no participles.
NO_PARTICIPLE = frozenset("seed feed embed need speed red packed quantized tied".split())


@dataclass(frozen=True)
class Module:
    """A parsed file. name: as it is imported."""

    name: str
    file: Path
    tree: ast.Module
    lines: int

    @property
    def room(self) -> str:
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""


def modules(package: Path) -> list[Module]:
    parsed = []
    for file in sorted(package.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        parts = file.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        parsed.append(Module(name, file, ast.parse(text), len(text.splitlines())))
    return parsed


def bindings(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that the source gives to something, with its line: of variables, parameters, functions, classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.arg(arg=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.ExceptHandler(name=str(name)):
                yield name, node.lineno


def public(module: Module) -> Iterator[tuple[str, ast.stmt]]:
    """Classes, functions and constants that other files may import."""
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            continue
        yield from ((name, node) for name in names if not name.startswith("_"))


def is_participle_or_pronoun(name: str) -> bool:
    word = name.lower()
    if word in PRONOUNS or word in PARTICIPLES:
        return True
    return len(word) > 4 and word.endswith("ed") and "_" not in word and word not in NO_PARTICIPLE


COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def nested_comprehensions(tree: ast.Module) -> Iterator[int]:
    """Lines of comprehensions that stand within another or loop twice."""
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS):
            inner = any(isinstance(child, COMPREHENSIONS) for child in ast.walk(node) if child is not node)
            if inner or len(node.generators) > 1:
                yield node.lineno


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Functions and methods with how many lines they have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def imports(module: Module, names: set[str]) -> set[str]:
    """Modules of the package that this one imports when it is itself imported; late imports of functions too."""
    package = module.name.split(".")[0]
    imported = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names if alias.name in names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == package:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                imported.add(inner if inner in names else node.module)
    return (imported & names) - {module.name}


def circles(parsed: list[Module]) -> list[list[str]]:
    """Groups of modules that import each other, the largest first (Tarjan 1972, strongly connected components)."""
    names = {module.name for module in parsed}
    graph = {module.name: imports(module, names) for module in parsed}
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in sorted(graph[name]):
            if target not in order:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], order[target])
        if low[name] == order[name]:
            group = []
            while not group or group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                groups.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for name in sorted(graph):
        if name not in order:
            visit(name)
    return sorted(groups, key=len, reverse=True)


def unmirrored(parsed: list[Module], package: Path, tests: Path) -> list[str]:
    """Files with code and without a test file of the same place and name: herd/x/y.py has tests/x/test_y.py."""
    missing = []
    for module in parsed:
        relative = module.file.relative_to(package)
        if relative.name in ("__init__.py", "__main__.py"):
            continue
        if not (tests / relative.parent / f"test_{relative.name}").exists():
            missing.append(str(relative))
    return missing


def measure(package: Path, tests: Path) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The figures, and the places behind each."""
    parsed = modules(package)
    lines = sum(module.lines for module in parsed)
    named = [(name, f"{module.name}:{line}") for module in parsed for name, line in bindings(module.tree)]
    empty = Counter(name for name, _ in named if name in PLACEHOLDERS)
    homes: dict[str, set[str]] = {}
    strange = []
    for module in parsed:
        for name, _ in public(module):
            homes.setdefault(name, set()).add(module.name)
            if is_participle_or_pronoun(name):
                strange.append(f"{module.name}.{name}")
    rooms = {name: {home.split(".")[1] for home in where if "." in home} for name, where in homes.items()}
    twice = sorted(name for name, where in rooms.items() if len(where) > 1)
    nested = [f"{module.name}:{line}" for module in parsed for line in nested_comprehensions(module.tree)]
    sized = [(size, f"{module.name}.{name}") for module in parsed for name, size in functions(module.tree)]
    lengths = sorted(size for size, _ in sized)
    groups = circles(parsed)
    missing = unmirrored(parsed, package, tests)
    figures = {
        "files": len(parsed),
        "lines": lines,
        "bindings": len(named),
        "placeholder_share": round(sum(empty.values()) / len(named), 4),
        "public_names_in_two_rooms": len(twice),
        "public_participles_and_pronouns": len(strange),
        "nested_comprehensions_per_1000_lines": round(1000 * len(nested) / lines, 2),
        "function_lines_p50": lengths[len(lengths) // 2],
        "function_lines_p90": lengths[int(0.9 * len(lengths))],
        "function_lines_most": lengths[-1],
        "import_circles": len(groups),
        "files_without_mirrored_test": len(missing),
    }
    behind = {
        "placeholder_share": [f"{name} {count}" for name, count in empty.most_common()],
        "public_names_in_two_rooms": [f"{name}: {', '.join(sorted(homes[name]))}" for name in twice],
        "public_participles_and_pronouns": strange,
        "nested_comprehensions_per_1000_lines": nested,
        "function_lines_most": [f"{name} {size}" for size, name in sorted(sized, reverse=True)],
        "import_circles": [" ".join(group) for group in groups],
        "files_without_mirrored_test": missing,
    }
    return figures, behind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", help="measure the package as it was at this commit")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="name the N worst places of every figure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        checkout = ROOT
        if options.commit:
            checkout = Path(scratch)
            command = ["git", "archive", options.commit, "herd", "tests"]
            archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
            with tarfile.open(fileobj=BytesIO(archive)) as files:
                files.extractall(checkout, filter="data")
        figures, behind = measure(checkout / "herd", checkout / "tests")
    print(json.dumps({"benchmark": "structure", "commit": options.commit or "checkout", **figures}))
    for figure, places in behind.items():
        for place in places[: options.worst]:
            print(f"{figure}: {place}")


if __name__ == "__main__":
    main()

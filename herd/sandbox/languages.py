"""Languages other than Python: which of them this machine has, and how a program in one is compiled and run."""

from __future__ import annotations

import functools
import glob
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from herd.core.errors import SandboxError, SettingsError, did_you_mean
from herd.sandbox.launcher import SYSTEM_PATHS

_COMPILER_PATHS = (
    "/usr/bin", "/bin", "/usr/include", "/usr/local/include", "/usr/local/lib", "/etc/alternatives",
)  # fmt: skip
_LOADERS = ("/lib64/ld-linux*", "/lib/ld-linux*", "/lib/*/ld-linux*", "/lib/ld-musl*")
_SUFFIXES = {
    ".py": "python", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript", ".ts": "typescript", ".c": "c",
    ".cc": "cpp", ".cpp": "cpp", ".cxx": "cpp", ".rs": "rust", ".go": "go", ".java": "java",
}  # fmt: skip


@dataclass(frozen=True)
class Toolchain:
    """How a program is compiled and run here. version: in words. source: its file's name, from its text. compiler: the
    command, empty for none; runner: the command. In both `{source}`, `{stem}`, `{scratch}` and `{megabytes}` (of
    memory) are filled in. paths: what they read. variables: for the compiler. reserves: more addresses than it uses, so
    that memory is limited by what it writes to."""

    language: str
    version: str
    compiler: tuple[str, ...]
    runner: tuple[str, ...]
    paths: tuple[str, ...]
    source: Callable[[str], str]
    variables: tuple[tuple[str, str], ...] = ()
    reserves: bool = False

    @property
    def run_paths(self) -> tuple[str, ...]:
        """What a compiled program reads: libraries, and not the compiler; all of it where there is an interpreter."""
        return tuple(SYSTEM_PATHS) if self.runner[0].startswith("{scratch}") else self.paths


def loaders() -> list[str]:
    """The files that start programs with shared libraries."""
    return sorted({os.path.realpath(path) for pattern in _LOADERS for path in glob.glob(pattern)})


def language_of(file: Path) -> str:
    """By the name's ending. Raises SettingsError for one that says nothing."""
    try:
        return _SUFFIXES[file.suffix.lower()]
    except KeyError:
        endings = ", ".join(_SUFFIXES)
        raise SettingsError(f"{file.name}: no language has this ending ({endings}); name one with --language") from None


def find_toolchain(language: str) -> Toolchain:
    """What this machine has for a language. Raises SandboxError where it has nothing, SettingsError for a language that
    is not known."""
    if language not in _FINDERS:
        raise SettingsError(f"no language {language!r}{did_you_mean(language, PROGRAM_LANGUAGES)}")
    tool = _found(language)
    if tool is None:
        raise SandboxError(f"this machine has no {_NEEDED[language]} for programs in {language}; install one")
    return tool


def toolchains() -> dict[str, Toolchain | None]:
    """Every language but Python, and what there is for it."""
    return {language: _found(language) for language in _FINDERS}


@functools.cache
def _found(language: str) -> Toolchain | None:
    return _FINDERS[language]()


def _which(*names: str) -> str | None:
    """The file that a name on PATH leads to in the end."""
    tool = next((path for name in names if (path := shutil.which(name))), None)
    return tool and os.path.realpath(tool)


def _asked(*command: str) -> str:
    """The first line that a tool of the machine prints; empty where it does not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def _existing(*paths: str) -> tuple[str, ...]:
    return tuple(path for path in dict.fromkeys((*paths, *SYSTEM_PATHS)) if os.path.lexists(path))


def _fixed(name: str) -> Callable[[str], str]:
    return lambda _: name


def _javascript() -> Toolchain | None:
    node = _which("node", "nodejs")
    if node is None:
        return None
    runner = (node, "--max-old-space-size={megabytes}", "{scratch}/{source}")
    paths = _existing(node, "/usr/share/nodejs", "/etc/ssl/openssl.cnf")
    return Toolchain("javascript", f"node {_asked(node, '--version')}", (), runner, paths, _fixed("main.js"), (), True)


def _typescript() -> Toolchain | None:
    node, tsc = _which("node", "nodejs"), _which("tsc")
    if node is None:
        return None
    paths = _existing(node, "/usr/share/nodejs", "/etc/ssl/openssl.cnf")
    if tsc is not None:
        package = str(Path(tsc).parent.parent)
        compiler = (node, tsc, "--target", "es2022", "--module", "commonjs", "--skipLibCheck", "--outDir", "{scratch}",
                    "{scratch}/{source}")  # fmt: skip
        runner = (node, "--max-old-space-size={megabytes}", "{scratch}/main.js")
        version = f"tsc {_asked(node, tsc, '--version')}"
        return Toolchain("typescript", version, compiler, runner, (*paths, package), _fixed("main.ts"), (), True)
    version = _asked(node, "--version")
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers < (22, 6):  # before that, node cannot leave types out itself
        return None
    runner = (node, "--experimental-strip-types", "--no-warnings", "--max-old-space-size={megabytes}",
              "{scratch}/{source}")  # fmt: skip
    return Toolchain("typescript", f"node {version}", (), runner, paths, _fixed("main.ts"), (), True)


def _of_the_c_family(language: str, names: tuple[str, ...], source: str, options: tuple[str, ...]) -> Toolchain | None:
    compiler = _which(*names)
    if compiler is None:
        return None
    command = (compiler, *options, "{scratch}/{source}", "-o", "{scratch}/program", "-lm")
    paths = _existing(*_COMPILER_PATHS, str(Path(compiler).parent))
    return Toolchain(language, _asked(compiler, "--version"), command, ("{scratch}/program",), paths, _fixed(source))


def _rust() -> Toolchain | None:
    proxy, linker = shutil.which("rustc"), _which("cc", "gcc", "clang")
    root = _asked(proxy, "--print", "sysroot") if proxy else ""
    compiler = f"{root}/bin/rustc"
    if not root or linker is None or not os.access(compiler, os.X_OK):
        return None
    command = (compiler, "--edition", "2021", "-C", "opt-level=1", "-C", f"linker={linker}", "--sysroot", root,
               "{scratch}/{source}", "-o", "{scratch}/program")  # fmt: skip
    paths = _existing(root, *_COMPILER_PATHS, str(Path(linker).parent))
    return Toolchain("rust", _asked(compiler, "--version"), command, ("{scratch}/program",), paths, _fixed("main.rs"))


def _go() -> Toolchain | None:
    go = _which("go")
    root = _asked(go, "env", "GOROOT") if go else ""
    if go is None or not root:
        return None
    command = (go, "build", "-o", "{scratch}/program", "{scratch}/{source}")
    variables = (("GOROOT", root), ("GOCACHE", "{scratch}/.cache"), ("GO111MODULE", "off"), ("GOTOOLCHAIN", "local"),
                 ("CGO_ENABLED", "0"))  # fmt: skip
    paths = _existing(root, go)
    runner = ("{scratch}/program",)
    return Toolchain("go", _asked(go, "version"), command, runner, paths, _fixed("main.go"), variables, True)


def _java() -> Toolchain | None:
    java, javac = _which("java"), _which("javac")
    if java is None or javac is None:
        return None
    modest = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-XX:ReservedCodeCacheSize=48m",
              "-Xshare:auto", "-Djava.io.tmpdir={scratch}")  # fmt: skip
    compiler = (javac, *(f"-J{option}" for option in modest), "-J-Xmx512m", "-encoding", "UTF-8", "-d", "{scratch}",
                "{scratch}/{source}")  # fmt: skip
    runner = (java, *modest, "-Xmx{megabytes}m", "-Xss8m", "-cp", "{scratch}", "{stem}")
    homes = {str(Path(tool).parent.parent) for tool in (java, javac)}
    paths = _existing(*sorted(homes), *glob.glob("/etc/java*"))
    return Toolchain("java", f"java {_asked(java, '--version')}", compiler, runner, paths, _java_source, (), True)


def _java_source(code: str) -> str:
    """Java wants a file to have the name of its public class; the class with `main` where none is public."""
    public = re.search(r"\bpublic\s+(?:final\s+|abstract\s+)*class\s+(\w+)", code)
    if public:
        return f"{public[1]}.java"
    before = code[: match.start()] if (match := re.search(r"\bstatic\s+void\s+main\b", code)) else code
    names = re.findall(r"\bclass\s+(\w+)", before)
    return f"{names[-1] if names else 'Main'}.java"


_FINDERS: dict[str, Callable[[], Toolchain | None]] = {
    "javascript": _javascript,
    "typescript": _typescript,
    "c": lambda: _of_the_c_family("c", ("gcc", "cc", "clang"), "main.c", ("-O1", "-std=gnu17")),
    "cpp": lambda: _of_the_c_family("cpp", ("g++", "c++", "clang++"), "main.cpp", ("-O1", "-std=c++17")),
    "rust": _rust,
    "go": _go,
    "java": _java,
}
_NEEDED = {
    "javascript": "node", "typescript": "tsc, or node 22.6 or later,", "c": "C compiler", "cpp": "C++ compiler",
    "rust": "rustc with a linker", "go": "go", "java": "java with javac",
}  # fmt: skip
PROGRAM_LANGUAGES = ("python", *_FINDERS)

"""What is installed from a wheel: everything it needs, with compiled kernels and without, and no compiler at hand."""

from __future__ import annotations

import html
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from herd.core import native
from herd.corpus.pages import Page
from herd.corpus.warc import write_warc
from tests.corpus.test_extract import page

ROOT = Path(__file__).parents[1]
# What pip says when the build's own needs (hatchling) cannot be fetched.
NO_INDEX = (
    "No matching distribution",
    "Could not find a version",
    "Failed to establish",
    "Temporary failure",
    "HTTP error",
)
# Trains a little and writes greedily, by what a stage of a recipe trains and writes with.
PROGRAM = """
import json, sys
import torch
import torch.nn.functional as F
import herd
from herd.corpus import kernels as corpus_kernels
from herd.generate.engine import Engine
from herd.generate.engine import SamplingParams
from herd.model import kernels
from herd.model.sizes import Shape
from herd.model.transformer import Transformer, initialize

torch.manual_seed(0)
shape = Shape(dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=64, vocab_size=16, max_seq_len=64)
model = Transformer(shape)
initialize(model, std=0.05, layers=2, generator=torch.Generator().manual_seed(0))
row = torch.arange(33).remainder(5)[None] + 4
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
losses = []
for _ in range(60):
    loss = F.cross_entropy(model(row[:, :-1]).flatten(0, 1), row[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(float(loss))
model.eval()
engine = Engine(model, frozenset({2}), max_num_seqs=1)
written = engine.generate([[4, 5, 6]], SamplingParams(max_tokens=4, temperature=0.0))
print(json.dumps({
    "file": herd.__file__, "isa": kernels.isa(), "corpus": type(corpus_kernels.corpus_kernels()).__name__,
    "first": losses[0], "last": losses[-1], "written": written[0].token_ids,
}))
"""
# What became of each page.
LISTING = """
import json
from pathlib import Path
from herd.core.storage import read_documents

corpus = Path("corpus/documents").resolve().parent
rows = [(document.id, document.text) for name in ("documents", "rejects") for document in read_documents(corpus, name)]
print(json.dumps(rows))
"""


@dataclass(frozen=True)
class Installed:
    """A virtual environment with herd from a wheel, and no compiler on its PATH."""

    folder: Path
    wheel: Path

    def run(self, *command: str, warn: bool = False) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR", "OMP_NUM_THREADS")}
        told = kept | {
            "PATH": str(self.folder / "bin"),
            "HOME": str(self.folder),
            "HERD_CACHE": str(self.folder / "cache"),
        }
        if not warn:
            told["PYTHONWARNINGS"] = "error::RuntimeWarning"
        return subprocess.run(command, env=told, cwd=self.folder, capture_output=True, text=True, check=True)


def prose(document: str) -> str:
    """A page of our own documentation: English of which the rules for web pages think well."""
    blocks = (ROOT / "docs" / document).read_text(encoding="utf-8").split("\n\n")
    running = [block for block in blocks if len(block) > 200 and block[0].isalpha()]
    return "".join(f"<p>{html.escape(' '.join(block.replace('`', '').split()))}</p>" for block in running)


def build(sources: Path, folder: Path, **changes: str) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(sources)]
    done = subprocess.run(command, env=os.environ | changes, capture_output=True, text=True, check=False)
    if done.returncode and any(words in done.stderr for words in NO_INDEX):
        pytest.skip("pip has no index to fetch hatchling from, which builds the wheel")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Installed:
    """herd from the wheel; what it depends on is taken from the environment that runs the tests."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    assert shutil.which("c++", path=str(folder / "bin")) is None
    return Installed(folder, wheel)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    try:
        native.compiler()
    except native.HerdError as fault:
        pytest.skip(f"no wheel with kernels can be built: {fault}")
    return install(build(ROOT, tmp_path_factory.mktemp("wheel")), tmp_path_factory.mktemp("compiled") / "venv")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """From sources as an sdist holds them, on a machine without a compiler."""
    sources, empty = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("empty")
    left_out = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "herd", sources / "herd", ignore=left_out)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    wheel = build(sources, tmp_path_factory.mktemp("wheel"), PATH=str(empty), CXX="")
    return install(wheel, tmp_path_factory.mktemp("plain") / "venv")


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def packaged() -> set[str]:
    """Every file of herd that a wheel has to hold."""
    files = (file for file in (ROOT / "herd").rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {str(file.relative_to(ROOT)) for file in files if file.suffix != ".so"}


def test_a_wheel_holds_all_data_and_the_kernels_of_this_machine(compiled: Installed) -> None:
    names = names_in(compiled.wheel)
    assert packaged() <= names
    assert {Path(name).suffix for name in packaged()} >= {".py", ".yaml", ".html", ".cpp", ".hpp", ".inc"}
    libraries = {
        str(room.relative_to(ROOT) / native.library_name(room)) for room in native.kernel_folders(ROOT / "herd")
    }
    assert {name for name in names if name.endswith(".so")} == libraries
    assert len(libraries) == 2
    assert compiled.wheel.name.startswith("herd-")
    assert "-py3-none-linux" in compiled.wheel.name or sys.platform != "linux"
    assert not [name for name in names if name.startswith(("tests/", "docs/", "hatch_build"))]


def test_a_wheel_built_without_a_compiler_is_one_of_python_alone(plain: Installed) -> None:
    names = names_in(plain.wheel)
    assert plain.wheel.name.endswith("-py3-none-any.whl")
    assert packaged() <= names
    assert not [name for name in names if name.endswith(".so")]


def test_kernels_of_a_wheel_train_and_write_without_a_compiler(compiled: Installed) -> None:
    row = json.loads(compiled.run("python", "-c", PROGRAM).stdout)
    assert Path(row["file"]).is_relative_to(compiled.folder)
    assert row["isa"] in ("baseline", "avx2", "avx512")
    assert row["corpus"] == "CDLL"
    assert row["last"] < 0.2 < row["first"]
    assert row["written"] == [7, 8, 4, 5]
    assert not (compiled.folder / "cache" / "kernels").exists()


def test_without_kernels_pytorch_trains_and_writes_and_that_is_said(plain: Installed) -> None:
    done = plain.run("python", "-c", PROGRAM, warn=True)
    row = json.loads(done.stdout)
    assert Path(row["file"]).is_relative_to(plain.folder)
    assert (row["isa"], row["corpus"]) == ("", "Kernels")
    assert row["last"] < 0.2 < row["first"]
    assert row["written"] == [7, 8, 4, 5]
    assert done.stderr.count("PyTorch computes models on this CPU, more slowly") == 1
    assert done.stderr.count("plain Python curates") == 1


def test_both_curate_the_same_corpus(compiled: Installed, plain: Installed) -> None:
    """With the installed command; the one without kernels says once that it is slow."""
    bodies = [page(prose(f"decisions/{name}.md")).encode() for name in ("corpus", "training", "tokens")]
    pages = [
        Page(f"<urn:{number}>", "web", body, f"https://a.example/{number}", "2024-01-01", "utf-8")
        for number, body in enumerate([*bodies, bodies[0], b"<p>Click here."])
    ]
    given = []
    for place, warn in ((compiled, False), (plain, True)):
        crawl = place.folder / "crawl.warc.gz"
        crawl.write_bytes(write_warc(pages))
        done = place.run(
            "herd", "curate", str(crawl), "--out", str(place.folder / "corpus"), "--workers", "1", warn=warn
        )
        assert done.stderr.count("no compiled kernels, so curation takes") == warn
        listed = place.run("python", "-c", LISTING, warn=warn)
        given.append(json.loads(listed.stdout))
    assert given[0] == given[1]
    assert len(given[0]) == len(pages)

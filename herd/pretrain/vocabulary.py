"""Vocabularies for new models: one that is there already, read from whatever file holds it, and how large one will
be."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from herd.core.artifacts import Tokenizer
from herd.core.errors import ArtifactError, SettingsError
from herd.core.model_files import TOKENIZER_FILES, files_in
from herd.core.settings import InputFile, PositiveInt, input_path, settings
from herd.core.stage import Plan, Work, stage
from herd.model.gguf import read_fields
from herd.tokens.gguf import from_gguf
from herd.tokens.results import TokenizerResult, WordsLearnt
from herd.tokens.stages import DOCUMENT_ENDS
from herd.tokens.tiktoken import from_ranks, read_ranks
from herd.tokens.tokenizer import CONTROL_TOKENS, TextTokenizer

_JSON, _CONFIG = "tokenizer.json", "tokenizer_config.json"


@settings
class TokenizerSettings:
    """The vocabulary of a new model: learnt from its text, with `vocab_size` base tokens, or that in `file`.

    file: a model's folder, a tokenizer.json, a GGUF file, or ranked pairs of tiktoken; `vocab_size` counts for nothing
    then. extra: with ranked pairs, so many more learnt from the text after them (Llama 3, 3.2). digits_together:
    whether up to three digits may be one token, as in Llama 3's, or each stands alone.
    """

    vocab_size: PositiveInt | None = None
    file: str = ""
    extra: PositiveInt | None = None
    digits_together: bool = True

    def __post_init__(self) -> None:
        if not self.file and self.vocab_size is None:
            raise SettingsError("no vocabulary is named; write tokenizer.vocab_size, or tokenizer.file")
        if self.extra is not None and not self.file:
            raise SettingsError("tokenizer.extra adds to a file of ranked pairs; write tokenizer.file, or vocab_size")


def tokenizer_files(file: str) -> tuple[str, ...]:
    """What of `file` makes a tokenizer, for `load_tokenizer`: of a folder its text files, without the weights.

    Raises SettingsError where no tokenizer is."""
    path = Path(file).expanduser()
    if not path.exists():
        raise SettingsError(f"{path}: there is no such file; name a model's folder, a tokenizer.json or a GGUF file")
    folder = path if path.is_dir() else path.parent if path.name == _JSON else None
    if folder is None:
        return (str(path),)
    if not (folder / _JSON).exists():
        raise SettingsError(f"{folder} holds no {_JSON}; name a model's folder in Hugging Face's layout, or a file")
    return tuple(map(str, files_in(folder, *TOKENIZER_FILES)))


@stage(paper="3.2", version=1)
def load_tokenizer(work: Work, *, files: tuple[InputFile, ...]) -> Tokenizer:
    """A tokenizer that is there already, control tokens and chat template included.

    files: one of GGUF or of tiktoken's ranked pairs, or those of a folder in Hugging Face's layout, `tokenizer.json`
    among them. Raises ArtifactError for files that hold no tokenizer that herd reads.
    """
    tokenizer = _read([input_path(file) for file in files], work.scratch)
    tokenizer.save(work.out, max_seq_len=0)
    work.record(TokenizerResult(tokenizer.vocab_size, WordsLearnt(0, 0, 0.0), {}))
    work.headline = f"{tokenizer.vocab_size:,} tokens, {len(tokenizer.control_tokens):,} of them control tokens"
    return Tokenizer(work.out)


def _read(files: Sequence[Path], scratch: Path) -> TextTokenizer:
    file = next((file for file in files if file.name == _JSON), files[0])
    if file.name == _JSON:
        return _from_folder(file.parent, scratch)
    with file.open("rb") as opened:
        is_gguf = opened.read(4) == b"GGUF"
    return from_gguf(read_fields(file), str(file)) if is_gguf else from_ranks(read_ranks(file))


def _from_folder(folder: Path, scratch: Path) -> TextTokenizer:
    """The tokenizer of a folder; where only tokenizer.json is there, what ends a text is looked for in it."""
    added = _added_tokens(folder / _JSON)
    if (folder / _CONFIG).exists() or CONTROL_TOKENS[0] in added:
        return TextTokenizer.load(folder)
    ends = [token for token in DOCUMENT_ENDS if token in added]
    if not ends:
        raise ArtifactError(
            f"{folder / _JSON} has no token that ends a text ({', '.join(DOCUMENT_ENDS)}); put its {_CONFIG}, which "
            "names one as eos_token, beside it"
        )
    scratch.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / _JSON, scratch / _JSON)
    (scratch / _CONFIG).write_text(json.dumps({"eos_token": ends[0]}), encoding="utf-8")
    return TextTokenizer.load(scratch)


def _added_tokens(file: Path) -> set[str]:
    try:
        return {token["content"] for token in json.loads(file.read_text(encoding="utf-8"))["added_tokens"]}
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ArtifactError(f"{file} is no tokenizer ({fault}); make it again") from None


def planned_vocab_size(plan: Plan) -> int | None:
    """Rows of the embedding that a planned tokenizer asks for, control tokens included; at most so many where it is
    learnt from text. None for another stage.

    Raises ArtifactError for a file that holds no tokenizer."""
    row = plan.settings
    if plan.stage.name in ("train_tokenizer", "declared_tokenizer"):
        return int(row["vocab_size"]) + len(CONTROL_TOKENS)
    if plan.stage.name == "extend_tokenizer":
        return len(read_ranks(input_path(row["base"]))) + int(row["extra"]) + len(CONTROL_TOKENS)
    if plan.stage.name == "load_tokenizer":
        return _size_in(tuple(row["files"]))
    return None


@functools.cache
def _size_in(files: tuple[str, ...]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        return _read([input_path(file) for file in files], Path(scratch)).vocab_size

"""Packed part by part, documents lie as if packed one after another, and no split comes out empty in silence."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import herd.core.storage as storage
from herd.core.records import Document
from herd.core.storage import document_parts, read_documents, write_documents
from herd.run.executors import LocalExecutor
from herd.tokens import bpe
from herd.tokens.packing import LONG_TOKENS, PackingResult, pack_documents
from herd.tokens.shards import TokenShards, write_index
from herd.tokens.tokenizer import TextTokenizer

TOKENIZER = bpe.train_bpe(["the quick brown fox", "jumps over the lazy dog"], vocab_size=280, digits_together=True)


def corpus(folder: Path, texts: list[tuple[str, str]]) -> Path:
    """Documents of (source, text), and the tokenizer."""
    (folder / "tokenizer").mkdir()
    TOKENIZER.save(folder / "tokenizer", max_seq_len=0)
    write_documents(folder, (Document(id=str(n), text=t, source=s) for n, (s, t) in enumerate(texts)))
    return folder


def packed(folder: Path, share: float, *, part_bytes: int = 32_000_000, workers: int = 1) -> tuple[PackingResult, Path]:
    out = Path(tempfile.mkdtemp(dir=folder))
    found = pack_documents(
        document_parts(folder, part_bytes=part_bytes),
        folder / "tokenizer",
        out,
        around=([TOKENIZER.bos_id], [TOKENIZER.eos_id]),
        held_out_share=share,
        place=LocalExecutor(lambda: workers),
        scratch=folder / "scratch",
    )
    write_index(out, TOKENIZER.vocab_size, TOKENIZER.pad_id, found.index)
    return found, out


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def one_after_another(folder: Path, share: float) -> dict[tuple[str, str], list[list[int]]]:
    """By source and split, the ids of each document."""
    found: dict[tuple[str, str], list[list[int]]] = {}
    for document in read_documents(folder):
        number = int.from_bytes(hashlib.sha256(document.text.encode()).digest()[:8], "big")
        split = "heldout" if number < share * 2**64 else "train"
        for either in ("train", "heldout"):
            found.setdefault((document.source, either), [])
        ids = [TOKENIZER.bos_id, *TOKENIZER.encode(document.text), TOKENIZER.eos_id]
        found[document.source, split].append(ids)
    return found


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.sampled_from(["web", "a/b"]), st.text("the fox 東\n", max_size=30)), min_size=1, max_size=20),
    st.floats(0, 1),
)
def test_parts_change_nothing(texts: list[tuple[str, str]], share: float) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "_GROUP_ROWS", 3)
        folder = corpus(Path(name), texts)
        (whole, out), (found, again) = packed(folder, share), packed(folder, share, part_bytes=1)
        assert contents(out) == contents(again)
        assert whole == found
        shards = TokenShards(out)
        for (source, split), documents in one_after_another(folder, share).items():
            shard = shards.read(source, split)
            assert [shard.document(n).tolist() for n in range(len(shard))] == documents
        bytes_ = sum(entry["text_bytes"] for of in whole.index.values() for entry in of.values())
        assert bytes_ == sum(len(text.encode()) for _, text in texts)
        assert not (folder / "scratch").exists()


def test_workers_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_GROUP_ROWS", 3)
    folder = corpus(tmp_path, [("web" if n % 3 else "wiki", f"the {n} quick foxes") for n in range(12)])
    assert len(document_parts(folder, part_bytes=1)) == 4
    (_, one), (_, two) = packed(folder, 0.3, part_bytes=1), packed(folder, 0.3, part_bytes=1, workers=2)
    assert contents(one) == contents(two)


def test_of_long_documents_the_ends_are_held_out_where_none_is_whole(tmp_path: Path) -> None:
    book = "the lazy dog jumps over 東京 " * 2000
    folder = corpus(tmp_path, [("books", book), ("books", "short"), ("books", book + "the end"), ("notes", "short")])
    found, out = packed(folder, 0.0001)
    assert (found.split, found.not_held_out) == (["books"], ["notes"])
    shards = TokenShards(out)
    train, heldout = shards.read("books"), shards.read("books", "heldout")
    assert (len(train), len(heldout)) == (3, 2)
    whole = [TOKENIZER.bos_id, *TOKENIZER.encode(book), TOKENIZER.eos_id]
    assert len(whole) >= LONG_TOKENS
    assert [*train.document(0), *heldout.document(0)] == whole
    assert len(heldout.document(0)) == int(np.ceil(0.0001 * len(whole)))
    assert train.document(1).tolist() == [TOKENIZER.bos_id, *TOKENIZER.encode("short"), TOKENIZER.eos_id]
    assert train.text_bytes + heldout.text_bytes == 2 * len(book.encode()) + len("the endshort")
    ends = [TOKENIZER.decode(heldout.document(n).tolist()) for n in (0, 1)]
    assert heldout.text_bytes == sum(len(end.encode()) for end in ends)


def test_where_a_whole_document_is_held_out_none_is_divided(tmp_path: Path) -> None:
    folder = corpus(tmp_path, [("books", "the lazy dog " * 3000), ("books", "the fox"), ("books", "a fox")])
    chosen = {hashlib.sha256(text.encode()).digest()[0] / 256 for text in ("the fox", "a fox")}
    found, out = packed(folder, max(chosen) + 0.01)
    assert (found.split, found.not_held_out) == ([], [])
    assert TokenShards(out).read("books", "heldout").document(0)[0] == TOKENIZER.bos_id


def test_nothing_is_held_out_or_said_where_no_share_is_asked_for(tmp_path: Path) -> None:
    folder = corpus(tmp_path, [("books", "the lazy dog " * 3000)])
    found, out = packed(folder, 0.0)
    assert (found.split, found.not_held_out) == ([], [])
    assert len(TokenShards(out).read("books", "heldout")) == 0
    assert isinstance(TextTokenizer.load(folder / "tokenizer"), TextTokenizer)

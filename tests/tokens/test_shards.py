"""Token shards give back every document, and notice when a file does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import ArtifactError, CorruptArtifactError
from herd.core.manifests import write_checksums
from herd.tokens.shards import ShardWriter, TokenShards, id_dtype, write_index


def write(folder: Path, documents: list[list[int]], vocabulary: int = 70_000) -> TokenShards:
    index = {}
    for split in ("train", "heldout"):
        writer = ShardWriter(folder, f"a.{split}", id_dtype(vocabulary))
        for ids in documents if split == "train" else []:
            writer.add(ids, len(ids))
        index[split] = writer.close()
    write_index(folder, vocabulary, 0, {"a": index})
    return TokenShards(folder)


@given(st.lists(st.lists(st.integers(0, 69_999), min_size=1, max_size=9), max_size=9))
def test_documents_come_back(documents: list[list[int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        shard = write(Path(folder), documents).read("a")
        assert [shard.document(n).tolist() for n in range(len(shard))] == documents
        assert shard.lengths.tolist() == [len(one) for one in documents]


def test_a_cut_file_is_told(tmp_path: Path) -> None:
    shards = write(tmp_path, [[1, 2, 3]])
    (tmp_path / "a.train.bin").write_bytes(b"12")
    with pytest.raises(ArtifactError, match="pack again"):
        shards.read("a")


@pytest.mark.parametrize("ends", [[2, 1, 5], [1, 3, 2**40], [1, 2, 4], [-3, 2, 5]])
def test_ends_that_do_not_rise_to_the_last_id_are_told(ends: list[int], tmp_path: Path) -> None:
    shards = write(tmp_path, [[1], [2, 3], [4, 5]])
    np.save(tmp_path / "a.train.ends.npy", np.asarray(ends, np.int64))
    with pytest.raises(ArtifactError, match="ends of documents do not rise to the 5 ids"):
        shards.read("a")


def test_a_flipped_bit_of_packed_tokens_is_told(tmp_path: Path) -> None:
    shards = write(tmp_path, [[1], [2, 3], [4, 5]])
    write_checksums(tmp_path)
    for name in ("a.train.bin", "a.train.ends.npy"):
        file = tmp_path / name
        whole = file.read_bytes()
        file.write_bytes(whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])
        with pytest.raises(CorruptArtifactError, match=f"{name} is damaged"):
            shards.read("a")
        file.write_bytes(whole)
    assert len(shards.read("a")) == 3
    (tmp_path / "shards.json").write_text((tmp_path / "shards.json").read_text().replace("70000", "70001"))
    with pytest.raises(CorruptArtifactError, match=r"shards\.json is damaged"):
        TokenShards(tmp_path)


def test_ids_take_two_bytes_where_they_can() -> None:
    assert id_dtype(65_536) == np.uint16
    assert id_dtype(65_537) == np.uint32


SOURCES = ["web", "Web", "../../../out", "/tmp/out", "a/b", "a\\b", "a b", "", ".", "x" * 150, "\x1b[2J", "東京"]


def test_no_source_decides_where_its_files_lie(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "down" / "tokens"
    folder.mkdir(parents=True)
    index: dict[str, dict[str, dict[str, int]]] = {source: {} for source in SOURCES}
    for number, source in enumerate(SOURCES):
        for split in ("train", "heldout"):
            writer = ShardWriter(folder, f"{source}.{split}", id_dtype(1000))
            writer.add([number] * (number + 1), 1)
            index[source][split] = writer.close()
    write_index(folder, 1000, 0, index)
    assert all(path.parent == folder for path in tmp_path.rglob("*") if path.is_file())
    shards = TokenShards(folder)
    for number, source in enumerate(SOURCES):
        assert shards.read(source).ids.tolist() == [number] * (number + 1)


def test_many_sources_are_written_and_read_with_few_files_open(tmp_path: Path) -> None:
    import resource

    sources = [f"s{number}" for number in range(150)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
    try:
        writers = {source: ShardWriter(tmp_path, f"{source}.train", id_dtype(1000)) for source in sources}
        for round_ in range(3):
            for number, writer in enumerate(writers.values()):
                writer.add([number, round_] * 10_000, 1)
        write_index(tmp_path, 1000, 0, {source: {"train": writer.close()} for source, writer in writers.items()})
        shards = TokenShards(tmp_path)
        held = [shards.read(source) for source in sources]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    for number, shard in enumerate(held):
        assert [shard.document(k)[:2].tolist() for k in range(3)] == [[number, k] for k in range(3)]
        assert len(shard.ids) == 60_000

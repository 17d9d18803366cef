"""From raw pages to tokens: what is planned of a user's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from herd.core.stage import plan_of, walk
from herd.corpus.settings import CurateSettings
from herd.recipes.data import DataSettings, prepare_data


def data(folder: Path, *names: str, **changed: Any) -> DataSettings:
    for name in names:
        (folder / f"{name}.txt").write_text(f"A text of {name}.")
    own: dict[str, Any] = {
        "files": {name: (str(folder / f"{name}.txt"),) for name in names},
        "curate": CurateSettings(rules={"default": ()}),
        "base_vocab_size": 300,
        "held_out_share": 0.1,
    }
    return DataSettings(**own | changed)


def test_every_source_is_a_crawl_of_its_own_and_all_make_one_corpus(tmp_path: Path) -> None:
    s = data(tmp_path, "web", "books")
    made = prepare_data(s)
    assert s.source_names == {"web", "books"}
    assert [plan_of(one).settings["source"] for one in made.crawls] == ["web", "books"]
    assert plan_of(made.corpus).parents == [plan_of(one) for one in made.crawls]
    # The vocabulary is learnt from what was kept, and that is packed with it.
    assert [parent.key for parent in plan_of(made.vocabulary).parents] == [made.corpus.key]
    assert {parent.key for parent in plan_of(made.tokens).parents} == {made.corpus.key, made.vocabulary.key}
    assert len(walk(made.tokens)) == 5


def test_only_what_a_number_decides_is_made_again(tmp_path: Path) -> None:
    first = prepare_data(data(tmp_path, "web"))
    share = prepare_data(data(tmp_path, "web", held_out_share=0.2))
    larger = prepare_data(data(tmp_path, "web", base_vocab_size=400))
    assert (share.vocabulary.key, share.corpus.key) == (first.vocabulary.key, first.corpus.key)
    assert share.tokens.key != first.tokens.key
    assert (larger.corpus.key == first.corpus.key, larger.vocabulary.key == first.vocabulary.key) == (True, False)
    assert larger.tokens.key != first.tokens.key

"""Topics: shares that add up, labels that are learnt, and files that are none."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from herd.core.errors import SettingsError
from herd.tokens.topics import Topics, load_topics, topics_of

embeds = pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="needs the package wordllama")
EXAMPLES = {
    "cooking": ["boil the pasta and chop the garlic", "bake the bread in a hot oven", "stir butter into the sauce"],
    "sport": ["the striker scored a goal", "she won the tennis match", "runners crossed the finish line"],
    "law": ["the judge sentenced the thief", "the court heard the appeal", "police arrested the suspect"],
}
TEXTS = [text for texts in EXAMPLES.values() for text in texts]
LABELS = [name for name, texts in EXAMPLES.items() for _ in texts]
NEW = {"cooking": "fry onions in the pan", "sport": "the goalkeeper lost the match", "law": "the lawyer spoke in court"}


@embeds
@pytest.mark.parametrize("way", ["told", "fitted"])
def test_shares_add_up_and_the_largest_is_the_right_one(way: str) -> None:
    made = Topics.from_examples(EXAMPLES) if way == "told" else Topics.fit(TEXTS, LABELS, 1e-3)
    shares = made.shares(list(NEW.values()))
    assert shares.shape == (3, 3)
    assert np.allclose(shares.sum(axis=1), 1)
    assert [made.names[best] for best in shares.argmax(axis=1)] == list(NEW)
    # A text without a token is about what the bias says.
    bias = np.exp(made.weights[-1])
    assert np.allclose(made.shares([""])[0], bias / bias.sum())


@embeds
def test_a_larger_ridge_holds_weights_back_and_leaves_the_bias_free() -> None:
    loose, held = (Topics.fit(TEXTS, LABELS, ridge) for ridge in (1e-3, 10.0))
    assert loose.names == ("cooking", "law", "sport")
    assert np.linalg.norm(held.weights[:-1]) < 0.1 * np.linalg.norm(loose.weights[:-1])
    # With weights near zero, shares are the labels' own.
    uneven = Topics.fit([*TEXTS, *TEXTS[:3]], [*LABELS, *LABELS[:3]], 1e3)
    assert uneven.shares(["anything"])[0] == pytest.approx([6 / 12, 3 / 12, 3 / 12], abs=0.01)


@embeds
def test_the_slope_of_the_fit_is_that_of_its_loss() -> None:
    # At the least loss no step in any direction lowers it.
    made = Topics.fit(TEXTS, LABELS, 0.1)
    chance, index = np.random.default_rng(0), [made.names.index(label) for label in LABELS]

    def loss(weights: np.ndarray) -> float:
        shares = Topics(made.names, weights).shares(TEXTS)
        return float(-np.log(shares[range(len(TEXTS)), index]).mean() + 0.05 * (weights[:-1] ** 2).sum())

    least = loss(made.weights)
    assert all(loss(made.weights + 0.01 * chance.normal(size=made.weights.shape)) > least for _ in range(10))


@pytest.mark.parametrize("text", ["[a, b]", "a: text", "a: [x]", "a: []\nb: [x]", "a: [1]\nb: [x]"])
def test_a_file_of_another_form_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"t\.yaml: topics are two names or more with a list of texts each"):
        load_topics(tmp_path / "t.yaml")


def test_files_are_taken_together_and_the_packaged_ones_only_alone(tmp_path: Path) -> None:
    for name, text in (("packaged", "a: [x]\nb: [y]"), ("own", "c: [x]\n4: [y]"), ("more", "c: [z]\nd: [y]")):
        (tmp_path / f"{name}.yaml").write_text(text)
    own, more, packaged = (tmp_path / f"{name}.yaml" for name in ("own", "more", "packaged"))
    assert topics_of((), packaged) == {"a": ["x"], "b": ["y"]}
    assert topics_of((str(own), str(more)), packaged) == {"c": ["z"], "4": ["y"], "d": ["y"]}

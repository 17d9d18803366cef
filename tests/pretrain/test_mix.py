"""How much of which source a run reads, where it is not said by phases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from herd.core.artifacts import Mix
from herd.core.errors import ArtifactError, DataError, SettingsError
from herd.core.settings import build, dump
from herd.pretrain.mix import ProportionalMix, mix_shares, proportions, resolve_mix
from herd.pretrain.pretrain import PretrainSettings
from herd.train.schedule import BatchPhase, MixPhase

TEXT = {"books": 3000, "web": 1000}
PHASES = (MixPhase(until=1.0, mixture_weights={"books": 0.5, "web": 0.5}),)


def shares(mix: ProportionalMix, available: dict[str, int] = TEXT, **how: object) -> dict[str, float]:
    (phase,) = resolve_mix(available, mix, **how).phases  # type: ignore[arg-type]
    return phase.mixture_weights


def found(folder: Path, **changed: object) -> Mix:
    row = {"method": "doremi", "shares": {"books": 0.2, "web": 0.8}, "online": False}
    (folder / "mix.json").write_text(json.dumps(row | changed))
    return Mix(folder)


def test_every_source_is_read_as_often_as_any_other() -> None:
    assert shares(ProportionalMix(), tokens=4000) == {"books": 0.75, "web": 0.25}
    assert proportions(TEXT) == {"books": 0.75, "web": 0.25}
    with pytest.raises(DataError, match="all of it is held out"):
        proportions({"books": 0})
    # What holds nothing to learn from is measured alone.
    assert shares(ProportionalMix(), {**TEXT, "short": 0}, tokens=10) == {"books": 0.75, "web": 0.25}


def test_epochs_are_of_what_the_mix_reads() -> None:
    assert resolve_mix(TEXT, ProportionalMix(), epochs=1.5).tokens == 6000
    assert resolve_mix(TEXT, (MixPhase(until=1.0, mixture_weights={"books": 1.0}),), epochs=2).tokens == 6000
    replayed = ProportionalMix(replay_share=0.5, replay_sources=("web",))
    assert resolve_mix(TEXT, replayed, epochs=1).tokens == 6000  # 3,000 of books, as many of others
    assert resolve_mix(TEXT, PHASES, tokens=77).phases == PHASES


def test_what_is_replayed_takes_its_share_and_the_rest_goes_by_what_there_is() -> None:
    text = TEXT | {"general": 50_000, "code": 50_000}
    mix = ProportionalMix(replay_share=0.2, replay_sources=("general", "code"))
    assert shares(mix, text, tokens=100) == pytest.approx({"books": 0.6, "web": 0.2, "general": 0.1, "code": 0.1})
    only_measured = ProportionalMix(replay_sources=("general", "code"))
    assert shares(only_measured, text, tokens=100) == pytest.approx({"books": 0.75, "web": 0.25})


def test_text_that_is_read_too_often_is_told() -> None:
    assert resolve_mix(TEXT, ProportionalMix(), tokens=16_000).warnings == ()
    (said,) = resolve_mix(TEXT, ProportionalMix(), tokens=40_000).warnings
    assert "the text holds 4,000 tokens and is read 10.0 times to train on 40,000" in said
    few = ProportionalMix(replay_share=0.5, replay_sources=("web",))
    assert (
        "what is replayed holds 1,000 tokens and is read 5.0 times" in resolve_mix(TEXT, few, tokens=10_000).warnings[0]
    )


def test_a_found_share_is_taken_up_to_the_readings_allowed() -> None:
    asked = {"books": 0.2, "web": 0.8}
    assert shares(ProportionalMix(), found=asked, tokens=1000) == pytest.approx(asked)
    resolved = resolve_mix(TEXT, ProportionalMix(max_epochs=2), found=asked, tokens=4000)
    assert resolved.phases[0].mixture_weights == pytest.approx({"books": 0.5, "web": 0.5})
    assert resolved.warnings == (
        "web holds 1,000 tokens and would be read 3.2 times; its share is cut from 0.800 to 0.500, 2 readings",
    )


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(0, 10_000), min_size=2),
    st.sets(st.sampled_from("abcde")),
    st.floats(0, 0.9),
    st.integers(1, 100_000),
)
def test_shares_are_whole_and_replay_keeps_its_own(
    available: dict[str, int], replayed: set[str], share: float, tokens: int
) -> None:
    old = tuple(sorted(replayed & available.keys()))
    assume(any(count for name, count in available.items() if name not in old))
    assume(any(available[name] for name in old))
    weights = shares(ProportionalMix(replay_share=share, replay_sources=old), available, tokens=tokens)
    assert sum(weights.values()) == pytest.approx(1)
    assert sum(weights.get(name, 0.0) for name in old) == pytest.approx(share)


@pytest.mark.parametrize(
    ("mix", "given", "words"),
    [
        (
            ProportionalMix(replay_share=0.1, replay_sources=("wiki",)),
            None,
            "the mix names wiki; the tokens hold books, web",
        ),
        (ProportionalMix(), {"wiki": 1.0}, "the mix names wiki"),
        (ProportionalMix(), {"books": 0.0}, "gives no share to any source with text"),
    ],
)
def test_a_mix_of_sources_that_are_not_there_is_refused(
    mix: ProportionalMix, given: dict[str, float] | None, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        resolve_mix(TEXT, mix, tokens=100, found=given)


def test_two_that_say_the_shares_are_refused() -> None:
    with pytest.raises(SettingsError, match="both a found mix and `mix` say the shares"):
        resolve_mix(TEXT, PHASES, tokens=100, found={"books": 1.0})
    with pytest.raises(SettingsError, match="leaves nothing new to learn"):
        ProportionalMix(replay_share=1.0, replay_sources=("web",))
    with pytest.raises(SettingsError, match="name replay_sources"):
        ProportionalMix(replay_share=0.1)


def test_the_shares_of_a_search_are_read_and_those_of_a_bandit_refused(tmp_path: Path) -> None:
    assert mix_shares(found(tmp_path)) == {"books": 0.2, "web": 0.8}
    with pytest.raises(SettingsError, match="the shares of exp3 are only where a run starts"):
        mix_shares(found(tmp_path, method="exp3", online=True))
    with pytest.raises(ArtifactError, match="holds no mix"):
        mix_shares(found(tmp_path, shares=["books"]))


def test_settings_say_one_of_tokens_and_epochs_and_are_read_back() -> None:
    base = {"length": 8, "batch": [{"until": 1.0, "batch_tokens": 8}], "lr": 0.1}
    for wrong in ({}, {"tokens": 8, "epochs": 1.0}):
        with pytest.raises(SettingsError, match="write either tokens, how many are trained on, or epochs"):
            build(PretrainSettings, base | wrong, where="test")
    proportional = build(PretrainSettings, base | {"epochs": 2.0, "mix": {"max_epochs": 3.0}}, where="test")
    assert proportional.mix == ProportionalMix(max_epochs=3.0)
    phases = PretrainSettings(length=8, tokens=8, batch=(BatchPhase(until=1.0, batch_tokens=8),), mix=PHASES, lr=0.1)
    for one in (proportional, phases):
        assert build(PretrainSettings, dump(one), where="test") == one
    with pytest.raises(SettingsError, match=r"test: mix.*0\.9"):
        build(
            PretrainSettings, base | {"tokens": 8, "mix": [{"until": 1.0, "mixture_weights": {"a": 0.9}}]}, where="test"
        )

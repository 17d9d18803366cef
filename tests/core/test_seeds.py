"""Random numbers by seed and name: nobody disturbs another, and every process draws the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from herd.core.registry import PluginConfig
from herd.core.seeds import fraction, rng, spread_seed
from herd.core.settings import settings


@settings
class Part:
    seed: int = 0
    share: float = 0.5


@settings
class Whole:
    seed: int = 0
    part: Part = Part()
    rounds: tuple[Part, ...] = (Part(seed=1), Part(seed=2))
    seeds: tuple[int, ...] = (0, 1)
    tasks: tuple[PluginConfig, ...] = (PluginConfig("tasks", "sums", {"seed": 4, "questions": 5}),)
    documents: dict[str, int]


NAMES = st.lists(st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"])) | st.integers(), max_size=3)


@given(st.integers(), NAMES)
def test_the_same_names_draw_the_same_and_a_draw_elsewhere_changes_nothing(seed: int, names: list) -> None:
    first = rng(seed, *names)
    alone = [first.random() for _ in range(3)]
    second, other = rng(seed, *names), rng(seed, *names, "other")
    between = []
    for _ in range(3):
        other.random()
        between.append(second.random())
    assert between == alone
    assert rng(seed, *names, "other").random() != alone[0]
    assert rng(seed + 1, *names).random() != alone[0]


@given(st.integers(), NAMES)
def test_a_fraction_is_fixed_and_lies_from_0_to_1(seed: int, names: list) -> None:
    assert 0 <= fraction(seed, *names) <= 1
    assert fraction(seed, *names) == fraction(seed, *map(str, names))


def test_what_was_drawn_stays() -> None:
    """Splits of data that was made already follow from these."""
    assert fraction(0, "web", 7) == 0.35577968785634256
    assert rng(0, "web", 7).random() == 0.9560739248197931


def test_a_split_by_fractions_has_its_share() -> None:
    held_out = sum(fraction(3, "document", number) < 0.1 for number in range(4000))
    assert 330 < held_out < 470  # four standard deviations


def test_all_seeds_follow_that_of_the_whole_and_nothing_else_does() -> None:
    documents = {"seed": 7}  # a source may be called so
    assert spread_seed(Whole(documents=documents)) == Whole(documents=documents)
    spread = spread_seed(Whole(seed=3, documents=documents))
    assert spread == Whole(
        part=Part(seed=3000),
        rounds=(Part(seed=3001), Part(seed=3002)),
        seeds=(3000, 3001),
        tasks=(PluginConfig("tasks", "sums", {"seed": 3004, "questions": 5}),),
        documents=documents,
    )
    assert spread_seed(spread) == spread

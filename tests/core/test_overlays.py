"""What is laid over a recipe's numbers: settings merge, plug-ins replace, and twins are refused."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated

import pytest

from herd.core.errors import SettingsError
from herd.core.plugins import load_file
from herd.core.recipe import load_recipe
from herd.core.registry import PluginConfig, Registry
from herd.core.settings import Share, build, merge_settings, settings
from herd.core.stage import find_stage
from herd.recipes import recipes
from herd.recipes.tiny import tiny

kinds: Registry = Registry("kinds", "json")  # a package without plug-ins of ours
kinds._searched = True


@kinds.add
def ipo(*, tau: float = 0.1) -> None: ...


@kinds.add
def dpo(*, beta: float = 0.1, smoothing: float = 0.0) -> None: ...


Kind = Annotated[PluginConfig, kinds.choice]


@settings
class Inner:
    loss: Kind = kinds.configure("dpo")
    maybe: Kind | None = None
    share: Share = 0.5


@settings
class Outer:
    inner: Inner = Inner()
    by_name: dict[str, Inner] | None = None
    plain: dict[str, float] | None = None


@pytest.mark.parametrize(
    ("below", "above", "wanted"),
    [
        ({"dpo": {"beta": 0.2}}, {"ipo": {}}, kinds.configure("ipo")),
        ({"dpo": {"beta": 0.2}}, {"ipo": {"tau": 1.0}}, kinds.configure("ipo", tau=1.0)),
        ({"dpo": {"beta": 0.2}}, {"dpo": {"smoothing": 0.3}}, kinds.configure("dpo", beta=0.2, smoothing=0.3)),
        ({"dpo": {"beta": 0.2}}, "ipo", kinds.configure("ipo")),
        ("dpo", {"ipo": {}}, kinds.configure("ipo")),
    ],
)
def test_a_plugin_replaces_another_and_its_own_settings_merge(
    below: object, above: object, wanted: PluginConfig
) -> None:
    for field in ("loss", "maybe"):
        for outer in (lambda x: {"inner": x}, lambda x: {"by_name": {"a": x}}):
            low, high = ({**outer({field: one, **rest})} for one, rest in ((below, {"share": 0.1}), (above, {})))
            made = build(Outer, merge_settings(low, high, Outer), where="x")
            inner = made.inner if made.by_name is None else made.by_name["a"]
            assert getattr(inner, field) == wanted
            assert inner.share == 0.1


def test_dicts_that_hold_no_plugin_merge_as_ever() -> None:
    assert merge_settings({"plain": {"a": 1.0}}, {"plain": {"b": 2.0}}, Outer) == {"plain": {"a": 1.0, "b": 2.0}}


def test_a_loss_laid_over_a_packaged_recipes(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: tiny\ndpo: {loss: {dpo: {beta: 0.3}}}\n", encoding="utf-8")
    made = load_recipe(str(file), recipes, ["dpo.loss={ipo: {}}"]).settings
    assert made.dpo.loss.name == "ipo"
    made = load_recipe(str(file), recipes, ["dpo.loss.dpo.label_smoothing=0.1"]).settings
    assert (made.dpo.loss.settings["beta"], made.dpo.loss.settings["label_smoothing"]) == (0.3, 0.1)
    assert recipes.get("tiny") is tiny


# ---- twins ----

STAGE = '''
from herd.core.artifacts import Corpus
from herd.core.stage import Work, stage

@stage(paper="-", version=1)
def {name}(work: Work) -> Corpus:
    """A file."""
    return Corpus(work.out)
'''


def test_a_second_stage_of_a_name_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text(STAGE.replace("{name}", "twin"))
    second.write_text(STAGE.replace("{name}", "twin"))
    stage = find_stage("twins_first", str(first), "twin")
    with pytest.raises(SettingsError, match="two stages are called 'twin'"):
        load_file(second, "twins_second")
    with pytest.raises(SettingsError, match="two stages are called 'twin'"):
        load_file(tmp_path / "both.py", "twins_both") if (tmp_path / "both.py").write_text(
            STAGE.replace("{name}", "twin") * 2
        ) else None
    assert find_stage("twins_first", str(first), "twin") is stage
    packaged = tmp_path / "packaged.py"
    packaged.write_text(STAGE.replace("{name}", "pack"))
    importlib.import_module("herd.tokens.stages")
    with pytest.raises(SettingsError, match="two stages are called 'pack'"):
        load_file(packaged, "twins_packaged")


def test_the_same_definition_may_be_imported_again(tmp_path: Path) -> None:
    file = tmp_path / "again.py"
    file.write_text(STAGE.replace("{name}", "again") + "\nfrom tests.core.test_overlays import kinds\n"
                    "@kinds.add\ndef again_too() -> None: ...\n")  # fmt: skip
    load_file(file, "twins_again")
    del sys.modules["twins_again"]
    load_file(file, "twins_again")
    with pytest.raises(SettingsError, match="two kinds are called 'again_too'"):

        @kinds.add
        def again_too(*, other: int = 1) -> None: ...


def test_two_recipe_files_of_one_name_are_two_recipes(tmp_path: Path) -> None:
    text = "from herd.core.settings import settings\nfrom herd.recipes import recipes\n{stage}\n"
    text += "@settings\nclass S:\n    size: int = {size}\n"
    text += "@recipes.add\ndef {name}(s: S) -> Corpus:\n"
    text += '    """One file."""\n    return {name}_made()\n'
    for size, folder in enumerate(("here", "there")):
        (tmp_path / folder).mkdir()
        name = f"recipe_{folder}"
        stage = STAGE.replace("{name}", f"{name}_made")
        written = text.replace("{stage}", stage).replace("{size}", str(size)).replace("{name}", name)
        (tmp_path / folder / "mine.py").write_text(written)
    loaded = [load_recipe(str(tmp_path / folder / "mine.py"), recipes) for folder in ("here", "there")]
    assert [one.settings.size for one in loaded] == [0, 1]
    with pytest.raises(SettingsError, match="is loaded already"):
        load_file(tmp_path / "there" / "mine.py", sys.modules[loaded[0].function.__module__].__name__)


def test_a_wrong_value_is_quoted_in_part() -> None:
    with pytest.raises(SettingsError) as fault:
        build(Outer, {"inner": {"share": "x" * 10_000}}, where="x")
    assert len(str(fault.value)) < 400

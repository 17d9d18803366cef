"""What a data set of a user's own would add to a checkpoint that a run made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from herd.core.artifacts import Artifact, Checkpoint, Scores, Tokens
from herd.core.errors import ArtifactError
from herd.core.lineage import lineage, planned_again
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.mixing.probe import NEW, ProbeSettings, judge_data
from herd.model.config import shape_in
from herd.serve.folders import made_in, refuse_damaged_models
from herd.tokens.stages import pack


def judged(folder: Path, patterns: Sequence[str], settings: ProbeSettings) -> Scores:
    """The checkpoint in `folder` annealed with and without the new files, planned in the folder of its run.

    The new set is read as it is, by no rules, and packed with the checkpoint's own tokenizer.
    Raises ArtifactError when the checkpoint's text does not lie beside it.
    """
    model = Checkpoint.open(folder)
    made = lineage(model)
    default, vocabulary = (_last(made, name, folder) for name in ("pack", "train_tokenizer"))
    corpus = curate((files(*patterns, source=NEW),), settings=CurateSettings(rules={"default": ()}))
    new = pack(corpus, planned_again(vocabulary), held_out_share=0.0)  # type: ignore[arg-type]
    before, text = planned_again(model), planned_again(default)
    assert isinstance(before, Checkpoint)
    assert isinstance(text, Tokens)
    return judge_data(before, text, new, settings=settings)


def checkpoint_in(path: Path) -> Path:
    """The checkpoint that `path` means: its own folder, or of a run the last before annealing, the ladder's left out.

    Raises ArtifactError when there is none.
    """
    if (path / "config.json").exists():
        return path
    refuse_damaged_models(path)
    made = [one for one in made_in(path) if one.card["stage"] in ("pretrain", "extend_context")]
    if not made:
        raise ArtifactError(f"{path} holds no checkpoint before annealing; name the folder of one, or of a run")
    return max(
        made,
        key=lambda one: (
            one.card["stage"] == "extend_context",
            one.figures.get("length", 0),
            one.figures.get("weights", 0),
        ),
    ).path


def length_for(folder: Path, batch_tokens: int) -> int:
    """Rows as long as the checkpoint reads, within a batch."""
    return min(batch_tokens, shape_in(folder).context)


def _last(made: Sequence[Artifact], stage: str, folder: Path) -> Artifact:
    found = [one for one in made if one.card["stage"] == stage]
    if not found:
        raise ArtifactError(
            f"{folder} was not made by a run that packed its text (no {stage} beside it); name a checkpoint in a run's "
            "artifacts folder"
        )
    return found[-1]

"""What a data set of a user's own would add to a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from herd.align.given import bring_model
from herd.core.artifacts import CARD, Artifact, Checkpoint, Corpus, Scores, Tokens
from herd.core.errors import ArtifactError
from herd.core.lineage import lineage, planned_again
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.mixing.probe import NEW, ProbeSettings, judge_data
from herd.model.config import shape_in
from herd.pretrain.results import ContextExtension
from herd.serve.folders import made_in, refuse_damaged_models
from herd.tokens.stages import pack
from herd.train.log import METRICS
from herd.train.results import TrainingResult

_HELD_OUT = 0.05  # of a default text of the user's own; by its loss the new set is judged


def judged(folder: Path, patterns: Sequence[str], settings: ProbeSettings, default: Sequence[str] = ()) -> Scores:
    """The model in `folder` annealed with and without the new files, planned in the folder of its run.

    default: files of the text beside the new set and in its place; what the run of the checkpoint packed when none is
    named. Texts are read as they are, by no rules, and packed with the model's own tokenizer. Raises ArtifactError when
    none is named and the checkpoint's text does not lie beside it.
    """
    if settings.lr is None and not (folder / METRICS).exists():
        raise ArtifactError(f"{folder} tells no learning rate to fall from; name one with --rate, such as 1e-4")
    if default:
        model = bring_model(folder=str(folder))
        text = pack(_as_they_are(default, "default"), model, held_out_share=_HELD_OUT)
    else:
        if not (folder / CARD).exists():
            raise ArtifactError(
                f"{folder} was made by no run, so that its text is not known; name text like what it was trained on "
                "with --default"
            )
        opened = Checkpoint.open(folder)
        model, text = planned_again(opened), planned_again(_last(lineage(opened), "pack", folder))
    assert isinstance(model, Checkpoint)
    assert isinstance(text, Tokens)
    new = pack(_as_they_are(patterns, NEW), model, held_out_share=0.0)
    return judge_data(model, text, new, settings=settings)


def _as_they_are(patterns: Sequence[str], source: str) -> Corpus:
    return curate((files(*patterns, source=source),), settings=CurateSettings(rules={"default": ()}))


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
            extension.length if (extension := one.get_result(ContextExtension)) else 0,
            one.result(TrainingResult).num_params,
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

"""What a data set of a user's own would add to a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from herd.align.loading import load_pretrained
from herd.core.artifacts import METADATA_FILE, Artifact, Checkpoint, Corpus, Scores, Tokens
from herd.core.errors import ArtifactError
from herd.core.lineage import lineage, restore_plan
from herd.corpus.columns import ANY_TABLE, TextColumns
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.mixing.probe import NEW, ProbeSettings, judge_data
from herd.model.config import read_shape
from herd.pretrain.results import ContextExtension
from herd.serve.folders import artifacts_in, refuse_damaged_models
from herd.tokens.stages import pack
from herd.train.log import METRICS_FILE
from herd.train.results import TrainingResult

_HELD_OUT = 0.05  # of a default text of the user's own; by its loss the new set is judged


def plan_data_probe(
    folder: Path,
    patterns: Sequence[str],
    settings: ProbeSettings,
    default: Sequence[str] = (),
    columns: TextColumns = ANY_TABLE,
) -> Scores:
    """The model in `folder` annealed with and without the new files, planned in the folder of its run.

    columns: what tables of the new files hold where. default: files of the text beside the new set and in its place;
    what the run of the checkpoint packed when none is named. Texts are read as they are, by no rules, and packed with
    the model's own tokenizer. Raises ArtifactError when none is named and the checkpoint's text does not lie beside it.
    """
    if settings.lr is None and not (folder / METRICS_FILE).exists():
        raise ArtifactError(
            f"{folder} records no learning rate to decay from; name one with --learning-rate, such as 1e-4"
        )
    if default:
        model = load_pretrained(folder=str(folder))
        text = pack(_as_they_are(default, "default"), model, held_out_share=_HELD_OUT)
    else:
        if not (folder / METADATA_FILE).exists():
            raise ArtifactError(
                f"{folder} was made by no run, so that its text is not known; name text like what it was trained on "
                "with --default"
            )
        checkpoint = Checkpoint.open(folder)
        model, text = restore_plan(checkpoint), restore_plan(_last(lineage(checkpoint), "pack", folder))
    assert isinstance(model, Checkpoint)
    assert isinstance(text, Tokens)
    new = pack(_as_they_are(patterns, NEW, columns), model, held_out_share=0.0)
    return judge_data(model, text, new, settings=settings)


def _as_they_are(patterns: Sequence[str], source: str, columns: TextColumns = ANY_TABLE) -> Corpus:
    return curate((files(*patterns, source=source, columns=columns),), settings=CurateSettings(rules={"default": ()}))


def checkpoint_in(path: Path) -> Path:
    """The checkpoint that `path` means: its own folder, or of a run the last before annealing, the ladder's left out.

    Raises ArtifactError when there is none.
    """
    if (path / "config.json").exists():
        return path
    refuse_damaged_models(path)
    checkpoints = [
        checkpoint
        for checkpoint in artifacts_in(path)
        if checkpoint.metadata["stage"] in ("pretrain", "extend_context")
    ]
    if not checkpoints:
        raise ArtifactError(f"{path} holds no checkpoint before annealing; name the folder of one, or of a run")
    return max(
        checkpoints,
        key=lambda checkpoint: (
            checkpoint.metadata["stage"] == "extend_context",
            extension.length if (extension := checkpoint.get_result(ContextExtension)) else 0,
            checkpoint.result(TrainingResult).num_params,
        ),
    ).path


def length_for(folder: Path, batch_tokens: int) -> int:
    """Rows as long as the checkpoint reads, within a batch."""
    return min(batch_tokens, read_shape(folder).max_seq_len)


def _last(artifacts: Sequence[Artifact], stage: str, folder: Path) -> Artifact:
    matches = [artifact for artifact in artifacts if artifact.metadata["stage"] == stage]
    if not matches:
        raise ArtifactError(
            f"{folder} was not made by a run that packed its text (no {stage} beside it); name a checkpoint in a run's "
            "artifacts folder"
        )
    return matches[-1]

"""Everything that must survive a crash, saved as folders that are whole or absent; and finished models.

No file here is a pickle.
"""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import AdamW

from herd.core.artifacts import PARTIAL, SEAL, flush, sha256, write_whole
from herd.core.errors import TrainingError
from herd.core.layout import CONFIG_FILES, TEXT_FILES
from herd.core.manifests import check_files
from herd.model.heads import RewardModel
from herd.model.sizes import Shape
from herd.model.stored import save_file
from herd.model.transformer import Transformer
from herd.model.weights import model_tensors, write_config, write_tensors
from herd.tokens.tokenizer import TextTokenizer
from herd.train.log import METRICS, is_written
from herd.train.pieces import (
    PieceFiles,
    Reader,
    Region,
    WholeFile,
    describe,
    is_divided_by_tensor,
    local,
    named_weights,
    region,
)

Kind = Literal["base", "chat", "reward"]
ABOUT, OPTIMIZER = "herd.json", "optimizer.safetensors"
TRAINING = "training"  # the last checkpoint of several ranks, with what each held
KEPT = 2  # checkpoints kept: the newest may turn out damaged
WAIT_SECONDS = 600.0  # for the other ranks to have written their parts
MOMENTS = ("exp_avg", "exp_avg_sq")
_SCALAR = Region((), (), ())


M = TypeVar("M", bound=nn.Module)


@dataclass
class TrainState(Generic[M]):
    """What training goes on from.

    step: the number of steps done. log: length and hash of the log of steps by then. offset: batches passed over after
    going back. norms: gradient norms of late.
    copy: which copy of the weights that are not divided this rank holds; only copy 0 is saved.
    """

    model: M
    optimizer: AdamW
    step: int = 0
    offset: int = 0
    norms: list[float] = field(default_factory=list)
    copy: int = 0
    log: dict[str, Any] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        return {"step": self.step, "offset": self.offset, "norms": self.norms, "log": self.log}

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Weights and moments by name, those that this rank is to save."""
        for name, weight in learnt_weights(self.model):
            if self.copy and not is_divided_by_tensor(weight):
                continue
            yield f"weight/{name}", weight.detach()
            for moment, value in self.optimizer.state.get(weight, {}).items():
                yield f"{moment}/{name}", torch.as_tensor(value)

    def fill(self, files: Reader) -> None:
        """Takes weights and moments from `files`. Raises TrainingError for a weight there that this model has not."""
        own = {f"weight/{name}" for name, _ in named_weights(self.model)}
        left = sorted(name for name in files.names() - own if name.startswith("weight/"))
        # A rank of several holds a part of the model, and finds the others' weights there too.
        if left and not (dist.is_initialized() and dist.get_world_size() > 1):
            raise TrainingError(f"the checkpoint holds {left[0]}, which this model has not; delete it, and start anew")
        for name, weight in learnt_weights(self.model):
            with torch.no_grad():
                local(weight).copy_(files.read(f"weight/{name}", region(weight)))
        self.fill_moments(files)

    def fill_moments(self, files: Reader) -> None:
        kept = files.names()
        for name, weight in learnt_weights(self.model):
            entry: dict[str, Any] = self.optimizer.state[weight]
            for moment in MOMENTS:
                if f"{moment}/{name}" in kept:
                    entry[moment] = torch.zeros_like(weight)
                    local(entry[moment]).copy_(files.read(f"{moment}/{name}", region(weight)))
            if f"step/{name}" in kept:
                entry["step"] = files.read(f"step/{name}", _SCALAR).to(weight.device)


def learnt_weights(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Frozen ones lie on disk already, in the folder that training began from."""
    return ((name, weight) for name, weight in named_weights(model) if weight.requires_grad)


class Saver:
    """Writes checkpoints beside the training that goes on. Every rank writes what it holds; the first one gives the
    folder its name when all have.

    Each rank lists its pieces and the hash of its file; the list appears at once and last, so that a rank that dies
    while it writes leaves the folder without its final name. keep_every: checkpoints of every so many steps stay when
    newer ones come; 0 for none.
    """

    def __init__(self, scratch: Path, keep_every: int = 0) -> None:
        self.scratch, self.keep_every = scratch, keep_every
        self.rank, self.ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self._thread: threading.Thread | None = None
        self._fault: Exception | None = None
        if self.rank == 0:
            scratch.mkdir(parents=True, exist_ok=True)
            for left in scratch.glob(f"step-*{PARTIAL}"):
                shutil.rmtree(left, ignore_errors=True)
        token = [secrets.token_hex(4)]
        if self.ranks > 1:  # also: nobody writes before the first rank has tidied up
            dist.broadcast_object_list(token)
        self._token = token[0]

    def save(self, state: TrainState[Any]) -> None:
        """Copies `state` and writes it in the background as the newest checkpoint; waits for the one before."""
        self.wait()
        pieces: dict[str, Region] = {}
        tensors: dict[str, Tensor] = {}
        for name, tensor in state.items():
            where = region(tensor)
            if 0 not in where.size:
                pieces[name] = where
                tensors[name] = local(tensor).detach().to("cpu", copy=True).contiguous()
        row = state.to_row()
        self._thread = threading.Thread(target=self._try, args=(row, pieces, tensors))
        self._thread.start()

    def wait(self) -> None:
        """Until what was begun is written. Raises what went wrong."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise TrainingError(f"{self.scratch}: a checkpoint could not be written ({fault}); make room") from None

    def _try(self, row: dict[str, Any], pieces: dict[str, Region], tensors: dict[str, Tensor]) -> None:
        try:
            self._write(row, pieces, tensors)
        except Exception as fault:  # `wait` raises it where training can hear it
            self._fault = fault

    def _write(self, row: dict[str, Any], pieces: dict[str, Region], tensors: dict[str, Tensor]) -> None:
        final = self.scratch / f"step-{row['step']:09}"
        partial = final.with_name(f"{final.name}.{self._token}{PARTIAL}")
        partial.mkdir(parents=True, exist_ok=True)
        file = partial / f"rank-{self.rank:05}.safetensors"
        save_file(tensors, file)
        flush(file)
        listing = {"bytes": file.stat().st_size, "sha256": sha256(file), "pieces": describe(pieces)}
        write_whole(file.with_suffix(".json"), json.dumps(listing))
        if self.rank == 0:
            self._name(row, partial, final)

    def _name(self, row: dict[str, Any], partial: Path, final: Path) -> None:
        wanted = [partial / f"rank-{rank:05}.json" for rank in range(self.ranks)]
        deadline = time.monotonic() + WAIT_SECONDS
        while not all(file.exists() for file in wanted):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not every rank has written within {WAIT_SECONDS:.0f} s")
            time.sleep(0.005)
        write_whole(partial / "state.json", json.dumps(row))
        kept = {}
        for file in wanted:
            listing = json.loads(file.read_text(encoding="utf-8"))
            kept[f"{file.stem}.safetensors"] = {"bytes": listing["bytes"], "sha256": listing["sha256"]}
        for file in (*wanted, partial / "state.json"):
            kept[file.name] = {"bytes": file.stat().st_size, "sha256": sha256(file)}
        write_whole(partial / SEAL, json.dumps(dict(sorted(kept.items()))))
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        flush(final.parent)
        staying = kept_checkpoints(self.scratch, self.keep_every)
        for old in checkpoints(self.scratch)[:-KEPT]:
            if old not in staying:
                shutil.rmtree(old)


def save(scratch: Path, state: TrainState[Any]) -> None:
    """Saves `state` as the newest checkpoint in `scratch` and removes all but the last few."""
    saver = Saver(scratch)
    saver.save(state)
    saver.wait()


def restore(scratch: Path, state: TrainState[Any]) -> bool:
    """Brings `state` to the newest whole checkpoint in `scratch`; false when there is none.

    One whose steps are not in the log as they were written does not count as whole. Every rank reads the part it holds,
    whatever layout the checkpoint was saved from.
    """
    folder = _newest_whole(scratch)
    if folder is None:
        return False
    state.fill(PieceFiles(folder))
    row = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    state.step, state.offset, state.norms = row["step"], row["offset"], row["norms"]
    return True


def _newest_whole(scratch: Path) -> Path | None:
    """Ranks read the hashes of a share of the files each, and take the newest that all found whole."""
    several = dist.is_initialized() and dist.get_world_size() > 1
    listed = [checkpoints(scratch)]
    if several:
        dist.broadcast_object_list(listed)
    for folder in reversed(listed[0]):
        whole = torch.tensor(int(_share_is_sealed(folder)))
        if several:
            device = "cuda" if dist.get_backend() == "nccl" else "cpu"
            whole = whole.to(device)
            dist.all_reduce(whole, op=dist.ReduceOp.MIN)
        if int(whole):
            return folder
    return None


def _share_is_sealed(folder: Path) -> bool:
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    try:
        kept = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        files = sorted(kept)[rank::ranks]
        if rank == 0:
            row = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            # Saved without a log: a model that is finished.
            if row.get("log") and not is_written(folder.parent / METRICS, row["log"]):
                return False
        return "state.json" in kept and all(
            (folder / name).stat().st_size == kept[name]["bytes"] and sha256(folder / name) == kept[name]["sha256"]
            for name in files
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_checkpoint(
    folder: Path,
    model: Transformer | RewardModel,
    tokenizer: TextTokenizer,
    *,
    kind: Kind,
    optimizer: AdamW | None = None,
) -> None:
    """A finished model in the Hugging Face layout with all that belongs to it (see `core.artifacts.Checkpoint`), and
    what training it further needs."""
    write_tensors(folder, model_tensors(model))
    write_texts(folder, model.shape, tokenizer, kind=kind)
    if optimizer is not None:
        moments = dict(TrainState(model, optimizer).items())
        kept = {name: value.contiguous() for name, value in moments.items() if not name.startswith("weight/")}
        save_file(kept, folder / OPTIMIZER)


def write_texts(folder: Path, shape: Shape, tokenizer: TextTokenizer, *, kind: Kind) -> None:
    """What a finished model's folder has beside its weights: configuration and all that is text.

    Of a reward model no filling token is named that ends answers: transformers reads the score at the last token before
    those that fill, which is then one too early.
    """
    pad: int | None = tokenizer.pad
    if kind == "reward":
        tokenizer = tokenizer.with_pad_apart()
        pad = None if tokenizer.pad in tokenizer.stops else tokenizer.pad
    write_config(
        folder, shape, begin=tokenizer.named_begin, stops=sorted(tokenizer.stops), pad=pad, dtype=torch.float32,
        reward=kind == "reward",
    )  # fmt: skip
    write_text_side(folder, tokenizer, context=shape.context, kind=kind)


def write_text_side(folder: Path, tokenizer: TextTokenizer, *, context: int, kind: Kind) -> None:
    """All of a model but weights and architecture, beside its `config.json`: tokenizer, chat templates, sampling
    defaults, and what it is for."""
    tokenizer.save(folder, context)
    tokenizer.generation.add_to(folder)
    (folder / ABOUT).write_text(json.dumps({"kind": kind}), encoding="utf-8")


def write_token_ids(folder: Path, tokenizer: TextTokenizer) -> None:
    """The ids of control tokens, as other programs look them up, in the configurations of a model whose tokenizer is
    another now."""
    ids = {
        "bos_token_id": tokenizer.named_begin,
        "eos_token_id": sorted(tokenizer.stops),
        "pad_token_id": tokenizer.pad,
    }
    for name in CONFIG_FILES:
        file = folder / name
        row = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        file.write_text(json.dumps(row | ids, indent=2), encoding="utf-8")


def kind_of(folder: Path) -> Kind:
    """What the model in `folder` is for; one that herd did not make chats if it has a chat template."""
    about = folder / ABOUT
    check_files(folder, ABOUT, *TEXT_FILES)
    if about.exists():
        return json.loads(about.read_text(encoding="utf-8"))["kind"]
    return "chat" if TextTokenizer.load(folder).template else "base"


def moments_in(folder: Path) -> Reader | None:
    """The optimizer's moments kept with a finished model, by one rank or by several; None where there are none."""
    check_files(folder, OPTIMIZER, f"{TRAINING}/*")
    if (folder / TRAINING).exists():
        return PieceFiles(folder / TRAINING)
    return WholeFile(folder / OPTIMIZER) if (folder / OPTIMIZER).exists() else None


def checkpoints(scratch: Path) -> list[Path]:
    """The folders of checkpoints, oldest first."""
    return sorted(path for path in scratch.glob("step-*") if path.suffix != ".partial")


def kept_checkpoints(scratch: Path, every: int) -> list[Path]:
    """The folders of checkpoints of every so many steps, oldest first; none for 0."""
    return [folder for folder in checkpoints(scratch) if every and int(folder.name.removeprefix("step-")) % every == 0]


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in model.state_dict().items()}

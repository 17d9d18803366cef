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

from herd.core.artifacts import CHECKSUMS_FILE, PARTIAL, atomic_write, flush, sha256
from herd.core.errors import TrainingError
from herd.core.manifests import check_files
from herd.core.model_files import CONFIG_FILES, TEXT_FILES
from herd.model.heads import RewardModel
from herd.model.sizes import Shape
from herd.model.stored import save_file
from herd.model.transformer import Transformer
from herd.model.weights import model_tensors, write_config, write_tensors
from herd.tokens.tokenizer import TextTokenizer
from herd.train.log import METRICS_FILE, matches_position
from herd.train.optimizer import Optimizer
from herd.train.regions import (
    Region,
    SafetensorsReader,
    ShardedReader,
    TensorReader,
    is_tensor_sharded,
    local_region,
    local_tensor,
    named_weights,
    regions_to_json,
)

Kind = Literal["base", "chat", "reward"]
ABOUT, OPTIMIZER = "herd.json", "optimizer.safetensors"
TRAINING = "training"  # the last checkpoint of several ranks, with what each held
KEEP_LATEST = 2  # checkpoints kept: the newest may turn out damaged
WAIT_SECONDS = 600.0  # for the other ranks to have written their parts
_SCALAR = Region((), (), ())


TrainedModelT = TypeVar("TrainedModelT", bound=nn.Module)


@dataclass
class TrainState(Generic[TrainedModelT]):
    """What training goes on from.

    step: the number of steps done. log: length and hash of the log of steps by then. offset: batches passed over after
    going back. grad_norms: gradient norms of late.
    replica: which copy of the weights that are not divided this rank holds; only copy 0 is saved.
    """

    model: TrainedModelT
    optimizer: Optimizer
    step: int = 0
    offset: int = 0
    grad_norms: list[float] = field(default_factory=list)
    replica: int = 0
    log: dict[str, Any] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        return {"step": self.step, "offset": self.offset, "norms": self.grad_norms, "log": self.log}

    def named_tensors(self, *, moments: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Weights and moments by name, those that this rank is to save."""
        for name, weight in trainable_params(self.model):
            if self.replica and not is_tensor_sharded(weight):
                continue
            yield f"weight/{name}", weight.detach()
            for moment, value in self.optimizer.state.get(weight, {}).items() if moments else ():
                yield f"{moment}/{name}", torch.as_tensor(value)

    def load(self, files: TensorReader) -> None:
        """Takes weights and moments from `files`. Raises TrainingError for a weight there that this model has not."""
        own = {f"weight/{name}" for name, _ in named_weights(self.model)}
        unexpected = sorted(name for name in files.names() - own if name.startswith("weight/"))
        # A rank of several holds a part of the model, and finds the others' weights there too.
        if unexpected and not (dist.is_initialized() and dist.get_world_size() > 1):
            raise TrainingError(
                f"the checkpoint holds {unexpected[0]}, which this model has not; delete it, and start anew"
            )
        for name, weight in trainable_params(self.model):
            with torch.no_grad():
                local_tensor(weight).copy_(files.read(f"weight/{name}", local_region(weight)))
        self.load_moments(files)

    def load_moments(self, files: TensorReader) -> None:
        """Takes from `files` what this optimizer goes on from; what another one kept there is left, and begins anew."""
        stored_names = files.names()
        for name, weight in trainable_params(self.model):
            entry: dict[str, Any] = self.optimizer.state[weight]
            for key in self.optimizer.state_names_of(weight):
                if f"{key}/{name}" not in stored_names:
                    continue
                if key == "step":
                    entry[key] = files.read(f"{key}/{name}", _SCALAR).to(weight.device)
                else:
                    entry[key] = torch.zeros_like(weight)
                    local_tensor(entry[key]).copy_(files.read(f"{key}/{name}", local_region(weight)))


def trainable_params(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
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
            for leftover in scratch.glob(f"step-*{PARTIAL}"):
                shutil.rmtree(leftover, ignore_errors=True)
        token = [secrets.token_hex(4)]
        if self.ranks > 1:  # also: nobody writes before the first rank has tidied up
            dist.broadcast_object_list(token)
        self._token = token[0]

    def save(self, state: TrainState[Any], *, moments: bool = True) -> None:
        """Copies `state` and writes it in the background as the newest checkpoint; waits for the one before. moments:
        whether training could go on from it, which takes three times the room."""
        self.wait()
        regions: dict[str, Region] = {}
        tensors: dict[str, Tensor] = {}
        for name, tensor in state.named_tensors(moments=moments):
            tensor_region = local_region(tensor)
            if 0 not in tensor_region.size:
                regions[name] = tensor_region
                tensors[name] = local_tensor(tensor).detach().to("cpu", copy=True).contiguous()
        row = state.to_row()
        self._thread = threading.Thread(target=self._try, args=(row, regions, tensors))
        self._thread.start()

    def wait(self) -> None:
        """Until what was begun is written. Raises what went wrong."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise TrainingError(f"{self.scratch}: a checkpoint could not be written ({fault}); make room") from None

    def _try(self, row: dict[str, Any], regions: dict[str, Region], tensors: dict[str, Tensor]) -> None:
        try:
            self._write(row, regions, tensors)
        except Exception as fault:  # `wait` raises it where training can hear it
            self._fault = fault

    def _write(self, row: dict[str, Any], regions: dict[str, Region], tensors: dict[str, Tensor]) -> None:
        final = self.scratch / f"step-{row['step']:09}"
        partial = final.with_name(f"{final.name}.{self._token}{PARTIAL}")
        partial.mkdir(parents=True, exist_ok=True)
        file = partial / f"rank-{self.rank:05}.safetensors"
        save_file(tensors, file)
        flush(file)
        listing = {"bytes": file.stat().st_size, "sha256": sha256(file), "pieces": regions_to_json(regions)}
        atomic_write(file.with_suffix(".json"), json.dumps(listing))
        if self.rank == 0:
            self._name(row, partial, final)

    def _name(self, row: dict[str, Any], partial: Path, final: Path) -> None:
        listings = [partial / f"rank-{rank:05}.json" for rank in range(self.ranks)]
        deadline = time.monotonic() + WAIT_SECONDS
        while not all(file.exists() for file in listings):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not every rank has written within {WAIT_SECONDS:.0f} s")
            time.sleep(0.005)
        atomic_write(partial / "state.json", json.dumps(row))
        checksums = {}
        for file in listings:
            listing = json.loads(file.read_text(encoding="utf-8"))
            checksums[f"{file.stem}.safetensors"] = {"bytes": listing["bytes"], "sha256": listing["sha256"]}
        for file in (*listings, partial / "state.json"):
            checksums[file.name] = {"bytes": file.stat().st_size, "sha256": sha256(file)}
        atomic_write(partial / CHECKSUMS_FILE, json.dumps(dict(sorted(checksums.items()))))
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        flush(final.parent)
        permanent = permanent_checkpoints(self.scratch, self.keep_every)
        for old in checkpoints(self.scratch)[:-KEEP_LATEST]:
            if old not in permanent:
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
    folder = _newest_complete(scratch)
    if folder is None:
        return False
    state.load(ShardedReader(folder))
    row = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    state.step, state.offset, state.grad_norms = row["step"], row["offset"], row["norms"]
    return True


def restore_weights(folder: Path, state: TrainState[Any]) -> None:
    """Gives the model of `state` the weights of one checkpoint, and leaves all else as it is. Raises TrainingError when
    it is not whole."""
    if not _is_intact(folder):
        raise TrainingError(f"{folder} was changed since it was written; delete its folder above, and train again")
    state.load(ShardedReader(folder))


def _newest_complete(scratch: Path) -> Path | None:
    """The newest that all ranks find whole."""
    listed = [checkpoints(scratch)]
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.broadcast_object_list(listed)
    return next((folder for folder in reversed(listed[0]) if _is_intact(folder)), None)


def _is_intact(folder: Path) -> bool:
    """Ranks read the hashes of a share of the files each."""
    intact = torch.tensor(int(_share_is_intact(folder)))
    if dist.is_initialized() and dist.get_world_size() > 1:
        intact = intact.to("cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(intact, op=dist.ReduceOp.MIN)
    return bool(intact)


def _share_is_intact(folder: Path) -> bool:
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    try:
        checksums = json.loads((folder / CHECKSUMS_FILE).read_text(encoding="utf-8"))
        files = sorted(checksums)[rank::ranks]
        if rank == 0:
            row = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            # Saved without a log: a model that is finished.
            if row.get("log") and not matches_position(folder.parent / METRICS_FILE, row["log"]):
                return False
        return "state.json" in checksums and all(
            (folder / name).stat().st_size == checksums[name]["bytes"]
            and sha256(folder / name) == checksums[name]["sha256"]
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
    optimizer: Optimizer | None = None,
) -> None:
    """A finished model in the Hugging Face layout with all that belongs to it (see `core.artifacts.Checkpoint`), and
    what training it further needs."""
    write_tensors(folder, model_tensors(model))
    write_config_and_tokenizer(folder, model.shape, tokenizer, kind=kind)
    if optimizer is not None:
        moments = dict(TrainState(model, optimizer).named_tensors())
        moment_tensors = {name: value.contiguous() for name, value in moments.items() if not name.startswith("weight/")}
        save_file(moment_tensors, folder / OPTIMIZER)


def write_config_and_tokenizer(folder: Path, shape: Shape, tokenizer: TextTokenizer, *, kind: Kind) -> None:
    """What a finished model's folder has beside its weights: configuration and all that is text.

    Of a reward model no filling token is named that ends answers: transformers reads the score at the last token before
    those that fill, which is then one too early.
    """
    pad: int | None = tokenizer.pad_id
    if kind == "reward":
        tokenizer = tokenizer.with_pad_apart()
        pad = None if tokenizer.pad_id in tokenizer.stop_token_ids else tokenizer.pad_id
    write_config(
        folder, shape, bos_token_id=tokenizer.named_bos_id, eos_token_ids=sorted(tokenizer.stop_token_ids),
        pad_token_id=pad, dtype=torch.float32,
        reward=kind == "reward",
    )  # fmt: skip
    write_tokenizer_files(folder, tokenizer, context=shape.max_seq_len, kind=kind)


def write_tokenizer_files(folder: Path, tokenizer: TextTokenizer, *, context: int, kind: Kind) -> None:
    """All of a model but weights and architecture, beside its `config.json`: tokenizer, chat templates, sampling
    defaults, and what it is for."""
    tokenizer.save(folder, context)
    tokenizer.generation.add_to(folder)
    (folder / ABOUT).write_text(json.dumps({"kind": kind}), encoding="utf-8")


def write_token_ids(folder: Path, tokenizer: TextTokenizer) -> None:
    """The ids of control tokens, as other programs look them up, in the configurations of a model whose tokenizer is
    another now."""
    ids = {
        "bos_token_id": tokenizer.named_bos_id,
        "eos_token_id": sorted(tokenizer.stop_token_ids),
        "pad_token_id": tokenizer.pad_id,
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


def open_moments(folder: Path) -> TensorReader | None:
    """The optimizer's moments kept with a finished model, by one rank or by several; None where there are none."""
    check_files(folder, OPTIMIZER, f"{TRAINING}/*")
    if (folder / TRAINING).exists():
        return ShardedReader(folder / TRAINING)
    return SafetensorsReader(folder / OPTIMIZER) if (folder / OPTIMIZER).exists() else None


def checkpoints(scratch: Path) -> list[Path]:
    """The folders of checkpoints, oldest first."""
    return sorted(path for path in scratch.glob("step-*") if path.suffix != ".partial")


def permanent_checkpoints(scratch: Path, every_steps: int) -> list[Path]:
    """The folders of checkpoints of every so many steps, oldest first; none for 0."""
    return [
        folder
        for folder in checkpoints(scratch)
        if every_steps and int(folder.name.removeprefix("step-")) % every_steps == 0
    ]

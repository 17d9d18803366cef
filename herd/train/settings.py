"""What every stage that trains lets a recipe say."""

from __future__ import annotations

import math
from typing import Any, Literal

from herd.core.errors import SettingsError
from herd.core.records import Strength
from herd.core.settings import AddedLater, NonNegativeFloat, PositiveFloat, PositiveInt, Share, settings
from herd.model.adapters import LoraSettings
from herd.model.sizes import Shape
from herd.model.weight_names import weight_shapes
from herd.train.freezing import check_patterns, unfrozen_names
from herd.train.guards import GuardSettings
from herd.train.layout import ParallelLayout, TrainableParams
from herd.train.optimizer import OptimizerSettings
from herd.train.schedule import LrSchedule, LrScheduleName, lr_schedule


@settings
class ComputeSettings:
    """How gradients are computed, which changes no result but for rounding.

    dtype: of the products; weights, their sums and the optimizer stay fp32. float8: products in 8 bits beside bf16; it
    takes a recent GPU and the package torchao. compile: every block by torch.compile; without it, a CPU in fp32 takes a
    kernel of our own. recompute: keep only the blocks' inputs and compute the rest again on the way back (Chen et al.
    2016); selective: keep what products and attention gave as well, so that only norms, turns and gates are computed
    again (Korthikanti et al. 2022). attention: auto measures on a GPU, and takes our own kernel on a CPU. micro_batch:
    rows worked on at once; absent, a half of the batch on a CPU, and on a GPU as many as fit into its memory. layout:
    over how many ranks the model and the batch are spread. A CPU of one core is 1 to 4 % faster with all of a batch at
    once, which two cores cannot share.
    """

    dtype: Literal["fp32", "bf16"] = "fp32"
    float8: bool = False
    compile: bool = False
    recompute: bool | Literal["selective"] = False
    attention: Literal["auto", "sdpa", "blockwise", "flex", "varlen"] = "auto"
    micro_batch: PositiveInt | None = None
    layout: ParallelLayout = ParallelLayout()

    def __post_init__(self) -> None:
        if self.float8 and self.dtype != "bf16":
            raise SettingsError("float8 stands beside bf16 products; set dtype to bf16 too")


FP32 = ComputeSettings()


@settings
class TrainingSettings(ComputeSettings):
    """One run of training, whatever it learns.

    lr: the peak; by the model's size where a stage leaves it absent (`herd.train.schedule.lr_by_size`). min_lr_ratio:
    the rate at the end, as a share of the peak. warmup: below 1 a share of all steps, else so many steps. schedule:
    of the rate after the warm-up. decay_ratio: of `wsd`, the last share of the steps, over which the rate falls. guard:
    which steps are not taken. unfrozen_parameters: regular expressions for the names of the weights that learn, as
    Hugging Face has them, such as `^lm_head` or `norm`; all others are frozen. Absent, all learn.
    """

    lr: PositiveFloat | None
    min_lr_ratio: Share = 0.1
    warmup: NonNegativeFloat = 0.0
    schedule: LrScheduleName = "cosine"
    decay_ratio: Share = 0.1
    optimizer: OptimizerSettings = OptimizerSettings()
    guard: GuardSettings = GuardSettings()
    unfrozen_parameters: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_patterns(self.unfrozen_parameters)
        if self.unfrozen_parameters and self.layout.pipeline > 1:
            raise SettingsError("a pipeline's ranks all train; set layout.pipeline to 1, or unfreeze everything")

    def trainable_params(self, shape: Shape) -> TrainableParams:
        """How many weights of a model learn. Raises SettingsError for patterns that match none of its weights."""
        unfrozen = unfrozen_names(shape, self.unfrozen_parameters)
        sizes = {name: size for name, size in weight_shapes(shape).items() if name in unfrozen}
        muons = (math.prod(size) for name, size in sizes.items() if self.optimizer.is_muons(name, len(size)))
        return TrainableParams(sum(map(math.prod, sizes.values())), sum(muons))

    def lr_schedule(self, steps: int, *, lr: float | None = None) -> LrSchedule:
        """The learning rate by step. lr: the peak where the settings leave it open."""
        peak = self.lr if lr is None else lr
        assert peak is not None
        return lr_schedule(
            self.schedule, steps, lr=peak, warmup=self.warmup, min_lr_ratio=self.min_lr_ratio,
            decay_ratio=self.decay_ratio,
        )  # fmt: skip


@settings
class FinetuneSettings(TrainingSettings):
    """Training on examples, epoch after epoch. batch_size: examples a step; of `sft` rows packed with dialogues, of the
    others prompts with their answers. lora: adapters in the place of all weights. steps: exactly so many, over as many
    epochs as they take; in the place of `epochs`. dataloader_drop_last: whether what does not fill a batch is left
    unread; else it is a smaller one, in which every example counts for more.

    Where there are held-out examples, they are measured before training and after every epoch, of more than 100 epochs
    after 100 of them, and every `eval_steps` too. early_stop: the weights of the lowest held-out loss are kept, and
    training ends when `patience` measurements in a row have not lowered it."""

    batch_size: PositiveInt = 16
    epochs: PositiveInt = 1
    lora: LoraSettings | None = None
    steps: AddedLater[PositiveInt | None] = None
    eval_steps: AddedLater[PositiveInt | None] = None
    early_stop: AddedLater[bool] = False
    patience: AddedLater[PositiveInt] = 1
    dataloader_drop_last: AddedLater[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lora is not None and self.unfrozen_parameters:
            raise SettingsError("with lora only adapters learn; leave unfrozen_parameters out, or lora")
        if self.batch_size % self.layout.data:
            rows = -(-self.batch_size // self.layout.data) * self.layout.data
            raise SettingsError(
                f"a batch of {self.batch_size} cannot be divided by {self.layout.data} data ranks; set batch_size to "
                f"{rows}, or layout.data to a number that divides it"
            )


@settings
class PreferenceSettings(FinetuneSettings):
    """Training on ranked answers. strengths: only preferences as strong as these count. balanced_sources: of these
    sources of prompts equally many preferences count, drawn by `seed`: as many as the one with the fewest has."""

    strengths: tuple[Strength, ...] = ("significantly better", "better")
    balanced_sources: tuple[str, ...] = ()


def check_one_device(layout: ParallelLayout) -> None:
    """Raises SettingsError for a layout of a model so small that it is trained on one device."""
    if layout.devices > 1:
        raise SettingsError("models that try a mix or a set of data are trained on one device; leave layout out")


def num_ranks(settings: ComputeSettings, **_: Any) -> int:
    """How many processes a stage with these settings wants: for `stage(ranks=num_ranks)`."""
    return settings.layout.devices

"""Stages: declared functions from artifacts to an artifact, and the plans that calling one makes."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import json
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from herd.core.artifacts import Artifact
from herd.core.errors import ArtifactError, SettingsError, StoppedError, did_you_mean
from herd.core.executor import Executor, ProgressReporter
from herd.core.extras import ExtraPackage
from herd.core.fingerprint import fingerprint
from herd.core.plugins import load_user_file, user_code_digests, user_files
from herd.core.registry import is_same_definition, location_of, plugin_modules
from herd.core.results import results
from herd.core.settings import check_arguments, dump_arguments, is_added_later, is_in_key, load_arguments

P = ParamSpec("P")
Packages = tuple[ExtraPackage, ...]
A = TypeVar("A", bound=Artifact)

Input = Artifact | tuple[Artifact, ...] | None


@dataclass(frozen=True)
class RunOptions:
    """How a run is done, which has no part in what it makes. trackers: names of what draws curves of training, such as
    tensorboard. save_every_seconds: between checkpoints of training; by what saving costs and how often training dies
    when absent. heartbeat_timeout_seconds: after which one of several ranks counts as frozen. max_restarts: how often
    ranks are started again without getting on. compare_every_steps: between two comparisons of what several ranks hold.
    keep_every_steps: checkpoints of every so many steps are kept to the end of the stage; 0: none. gc_every_steps: when
    Python looks for circles of dead objects, which on many ranks at once costs less than on one after the other; 0:
    when Python likes. profile: first step and number of steps that a trace is written of. device: where models lie:
    auto, cpu, cuda or cuda:NUMBER. dtype: of the weights of models that only read and write, fp32, bf16 or auto, which
    is bf16 on a GPU and fp32 on a CPU; a model in training has its own settings. inference_ranks: over how many ranks
    stages that are `data_parallel` divide their rows."""

    trackers: tuple[str, ...] = ()
    save_every_seconds: float | None = None
    heartbeat_timeout_seconds: float = 30.0
    max_restarts: int = 3
    compare_every_steps: int = 10
    keep_every_steps: int = 0
    gc_every_steps: int = 50
    profile: tuple[int, int] | None = None
    device: str = "auto"
    dtype: str = "auto"
    inference_ranks: int = 1

    def __post_init__(self) -> None:
        if self.inference_ranks < 1:
            raise SettingsError(f"--inference-ranks is {self.inference_ranks}; give 1 rank or more")
        if self.compare_every_steps < 1:
            raise SettingsError(f"--compare-every is {self.compare_every_steps}; give 1 step or more")
        if self.profile is not None and min(self.profile) < 1:
            first, count = self.profile
            raise SettingsError(f"--profile is {first}:{count}; give a first step and a number of steps, such as 10:3")
        if self.dtype not in ("auto", "fp32", "bf16"):
            raise SettingsError(f"--dtype is {self.dtype!r}; there are auto, fp32 and bf16")

    def to_json(self) -> str:
        return json.dumps(self.__dict__)

    @classmethod
    def from_json(cls, text: str) -> RunOptions:
        row = json.loads(text)
        profile = tuple(row["profile"]) if row["profile"] else None
        return cls(**(row | {"trackers": tuple(row["trackers"]), "profile": profile}))


DEFAULT_OPTIONS = RunOptions()


@dataclass
class Work:
    """What a stage may use while it runs. Nothing in it counts for the stage's identity.

    out: the folder to fill. scratch: a folder that survives a crash, for checkpoints. executor: where work
    that needs several workers runs. report: called with (done, total, words) as work goes on. curves: where what
    draws them may write. checkpoints: where models on the way to the finished one are kept, if any are. settings: those
    of the stage, for what draws curves to show beside them. warn: shows a sentence to whoever started the run. results:
    what was recorded, by type. headline: what came of it in one line, for progress, `herd show` and the report.
    """

    out: Path
    scratch: Path
    executor: Executor
    report: ProgressReporter = lambda completed, total, words: None
    results: dict[type[Any], Any] = field(default_factory=dict)
    headline: str = ""
    options: RunOptions = DEFAULT_OPTIONS
    curves: Path = field(default_factory=Path)
    stop_requested: Callable[[], bool] = lambda: False  # whether this process shall save and leave
    checkpoints: Path = field(default_factory=Path)
    settings: Mapping[str, Any] = field(default_factory=dict)
    warn: Callable[[str], None] = print
    ranks: int = 1  # how many processes run the stage together
    saves: bool = False  # whether the work at hand asks by itself if it shall end, to save first

    @property
    def device(self) -> str:
        """Where the models of this stage lie: a name for `place_model`."""
        return self.options.device

    @property
    def dtype(self) -> str:
        """Of the weights of models that only read and write."""
        return self.options.dtype

    def record(self, result: Any) -> None:
        """Keeps what the stage found out, a registered result, for whoever reads the artifact, the report and `herd
        show`. Raises ArtifactError for a type that is not registered, and for a second result of one type."""
        if type(result) in self.results:
            raise ArtifactError(f"{type(result).__name__} is recorded twice by one stage; record one result of a type")
        results.to_row(result)  # what could not be read back is refused here
        self.results[type(result)] = result

    def progress(self, completed: float, total: float, words: str = "") -> None:
        if self.stop_requested() and not self.saves:
            raise StoppedError("asked to end; the same command makes this stage again")
        self.report(completed, total, words)

    def progress_of_part(self, part: int, parts: int, words: str = "") -> Callable[[float, float], None]:
        """What a part of a stage calls with its progress: `report(completed, total)`. part: from 0."""
        return lambda completed, total: self.progress(part + completed / max(1, total), parts, words)


@dataclass(frozen=True, eq=False)
class Plan:
    """One call of a stage, not yet run: what it is made of and the key it will have. label: what people call what it
    makes, which is no part of the key."""

    stage: Stage[..., Any]
    inputs: Mapping[str, Input]
    settings: Mapping[str, Any]
    label: str = ""

    @property
    def key(self) -> str:
        """Stage name and a hash of all that decides the result: version, settings, inputs."""
        return self._key

    @functools.cached_property
    def _key(self) -> str:
        identity = {
            "stage": self.stage.name,
            "version": self.stage.version,
            "settings": {n: v for n, v in self.settings.items() if is_in_key(self.stage.body, n)},
            "inputs": {n: v for n, v in self.input_keys.items() if v or not is_added_later(self.stage.body, n)},
        }
        text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
        return f"{self.stage.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def input_keys(self) -> dict[str, str | list[str] | None]:
        return {name: _keys(value) for name, value in self.inputs.items()}

    @property
    def parents(self) -> list[Plan]:
        """The plans this one waits for."""
        artifacts: list[Artifact | None] = []
        for value in self.inputs.values():
            artifacts.extend(value if isinstance(value, tuple) else (value,))
        return [plan_of(artifact) for artifact in artifacts if artifact is not None]


def plan_of(artifact: Artifact) -> Plan:
    """The call of a stage that will make `artifact`. Raises ArtifactError when it was opened from disk."""
    plan = artifact.plan
    assert isinstance(plan, Plan)
    return plan


def with_label(artifact: A, label: str) -> A:
    """`artifact`, planned, under a name that the report, the plan and progress show instead of its key. The name
    changes no key, and nothing is made again for another one. Raises ArtifactError when it was opened from disk."""
    return type(artifact).from_plan(replace(plan_of(artifact), label=label))


def _keys(value: Input) -> str | list[str] | None:
    if value is None:
        return None
    return [artifact.key for artifact in value] if isinstance(value, tuple) else value.key


class Stage(Generic[P, A]):
    """A declared function. Calling it plans; the runner runs its body later, somewhere."""

    registry: typing.ClassVar[dict[str, Stage[..., Any]]] = {}

    def __init__(
        self, body: Callable[Concatenate[Work, P], A], paper: str, version: int, ranks: Callable[..., int],
        packages: Callable[..., Packages], isolated: bool, gpu: bool, data_parallel: bool, stand_in: bool,
    ) -> None:  # fmt: skip
        self.body, self.paper, self.version, self._ranks, self._packages = body, paper, version, ranks, packages
        self.isolated, self.gpu, self.data_parallel, self.stand_in = isolated, gpu, data_parallel, stand_in
        self.name = body.__name__
        functools.update_wrapper(self, body)
        hints = typing.get_type_hints(body)
        self.artifact_type: type[A] = hints["return"]
        twin = Stage.registry.get(self.name)
        if twin is not None and not is_same_definition(twin.body, body):
            places = " and ".join(map(location_of, (twin.body, body)))
            raise SettingsError(f"two stages are called {self.name!r} ({places}); rename one of them")
        Stage.registry[self.name] = self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> A:
        inputs, arguments = self._bind(args, kwargs)
        checked = check_arguments(self.body, arguments, where=self.name)
        return self.artifact_type.from_plan(Plan(self, inputs, dump_arguments(self.body, checked)))

    def _bind(self, args: Any, kwargs: Any) -> tuple[dict[str, Input], dict[str, Any]]:
        parameters = list(inspect.signature(self.body).parameters.values())[1:]
        names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        try:
            bound = inspect.signature(self.body).bind_partial(None, *args, **kwargs).arguments
        except TypeError as fault:
            unknown = sorted(set(kwargs) - {p.name for p in parameters})
            hint = did_you_mean(unknown[0], (p.name for p in parameters)) if unknown else "; check the recipe"
            raise SettingsError(f"stage {self.name}: {fault}{hint}") from None
        arguments = {name: value for name, value in bound.items() if name not in names and name != "work"}
        inputs = {p.name: bound.get(p.name, p.default) for p in parameters if p.name in names}
        for name, value in inputs.items():
            if value is inspect.Parameter.empty or not _is_input(value):
                raise SettingsError(f"stage {self.name}: {name} must be an artifact; check the recipe")
        return inputs, arguments

    def run(self, work: Work, inputs: Mapping[str, Input], settings: Mapping[str, Any]) -> A:
        """The body, on made inputs and settings as plain data."""
        arguments = load_arguments(self.body, settings)
        return self.body(work, **inputs, **arguments)  # type: ignore[call-arg]

    def ranks(self, settings: Mapping[str, Any], inference_ranks: int = 1) -> int:
        """How many processes make it together. inference_ranks: where it divides its rows over any number."""
        return inference_ranks if self.data_parallel else self._ranks(**load_arguments(self.body, settings))

    def packages(self, settings: Mapping[str, Any]) -> Packages:
        """Those that it wants with these settings and that only an extra of herd installs."""
        return self._packages(**load_arguments(self.body, settings))

    def code(self, settings: Mapping[str, Any]) -> str:
        """A hash of the code of this stage, blind to comments and docstrings: its file, what that imports of herd, and
        the plug-ins elsewhere, and in files of the user's own, that plain `settings` name.

        Raises SettingsError when there is no file, as for what was typed into an interpreter."""
        code = self._code(tuple(sorted(plugin_modules(settings))))
        own = user_code_digests(load_arguments(self.body, settings)) if user_files() else []
        return hashlib.sha256("/".join((code, *own)).encode()).hexdigest()[:12] if own else code

    @functools.cache  # noqa: B019 - stages are as long-lived as their modules
    def _code(self, plugins: tuple[str, ...]) -> str:
        file = inspect.getsourcefile(self.body)
        if file is None or not Path(file).is_file():
            raise SettingsError(f"stage {self.name}: its code is in no file; write it to one")
        return fingerprint(self.body.__module__, Path(file), plugins)

    @property
    def address(self) -> tuple[str, str | None, str]:
        """(module, file, name) from which another process finds this stage; file only outside herd."""
        module = sys.modules[self.body.__module__]
        file = None if module.__name__.startswith("herd.") else inspect.getsourcefile(self.body)
        return module.__name__, file, self.name


def _single_rank(**settings: Any) -> int:
    return 1


def _no_packages(**settings: Any) -> Packages:
    return ()


def stage(
    *,
    paper: str,
    version: int,
    ranks: Callable[..., int] = _single_rank,
    packages: Callable[..., Packages] = _no_packages,
    isolated: bool = False,
    gpu: bool = False,
    data_parallel: bool = False,
    stand_in: bool = False,
) -> Callable[[Callable[Concatenate[Work, P], A]], Stage[P, A]]:
    """Declares a stage.

    paper: the section of the Llama 3 report it follows, `-` where there is none. version: raised by hand
    whenever the stage's result changes; part of every key made from it. ranks: given its settings, how many
    processes run the body together; the first one's `work.out` becomes the artifact. packages: given its settings,
    those it wants of an extra of herd, which are looked for before a run begins. isolated: whether it wants a process
    that made nothing before, so that what others left there does not count as its own memory. gpu: whether it
    works with a model, so that it is given a GPU for each of its ranks where there are some. data_parallel: whether it
    divides its rows over the ranks it has (`herd.model.collectives.RankGroup`), so that any number of them makes the
    same; it is given `RunOptions.inference_ranks`. stand_in: that it only plans, for what a user has not named yet.
    """
    return lambda body: Stage(body, paper, version, ranks, packages, isolated, gpu, data_parallel, stand_in)


def find_stage(module: str, file: str | None, name: str) -> Stage[..., Any]:
    """The stage at an address. The file of a user's recipe is loaded under the module name given."""
    if file is not None:
        load_user_file(Path(file), module)
    else:
        importlib.import_module(module)
    return Stage.registry[name]


def missing_packages(plans: Iterable[Plan]) -> Packages:
    """What these want of extras of herd that are not installed, each purpose once."""
    wanted = dict.fromkeys(package for plan in plans for package in plan.stage.packages(plan.settings))
    return tuple(package for package in wanted if not package.is_installed)


def walk(target: Artifact) -> list[Plan]:
    """Every plan that `target` needs, each after all it waits for, `target`'s own last. Of plans for the same artifact
    the first with a label stands for all."""
    ordered: dict[str, Plan] = {}

    def visit(plan: Plan) -> None:
        if plan.key in ordered:
            if plan.label and not ordered[plan.key].label:
                ordered[plan.key] = plan  # in the place of the one without a name
            return
        for parent in plan.parents:
            visit(parent)
        ordered[plan.key] = plan

    visit(plan_of(target))
    return list(ordered.values())


def _is_input(value: object) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(member, Artifact) for member in value)
    return value is None or isinstance(value, Artifact)

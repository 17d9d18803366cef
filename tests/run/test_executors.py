"""Workers die; their shards do not."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from herd.core.errors import DataError
from herd.run.executors import LocalExecutor


def process_of(shard: int) -> int:
    return os.getpid()


def double(number: int) -> int:
    return 2 * number


def dies_once(number: int, *, folder: Path, times: int = 1) -> int:
    """Twice the number; the worker given 5 is killed the first few times."""
    marks = sorted(folder.glob("died*"))
    if number == 5 and len(marks) < times:
        (folder / f"died{len(marks)}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def refuses(number: int) -> int:
    if number == 3:
        raise DataError("shard 3 is broken")
    return number


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_shards(workers: int) -> None:
    assert list(LocalExecutor(lambda: workers).map(double, range(20))) == list(range(0, 40, 2))


def test_workers_that_are_free_later_join_in() -> None:
    limits = iter([1, 1])
    found = list(LocalExecutor(lambda: next(limits, 2)).map(process_of, range(6)))
    assert found[:2] == [os.getpid()] * 2  # as long as there is one worker, it is this process
    assert os.getpid() not in found[2:]


def test_a_worker_that_dies_costs_its_shard_only(tmp_path: Path) -> None:
    found = list(LocalExecutor(lambda: 2).map(partial(dies_once, folder=tmp_path), range(12)))
    assert found == list(range(0, 24, 2))
    assert (tmp_path / "died0").exists()


def test_a_shard_that_kills_every_worker_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a worker died 3 times with shard 5 at work"):
        list(LocalExecutor(lambda: 2).map(partial(dies_once, folder=tmp_path, times=99), range(12)))


def test_what_a_kernel_raises_comes_through() -> None:
    for workers in (1, 2):
        with pytest.raises(DataError, match="shard 3 is broken"):
            list(LocalExecutor(lambda workers=workers: workers).map(refuses, range(6)))


# ---- Ray ----


def slow_double(number: int) -> int:
    time.sleep(0.4)
    return 2 * number


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.filterwarnings("default")
def test_a_node_of_a_cluster_that_dies_costs_its_shards_only() -> None:
    import ray  # pyright: ignore[reportMissingImports]
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    from herd.run.executors import RayExecutor

    environment = {"env_vars": {"PYTHONPATH": str(Path(__file__).parents[2])}}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        node = cluster.add_node(num_cpus=1)
        ray.init(cluster.address, log_to_driver=False, runtime_env=environment)
        place = RayExecutor()
        assert place.workers == 2
        found = []
        for number, result in enumerate(place.map(slow_double, range(12))):
            if number == 2:
                cluster.remove_node(node, allow_graceful=False)
            found.append(result)
        assert found == list(range(0, 24, 2))
        with pytest.raises(DataError, match="shard 3 is broken"):
            list(place.map(refuses, range(6)))
    finally:
        ray.shutdown()
        cluster.shutdown()

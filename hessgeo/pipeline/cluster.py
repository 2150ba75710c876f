"""Rows of a posterior on the workers of a Dask cluster, which read the samples from the store by themselves.

A task is a strip. Tasks whose worker is lost are done again on others, and no byte depends on where they were.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import dask
import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline.estimation import about_rows, count_strips, left_out, row_problem, start_rows
from hessgeo.pipeline.scheduler import Scheduler
from hessgeo.posteriors import Posterior
from hessgeo.posteriors.kernels import Rows
from hessgeo.posteriors.row_files import Start
from hessgeo.posteriors.strips import RowProblem, Strip, joined_posterior, reduced_strips

ANSWER_SECONDS = 30  # that a scheduler may take to answer, and its first worker to come
LOOK_SECONDS = 30  # between looks at whether any worker is left


@dataclass(frozen=True, eq=False)
class RowTask:
    """All that a worker needs to reduce rows.

    Attributes:
        store: folder of the sample store, by a path that workers have, too.
        array: the embedding in it.
        grid: as a mapping.
        settings: ``posterior`` of the study.
        start: what all workers must agree on.
    """

    store: str
    array: str
    grid: Mapping[str, Any]
    settings: Mapping[str, Any]
    start: Start

    @property
    def key(self) -> str:
        """What tells tasks of one posterior from those of another."""
        return repr((self.store, self.array, self.grid, self.settings, self.start.resolution))


class _Held:
    """The problem that the worker in this process has built last, which most tasks to come are of."""

    def __init__(self) -> None:
        self.lock, self.key, self.open = Lock(), "", ExitStack()
        self.problem: RowProblem | None = None

    def get(self, task: RowTask) -> RowProblem:
        with self.lock:
            if self.problem is None or self.key != task.key:
                self.open.close()
                self.problem = None
                # For good: a block that ends would give other threads of this worker their BLAS threads back.
                threadpool_limits(limits=1, user_api="blas")
                embedding = store.open_array(task.store, task.array)
                t = store.read_array(task.store, "t")
                made = row_problem(embedding, t, Grid(**task.grid), task.settings, task.start)
                # What is read here is read here: as tasks of the cluster it would wait for this one for ever.
                with dask.config.set(scheduler="synchronous"):
                    self.problem, self.key = self.open.enter_context(made), task.key
            return self.problem


_held = _Held()


def _reduced(task: RowTask, number: int) -> Strip:
    """A strip, on the worker."""
    return next(reduced_strips(_held.get(task), [number]))


def _itself(task: RowTask) -> RowTask:
    """A task's result that is made again where it is lost, which data given to a cluster are not."""
    return task


def _address_in(file: str) -> str:
    """The address that a scheduler file tells."""
    try:
        return str(json.loads(Path(file).read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"posterior.scheduler: {file!r} is not allowed; allowed: a scheduler file of Dask with an address"
        ) from error


@contextmanager
def connected(scheduler: Scheduler) -> Iterator[Any]:
    """A client of a Dask cluster with a worker of this version of the package, for a ``with`` block.

    Raises:
        ValueError: one line, if there is no such cluster.
    """
    key, place = "posterior.scheduler", scheduler.place
    try:
        distributed = import_module("distributed")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{key}: {place!r} needs the extra cluster: pip install 'hessgeo[cluster]'"
        ) from error
    address = place if "://" in place else _address_in(place)
    # What Dask says on the way to an answer or to none, this says in one line.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{key}: no Dask scheduler answers at {place!r} within {ANSWER_SECONDS} s"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=ANSWER_SECONDS)
        except TimeoutError as error:
            raise ValueError(f"{key}: the Dask scheduler at {place!r} has no worker") from error
        yield client


def _check_versions(client: Any, place: str) -> None:
    """Refuse workers that would compute with other code."""
    try:
        found = client.run(_version)
    except Exception as error:
        raise ValueError(
            f"posterior.scheduler: workers of {place!r} cannot import hessgeo {_version()}: {error}"
        ) from error
    other = {address: one for address, one in found.items() if one != _version()}
    if other:
        address, one = next(iter(other.items()))
        raise ValueError(
            f"posterior.scheduler: the worker {address} of {place!r} has hessgeo {one}, not {_version()}"
        )


def _version() -> str:
    return version("hessgeo")


def cluster_strips(scheduler: Scheduler, task: RowTask, strips: range) -> Iterator[Strip]:
    """Strips in their order, reduced by whatever workers the cluster has, now or later.

    Args:
        scheduler: the cluster.
        task: what to reduce.
        strips: numbers of the strips.

    Raises:
        ValueError: one line, if there is no such cluster, or no worker of it is left.
    """
    with connected(scheduler) as client:
        _check_versions(client, scheduler.place)
        shared = client.submit(_itself, task, pure=False)
        waiting = [client.submit(_reduced, shared, number, pure=False) for number in strips]
        for k, future in enumerate(waiting):
            yield _awaited(client, future, scheduler.place)
            waiting[k] = None  # its memory on the worker is free


def _awaited(client: Any, future: Any, place: str) -> Strip:
    while True:
        try:
            return future.result(timeout=LOOK_SECONDS)
        except TimeoutError as error:
            if not client.scheduler_info()["workers"]:
                raise ValueError(
                    f"posterior.scheduler: no worker of {place!r} is left; the job may be run again"
                ) from error


def cluster_posterior(
    scheduler: Scheduler,
    place: Mapping[str, Any],
    embedding: Rows,
    t: Float[np.ndarray, "n axis"],
    grid: Grid,
    settings: Mapping[str, Any],
    *,
    seed: int,
) -> tuple[Posterior, dict[str, Any]]:
    """``estimation.distance_posterior`` on the workers of a cluster.

    Args:
        scheduler: the cluster.
        place: ``store``, ``array`` and ``grid`` of a ``RowTask``.
        embedding: as there, and so are the others: from these the resolution is chosen here.
        t: parameters.
        grid: the nodes.
        settings: ``posterior`` of a study.
        seed: of the choice of the resolution.
    """
    start = start_rows(embedding, t, grid, settings, seed=seed)
    task = RowTask(**place, settings=dict(settings), start=start)
    strips = tqdm(
        cluster_strips(scheduler, task, range(count_strips(settings, start, len(t)))),
        desc="posterior",
        unit="strip",
    )
    result = joined_posterior(strips, t, **about_rows(settings, start))
    return result, {"chosen": start.chosen, **left_out(result)}

"""A scheduler of very many shards, simulated event by event: one Snakemake that submits, nodes that start up and work.

Snakemake hands jobs out one after another, each of which takes it a while, to whatever node is free. A job starts up
(imports, weights) and makes its shards. What is asked is how much of the nodes' time is work, and what is short:
nodes, or Snakemake.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass


@dataclass(frozen=True)
class Study:
    """Jobs and files of a study's samples and embeddings, as ``SampleStore.complete`` counts them.

    Attributes:
        samples: their number.
        shard: samples of a shard.
        per_job: shards of a job.
    """

    samples: int
    shard: int
    per_job: int = 1

    @property
    def shards(self) -> int:
        """Of each array."""
        return -(-self.samples // self.shard)

    @property
    def jobs(self) -> int:
        """That generate and embed."""
        return 2 * -(-self.shards // self.per_job)

    @property
    def files(self) -> int:
        """Shards and sidecars of images and embeddings, and their logs and benchmarks."""
        return 4 * self.shards + 2 * self.jobs


@dataclass(frozen=True)
class Outcome:
    """What a simulation found.

    Attributes:
        seconds: until the last job is done.
        share: of the nodes' time that was work.
        submitting: share of the time in which Snakemake was submitting.
    """

    seconds: float
    share: float
    submitting: float


def simulate(
    shards: int,
    nodes: int,
    *,
    work: float,
    submit: float,
    start: float,
    grouped: int = 1,
) -> Outcome:
    """Run shards on nodes, one job a node at a time.

    Args:
        shards: their number.
        nodes: that work side by side.
        work: seconds of a shard.
        submit: seconds of Snakemake for a job, which it spends on one after another.
        start: seconds in which a job starts up.
        grouped: shards of a job.
    """
    free, snakemake, last, left = [0.0] * nodes, 0.0, 0.0, shards
    jobs = 0
    while left:
        some = min(grouped, left)
        left -= some
        jobs += 1
        node = heapq.heappop(free)
        snakemake = max(snakemake, node) + submit
        done = snakemake + start + some * work
        heapq.heappush(free, done)
        last = max(last, done)
    return Outcome(last, shards * work / (nodes * last), jobs * submit / last)

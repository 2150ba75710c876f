"""Where rows of a posterior are computed, as settings say it."""

from __future__ import annotations

from dataclasses import dataclass

THREADS = "threads"  # of this machine, and no cluster


@dataclass(frozen=True)
class Scheduler:
    """Where rows are computed, which changes no result: Snakemake compares no params of such a type.

    Attributes:
        place: ``threads``, the address of a Dask scheduler, or the path of its scheduler file.
    """

    place: str

    @property
    def is_cluster(self) -> bool:
        """Whether it is not this machine alone."""
        return self.place != THREADS

"""Where results lie, of given names or, in rules, of wildcards in braces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hessgeo.figures.registry import Figure

FIGURE_KINDS = ("svg", "png", "csv")

# Axes of one sample, which no shard divides; one of those that are not here.
AXES = {"image": 3, "prediction": 4, "trajectory": 5, "features": 2}

# What steps write; each name is also the name of the rule's output.
NETWORK_FILES = {"config": "config.json", "weights": "model.safetensors"}
ANCHOR_FILES = {"anchors": "anchors.npy", "numbers": "anchors.json", "reconstructions": "reconstructions.npy"}


@dataclass(frozen=True)
class Folder:
    """A folder of results.

    Args:
        results: folder of everything that is produced.
        name: of this one in it.
    """

    results: str
    name: str

    def path(self, *parts: str) -> str:
        """Path in the folder."""
        return "/".join((self.results, self.name, *parts))

    def table(self, name: str) -> str:
        """Path of a table, which no folder has for itself."""
        return "/".join((self.results, "tables", name))

    def figure_files(self, figures: Iterable[Figure]) -> list[str]:
        """Figures, and the numbers in them."""
        return [self.path("figures", f"{figure.name}.{kind}") for figure in figures for kind in FIGURE_KINDS]


@dataclass(frozen=True)
class SampleStore:
    """The paths of a store of samples and of its sidecars, which lie beside it.

    Args:
        folder: of the study or the system and seed that it belongs to.
        name: of the store.
    """

    folder: str
    name: str

    @property
    def path(self) -> str:
        """The store itself."""
        return f"{self.folder}/samples/{self.name}.zarr"

    def metadata(self, *group: str) -> str:
        """Metadata of the store, of a group, or of an array."""
        return "/".join((self.path, *group, "zarr.json"))

    def shard(self, array: str, number: int | str = "{shard}") -> str:
        """The file of one shard: an index along the samples, and a zero for each axis of a sample."""
        return "/".join((self.path, array, "c", str(number), *["0"] * AXES.get(array.partition("-")[0], 1)))

    def sidecar(self, array: str, number: int | str = "{shard}") -> str:
        """The sidecar of one shard."""
        return f"{self.folder}/manifest/{self.name}/{array}/{number}.json"

    def complete(self, array: str, count: int) -> list[str]:
        """All that a job waits for that reads an array of so many shards: metadata, shards and sidecars."""
        groups = [[], ["embedding"]] if array.startswith("embedding/") else [[]]
        made = (one(array, k) for one in (self.shard, self.sidecar) for k in range(count))
        return [*(self.metadata(*group) for group in groups), self.metadata(array), *made]

    def created(self, array: str) -> dict[str, str]:
        """What a store begins with, by the names of the rule's outputs: its points, and metadata of the samples."""
        return {
            "group": self.metadata(),
            "embeddings": self.metadata("embedding"),
            "points_metadata": self.metadata("t"),
            "points": self.shard("t", 0),
            "points_sidecar": self.sidecar("t", 0),
            f"{array}_metadata": self.metadata(array),
        }


@dataclass(frozen=True)
class StudyFolder(Folder):
    """The folder of a study, and the sample store that it uses.

    Args:
        results: folder of everything that is produced.
        name: the study.
        owner: the study whose samples it uses.
        store: name of the sample store.
        key: name of its embedding in there.
        history: name of the steps whose predictions are kept in there.
    """

    name: str = "{study}"
    owner: str = "{study}"
    store: str = "{store}"
    key: str = "{key}"
    history: str = "{history}"

    @property
    def samples(self) -> SampleStore:
        """The sample store, its own or that of the owner."""
        return SampleStore(f"{self.results}/{self.owner}", self.store)

    def array(self, name: str) -> str:
        """An array of the sample store; its embedding, and what is kept of its history, by their words."""
        named = {
            "embedding": f"embedding/{self.key}",
            "prediction": f"prediction-{self.history}",
            "trajectory": f"trajectory-{self.history}",
            "features": f"features-{self.history}-{self.key}",
        }
        return named.get(name, name)

    @property
    def posterior_start(self) -> str:
        """What jobs start from that share the rows of a posterior."""
        return self.path("posterior_rows", "start.nc")

    def posterior_part(self, part: int | str = "{part}", parts: int | str = "{parts}") -> str:
        """Rows of a posterior, one part of so many."""
        return self.path("posterior_rows", f"{part}-of-{parts}.nc")

    def anchor_file(self, name: str) -> str:
        """A file of the anchors, a key of ``ANCHOR_FILES``."""
        return f"{self.results}/{self.owner}/anchors/{self.store}/{ANCHOR_FILES[name]}"

"""The paths of one study, and what its rules give to their scripts."""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Any

from hessgeo.figures import registry
from hessgeo.figures.registry import Figure
from hessgeo.pipeline.derived import axis_names, methods_left_out
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.explorer import BESIDE, PAGE, RESULTS, digests
from hessgeo.pipeline.folders import ANCHOR_FILES, NETWORK_FILES, StudyFolder
from hessgeo.pipeline.history_settings import history_steps, no_history
from hessgeo.pipeline.refine_layout import RefineLayout
from hessgeo.pipeline.scheduler import Scheduler
from hessgeo.pipeline.study_models import BASE_MEMORY_MB, Model, StudyModels
from hessgeo.pipeline.zoom_layout import FILMS, ZoomLayout

# What the training of a posterior network depends on.
NETWORK_TRAINING = (
    "size", "grid", "bundle", "neighbours", "smoothing", "epochs", "batch_size", "learning_rate", "held_out",
)  # fmt: skip


# How the rows of a posterior are computed, and not what.
IDLE_OF_POSTERIOR = ("parts", "scheduler")

# Of one kind, unless settings say how much each does: Snakemake takes some 5 ms to plan one.
MOST_JOBS = 250

# What a parameter is called that moves the latent or a condition.
ALONG = {
    "latent": "latent coordinate",
    "guidance": "guidance scale",
    "prompt": "share of the way to the other prompt,",
    "lora": "weight of the LoRA,",
}


class StudyLayout(StudyModels):
    """The paths of one study, as ``StudyModels`` of its settings and its name; what is found once is kept."""

    @cached_property
    def folder(self) -> StudyFolder:
        """Its folder, with the sample store that it uses."""
        keys = digest(self.embedding), digest(self.history_steps)
        return StudyFolder(self.settings.results, self.name, self.owner, self.store, *keys)

    def path(self, *parts: str) -> str:
        """Path in the folder of the study."""
        return "/".join((self.settings.results, self.name, *parts))

    def named(self, name: str) -> Any:
        """A property of the layout, or the path of a result of the study."""
        return getattr(self, name) if hasattr(type(self), name) or name == "name" else self.path(name)

    # What it has.

    @property
    def owner(self) -> str:
        """The study whose samples and embedding it uses: itself, or another."""
        return self._study["samples"] or self.name

    @property
    def has_paths(self) -> bool:
        """Whether every node has a sample, as the metrics of features need, and paths can be drawn and embedded."""
        is_there = self.is_own or self._study["embedding"]["kind"] == "file"
        return self._study["sampling"]["design"] == "grid" and self.is_plane and not is_there

    @property
    def history_need(self) -> str:
        """What it lacks for a history, empty if nothing."""
        return no_history(self._study)

    @property
    def is_plane(self) -> bool:
        """Whether it has two parameters, as maps and paths need."""
        return len(self._study["sampling"]["grid"]) == 2

    @property
    def is_line(self) -> bool:
        """Whether it has one parameter, whose results are curves."""
        return not self.is_plane

    @property
    def learns_coordinates(self) -> bool:
        """Whether the coordinates in which the free energy is convex are part of its fit."""
        return self._study["free_energy"]["coordinates"] == "learned"

    @property
    def uses_network(self) -> bool:
        """Whether the posterior comes from a network that reads the images."""
        return self._study["posterior"]["kind"] == "network"

    @property
    def is_parted(self) -> bool:
        """Whether several jobs share the rows of its posterior."""
        return self._study["posterior"]["parts"] > 1

    @property
    def is_scanned(self) -> bool:
        """Whether it is repeated at other resolutions: a network's posterior has the one it was trained at."""
        return not self.uses_network

    @property
    def is_calibrated(self) -> bool:
        """Whether its calibration is published."""
        return bool(self._study["figures"]["calibration"])

    @property
    def maps_distances(self) -> bool:
        """Whether distances in the plane of its two parameters are drawn, where a setting asks."""
        return self.is_plane and self._study["figures"]["distances"]

    @property
    def is_tested(self) -> bool:
        """Whether its phases can be told from noise by replicates: every node of a plane has an embedded sample."""
        return self._study["sampling"]["design"] == "grid" and self.is_plane

    @property
    def label_model(self) -> Model:
        """The classifier that knows what its images show; an empty one where none does."""
        return self.classifier if self._is_embedded("system") else Model()

    @property
    def has_density(self) -> bool:
        """Whether the posterior knows a density of the samples: that of the kernel of distances."""
        return not self.uses_network

    @property
    def along(self) -> str:
        """What the first parameter moves, in words for a figure."""
        name = axis_names(self._study["slice"])[0]
        return ALONG.get(name, name)

    # Settings of steps.

    @property
    def posterior_settings(self) -> dict[str, Any]:
        """The settings of its posterior, without those that change no byte of it."""
        return {key: value for key, value in self._study["posterior"].items() if key not in IDLE_OF_POSTERIOR}

    @property
    def scheduler(self) -> Scheduler:
        """Where the rows of its posterior are computed."""
        return Scheduler(self._study["posterior"]["scheduler"])

    @property
    def geodesics(self) -> dict[str, Any]:
        """The settings of paths, without the network of perceptual features."""
        return {key: value for key, value in self._study["geodesics"].items() if key != "perceptual"}

    @property
    def history_steps(self) -> list[int]:
        """The steps whose predictions are kept: those of the study whose samples it uses."""
        return history_steps(self.settings.studies[self.owner])

    @property
    def history_arrays(self) -> dict[str, str]:
        """Names of the arrays that the history is traced in."""
        return {name: self.folder.array(name) for name in ("trajectory", "features", "embedding")}

    @property
    def history_memory_mb(self) -> int:
        """Memory of the job that traces the history: states and predicted latents, and a step of them in double."""
        kept, latent = len(self.history_steps), prod(self.latent_shape)
        return BASE_MEMORY_MB + self.count * latent * (2 * 4 * kept + 8 * 8) // 10**6

    @property
    def methods_left_out(self) -> dict[str, str]:
        """Methods of the defaults that the study cannot have, with what they need."""
        return methods_left_out(self._study, self.settings.models)

    @property
    def network_training(self) -> dict[str, Any]:
        """The settings that the training of its posterior network depends on."""
        network = self._study["posterior"]["network"]
        return {key: network[key] for key in NETWORK_TRAINING}

    # The sample store.

    @cached_property
    def store(self) -> str:
        """Name of the sample store: design, shard, image size and a digest of all that samples depend on."""
        sampling = self._study["sampling"]
        grid = sampling["design"] == "grid"
        points = "x".join(map(str, sampling["grid"])) if grid else str(sampling["count"])
        image = "x".join(map(str, self.image_shape))
        return f"{sampling['design']}-{points}-s{sampling['shard']}-{image}-{digest(self.sampling)}"

    @property
    def samples(self) -> str:
        """The sample store, its own or that of the study whose samples it uses."""
        return self.folder.samples.path

    @property
    def embedding_array(self) -> str:
        """Name of the embedding in the sample store: a digest of all that it depends on."""
        return self.folder.array("embedding")

    @property
    def shards_per_job(self) -> int:
        """Shards that a job makes or embeds: as asked for, or so many that jobs stay few enough to plan."""
        asked = self._study["sampling"]["shards_per_job"]
        return -(-self.shard_count("image") // MOST_JOBS) if asked == "auto" else asked

    def shard_count(self, array: str) -> int:
        """Number of shards of an array; the points are one shard."""
        return 1 if array == "t" else -(-self.count // self._study["sampling"]["shard"])

    def shards(self, array: str) -> list[str]:
        """The files of an array, one a shard; those of the embedding by that word."""
        store, name = self.folder.samples, self.folder.array(array)
        return [store.shard(name, k) for k in range(self.shard_count(array))]

    def sidecars(self, array: str) -> list[str]:
        """The sidecars of an array, one a shard."""
        store, name = self.folder.samples, self.folder.array(array)
        return [store.sidecar(name, k) for k in range(self.shard_count(array))]

    def complete(self, array: str) -> list[str]:
        """All that a job waits for that reads an array."""
        return self.folder.samples.complete(self.folder.array(array), self.shard_count(array))

    # What steps wait for.

    def anchor_file(self, name: str) -> str:
        """A file of the anchors, a key of ``ANCHOR_FILES``."""
        return self.folder.anchor_file(name)

    @property
    def anchor_outputs(self) -> list[str]:
        """The anchors, and what was made of them; samples of one's own have none."""
        return [self.anchor_file(name) for name in ANCHOR_FILES if not self.is_own]

    @property
    def network_files(self) -> list[str]:
        """The files of its posterior network; none for a posterior from distances."""
        return [self.path("posterior_network", file) for file in NETWORK_FILES.values() if self.uses_network]

    @property
    def embedding_of_no_posterior(self) -> list[str]:
        """The embedding, for a step behind a posterior that has not waited for it: a network reads images alone.

        Behind a posterior of distances it is not named again: thousands of shards, step by step, make a plan slow.
        """
        return self.complete("embedding") if self.uses_network else []

    @property
    def posterior_images(self) -> list[str]:
        """The images, where the posterior is read off them."""
        return self.complete("image") if self.uses_network else []

    @property
    def posterior_parts(self) -> list[str]:
        """The parts of its posterior, where several jobs share it."""
        parts = self._study["posterior"]["parts"]
        return [self.folder.posterior_part(part, parts) for part in range(parts) if self.is_parted]

    @property
    def numbers(self) -> list[str]:
        """The numbers of every step of the study."""
        steps = ["samples"] if self.system_model.trained else []
        steps += ["posterior", "free_energy", "metric", "phases"]
        steps += ["resolution_scan"] if self.is_scanned else []
        steps += ["calibration"] if self.is_calibrated else []
        anchors = [] if self.is_own else [self.anchor_file("numbers")]
        return [*anchors, *(self.path("numbers", f"{step}.json") for step in steps)]

    # Targets.

    @cached_property
    def refine(self) -> RefineLayout:
        """The rounds of the target refine."""
        return RefineLayout(self)

    @cached_property
    def zoom(self) -> ZoomLayout:
        """The windows of the target zoom."""
        return ZoomLayout(self)

    @property
    def figures(self) -> list[Figure]:
        """The figures of the study."""
        return [figure for figure in registry.STUDY if figure.needs is None or getattr(self, figure.needs)]

    @property
    def path_targets(self) -> list[str]:
        """What the target ``table2`` makes of the study."""
        numbers = ["numbers/geodesics.json", "numbers/path_scores.json"]
        results = ["geodesics.nc", "path_scores.csv", "path_strips.nc"]
        return [*(self.path(name) for name in results + numbers), *self.folder.figure_files(registry.PATHS)]

    @property
    def history_targets(self) -> list[str]:
        """What the target ``history`` makes of the study."""
        arrays = ("prediction", "trajectory", "features")
        kept = dict.fromkeys(path for array in arrays for path in self.complete(array))
        made = [self.path(f"history.{kind}") for kind in ("nc", "json", "csv")]
        return [*kept, *made, *self.folder.figure_files(registry.HISTORY)]

    @property
    def scan_numbers(self) -> list[str]:
        """The numbers of its resolution scan, if it has one."""
        return [self.path("numbers", "resolution_scan.json")] if self.is_scanned else []

    @property
    def stability_targets(self) -> list[str]:
        """What the target ``stability`` makes of the study."""
        made = [self.path(name) for name in ("stability.csv", "stability.json", "numbers/stability.json")]
        return [*made, *self.folder.figure_files(registry.STABILITY)]

    @property
    def explorer_results(self) -> list[str]:
        """What the explorer's page of the study is made of, but its samples."""
        return [self.path(name) for name in RESULTS]

    @property
    def explorer_beside(self) -> dict[str, str]:
        """What vouches for results that the page shows where they are there."""
        return digests(self.path(), BESIDE)

    @property
    def explorer_targets(self) -> list[str]:
        """What the target ``explore`` makes of the study: a page, of a plane."""
        return [self.path(PAGE)] if self.is_plane else []

    @property
    def safety_targets(self) -> list[str]:
        """What the target ``safety`` makes of the study."""
        made = [self.path(f"safety.{kind}") for kind in ("nc", "csv", "json")]
        return [*made, *self.folder.figure_files(registry.SAFETY)]

    @property
    def morph_anchors(self) -> list[str]:
        """The anchors of the study, if its model is to be asked for new images."""
        return [self.anchor_file("anchors")] if self.has_paths else []

    @property
    def morph_targets(self) -> list[str]:
        """What the target ``morph`` makes of the study."""
        made = [self.path("morph", name) for name in ("morph.nc", *FILMS.values())]
        return [*made, self.path("numbers", "morph.json"), *self.folder.figure_files(registry.MORPH)]

    @property
    def targets(self) -> list[str]:
        """Everything that the study makes."""
        shards = dict.fromkeys(path for array in ("t", "image", "embedding") for path in self.complete(array))
        results = [
            "posterior.zarr",
            "free_energy.nc",
            "metric.nc",
            "phases.nc",
            "phases.json",
            "numbers.json",
        ]
        results += ["resolution_scan.csv"] if self.is_scanned else []
        results += ["calibration.nc"] if self.is_calibrated else []
        steps = [*self.model_files, *self.model_numbers, *self.anchor_outputs, *shards, *self.network_files]
        made = [self.path(path) for path in results]
        if self.is_parted:
            made += [self.folder.posterior_start, *self.posterior_parts]
        return [*steps, *self.numbers, *made, *self.folder.figure_files(self.figures)]

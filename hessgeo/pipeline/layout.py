"""Every path of a run, and the settings that rules give to their scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import getitem
from pathlib import Path
from typing import Any

from hessgeo.pipeline.blocks import Block
from hessgeo.pipeline.code import Code
from hessgeo.pipeline.derived import methods_left_out
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.generative import GenerativeLayout
from hessgeo.pipeline.settings import Settings
from hessgeo.pipeline.solvable_layout import SolvableLayout
from hessgeo.pipeline.study_models import CLASSIFIER_FILES, CLIP_FILES, DIFFUSION_FILES, StudyModels

__all__ = ["CLASSIFIER_FILES", "CLIP_FILES", "DIFFUSION_FILES", "Layout", "StudyLayout"]

FIGURES = (
    "mosaic",
    "free_energy",
    "first_derivatives",
    "second_derivatives",
    "metric",
    "phases",
    "posteriors",
    "lipschitz",
    "resolution_scan",
    "error_bars",
)


# What the training of a posterior network depends on.
NETWORK_TRAINING = (
    "size", "grid", "bundle", "neighbours", "smoothing", "epochs", "batch_size", "learning_rate", "held_out",
)  # fmt: skip

# Tables and figures of the target table2.
PATH_TABLES = ("table2", "table2_against_fisher", "table2_turning")
PATH_FIGURES = ("geodesic_mosaic", "interpolation_strips")

# Drawn of studies that have what they show.
INVERSION_FIGURE = "inversion"
RESOLUTION_FIGURE = "resolution_scan"

# What steps write; each name is also the name of the rule's output.
NETWORK_FILES = {"config": "config.json", "weights": "model.safetensors"}
ANCHOR_FILES = {"anchors": "anchors.npy", "numbers": "anchors.json", "reconstructions": "reconstructions.npy"}


@dataclass(frozen=True)
class Layout:
    """The paths of a run.

    Paths with wildcards in braces are for rules' outputs, logs and benchmarks, those of one study for inputs.

    Args:
        settings: the checked configuration.
        root: folder of the Snakefile.
    """

    settings: Settings
    root: Path

    # Templates for rules.

    def study(self, *parts: str) -> str:
        """Path in the folder of the study that a rule works for."""
        return "/".join((self.settings.results, "{study}", *parts))

    def model(self, *parts: str) -> str:
        """Path in the folder of the embedded model that a rule works for."""
        return "/".join((self.settings.results, "models", "{model}", *parts))

    def logs(self, *parts: str) -> str:
        """Path of a log."""
        return "/".join((self.settings.results, "logs", *parts))

    def benchmarks(self, *parts: str) -> str:
        """Path of a benchmark."""
        return "/".join((self.settings.results, "benchmarks", *parts))

    def anchors(self, *parts: str) -> str:
        """Path in the folder of the anchors of a sample store."""
        return self.study("anchors", "{layout}", *parts)

    def comparison(self, *parts: str) -> str:
        """Path in the folder of the figures that set studies side by side."""
        return "/".join((self.settings.results, "comparisons", *parts))

    def table(self, *parts: str) -> str:
        """Path in the folder of the tables across studies."""
        return "/".join((self.settings.results, "tables", *parts))

    def sample_store(self, *parts: str) -> str:
        """Path in the sample store."""
        return self.study("samples", "{layout}.zarr", *parts)

    def manifest(self, *parts: str) -> str:
        """Path in the folder of the sidecars of a sample store."""
        return self.study("manifest", "{layout}", *parts)

    # Settings for rules.

    def setting(self, *keys: str, study: str | None = None) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: the settings of its study, or of ``study``, or an entry of them."""
        return lambda wildcards: reduce(getitem, keys, self.settings.studies[study or wildcards.study])

    def model_setting(self, *keys: str) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: the settings of its embedded model, or an entry of them."""
        return lambda wildcards: reduce(getitem, keys, self.settings.models[wildcards.model])

    @cached_property
    def _code(self) -> Code:
        return Code(self.root)

    def code(
        self, script: str, chosen: Callable[[Any], Mapping[str, list[str]]] | None = None
    ) -> Callable[[Any], str]:
        """A function of a rule's wildcards: a digest of the code that its script runs.

        Args:
            script: its file in ``workflow/scripts``.
            chosen: a function of wildcards, see ``Code.of``.
        """
        return lambda wildcards: self._code.of(Path(script).name, chosen(wildcards) if chosen else None)

    # One study.

    @cached_property
    def _of(self) -> dict[str, StudyLayout]:
        return {name: StudyLayout(self.settings, name) for name in self.settings.studies}

    def of(self, study: str) -> StudyLayout:
        """The paths of one study."""
        return self._of[study]

    def of_study(self, name: str, *arguments: str, study: str | None = None) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: the paths called ``name`` in the layout of its study, or of ``study``."""

        def read(wildcards: Any) -> Any:
            value = getattr(self.of(study or wildcards.study), name)
            return value(*arguments) if arguments or callable(value) else value

        return read

    @property
    def solvable(self) -> SolvableLayout:
        """The paths of the systems with exact answers and their tables."""
        return SolvableLayout(self.settings.results, self.settings.solvable)

    @property
    def studies(self) -> list[StudyLayout]:
        """The paths of every study to build."""
        return [self.of(name) for name in self.settings.run]

    @property
    def blocks(self) -> list[Block]:
        """The shards that jobs make, of every store: one by a wildcard, then those of studies that ask for several."""
        owners = [self.of(name) for name in dict.fromkeys(map(self.settings.owner, self.settings.studies))]
        single = [study.name for study in owners if study.shards_per_job == 1]
        several = [
            Block(self, range(start, min(start + study.shards_per_job, count)), study)
            for study in owners
            if study.shards_per_job > 1
            for count in [study.shard_count("image")]
            for start in range(0, count, study.shards_per_job)
        ]
        return [Block(self, ("{shard}",), None, "|".join(single) or "none"), *several]

    @property
    def path_studies(self) -> list[StudyLayout]:
        """The studies to build whose paths can be solved: those with a sample on every node."""
        return [study for study in self.studies if study.has_paths]

    @property
    def path_targets(self) -> list[str]:
        """Everything that the target ``table2`` makes."""
        names = [f"{name}.{kind}" for name in PATH_TABLES for kind in ("csv", "tex", "html")]
        tables = [self.table(name) for name in (*names, "table2.json")] if self.path_studies else []
        return [*tables, *(path for study in self.path_studies for path in study.path_targets)]

    def of_comparison(self, name: str) -> Callable[[Any], list[Any]]:
        """A function of a rule's wildcards: a path or property of each study that a comparison sets side by side."""

        def read(wildcards: Any) -> list[Any]:
            return [self.of(study).named(name) for study in self.settings.comparisons[wildcards.comparison]]

        return read

    @property
    def generative(self) -> GenerativeLayout:
        """The paths of the geodesics of densities."""
        return GenerativeLayout(self.settings.results, self.settings.generative)

    @property
    def generative_targets(self) -> list[str]:
        """Everything that the target ``generative_geodesics`` makes, the model included."""
        model = [self.generative.model(file) for file in DIFFUSION_FILES.values()]
        return [*model, *self.generative.targets]

    @property
    def targets(self) -> list[str]:
        """Everything that a run makes, intermediate results included: one that was lost is made again."""
        compared = [
            self.comparison(f"{name}.{kind}")
            for name in self.settings.comparisons
            for kind in ("svg", "png", "csv")
        ]
        return [*(path for study in self.studies for path in study.targets), *compared]


class StudyLayout(StudyModels):
    """The paths of one study, as ``StudyModels`` of its settings and its name."""

    def path(self, *parts: str) -> str:
        """Path in the folder of the study."""
        return "/".join((self.settings.results, self.name, *parts))

    def named(self, name: str) -> Any:
        """A property of the layout, or the path of a result of the study."""
        return getattr(self, name) if hasattr(type(self), name) or name == "name" else self.path(name)

    # Paths.

    @property
    def has_paths(self) -> bool:
        """Whether every node has a sample, as the metrics of features need."""
        return self._study["sampling"]["design"] == "grid"

    @property
    def has_density(self) -> bool:
        """Whether the posterior knows a density of the samples: that of the kernel of distances."""
        return not self.uses_network

    @property
    def geodesics(self) -> dict[str, Any]:
        """The settings of paths, without the network of perceptual features."""
        return {key: value for key, value in self._study["geodesics"].items() if key != "perceptual"}

    @property
    def methods_left_out(self) -> dict[str, str]:
        """Methods of the defaults that the study cannot have, with what they need."""
        return methods_left_out(self._study, self.settings.models)

    @property
    def path_targets(self) -> list[str]:
        """What the target ``table2`` makes of the study."""
        figures = [f"figures/{name}.{kind}" for name in PATH_FIGURES for kind in ("svg", "png", "csv")]
        numbers = ["numbers/geodesics.json", "numbers/path_scores.json"]
        results = ("geodesics.nc", "path_scores.csv", "path_strips.nc")
        return [self.path(path) for path in (*results, *numbers, *figures)]

    # The sample store.

    @cached_property
    def layout(self) -> str:
        """Name of the sample store: design, shard, image size and a digest of all that samples depend on."""
        sampling = self._study["sampling"]
        grid = sampling["design"] == "grid"
        points = "x".join(map(str, sampling["grid"])) if grid else str(sampling["count"])
        image = "x".join(map(str, self.image_shape))
        return f"{sampling['design']}-{points}-s{sampling['shard']}-{image}-{digest(self.sampling)}"

    @property
    def embedding_array(self) -> str:
        """Name of the embedding in the sample store: a digest of all that it depends on."""
        return f"embedding/{digest(self.embedding)}"

    @property
    def samples(self) -> str:
        """The sample store, its own or that of the study whose samples it uses."""
        return self._owned("samples", f"{self.layout}.zarr")

    def _owned(self, *parts: str) -> str:
        return "/".join((self.settings.results, self.settings.owner(self.name), *parts))

    def anchor_file(self, name: str) -> str:
        """A file of the anchors, a key of ``ANCHOR_FILES``."""
        return self._owned("anchors", self.layout, ANCHOR_FILES[name])

    @property
    def arrays(self) -> list[str]:
        """The arrays of the sample store that the study uses."""
        return ["t", "image", self.embedding_array]

    def shard_count(self, array: str) -> int:
        """Number of shards of an array; the points are one shard."""
        return 1 if array == "t" else self.count // self._study["sampling"]["shard"]

    @property
    def shards_per_job(self) -> int:
        """Shards that a job makes or embeds."""
        return self._study["sampling"]["shards_per_job"]

    def metadata(self, array: str) -> str:
        """Metadata of an array of the sample store."""
        return f"{self.samples}/{array}/zarr.json"

    def shards(self, array: str) -> list[str]:
        """The files of an array, one a shard."""
        array = self.embedding_array if array == "embedding" else array
        # One index along the samples, and one zero for each axis of a sample, which no shard divides.
        inner = "/".join("0" for _ in self.image_shape) if array == "image" else "0"
        return [f"{self.samples}/{array}/c/{k}/{inner}" for k in range(self.shard_count(array))]

    def sidecars(self, array: str) -> list[str]:
        """The sidecars of an array, one a shard."""
        array = self.embedding_array if array == "embedding" else array
        folder = self._owned("manifest", self.layout, array)
        return [f"{folder}/{k}.json" for k in range(self.shard_count(array))]

    def complete(self, array: str) -> list[str]:
        """All that a job waits for that reads an array: metadata, also of the store, shards and sidecars."""
        array = self.embedding_array if array == "embedding" else array
        groups = [f"{self.samples}/zarr.json"]
        if array == self.embedding_array:
            groups.append(f"{self.samples}/embedding/zarr.json")
        return [*groups, self.metadata(array), *self.shards(array), *self.sidecars(array)]

    # Results.

    @property
    def uses_network(self) -> bool:
        """Whether the posterior comes from a network that reads the images."""
        return self._study["posterior"]["kind"] == "network"

    @property
    def network_files(self) -> list[str]:
        """The files of that network; none for a posterior from distances."""
        return [self.path("posterior_network", file) for file in NETWORK_FILES.values() if self.uses_network]

    @property
    def network_training(self) -> dict[str, Any]:
        """The settings that the training of that network depends on."""
        network = self._study["posterior"]["network"]
        return {key: network[key] for key in NETWORK_TRAINING}

    @property
    def posterior_images(self) -> list[str]:
        """The images, where the posterior is read off them."""
        return self.complete("image") if self.uses_network else []

    @property
    def anchor_outputs(self) -> list[str]:
        """The anchors, and what was made of them."""
        return [self.anchor_file(name) for name in ANCHOR_FILES]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one latent."""
        return self.settings.latent_shape(self.name)

    @property
    def model_numbers(self) -> list[str]:
        """The numbers of the embedded models that the study uses."""
        parts = [part for part in ("system", "embedding") if self.settings.is_embedded(self.name, part)]
        return list(dict.fromkeys(self._model(part, "numbers.json") for part in parts))

    @property
    def model_files(self) -> list[str]:
        """The files of the embedded models that the study uses."""
        system = (
            [*self.system_files, *self.classifier_files]
            if self.settings.is_embedded(self.name, "system")
            else []
        )
        embedded = self.settings.is_embedded(self.name, "embedding")
        return [*system, *(self.embedding_files if embedded else [])]

    @property
    def numbers(self) -> list[str]:
        """The numbers of every step of the study."""
        steps = ["posterior", "free_energy", "metric", "phases"]
        if not self.uses_network:
            steps.append("resolution_scan")
        if self.settings.is_embedded(self.name, "system"):
            steps.insert(0, "samples")
        return [self.anchor_file("numbers"), *(self.path("numbers", f"{step}.json") for step in steps)]

    @property
    def figures(self) -> list[str]:
        """The figures of the study."""
        names = [name for name in FIGURES if name != RESOLUTION_FIGURE or not self.uses_network]
        return [*names, INVERSION_FIGURE] if self.inverts_images else names

    @property
    def targets(self) -> list[str]:
        """Everything that the study makes."""
        shards = dict.fromkeys(path for array in self.arrays for path in self.complete(array))
        results = [
            "posterior.zarr",
            "free_energy.nc",
            "metric.nc",
            "phases.nc",
            "phases.json",
            "numbers.json",
        ]
        if not self.uses_network:
            results.append("resolution_scan.csv")
        figures = [f"figures/{name}.{kind}" for name in self.figures for kind in ("svg", "png", "csv")]
        made = [self.path(path) for path in (*results, *figures)]
        steps = [*self.model_files, *self.model_numbers, *self.anchor_outputs, *shards, *self.network_files]
        return [*steps, *self.numbers, *made]

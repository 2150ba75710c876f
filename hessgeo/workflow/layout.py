"""Every path of a run, the settings that rules give to their scripts, the versions of the algorithms."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from hessgeo.workflow.settings import Settings

# Snakemake does not see what changes in the modules that a script imports. Raise the version of a step when
# its numbers change: whoever has old results gets it done again.
ALGORITHM_VERSIONS: Mapping[str, int] = {
    "train_diffusion": 1,
    "train_clip": 1,
    "train_classifier": 1,
    "generate_samples": 1,
    "embed_samples": 1,
    "estimate_posterior": 1,
    "fit_free_energy": 1,
    "derive_metric": 1,
    "segment_phases": 1,
    "scan_resolution": 1,
}

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

# What the training steps write; each name is also the name of the rule's output.
DIFFUSION_FILES = {
    "index": "model_index.json",
    "unet_config": "unet/config.json",
    "unet_weights": "unet/diffusion_pytorch_model.safetensors",
    "scheduler": "scheduler/scheduler_config.json",
}
CLIP_FILES = {"config": "open_clip_config.json", "weights": "open_clip_model.safetensors"}
CLASSIFIER_FILES = {"config": "config.json", "weights": "model.safetensors"}


def digest(value: Any, *, characters: int = 8) -> str:
    """Hexadecimal digest of settings, independent of the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:characters]


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

    def sample_store(self, *parts: str) -> str:
        """Path in the sample store."""
        return self.study("samples", "{layout}.zarr", *parts)

    def manifest(self, *parts: str) -> str:
        """Path in the folder of the sidecars of a sample store."""
        return self.study("manifest", "{layout}", *parts)

    def plotting_code(self, figure: str) -> list[Path]:
        """The modules that draw a figure: it is drawn again when they change."""
        return [self.root / "hessgeo" / "plotting" / f"{module}.py" for module in ("style", figure)]

    # Settings for rules.

    def setting(self, *keys: str) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: the settings of its study, or an entry of them."""
        return lambda wildcards: reduce(getitem, keys, self.settings.studies[wildcards.study])

    def model_setting(self, *keys: str) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: the settings of its embedded model, or an entry of them."""
        return lambda wildcards: reduce(getitem, keys, self.settings.models[wildcards.model])

    # One study.

    def of(self, study: str) -> StudyLayout:
        """The paths of one study."""
        return StudyLayout(self.settings, study)

    def of_study(self, name: str, *arguments: str) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: the paths called ``name`` in its study's layout."""

        def read(wildcards: Any) -> Any:
            value = getattr(self.of(wildcards.study), name)
            return value(*arguments) if arguments or callable(value) else value

        return read

    @property
    def studies(self) -> list[StudyLayout]:
        """The paths of every study to build."""
        return [self.of(name) for name in self.settings.studies]

    @property
    def targets(self) -> list[str]:
        """Everything that a run makes, intermediate results included: one that was lost is made again."""
        return [path for study in self.studies for path in study.targets]


@dataclass(frozen=True)
class StudyLayout:
    """The paths of one study.

    Args:
        settings: the checked configuration.
        name: the study.
    """

    settings: Settings
    name: str

    @property
    def _study(self) -> Mapping[str, Any]:
        return self.settings.studies[self.name]

    def path(self, *parts: str) -> str:
        """Path in the folder of the study."""
        return "/".join((self.settings.results, self.name, *parts))

    @property
    def grid(self) -> dict[str, tuple]:
        """Arguments of the ``Grid`` that carries the study's gridded results."""
        extent, shape = self._study["slice"]["extent"], self._study["sampling"]["grid"]
        return {"extent": tuple(map(tuple, extent)), "shape": tuple(shape)}

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.settings.count(self.name)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (H, W, C) of a sample."""
        return self.settings.image_shape(self.name)

    # The models.

    def _model(self, part: str, *inner: str) -> str:
        return "/".join((self.settings.results, "models", self._study[part]["checkpoint"], *inner))

    @property
    def diffusion(self) -> str:
        """Folder of the diffusion model."""
        embedded = self.settings.is_embedded(self.name, "system")
        return self._model("system", "diffusion") if embedded else self._study["system"]["checkpoint"]

    @property
    def diffusion_files(self) -> list[str]:
        """The files of the diffusion model that a job waits for."""
        if self.settings.is_embedded(self.name, "system"):
            return [f"{self.diffusion}/{file}" for file in DIFFUSION_FILES.values()]
        weights = sorted(str(path) for path in Path(self.diffusion, "unet").glob("*.safetensors"))
        return [f"{self.diffusion}/{DIFFUSION_FILES['unet_config']}", *weights]

    @property
    def clip(self) -> str:
        """Folder of the CLIP model; empty for an embedding without one."""
        embedding = self._study["embedding"]
        if embedding["kind"] == "pixels":
            return ""
        embedded = self.settings.is_embedded(self.name, "embedding")
        return self._model("embedding", "clip") if embedded else embedding["checkpoint"]

    @property
    def clip_files(self) -> list[str]:
        """The files of the CLIP model that a job waits for."""
        if not self.clip:
            return []
        if self.settings.is_embedded(self.name, "embedding"):
            return [f"{self.clip}/{file}" for file in CLIP_FILES.values()]
        weights = sorted(str(path) for path in Path(self.clip).glob("*.safetensors"))
        return [f"{self.clip}/{CLIP_FILES['config']}", *weights]

    @property
    def classifier(self) -> str:
        """Folder of the classifier that judges the samples."""
        return self._model("system", "classifier")

    @property
    def classifier_files(self) -> list[str]:
        """The files of that classifier."""
        return [f"{self.classifier}/{file}" for file in CLASSIFIER_FILES.values()]

    # The sample store.

    @property
    def sampling(self) -> dict[str, Any]:
        """Every setting that a sample depends on; a digest of them is part of the store's name."""
        study, sampling = self._study, dict(self._study["sampling"])
        # Of a scattered design the grid carries results, of a grid design it is the design.
        del sampling["count" if sampling["design"] == "grid" else "grid"]
        latent_slice = dict(study["slice"])
        if isinstance(latent_slice["anchors"], str):
            content = Path(latent_slice["anchors"]).read_bytes()
            latent_slice["anchors"] = hashlib.sha256(content).hexdigest()
        system: dict[str, Any] = dict(study["system"])
        if self.settings.is_embedded(self.name, "system"):
            system["model"] = _trained(self.settings.models[system["checkpoint"]], "diffusion")
        return {"seed": study["seed"], "system": system, "slice": latent_slice, "sampling": sampling}

    @property
    def layout(self) -> str:
        """Name of the sample store: design, shard, image size and a digest of all sampling settings."""
        sampling = self._study["sampling"]
        grid = sampling["design"] == "grid"
        points = "x".join(map(str, sampling["grid"])) if grid else str(sampling["count"])
        image = "x".join(map(str, self.image_shape))
        return f"{sampling['design']}-{points}-s{sampling['shard']}-{image}-{digest(self.sampling)}"

    @property
    def embedding(self) -> dict[str, Any]:
        """Every setting that an embedding depends on."""
        embedding: dict[str, Any] = dict(self._study["embedding"])
        if embedding["kind"] == "pixels":
            del embedding["checkpoint"]
        elif self.settings.is_embedded(self.name, "embedding"):
            embedding["model"] = _trained(self.settings.models[embedding["checkpoint"]], "clip")
        return embedding

    @property
    def embedding_array(self) -> str:
        """Name of the embedding in the sample store: a digest of its settings."""
        return f"embedding/{digest(self.embedding)}"

    @property
    def samples(self) -> str:
        """The sample store."""
        return self.path("samples", f"{self.layout}.zarr")

    @property
    def arrays(self) -> list[str]:
        """The arrays of the sample store that the study uses."""
        return ["t", "image", self.embedding_array]

    def shard_count(self, array: str) -> int:
        """Number of shards of an array; the points are one shard."""
        return 1 if array == "t" else self.count // self._study["sampling"]["shard"]

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
        folder = self.path("manifest", self.layout, array)
        return [f"{folder}/{k}.json" for k in range(self.shard_count(array))]

    def complete(self, array: str) -> list[str]:
        """All that a job waits for that reads an array: metadata, shards and sidecars."""
        array = self.embedding_array if array == "embedding" else array
        return [self.metadata(array), *self.shards(array), *self.sidecars(array)]

    # Results.

    @property
    def model_numbers(self) -> list[str]:
        """The numbers of the embedded models that the study uses."""
        parts = [part for part in ("system", "embedding") if self.settings.is_embedded(self.name, part)]
        return list(dict.fromkeys(self._model(part, "numbers.json") for part in parts))

    @property
    def numbers(self) -> list[str]:
        """The numbers of every step of the study."""
        steps = ["posterior", "free_energy", "metric", "phases", "resolution_scan"]
        if self.settings.is_embedded(self.name, "system"):
            steps.insert(0, "samples")
        return [self.path("numbers", f"{step}.json") for step in steps]

    @property
    def targets(self) -> list[str]:
        """Everything that the study makes."""
        shards = [path for array in self.arrays for path in self.complete(array)]
        results = ("posterior.zarr", "free_energy.nc", "metric.nc", "phases.nc", "phases.json")
        figures = [f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "png", "csv")]
        rest = [*results, "resolution_scan.csv", "numbers.json", *figures]
        return [*self.model_numbers, *shards, *(self.path(path) for path in rest)]


def _trained(model: Mapping[str, Any], part: str) -> dict[str, Any]:
    return {"seed": model["seed"], "held_out": model["held_out"], part: model[part]}

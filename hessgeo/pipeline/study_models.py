"""The models of one study: their files, the memory that they take, and what samples and embeddings owe to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from math import prod
from operator import getitem
from pathlib import Path
from typing import Any

from hessgeo.pipeline.content import Source, contents
from hessgeo.pipeline.derived import anchor_sources, image_shape, latent_shape, sample_count, uses_classifier
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.identity import (
    anchor_files,
    canonical,
    condition_files,
    design_identity,
    embedding_files,
    embedding_identity,
    inverts_images,
    slice_identity,
    system_files,
    system_identity,
)
from hessgeo.pipeline.settings import Settings
from hessgeo.systems.batches import SAMPLED_AT_ONCE

GEODESICS_MEMORY_MB = 6_000  # of the curves that are solved at once
IMPORT_MEMORY_MB = 1_000  # of a job beside the images that it imports
BASE_MEMORY_MB = 4_000  # of a job beside the weights it loads

# What latents are made of anchors by.
PLANE = ("extent", "normalisation", "interpolation", "axes")
# What the training steps write; each name is also the name of the rule's output.
DIFFUSION_FILES = {
    "index": "model_index.json",
    "unet_config": "unet/config.json",
    "unet_weights": "unet/diffusion_pytorch_model.safetensors",
    "scheduler": "scheduler/scheduler_config.json",
}
CLIP_FILES = {"config": "open_clip_config.json", "weights": "open_clip_model.safetensors"}
CLASSIFIER_FILES = {"config": "config.json", "weights": "model.safetensors"}
MODELS = {"diffusion": DIFFUSION_FILES, "clip": CLIP_FILES, "classifier": CLASSIFIER_FILES}


@dataclass(frozen=True)
class Model:
    """A model, as jobs wait for it and read it.

    Attributes:
        path: its folder or file; None for one without, or in files that have no folder.
        named: every file that it is read from, by a name that does not depend on where it lies.
        trained: whether the run trains it.
    """

    path: str | None = None
    named: Mapping[str, str] = field(default_factory=dict)
    trained: bool = False

    @property
    def files(self) -> list[str]:
        """All files that it is read from."""
        return list(self.named.values())

    @property
    def awaited(self) -> list[str]:
        """The files that a job waits for: of a model that the run trains."""
        return self.files if self.trained else []

    @cached_property
    def size_mb(self) -> int:
        """Room for its weights as they lie there, twice their size: half precision may be widened while it is read."""
        return sum(Path(file).stat().st_size for file in self.files if Path(file).is_file()) * 2 // 10**6


@dataclass(frozen=True)
class StudyModels:
    """The models of one study.

    Args:
        settings: the checked configuration.
        name: the study.
    """

    settings: Settings
    name: str

    @property
    def _study(self) -> Mapping[str, Any]:
        return self.settings.studies[self.name]

    def setting(self, *keys: str) -> Any:
        """The settings of the study, or an entry of them."""
        return reduce(getitem, keys, self._study)

    def _is_embedded(self, part: str) -> bool:
        """Whether ``system`` or ``embedding`` is one of the embedded models."""
        settings = self._study[part]
        return (
            settings["kind"] in ("diffusion", "open_clip") and settings["checkpoint"] in self.settings.models
        )

    def _embedded(self, part: str, kind: str) -> Model:
        """The model of one kind, of ``MODELS``, that the run trains, of those that a part of the settings names."""
        folder = f"{self.settings.results}/models/{self._study[part]['checkpoint']}/{kind}"
        return Model(folder, {file: f"{folder}/{file}" for file in MODELS[kind].values()}, trained=True)

    def _training(self, part: str, model: str) -> dict[str, Any] | None:
        """What an embedded model is trained by, whose part of its settings is called ``model``."""
        if not self._is_embedded(part):
            return None
        trained = self.settings.models[self._study[part]["checkpoint"]]
        return {"seed": trained["seed"], "held_out": trained["held_out"], model: trained[model]}

    # Shapes.

    @property
    def grid(self) -> dict[str, tuple]:
        """Arguments of the ``Grid`` that carries the study's gridded results."""
        extent, shape = self._study["slice"]["extent"], self._study["sampling"]["grid"]
        return {"extent": tuple(map(tuple, extent)), "shape": tuple(shape)}

    @property
    def design_grid(self) -> dict[str, tuple]:
        """The grid that the parameter points depend on: of a scattered design, its box alone."""
        scattered = self._study["sampling"]["design"] != "grid"
        return {**self.grid, "shape": (2,) * len(self.grid["extent"])} if scattered else self.grid

    @property
    def count(self) -> int:
        """Number of samples."""
        return sample_count(self._study["sampling"])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (H, W, C) of a sample."""
        return image_shape(self._study["system"], self.settings.models)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one latent."""
        return latent_shape(self._study["system"], self.settings.models)

    # The system.

    @cached_property
    def system_model(self) -> Model:
        """The model that is sampled."""
        if self._is_embedded("system"):
            return self._embedded("system", "diffusion")
        files = system_files(self._study["system"]) | condition_files(self._study["slice"])
        return Model(self._study["system"]["checkpoint"], files)

    @cached_property
    def sampling(self) -> dict[str, Any]:
        """Everything that a sample depends on; a digest of it is part of the store's name."""
        study = self._study
        if self.is_own:
            system = system_identity(study["system"], None)
            return canonical({"system": system, "sampling": {"design": study["sampling"]["design"]}})
        identity = {
            "seed": study["seed"],
            "system": system_identity(study["system"], self._training("system", "diffusion")),
            "slice": slice_identity(study["slice"]),
            "sampling": design_identity(study["sampling"]),
        }
        return canonical(identity)

    @cached_property
    def system(self) -> Source:
        """The model, for a job that reads it."""
        model = self.system_model
        planned = None if model.trained else contents(model.named)
        return Source(self._study["system"], model.path, model.named, planned, digest(self.sampling))

    @property
    def is_own(self) -> bool:
        """Whether the samples are one's own, which no model makes."""
        return self._study["system"]["kind"] == "samples"

    @property
    def own(self) -> Source:
        """The samples of one's own, with the box of the study, for a job that reads them."""
        extent = self._study["slice"]["extent"]
        return replace(self.system, settings={**self._study["system"], "extent": extent}, path=None)

    @property
    def import_memory_mb(self) -> int:
        """Memory of the job that imports a shard of them: all its images, twice, and the floats that they come from."""
        return IMPORT_MEMORY_MB + self._study["sampling"]["shard"] * prod(self.image_shape) * 10 // 10**6

    @property
    def system_memory_mb(self) -> int:
        """Memory of a job that loads the system: its files pass through it on their way to a device."""
        return BASE_MEMORY_MB + self.system_model.size_mb

    # The anchors.

    @property
    def anchor_sources(self) -> list[int | str]:
        """The seeds and files that the anchors are made of."""
        return anchor_sources(self._study["slice"]["anchors"])

    @property
    def inverts_images(self) -> bool:
        """Whether an anchor is an image."""
        return inverts_images(self._study["slice"]) and not self.is_own

    @property
    def awaited_inverter(self) -> list[str]:
        """The files of a model that the run trains, if it has to invert images."""
        return self.system_model.awaited if self.inverts_images else []

    @cached_property
    def anchors(self) -> Source:
        """The files of the anchors, for the job that reads them."""
        files = anchor_files(self._study["slice"])
        return Source(self._study["slice"], None, files, contents(files), digest(self.sampling))

    @property
    def plane(self) -> dict[str, Any]:
        """How latents are made of the anchors."""
        return {key: self._study["slice"][key] for key in PLANE}

    # The embedding.

    @cached_property
    def embedding_model(self) -> Model:
        """The model of the embedding; of pixels an empty one."""
        if self._study["embedding"]["kind"] == "pixels":
            return Model()
        if self._is_embedded("embedding"):
            return self._embedded("embedding", "clip")
        return Model(self._study["embedding"]["checkpoint"], embedding_files(self._study["embedding"]))

    @cached_property
    def embedding(self) -> dict[str, Any]:
        """Everything that the embedding of an image depends on; a digest of it is its name."""
        return canonical(embedding_identity(self._study["embedding"], self._training("embedding", "clip")))

    @cached_property
    def embedder(self) -> Source:
        """The model, for a job that reads it."""
        model, planned = self.embedding_model, self.embedding.get("files")
        settings = {**self._study["embedding"], "own": self.own.settings if self.is_own else None}
        return Source(settings, model.path, model.named, planned, digest(self.embedding))

    @property
    def embedding_memory_mb(self) -> int:
        """Memory of a job that loads the embedding."""
        return BASE_MEMORY_MB + self.embedding_model.size_mb

    # The classifier, and what is like what.

    @cached_property
    def classifier(self) -> Model:
        """The classifier that judges the samples of an embedded system."""
        return self._embedded("system", "classifier")

    @cached_property
    def perceptual(self) -> dict[str, Any] | None:
        """The network whose features are perceptual: ``kind`` lpips or classifier, and what loads it; None for none."""
        settings = self._study["geodesics"]["perceptual"]
        if uses_classifier(self._study, self.settings.models):
            return {"kind": "classifier", "checkpoint": self.classifier.path}
        return None if settings["checkpoint"] is None else {"kind": "lpips", **settings}

    @cached_property
    def perceptual_model(self) -> Model:
        """The model of that network; an empty one for none."""
        network = self.perceptual
        if network is None:
            return Model()
        if network["kind"] == "classifier":
            return self.classifier
        return Model(None, {key: network[key] for key in ("checkpoint", "linear") if network[key]})

    @property
    def perceptual_identity(self) -> dict[str, Any] | None:
        """What the perceptual features of an image depend on, beside what the run trains."""
        network = self.perceptual
        if network is None or network["kind"] == "classifier":
            return network
        return {"kind": "lpips", "size": network["size"], "files": contents(self.perceptual_model.named)}

    @property
    def perceiver(self) -> Source:
        """The network, for a job that reads it."""
        identity, files = self.perceptual_identity or {}, self.perceptual_model.named
        return Source(self.perceptual or {}, None, files, identity.get("files"), digest(identity))

    # What the run trains of them.

    @property
    def model_numbers(self) -> list[str]:
        """The numbers of the embedded models that the study uses."""
        names = [
            self._study[part]["checkpoint"] for part in ("system", "embedding") if self._is_embedded(part)
        ]
        return [f"{self.settings.results}/models/{name}/numbers.json" for name in dict.fromkeys(names)]

    @property
    def model_files(self) -> list[str]:
        """The files of the embedded models that the study uses."""
        judge = self.classifier.awaited if self.system_model.trained else []
        return [*self.system_model.awaited, *judge, *self.embedding_model.awaited]

    # What jobs that read several of them take.

    @property
    def _feature_counts(self) -> list[int]:
        """Numbers of features of an image, of those whose metrics and lengths are measured beside the embedding's."""
        network, counts = self.perceptual, [prod(self.image_shape)]
        if network is not None and network["kind"] == "lpips":
            from hessgeo.features.lpips_checkpoint import LpipsCheckpoint

            files = LpipsCheckpoint(network["checkpoint"], size=network["size"])
            counts.append(files.dimension(self.image_shape))
        return counts

    @property
    def geodesics_memory_mb(self) -> int:
        """Memory of the job that solves the geodesics: the rows of features that a smoothed slope reaches."""
        rows, width = self.grid["shape"]
        # What the Gaussian filter reaches to both sides, one more of the difference, one that is being made.
        window = 2 * (int(4 * self._study["geodesics"]["smoothing"] + 0.5) + 1) + 2
        features = 4 * min(window, rows + 1) * width * max(self._feature_counts)
        images = width * prod(self.image_shape)
        return GEODESICS_MEMORY_MB + (features + images) // 10**6 + self.perceptual_model.size_mb

    @property
    def score_memory_mb(self) -> int:
        """Memory of the job that scores paths: the models, the images that are made at once, the features of a path."""
        images = 2 * SAMPLED_AT_ONCE * prod(self.image_shape)
        # In single precision, and three times in double: their differences, and what the decomposition works on.
        features = (4 + 3 * 8) * self._study["geodesics"]["waypoints"] * max(self._feature_counts)
        models = self.embedding_model.size_mb + self.perceptual_model.size_mb
        return self.system_memory_mb + models + (images + features) // 10**6

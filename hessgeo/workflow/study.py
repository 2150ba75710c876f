"""One study: its settings completed from the defaults, and checked against each other and the files they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hessgeo.workflow.schema import fill_defaults, shown

if TYPE_CHECKING:
    from hessgeo.systems.checkpoints import Checkpoint

# What the embedded digit models denoise; a checkpoint in a file says so itself.
DIGIT_LATENT_SHAPE = (1, 8, 8)

_UNSET = object()

# What a study that uses the samples of another takes from it.
SHARED = ("seed", "system", "slice", "sampling", "embedding")
# Families with classifier-free guidance.
GUIDED = ("stable-diffusion", "stable-diffusion-xl", "stable-diffusion-3")
# What a generator in a file has no use for.
SAMPLER_KEYS: Mapping[str, Any] = {
    "config": None, "scheduler": "auto", "prompt": "", "negative_prompt": "", "guidance": 1.0, "lora": [], "eta": 0.0,
    "compile": False,
}  # fmt: skip


@cache
def describe(checkpoint: str, config: str | None, size: tuple[int, int] | None) -> Checkpoint:
    """What a checkpoint holds, from its configuration or the header of its file alone.

    Raises:
        ValueError: one line, on anything that is no usable model.
    """
    # Imported here: a study of embedded models need not wait for it whenever its settings are read.
    from hessgeo.systems.checkpoints import describe_checkpoint

    return describe_checkpoint(checkpoint, config=config, size=size)


def checkpoint_of(system: Mapping[str, Any]) -> Checkpoint:
    """The model in local files that the settings ``system`` of a study name.

    Raises:
        ValueError: as ``describe``.
    """
    size = tuple(system["size"]) if system["size"] else None
    return describe(system["checkpoint"], system["config"], size)


def latent_shape(system: Mapping[str, Any], models: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of one latent of a system.

    Raises:
        ValueError: as ``describe``.
    """
    if system["kind"] == "generator":
        return tuple(system["latent"])
    return DIGIT_LATENT_SHAPE if system["checkpoint"] in models else checkpoint_of(system).latent_shape


def image_shape(system: Mapping[str, Any], models: Mapping[str, Any]) -> tuple[int, int, int]:
    """Shape (H, W, C) of one image of a system.

    Raises:
        ValueError: as ``describe``.
    """
    if system["kind"] == "generator":
        return (*system["size"], system["channels"])
    if system["checkpoint"] in models:
        channels, height, width = DIGIT_LATENT_SHAPE
        return height, width, channels
    return checkpoint_of(system).image_shape


def sample_count(sampling: Mapping[str, Any]) -> int:
    """Number of samples of a design; None while a scattered one has no count."""
    return sampling["grid"][0] * sampling["grid"][1] if sampling["design"] == "grid" else sampling["count"]


def uses_classifier(study: Mapping[str, Any], models: Mapping[str, Any]) -> bool:
    """Whether the perceptual features of a study are those of the digit classifier, for want of a checkpoint."""
    system, checkpoint = study["system"], study["geodesics"]["perceptual"]["checkpoint"]
    return checkpoint is None and system["kind"] == "diffusion" and system["checkpoint"] in models


def methods_left_out(study: Mapping[str, Any], models: Mapping[str, Any]) -> dict[str, str]:
    """Listed methods whose metric a study cannot have, with what they need."""
    needs = {}
    if study["geodesics"]["perceptual"]["checkpoint"] is None and not uses_classifier(study, models):
        needs["perceptual"] = "a file in geodesics.perceptual.checkpoint"
    if study["posterior"]["kind"] == "network":
        needs["density"] = "the posterior.kind distance, for a network knows no density"
    return {name: need for name, need in needs.items() if name in study["geodesics"]["methods"]}


def anchor_sources(anchors: int | str | list) -> list[int | str]:
    """The seeds and files that anchors are made of."""
    return anchors if isinstance(anchors, list) else [anchors]


class StudyCheck:
    """One study under check: its complete settings, and where in the configuration each of them stands.

    Args:
        name: name of its entry in ``studies``.
        config: the whole configuration.
        rules: the whole schema.
    """

    def __init__(self, name: str, config: Mapping[str, Any], rules: Mapping[str, Any]) -> None:
        self.name, self.models = name, config["models"]
        self.override = config["studies"][name]
        self.owner = self.override.get("samples") or config["defaults"]["samples"]
        base = config["defaults"]
        if self.owner in config["studies"]:
            shared = {key: config["studies"][self.owner].get(key, {}) for key in SHARED}
            base = merged(base, {key: value for key, value in shared.items() if value != {}})
        settings = merged(base, self.override)
        self.settings = fill_defaults(settings, rules["$defs"]["study"], rules)
        self.config = config
        self.general: dict[str, str] = {}
        for part, key in (("system", "checkpoint"), ("embedding", "clip")):
            if self.settings[part]["checkpoint"] is None:
                self.settings[part] = {**self.settings[part], "checkpoint": config[key]}
                self.general[f"{part}.checkpoint"] = key

    @property
    def variants(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names and settings of the studies to build: one, or one for each triplet of anchors."""
        triplets = self.settings["slice"]["triplets"]
        if not triplets:
            yield self.name, self.settings
        for number, anchors in enumerate(triplets, start=1):
            plane = {**self.settings["slice"], "anchors": anchors, "triplets": []}
            owner = f"{self.owner}-{number}" if self.owner else None
            yield f"{self.name}-{number}", {**self.settings, "slice": plane, "samples": owner}

    def line(self, key: str, value: Any, allowed: str) -> str:
        """The line that refuses a value, with the place where it was set."""
        entry: Any = self.override
        for part in key.partition("[")[0].split("."):
            entry = entry[part] if isinstance(entry, Mapping) and part in entry else _UNSET
        place = f"defaults.{key}" if entry is _UNSET else f"studies.{self.name}.{key}"
        return f"{self.general.get(key, place)}: {shown(value)} is not allowed; allowed: {allowed}"

    def errors(self) -> Iterator[str]:
        """One line for each entry that does not fit the others, or the files that it names."""
        if self.owner is not None:
            yield from self._owner_errors()
        yield from self._slice_errors()
        yield from self._sampling_errors()
        yield from self._resolution_errors()
        yield from self._path_errors()
        yield from self._embedding_errors()
        yield from self._system_errors()

    def _owner_errors(self) -> Iterator[str]:
        studies = self.config["studies"]
        known = [name for name in studies if name != self.name and not studies[name].get("samples")]
        if self.owner not in known:
            names = ", ".join(known) or "none here"
            yield self.line("samples", self.owner, f"another study that has samples of its own ({names})")
        for key in SHARED:
            if key in self.override:
                yield self.line(
                    key, self.override[key], f"nothing beside samples, which brings its own {key}"
                )

    def _slice_errors(self) -> Iterator[str]:
        extent = self.settings["slice"]["extent"]
        if any(low >= high for low, high in extent):
            yield self.line("slice.extent", extent, "[[a_min, a_max], [b_min, b_max]], each increasing")

    def _sampling_errors(self) -> Iterator[str]:
        sampling = self.settings["sampling"]
        design, count, shard = sampling["design"], sampling["count"], sampling["shard"]
        if design == "grid" and count is not None:
            yield self.line("sampling.count", count, "null for the design grid, whose points are its nodes")
        if design != "grid" and count is None:
            yield self.line("sampling.count", None, f"a whole number >= 64 for the design {design}")
        elif sample_count(sampling) % shard:
            allowed = f"a divisor of the number of points, {sample_count(sampling)}"
            yield self.line("sampling.shard", shard, allowed)

    def _path_errors(self) -> Iterator[str]:
        methods = self.settings["geodesics"]["methods"]
        if not {"linear", "fisher"} <= set(methods):
            yield self.line(
                "geodesics.methods", methods, "a list with linear and fisher, which others are compared with"
            )
        clip = self.settings["geodesics"]["path_length_clip"]
        if clip is not None and not clip[0] < clip[1]:
            yield self.line("geodesics.path_length_clip", clip, "null, or two quantiles that rise")
        # The list of the defaults is for all studies, each leaves out of it what it cannot have.
        if "methods" in self.override.get("geodesics", {}):
            for method, need in methods_left_out(self.settings, self.models).items():
                yield self.line("geodesics.methods", methods, f"a list without {method}, which needs {need}")
        yield from self._perceptual_errors()

    def _perceptual_errors(self) -> Iterator[str]:
        from hessgeo.perceptual.checkpoint import SMALLEST, check_linear, check_network

        perceptual = self.settings["geodesics"]["perceptual"]
        network, linear = perceptual["checkpoint"], perceptual["linear"]
        if network is None:
            if linear is not None:
                allowed = "null where geodesics.perceptual.checkpoint is null"
                yield self.line("geodesics.perceptual.linear", linear, allowed)
            return
        try:
            check_network(network)
        except ValueError as error:
            allowed = f"null, or a .safetensors file of VGG-16 or LPIPS ({error})"
            yield self.line("geodesics.perceptual.checkpoint", network, allowed)
            return
        if linear is not None:
            try:
                check_linear(linear, network)
            except ValueError as error:
                allowed = f"null, or a .safetensors file of linear weights of LPIPS ({error})"
                yield self.line("geodesics.perceptual.linear", linear, allowed)
        size = self._image_size()
        if size is not None and min(size) < SMALLEST:
            allowed = (
                f"null for images of {size[1]} x {size[0]} pixels: VGG-16 needs {SMALLEST} along each side"
            )
            yield self.line("geodesics.perceptual.checkpoint", network, allowed)

    def _image_size(self) -> tuple[int, int] | None:
        """Height and width of an image; None while the system, which has lines of its own, does not say."""
        system = self.settings["system"]
        if system["checkpoint"] is None or (system["kind"] == "generator" and system["size"] is None):
            return None
        try:
            return image_shape(system, self.models)[:2]
        except ValueError:
            return None

    def _resolution_errors(self) -> Iterator[str]:
        grid, posterior = self.settings["sampling"]["grid"], self.settings["posterior"]
        limit = f"at most the nodes of sampling.grid, {grid}"
        fit = self.settings["free_energy"]
        if fit["fit"] == "spline" and any(
            knots > nodes for knots, nodes in zip(fit["splines"], grid, strict=True)
        ):
            yield self.line("free_energy.splines", fit["splines"], limit)
        coarse = posterior["coarse"]
        if coarse and any(cells > nodes for cells, nodes in zip(coarse, grid, strict=True)):
            yield self.line("posterior.coarse", coarse, limit)
        # A count that is missing has a line of its own.
        points = sample_count(self.settings["sampling"])
        if points is not None and posterior["neighbours"] >= points:
            allowed = f"fewer than the {points} points"
            yield self.line("posterior.neighbours", posterior["neighbours"], allowed)
        network = posterior["network"]
        for key, neutral in (("coarse", None), ("neighbours", 0), ("exclude_self", False)):
            if posterior["kind"] == "network" and posterior[key] != neutral:
                allowed = f"{shown(neutral)} for the kind network, which does not keep or leave out samples"
                yield self.line(f"posterior.{key}", posterior[key], allowed)
        if posterior["kind"] == "network" and network["bundle"] > network["neighbours"]:
            allowed = f"at most posterior.network.neighbours, {network['neighbours']}"
            yield self.line("posterior.network.bundle", network["bundle"], allowed)

    def _missing(self, part: str, key: str, what: str) -> Iterator[str]:
        if self.settings[part]["checkpoint"] is None:
            yield f"{key}: null is not allowed; allowed: {what}, for {part}.checkpoint of study {self.name} is null"

    def _embedding_errors(self) -> Iterator[str]:
        from hessgeo.embeddings import check_embedding

        embedding, system = self.settings["embedding"], self.settings["system"]
        if embedding["kind"] == "pixels":
            return
        if embedding["kind"] == "open_clip" and embedding["checkpoint"] in self.models:
            if system["kind"] != "diffusion" or system["checkpoint"] not in self.models:
                allowed = "the files of a model, or null beside --config clip=FILE: an embedded CLIP knows digits alone"
                yield self.line("embedding.checkpoint", embedding["checkpoint"], allowed)
            return
        yield from (missing := list(self._missing("embedding", "clip", "a weights file or a model folder")))
        if missing:
            return
        try:
            check_embedding(embedding["kind"], embedding["checkpoint"], embedding["model"])
        except ValueError as error:
            allowed = f"an entry of models ({', '.join(self.models) or 'none here'}), or the files of a model"
            yield self.line("embedding.checkpoint", embedding["checkpoint"], f"{allowed} ({error})")

    def _system_errors(self) -> Iterator[str]:
        system = self.settings["system"]
        yield from (
            missing := list(self._missing("system", "checkpoint", "a pipeline folder or a .safetensors file"))
        )
        if missing:
            return
        check = self._generator_errors if system["kind"] == "generator" else self._diffusion_errors
        yield from (found := list(check(system)))
        if not found:
            latents = latent_shape(system, self.models)
            for key, anchors in self._anchors():
                yield from self._anchor_errors(key, anchors, latents)

    def _generator_errors(self, system: Mapping[str, Any]) -> Iterator[str]:
        from hessgeo.systems.generator import check_generator

        for key, example in (
            ("latent", "the shape of z, such as [512]"),
            ("size", "[height, width] of its images"),
        ):
            if system[key] is None:
                yield self.line(f"system.{key}", None, f"{example}, for the kind generator")
        for key, neutral in SAMPLER_KEYS.items():
            if system[key] != neutral:
                allowed = f"{shown(neutral)} for the kind generator, which has no sampler"
                yield self.line(f"system.{key}", system[key], allowed)
        try:
            check_generator(system["checkpoint"])
        except ValueError as error:
            allowed = f"a TorchScript or ONNX file ({error})"
            yield self.line("system.checkpoint", system["checkpoint"], allowed)

    def _diffusion_errors(self, system: Mapping[str, Any]) -> Iterator[str]:
        for key, neutral in (("latent", None), ("channels", 3), ("output_range", [-1, 1])):
            if system[key] != neutral:
                yield self.line(f"system.{key}", system[key], f"{shown(neutral)} for the kind diffusion")
        embedded = system["checkpoint"] in self.models
        try:
            checkpoint = None if embedded else checkpoint_of(system)
        except ValueError as error:
            allowed = (
                f"an entry of models ({', '.join(self.models) or 'none here'}), a pipeline folder of diffusers or a "
                f".safetensors file ({error})"
            )
            yield self.line("system.checkpoint", system["checkpoint"], allowed)
            return
        for key in ("size", "config"):
            if embedded and system[key] is not None:
                yield self.line(f"system.{key}", system[key], "null for an embedded model")
        yield from self._sampler_errors(system, "unconditional" if checkpoint is None else checkpoint.family)

    def _sampler_errors(self, system: Mapping[str, Any], family: str) -> Iterator[str]:
        from hessgeo.systems.checkpoints import scheduler_names
        from hessgeo.weights import refuse_pickle

        names = scheduler_names(family)
        if system["scheduler"] != "auto" and system["scheduler"] not in names:
            yield self.line("system.scheduler", system["scheduler"], f"auto, {', '.join(names)}")
        flow = family in ("stable-diffusion-3", "flux")
        if system["eta"] > 0 and (flow or system["scheduler"] not in ("auto", "DDIMScheduler")):
            yield self.line("system.eta", system["eta"], "0 for a sampler other than DDIM")
        if family == "unconditional":
            for key, neutral in (("prompt", ""), ("negative_prompt", ""), ("guidance", 1.0), ("lora", [])):
                if system[key] != neutral:
                    yield self.line(
                        f"system.{key}", system[key], f"{shown(neutral)} for an unconditional model"
                    )
        if family in GUIDED and system["negative_prompt"] and system["guidance"] <= 1:
            allowed = f"'' where system.guidance is {system['guidance']}: it acts at a guidance above 1 alone"
            yield self.line("system.negative_prompt", system["negative_prompt"], allowed)
        if family == "flux" and system["negative_prompt"]:
            yield self.line(
                "system.negative_prompt", system["negative_prompt"], "'' for Flux, which has no use for one"
            )
        for lora in system["lora"]:
            try:
                refuse_pickle(lora["file"])
            except ValueError as error:
                yield self.line("system.lora", lora["file"], f"an existing .safetensors file ({error})")

    def _anchors(self) -> Iterator[tuple[str, Any]]:
        plane = self.settings["slice"]
        if plane["triplets"]:
            yield from ((f"slice.triplets[{k}]", anchors) for k, anchors in enumerate(plane["triplets"]))
        else:
            yield "slice.anchors", plane["anchors"]

    def _anchor_errors(self, key: str, anchors: Any, latents: tuple[int, ...]) -> Iterator[str]:
        whole = isinstance(anchors, str)
        for source in anchor_sources(anchors):
            if isinstance(source, int):
                continue
            try:
                self._check_anchor(source, (3, *latents) if whole else latents)
            except ValueError as error:
                yield self.line(key, source, str(error))

    def _check_anchor(self, source: str, shape: tuple[int, ...]) -> None:
        """Refuse a file that is no latent and no image for this model, with what is allowed."""
        from hessgeo.systems.slices import is_image
        from hessgeo.weights import tensor_shapes

        if is_image(source):
            self._check_image(source)
            return
        allowed = f"a .npy or .safetensors file of shape {shape}, or a seed"
        try:
            if source.endswith(".npy"):
                found = np.load(source, mmap_mode="r", allow_pickle=False).shape
            else:
                shapes = list(tensor_shapes(source).values())
                found = shapes[0] if len(shapes) == 1 else None
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{allowed} ({type(error).__name__} on reading it)") from error
        if found is None or tuple(found) != shape:
            what = "it holds several tensors" if found is None else f"its shape is {tuple(found)}"
            raise ValueError(f"{allowed} ({what})")

    def _check_image(self, source: str) -> None:
        from hessgeo.systems.images import load_image

        system = self.settings["system"]
        height, width, _ = image_shape(system, self.models)
        allowed = f"an image of {width} x {height} pixels (width x height)"
        if system["kind"] == "generator":
            raise ValueError("a seed or a latent file: a generator in a file has no inverse")
        if system["eta"] > 0:
            raise ValueError(
                f"a seed or a latent file where system.eta is {system['eta']}: no noisy sampler has an inverse"
            )
        if system["scheduler"] not in ("auto", "DDIMScheduler", "FlowMatchEulerDiscreteScheduler"):
            raise ValueError(f"a seed or a latent file: {system['scheduler']} cannot be inverted")
        try:
            load_image(source, image_shape(system, self.models))
        except ValueError as error:
            raise ValueError(f"{allowed} ({error})") from error


def merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the entries of ``override``, mappings entry by entry, everything else as a whole."""
    result = dict(base)
    for key, value in override.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result

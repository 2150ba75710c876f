"""What samples and embeddings depend on: settings and contents of files, and neither paths nor ways to compute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hessgeo.pipeline.content import IMAGES, contents
from hessgeo.pipeline.derived import anchor_sources, axis_names, checkpoint_of, conditions, image_shape
from hessgeo.systems.slices import is_image

# Settings that change no image: where a model lies, how many images are made at once and how fast, what another
# kind of system has. The rest counts, and so does a setting that is added.
IDLE_OF_SYSTEM = ("checkpoint", "config", "batch_size", "decode_batch_size", "compile")
IDLE_OF_KIND = {
    # The checkpoint decides these, by the size given.
    "diffusion": (
        "size", "latent", "channels", "output_range", "inputs", "output", "layout", "images", "parameters",
    ),
    "generator": (
        "steps", "eta", "eta_rule", "scheduler", "prompt", "negative_prompt", "guidance", "clip_skip", "lora", "dtype",
        "images", "parameters",
    ),
}  # fmt: skip
# What is left out as long as it says nothing: it came when there were stores that are called by the rest.
NEUTRAL: Mapping[str, Any] = {"inputs": {}, "output": None, "layout": None}
IDLE_OF_EMBEDDING = ("checkpoint", "batch_size", "file")
# Settings that a slice had not in earlier stores, which their names do not tell of.
PLAIN_SLICE: Mapping[str, Any] = {"axes": ["latent", "latent"], "interpolation": "linear"}
AXES_OF_FILES = ("lora",)
IDLE_OF_SAMPLING = ("shard", "shards_per_job")


def system_files(system: Mapping[str, Any]) -> dict[str, str]:
    """Every file that a system in local files is read from, by names that do not depend on where they lie.

    Raises:
        ValueError: as ``checkpoint_of``.
    """
    if system["kind"] == "samples":
        return {key: system[key] for key in (IMAGES, "parameters")}
    if system["kind"] == "generator":
        from hessgeo.weights.networks import read_network

        return _named(read_network(system["checkpoint"]).files, Path(system["checkpoint"]), None)
    checkpoint = checkpoint_of(system)
    files = _named(list(map(str, checkpoint.files)), checkpoint.path, checkpoint.config)
    return files | {f"lora/{k}": lora["file"] for k, lora in enumerate(system["lora"])}


def embedding_files(embedding: Mapping[str, Any]) -> dict[str, str]:
    """The same of an embedding in local files."""
    # Imported here: the embedded models need none of its libraries to be listed.
    from hessgeo.features import describe_embedding

    if embedding["kind"] == "pixels":
        return {}
    path = Path(embedding["checkpoint"])
    return _named(describe_embedding(embedding["kind"], path).files(), path, None)


def anchor_files(plane: Mapping[str, Any]) -> dict[str, str]:
    """The files that the anchors of a slice are made of."""
    sources = enumerate(anchor_sources(plane["anchors"]))
    return {f"anchor/{k}": source for k, source in sources if isinstance(source, str)}


def condition_files(plane: Mapping[str, Any]) -> dict[str, str]:
    """The files that the model of a slice is changed by along its axes."""
    return {f"axis/{name}": end for name, end in conditions(plane).items() if end and name in AXES_OF_FILES}


def _named(files: list[str], path: Path, config: Path | None) -> dict[str, str]:
    """Files by their place in the model's folder or beside its file, whose own name says nothing."""
    names = {}
    for file in files:
        if Path(file) == path:
            names["checkpoint"] = file
        elif config is not None and Path(file).is_relative_to(config):
            names[f"config/{Path(file).relative_to(config).as_posix()}"] = file
        else:
            folder = path if path.is_dir() else path.parent
            inside = Path(file).is_relative_to(folder)
            names[Path(file).relative_to(folder).as_posix() if inside else Path(file).name] = file
    return names


def system_identity(system: Mapping[str, Any], training: Mapping[str, Any] | None) -> dict[str, Any]:
    """What an image depends on beside its latent.

    Args:
        system: the settings ``system`` of a study.
        training: how its model is trained, of an embedded one; None for a model in local files.
    """
    if system["kind"] == "samples":
        stated = {} if system["output_range"] is None else {"output_range": system["output_range"]}
        return {"kind": "samples", **stated, "files": contents(system_files(system))}
    idle = (*IDLE_OF_SYSTEM, *IDLE_OF_KIND[system["kind"]])
    counted = {
        key: value
        for key, value in system.items()
        if key not in idle and (key not in NEUTRAL or value != NEUTRAL[key])
    }
    if training is not None:
        return {**counted, "training": training}
    counted["files"] = contents(system_files(system))
    if system["kind"] == "diffusion":
        checkpoint = checkpoint_of(system)
        counted["lora"] = [lora["weight"] for lora in system["lora"]]
        counted["size"] = list(image_shape(system, {}))
        # Of a single file its name may have the last word in this.
        counted["architecture"] = [checkpoint.family, checkpoint.architecture, checkpoint.variant]
    return counted


def embedding_identity(embedding: Mapping[str, Any], training: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the embedding of an image depends on, see ``system_identity``; of pixels on nothing but the image."""
    if embedding["kind"] == "pixels":
        return {"kind": "pixels"}
    if embedding["kind"] == "file":
        return {"kind": "file", "files": contents(embedding_files(embedding))}
    counted = {key: value for key, value in embedding.items() if key not in IDLE_OF_EMBEDDING}
    said = {key: value for key, value in counted.pop("input").items() if value is not None}
    output = counted.pop("output")
    if embedding["kind"] == "network":
        counted |= {"input": said, "output": output}
    if training is not None:
        return {**counted, "training": training}
    return {**counted, "files": contents(embedding_files(embedding))}


def slice_identity(plane: Mapping[str, Any]) -> dict[str, Any]:
    """What a latent depends on beside its parameters."""
    known = contents(anchor_files(plane))
    sources = [known.get(f"anchor/{k}", source) for k, source in enumerate(anchor_sources(plane["anchors"]))]
    anchors = sources if isinstance(plane["anchors"], list) else sources[0]
    idle = {"triplets"} if inverts_images(plane) else {"triplets", "inversion"}
    idle |= {key for key, plain in PLAIN_SLICE.items() if plane[key] == plain}
    counted = {key: value for key, value in plane.items() if key not in idle}
    if "axes" in counted:
        files = contents(condition_files(plane))
        told = {name: files.get(f"axis/{name}", end) for name, end in conditions(plane).items()}
        counted["axes"] = [[name, told.get(name)] for name in axis_names(plane)]
    return {**counted, "anchors": anchors}


def inverts_images(plane: Mapping[str, Any]) -> bool:
    """Whether an anchor is an image."""
    return any(map(is_image, anchor_sources(plane["anchors"])))


def design_identity(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """What the parameters of samples depend on; how many stand in a file or are made by a job is no matter."""
    # Of a scattered design the grid carries results, of a grid design it is the design.
    idle = (*IDLE_OF_SAMPLING, "count" if sampling["design"] == "grid" else "grid")
    return {key: value for key, value in sampling.items() if key not in idle}


def canonical(value: Any) -> Any:
    """Settings with each number written in one way: 2.0 is 2."""
    if isinstance(value, Mapping):
        return {key: canonical(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value

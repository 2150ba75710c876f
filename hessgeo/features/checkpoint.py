"""Embeddings that are read from files: a folder that describes itself, or weights and the name of a model."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hessgeo.features.base import FeatureCheckpoint
from hessgeo.weights.files import check_file, read_json_object
from hessgeo.weights.read import refuse_pickle, tensor_header
from hessgeo.weights.tensor_kinds import refuse_kinds


class FileCheckpoint(FeatureCheckpoint):
    """A folder in the layout of a library, or a ``.safetensors`` file with the library's name of its model.

    Attributes:
        library: the library.
        config_name: file of a folder that holds the configuration.
        weights_name: file of a folder that holds the weights.
        example: a model's name, for messages.
        path: the folder or the file.
        model: the model's name; none for a folder.
    """

    library: str
    config_name: str
    weights_name: str
    example: str

    def __init__(self, checkpoint: str | Path | None, model: str | None = None) -> None:
        if not checkpoint:
            raise ValueError(f"checkpoint is null, must be a folder of {self.library} or a weights file")
        self.path, self.model = Path(checkpoint), model

    @property
    def weights(self) -> Path:
        """The file of the weights."""
        return self.path / self.weights_name if self.path.is_dir() else self.path

    def files(self) -> list[str]:
        """See ``FeatureCheckpoint``."""
        inside = [str(self.path / self.config_name), str(self.path / self.weights_name)]
        return [str(self.path)] if self.path.suffix == ".safetensors" else inside

    def check_source(self) -> None:
        """Refuse a path that is neither, and a model's name where there should be none, or none where one.

        Raises:
            ValueError: one line that names the path.
        """
        if self.path.is_dir():
            if self.model is not None:
                raise ValueError(f"model is {self.model!r}, must be null for the folder {self.path}")
            return
        check_file(self.path, f"a folder of {self.library} or a weights file")
        refuse_pickle(self.path)
        if self.model is None:
            raise ValueError(
                f"model is null, must name the {self.library} architecture of {self.path}, as {self.example}"
            )

    def check_weights(self) -> None:
        """Refuse a folder without weights, and weights in a pickle, quantised or with an adapter.

        Raises:
            ValueError: one line that names the file.
        """
        if not self.weights.is_file():
            raise ValueError(
                f"{self.path} has no {self.weights_name}; pickled weights (.bin, .pt, .pth) are refused"
            )
        refuse_kinds(tensor_header(self.weights))

    def check_known(self, name: str, known: Iterable[str]) -> None:
        """Refuse an architecture that the library does not have, with those nearest in name.

        Raises:
            ValueError: if it is not among the known.
        """
        known = list(known)
        if name not in known:
            near = ", ".join(difflib.get_close_matches(name, known, cutoff=0.4)) or "none"
            raise ValueError(f"model {name!r} is not one of {self.library}'s; nearest: {near}")

    def read_config(self) -> dict[str, Any]:
        """The configuration of a folder.

        Raises:
            ValueError: if it has none, or none that is valid JSON.
        """
        path = self.path / self.config_name
        if not path.is_file():
            raise ValueError(f"{self.path} has no {self.config_name}: not a folder of {self.library}")
        return read_json_object(path)

"""Functions of a user, called with the arrays that they take: of numpy or of torch, on the device of their model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hessgeo.grids import Extent

Form = Callable[[Any], Any]


def to_numpy(value: Any) -> np.ndarray:
    """An array of numpy, whatever array or tensor it is, sparse or not, on whatever device.

    Raises:
        ValueError: one line, on masked values, which would be taken for what lies below the mask.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu().to_dense()
        known = hasattr(np, str(value.dtype).removeprefix("torch."))  # bfloat16 is not
        value = (value if known else value.float()).numpy()
    elif hasattr(value, "toarray"):  # of scipy
        value = value.toarray()
    if np.ma.is_masked(value):
        masked = int(np.ma.getmaskarray(value).sum())
        raise ValueError(f"an array of shape {value.shape} has {masked} masked values, must have none")
    return np.asarray(value)


def places(t: Any, extent: Extent) -> np.ndarray:
    """Points of a box as an array.

    Args:
        t: ``(*batch, 2)``, an array or a tensor of any kind, or lists.
        extent: the box.

    Raises:
        ValueError: one line, on what is no such points, or one that is not finite or lies outside the box.
    """
    points = to_numpy(t)
    if points.shape[-1:] != (2,) or points.dtype.kind not in "fiu":
        raise ValueError(
            f"points, {points.dtype} of shape {points.shape}, are not allowed; allowed: numbers (*batch, 2)"
        )
    points = points.astype(float)
    low, high = np.array(extent, dtype=float).T
    rounding = 1e-6 * (high - low)  # of single precision too
    inside = ((points >= low - rounding) & (points <= high + rounding)).all(axis=-1)
    if not inside.all():
        a, b = points[~inside][0]
        raise ValueError(f"point ({a:g}, {b:g}) lies outside the box {extent}")
    return points


class Function:
    """A function of batches that may want numpy or torch: it is asked once.

    A ``torch.nn.Module``, or a method of one, gets tensors of its own precision on its own device. Any other function
    gets what it takes first of: the array as it comes, one of numpy, a tensor on the CPU, one on the GPU.

    Args:
        name: what the function is called in messages.
        function: the user's.
    """

    def __init__(self, name: str, function: Callable[[Any], Any]) -> None:
        self.name, self._function, self._form = name, function, None
        self.device = "cpu"  # of what it gives

    _form: Form | None

    def __call__(self, batch: Any) -> Any:
        """What the function gives for a batch.

        Raises:
            ValueError: one line, if it takes a batch in no form, or gives something else than one entry for each.
        """
        if self._form is None:
            return self._first(batch)
        return self._checked(self._function(self._form(batch)), batch)

    def _first(self, batch: Any) -> Any:
        """The same, and find the form that it takes."""
        faults = []
        forms = self._forms(batch)
        for words, form in forms.items():
            try:
                given = self._checked(self._function(form(batch)), batch)
            # A function that is handed the wrong kind of array may raise anything.
            except Exception as error:
                if len(forms) == 1:
                    raise
                faults.append(f"{words}: {type(error).__name__}: {' '.join(str(error).split())[:160]}")
            else:
                self._form, self.device = form, str(getattr(given, "device", "cpu"))
                return given
        raise ValueError(
            f"{self.name} takes a batch of shape {tuple(np.shape(batch))} in no form ({'; '.join(faults)})"
        )

    def _checked(self, given: Any, batch: Any) -> Any:
        shape = getattr(given, "shape", None)
        if shape is None or len(shape) < 2 or shape[0] != len(batch):
            what = type(given).__name__ if shape is None else f"an array of shape {tuple(shape)}"
            raise ValueError(
                f"{self.name} gave {what} for {len(batch)} entries, must give an array with one for each"
            )
        return given

    def _forms(self, batch: Any) -> dict[str, Form]:
        if (module := self.module) is not None:
            weights = next(module.parameters(), None)
            return {"torch": lambda value: _tensor(value, like=weights)}
        forms: dict[str, Form] = {"numpy": to_numpy, "torch": _tensor}
        if not isinstance(batch, np.ndarray):
            forms = {"as it is": lambda value: value, **forms}
        if sys.modules.get("torch") is not None and sys.modules["torch"].cuda.is_available():
            forms["torch on the GPU"] = lambda value: _tensor(value).cuda()
        return forms

    @property
    def module(self) -> Any:
        """The ``torch.nn.Module`` that the function is, or is a method of; None if there is none."""
        torch = sys.modules.get("torch")
        if torch is None:
            return None
        owners = (self._function, getattr(self._function, "__self__", None))
        return next((owner for owner in owners if isinstance(owner, torch.nn.Module)), None)


def _tensor(value: Any, like: Any = None) -> Any:
    """A tensor; where the model's weights are given, on their device, and floats of their precision."""
    import torch

    tensor = torch.as_tensor(value)
    if like is None:
        return tensor
    return tensor.to(like.device, like.dtype if tensor.is_floating_point() else tensor.dtype)


@contextmanager
def at_rest(*functions: Function) -> Iterator[None]:
    """Call modules as they are used, not trained, and without gradients; then leave them as they were."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    parts = [
        part for function in functions if function.module is not None for part in function.module.modules()
    ]
    trained = [part for part in parts if part.training]
    try:
        for part in trained:
            part.training = False
        with torch.no_grad():
            yield
    finally:
        for part in trained:
            part.training = True

"""Tensors beside the weights of a network in its file, told by their names: quantised weights, adapters, inversions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hessgeo.weights.headers import Header, shown_name

# Scaled eight-bit weights: what a weight is multiplied by, and what belongs to arithmetic in eight bits alone.
SCALE = re.compile(r"(?P<layer>.+)\.(scale_weight|weight_scale)")
EIGHT_BIT_ONLY = re.compile(r".+\.(scale_input|input_scale|comfy_quant)|(.+\.)?scaled_fp8")
ADAPTERS = re.compile(r"lora_|hada_|lokr_|adapter|_ip\.")
EIGHT_BIT = ("F8_E4M3", "F8_E5M2")
FLOATS = ("F64", "F32", "F16", "BF16", *EIGHT_BIT)
PLAIN = (*FLOATS, "I64", "I32", "BOOL")  # with tables of places and masks
QUANTISED = re.compile(r"quant_state|absmax|quant_map|\.SCB$|qweight|qzeros|weight_scale_2|_packed$|_blocks$")

# What people keep in such files besides, by a pattern in the name.
_BITS_AND_BYTES = "weights of bitsandbytes"
KINDS = {
    "quant_state": _BITS_AND_BYTES, "absmax": _BITS_AND_BYTES, "quant_map": _BITS_AND_BYTES, "SCB": _BITS_AND_BYTES,
    "qweight": "weights of GPTQ or AWQ", "qzeros": "weights of GPTQ or AWQ", "weight_scale_2": "weights in four bits",
    "svdq": "weights in four bits", "smooth_factor": "weights in four bits",
    "_scale": "a scale of quantised weights", "scale_": "a scale of quantised weights",
    "control": "a ControlNet", "ip_adapter": "an IP-Adapter", "image_proj": "an IP-Adapter", "adapter": "an adapter",
    "lora_": "a LoRA", "hada_": "a LoHa", "lokr_": "a LoKr", "dora": "a DoRA",
    "string_to_param": "a textual inversion", "emb_params": "a textual inversion",
    "embedding_manager": "a textual inversion", "motion_modules": "a motion module",
}  # fmt: skip


def kind_of(name: str, kinds: Mapping[str, str] = KINDS) -> str:
    """What a tensor belongs to by its name, for a message."""
    return next((f" ({kind})" for pattern, kind in kinds.items() if re.search(pattern, name)), "")


def check_tensor(header: Header, name: str, *, known: bool, types: Sequence[str] = PLAIN) -> None:
    """Refuse a tensor of a file that nothing reads, or whose numbers are of a type that nothing reads.

    Args:
        header: of the file.
        name: of the tensor.
        known: whether something reads it, by its name.
        types: those that are read.

    Raises:
        ValueError: one line that names it.
    """
    if not known:
        raise ValueError(f"{header.path} holds {shown_name(name)}{kind_of(name)}, which nothing here reads")
    if (dtype := header.tensors[name].dtype) not in types:
        allowed = ", ".join(types)
        raise ValueError(f"{header.path} holds {shown_name(name)} as {dtype}, must be one of {allowed}")


def refuse_kinds(header: Header) -> None:
    """Refuse weights that are quantised or come with an adapter, which plain loaders would read as if they were not.

    Raises:
        ValueError: one line that names the first such tensor.
    """
    for name in header.tensors:
        odd = (
            SCALE.fullmatch(name)
            or EIGHT_BIT_ONLY.fullmatch(name)
            or ADAPTERS.search(name)
            or QUANTISED.search(name)
        )
        check_tensor(header, name, known=not odd)

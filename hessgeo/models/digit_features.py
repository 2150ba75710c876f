"""What the digit classifier makes of an image before it decides: an embedding that knows digits and no captions."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8

from hessgeo.models.digit_classifier import DigitClassifier
from hessgeo.models.digits import as_ink


@torch.inference_mode()
def hidden_features(model: DigitClassifier, images: UInt8[np.ndarray, "n 8 8 1"]) -> Float[np.ndarray, "n d"]:
    """The hidden layer from which the ten logits are read, as unit vectors."""
    device = next(model.parameters()).device
    blocks = [model.layers[:-1](block.to(device)) for block in as_ink(images).split(4096)]
    return torch.nn.functional.normalize(torch.cat(blocks), dim=1).double().cpu().numpy()

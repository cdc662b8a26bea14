"""How different do two images look to a network that learned it from people's judgements? ST-LPIPS, 0 and up.

Ghildyal and Liu, "Shift-tolerant perceptual similarity metric", ECCV 2022, arXiv:2207.13686: LPIPS (Zhang et al., CVPR
2018) over an AlexNet whose every reduction is blurred first, so that an image moved by a pixel is hardly further away.
The network is written here after the paper; its weights are a file of the package `stlpips-pytorch` (BSD-2-Clause,
Abhijay Ghildyal and Feng Liu), which is read as plain tensors. Nothing of the package is imported: it cannot be.
"""

import hashlib
import io
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import conv2d, pad

from stages.lib.project.errors import UserError

PACKAGE, VERSION = "stlpips-pytorch", "0.0.2"
WEIGHTS = "stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth"
WEIGHTS_SHA256 = "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee"
REMEDY = f"run `pip install {PACKAGE}=={VERSION}`, or set 'quality.perceptual_prompts' in params.yaml to 0"
# The convolutions of AlexNet by their names in the file, with their padding, and what comes before each.
FIRST = "net.slice1.0"
LATER = (
    ("net.slice2.5", 2, True),
    ("net.slice3.9", 1, True),
    ("net.slice4.11", 1, False),
    ("net.slice5.13", 1, False),
)


class StLpips:
    """The network in FP32 on the CPU. Raises a UserError where its weights are missing or not the published ones."""

    def __init__(self) -> None:
        self.weights = torch.load(io.BytesIO(_published(_file())), map_location="cpu", weights_only=True)

    @torch.no_grad()
    def distances(self, reference: np.ndarray, images: Sequence[np.ndarray]) -> list[float]:
        """The distance of each uint8 image (H, W, 3) from a reference of the same size; 0 of an identical one."""
        expected = self._features(reference)
        return [self._between(expected, self._features(image)) for image in images]

    def _between(self, first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
        weights = (self.weights[f"lin{number}.model.1.weight"] for number in range(len(first)))
        return sum(float(conv2d((a - b).square(), w).mean()) for a, b, w in zip(first, second, weights, strict=True))

    def _features(self, rgb: np.ndarray) -> list[torch.Tensor]:
        """What follows each of the five convolutions, (1, c, h, w), each place's features at length 1."""
        x = torch.tensor(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None] / 127.5 - 1
        x = (x - self.weights["scaling_layer.shift"]) / self.weights["scaling_layer.scale"]
        found = [_halved(self._convolved(x, FIRST, 2)).relu_()]
        for name, padding, reduced in LATER:
            x = _halved(_largest_of_nine(found[-1])) if reduced else found[-1]
            found.append(self._convolved(x, name, padding).relu_())
        return [x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10) for x in found]

    def _convolved(self, x: torch.Tensor, name: str, padding: int) -> torch.Tensor:
        return conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], padding=padding)


def _file() -> Path:
    try:
        path = Path(distribution(PACKAGE).locate_file(WEIGHTS))
    except PackageNotFoundError:
        raise UserError(f"the weights of ST-LPIPS are not installed: {REMEDY}") from None
    if not path.is_file():
        raise UserError(f"{path} is missing: {REMEDY}")
    return path


def _published(path: Path) -> bytes:
    """The bytes of the file, which must be the published ones."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise UserError(f"{path} is not the file of {PACKAGE} {VERSION} (its SHA-256 differs): {REMEDY}")
    return content


def _halved(x: torch.Tensor) -> torch.Tensor:
    """Every second place of (1, c, h, w) blurred by (1, 2, 1) / 4 in both directions, two more reflected around it."""
    x = pad(x, (2, 2, 2, 2), mode="reflect")
    x = (x[:, :, :-2:2] + 2 * x[:, :, 1:-1:2] + x[:, :, 2::2]) / 4
    return (x[..., :-2:2] + 2 * x[..., 1:-1:2] + x[..., 2::2]) / 4


def _largest_of_nine(x: torch.Tensor) -> torch.Tensor:
    """The largest of 3 x 3 places where they fit in. Slices, because they are 30 times as fast as max_pool2d."""
    x = torch.maximum(torch.maximum(x[:, :, :-2], x[:, :, 1:-1]), x[:, :, 2:])
    return torch.maximum(torch.maximum(x[..., :-2], x[..., 1:-1]), x[..., 2:])

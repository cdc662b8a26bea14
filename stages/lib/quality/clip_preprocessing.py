"""From images to what a CLIP's vision tower takes, as CLIPImageProcessor makes it, in batches."""

import torch
from torch.nn.functional import interpolate


def preprocess(images: torch.Tensor, config: dict, resampling: str = "bicubic") -> torch.Tensor:
    """Model input (n, 3, crop, crop) of uint8 images (n, H, W, 3), as CLIPImageProcessor makes it.

    `config` is a preprocessor_config.json. Resizing is with antialiasing, rounded to 8 bits as Pillow does.
    """
    size, crop = config["size"]["shortest_edge"], config["crop_size"]["height"]
    values = images.permute(0, 3, 1, 2).float()
    height, width = values.shape[-2:]
    short = min(height, width)
    resized = resize(values, (int(height * size / short), int(width * size / short)), resampling).round()
    top, left = (resized.shape[-2] - crop) // 2, (resized.shape[-1] - crop) // 2
    cropped = resized[..., top : top + crop, left : left + crop]
    return normalise(cropped / 255, config["image_mean"], config["image_std"])


def resize(values: torch.Tensor, size: tuple[int, int], resampling: str = "bicubic") -> torch.Tensor:
    """Antialiased resizing of (n, 3, H, W), bicubic or bilinear, values 0..255, clamped to that range."""
    return interpolate(values, size=size, mode=resampling, antialias=True, align_corners=False).clamp(0, 255)


def normalise(values: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    """(values - mean) / std per channel of (n, 3, H, W)."""
    shape = (1, 3, 1, 1)
    return (values - values.new_tensor(mean).view(shape)) / values.new_tensor(std).view(shape)

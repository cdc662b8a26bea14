"""What a variant drew: a folder of PNGs with images.json, and whether two such folders belong together."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json

LISTING = "images.json"


@dataclass(frozen=True)
class StoredImage:
    """One generated image. `flagged` is the safety checker's opinion, which never changed the image.

    `read` is what the text encoders read of the prompt.
    """

    path: Path
    id: str
    kind: str
    prompt: str
    seed: int
    sha256: str
    flagged: bool
    read: str


def rgb_sha256(rgb: np.ndarray) -> str:
    """SHA-256, in hexadecimal, of the bytes of a uint8 image (H, W, 3), row by row."""
    return hashlib.sha256(rgb.tobytes()).hexdigest()


def read_listing(folder: Path) -> dict:
    """images.json of `folder`; a missing or broken one is a UserError."""
    path = folder / LISTING
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro generate@{folder.name}`")
    listing = read_json(path)
    if not isinstance(listing, dict) or listing.get("variant") != folder.name:
        raise UserError(f"{path} is not about variant '{folder.name}': {_regenerate(folder)}")
    missing = [key for key in ("device", "compute", "per_image") if key not in listing]
    if missing:
        raise UserError(f"{path} has no {', '.join(missing)}: {_regenerate(folder)}")
    return listing


def not_generated(folder: Path) -> str | None:
    """Why nothing was generated into `folder`; None where there are images."""
    return read_listing(folder).get("not_generated")


def read_images(folder: Path) -> dict[str, StoredImage]:
    """What images.json of `folder` lists, by id, in its order. Other files in the folder are ignored."""
    try:
        images = [
            StoredImage(
                path=folder / f"{item['id']}.png",
                id=item["id"],
                kind=item["kind"],
                prompt=item["prompt"],
                seed=item["seed"],
                sha256=item["sha256"],
                flagged=item["flagged"],
                read=item.get("read", item["prompt"]),
            )
            for item in read_listing(folder)["per_image"]
        ]
    except KeyError as error:
        raise UserError(f"{folder / LISTING} has an image without {error}: {_regenerate(folder)}") from None
    if not images:
        raise UserError(f"{folder / LISTING} lists no images: {_regenerate(folder)}")
    return {image.id: image for image in images}


def read_rgb(image: StoredImage) -> np.ndarray:
    """The pixels, uint8 (H, W, 3). A missing, unreadable or changed file is a UserError."""
    from PIL import Image, UnidentifiedImageError

    remedy = _regenerate(image.path.parent)
    try:
        with Image.open(image.path) as file:
            if file.mode != "RGB":
                raise UserError(f"{image.path} has the colour mode {file.mode}, not RGB: {remedy}")
            rgb = np.asarray(file)
    except FileNotFoundError:
        raise UserError(f"{image.path} is missing: {remedy}") from None
    # Pillow raises SyntaxError for a broken PNG chunk and OSError for a truncated file.
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(f"{image.path} cannot be read as an image ({error}): {remedy}") from None
    if rgb_sha256(rgb) != image.sha256:
        raise UserError(f"{image.path} is not the image that {LISTING} lists: {remedy}")
    return rgb


def check_same_prompts(folders: Iterable[Path], images: Iterable[dict[str, StoredImage]]) -> None:
    """UserError unless all folders hold the same ids, each generated from the same prompt and seed."""
    (first_folder, first), *others = zip(folders, images, strict=True)
    for folder, other in others:
        for lacking, name in ((first.keys() - other.keys(), folder), (other.keys() - first.keys(), first_folder)):
            if lacking:
                raise UserError(
                    f"{name} has no image {', '.join(sorted(lacking))}: run `dvc repro generate@{name.name}`"
                )
        for id, image in first.items():
            if (image.prompt, image.seed) != (other[id].prompt, other[id].seed):
                raise UserError(
                    f"image '{id}' was generated from different prompts or seeds in {first_folder} and {folder}: "
                    "run `dvc repro generate`"
                )


def _regenerate(folder: Path) -> str:
    return f"run `dvc repro -f generate@{folder.name}`"

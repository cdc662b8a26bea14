"""What a variant drew: a folder of PNGs with images.json, and whether two such folders belong together."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json

if TYPE_CHECKING:
    import numpy as np

LISTING = "images.json"


@dataclass(frozen=True)
class Picture:
    """One drawn picture. `flagged` is the safety checker's opinion, which never changed the picture."""

    path: Path
    id: str
    kind: str
    prompt: str
    seed: int
    sha256: str
    flagged: bool


def rgb_sha256(rgb: "np.ndarray") -> str:
    """SHA-256, in hexadecimal, of the bytes of a uint8 picture (H, W, 3), row by row."""
    return hashlib.sha256(rgb.tobytes()).hexdigest()


def read_listing(folder: Path) -> dict:
    """images.json of `folder`; a missing or broken one is a UserError."""
    path = folder / LISTING
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc repro generate@{folder.name}`")
    listing = read_json(path)
    if not isinstance(listing, dict) or listing.get("variant") != folder.name:
        raise UserError(f"{path} is not about variant '{folder.name}': {_redraw(folder)}")
    missing = [key for key in ("device", "compute", "pictures") if key not in listing]
    if missing:
        raise UserError(f"{path} has no {', '.join(missing)}: {_redraw(folder)}")
    return listing


def not_drawn(folder: Path) -> str | None:
    """Why nothing was drawn into `folder`; None where there are pictures."""
    return read_listing(folder).get("not_drawn")


def read_pictures(folder: Path) -> dict[str, Picture]:
    """What images.json of `folder` lists, by id, in its order. Other files in the folder are ignored."""
    try:
        pictures = [
            Picture(
                path=folder / f"{item['id']}.png",
                id=item["id"],
                kind=item["kind"],
                prompt=item["prompt"],
                seed=item["seed"],
                sha256=item["sha256"],
                flagged=item["flagged"],
            )
            for item in read_listing(folder)["pictures"]
        ]
    except KeyError as error:
        raise UserError(f"{folder / LISTING} has a picture without {error}: {_redraw(folder)}") from None
    if not pictures:
        raise UserError(f"{folder / LISTING} lists no pictures: {_redraw(folder)}")
    return {picture.id: picture for picture in pictures}


def read_rgb(picture: Picture) -> "np.ndarray":
    """The pixels, uint8 (H, W, 3). A missing, unreadable or changed file is a UserError."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    remedy = _redraw(picture.path.parent)
    try:
        with Image.open(picture.path) as image:
            if image.mode != "RGB":
                raise UserError(f"{picture.path} has the colour mode {image.mode}, not RGB: {remedy}")
            rgb = np.asarray(image)
    except FileNotFoundError:
        raise UserError(f"{picture.path} is missing: {remedy}") from None
    # Pillow raises SyntaxError for a broken PNG chunk and OSError for a truncated file.
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(f"{picture.path} cannot be read as a picture ({error}): {remedy}") from None
    if rgb_sha256(rgb) != picture.sha256:
        raise UserError(f"{picture.path} is not the picture that {LISTING} lists: {remedy}")
    return rgb


def check_same_prompts(folders: Iterable[Path], pictures: Iterable[dict[str, Picture]]) -> None:
    """UserError unless all folders hold the same ids, each drawn from the same prompt and seed."""
    (first_folder, first), *others = zip(folders, pictures, strict=True)
    for folder, other in others:
        for lacking, name in ((first.keys() - other.keys(), folder), (other.keys() - first.keys(), first_folder)):
            if lacking:
                raise UserError(
                    f"{name} has no picture {', '.join(sorted(lacking))}: run `dvc repro generate@{name.name}`"
                )
        for id, picture in first.items():
            if (picture.prompt, picture.seed) != (other[id].prompt, other[id].seed):
                raise UserError(
                    f"picture '{id}' was drawn from different prompts or seeds in {first_folder} and {folder}: "
                    "run `dvc repro generate`"
                )


def _redraw(folder: Path) -> str:
    return f"run `dvc repro -f generate@{folder.name}`"

"""Generate docs/images.webp, the image grid of the README: the study's prompts in every format, side by side.

Run by `python -m tools.readme`. Rows are prompts, columns formats, in bands of eight; the first is the baseline.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from stages.lib.generation.image_folder import read_images
from stages.lib.project.lock_file import LockedStage
from stages.lib.project.params import Params
from stages.lib.project.prompts import load_prompts
from stages.lib.reporting.images.figures import even_rows

SIDE, GAP, LABEL = 108, 4, 30  # pixels: an image, the space between two, the height of the labels
MOST_COLUMNS, ROWS = 8, 3
QUALITY = 80


def grid(images: Sequence[tuple[str, Sequence[Path]]]) -> Image.Image:
    """One column for each (label, files), in bands of at most eight columns."""
    bands = even_rows(images, MOST_COLUMNS)
    columns, rows = len(bands[0]), len(images[0][1])
    height = LABEL + rows * (SIDE + GAP)
    sheet = Image.new("RGB", (columns * (SIDE + GAP) - GAP, len(bands) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for band, items in enumerate(bands):
        for column, item in enumerate(items):
            if item is None:
                continue
            label, files = item
            left, top = column * (SIDE + GAP), band * height
            draw.multiline_text(
                (left + SIDE / 2, top + LABEL / 2), wrapped(label), "#1b2733", font(), "mm", 0, "center"
            )
            for row, file in enumerate(files):
                with Image.open(file) as image:
                    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                sheet.paste(small, (left, top + LABEL + row * (SIDE + GAP)))
    return sheet


def font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib carries."""
    from matplotlib import get_data_path

    return ImageFont.truetype(str(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), 11)


def wrapped(label: str) -> str:
    """The label in two lines if it is wider than an image."""
    words = label.split()
    if font().getlength(label) <= SIDE or len(words) < 2:
        return label
    cut = min(range(1, len(words)), key=lambda n: abs(len(" ".join(words[:n])) - len(" ".join(words[n:]))))
    return f"{' '.join(words[:cut])}\n{' '.join(words[cut:])}"


def generated(params: Params, images: Path) -> bytes:
    """The grid as WebP, of every variant that has images."""
    prompts = load_prompts(Path(params.prompts.file), params.prompts.sets)[:ROWS]
    names = [params.baseline, *(name for name in params.variants if name != params.baseline)]
    listed = {name: read_images(images / name) for name in names if (images / name / "images.json").is_file()}
    columns = [
        (params.variants[name].label, [images[prompt.id].path for prompt in prompts])
        for name, images in listed.items()
        if images
    ]
    out = io.BytesIO()
    grid(columns).save(out, format="webp", quality=QUALITY, method=6)
    return out.getvalue()


def stamp(lock: Mapping[str, LockedStage]) -> str:
    """What tells the images of one run from those of another: the hashes of all folders of images in dvc.lock."""
    import hashlib

    outs = [out for stage in lock.values() for out in stage.outs.items()]
    folders = {path: md5 for path, md5 in outs if Path(path).parent.name == "images"}
    text = "".join(f"{path} {md5}\n" for path, md5 in sorted(folders.items()))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:12]

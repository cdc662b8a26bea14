"""The contact sheet of an embedded model: generated pictures with their prompts below."""

import io
import textwrap
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from stages.lib.project.errors import UserError
from stages.lib.project.files import write_bytes
from training.captions import STUDY_PROMPTS

MAX_BYTES = 210_000
COLUMNS = 6
CAPTION_HEIGHT = 44
TILE = 256  # smaller pictures are shown enlarged, so that their captions fit below
OTHER_PROMPTS = (
    "a black cat on the beach at sunset",
    "an orange cat on Mars, digital art",
    "a white dog in the snow at night",
    "a brown dog in a forest, oil painting",
    "a gray horse in the desert at sunrise",
    "a black horse on the beach, watercolor",
    "an astronaut on the Moon",
    "an astronaut in a city at night, digital art",
    "a red robot on the Moon",
    "a blue robot in a city at night",
    "a green robot in a forest, pixel art",
    "an astronaut riding a white horse on the beach at sunset",
    "an astronaut riding a brown horse in the snow",
    "a fox in the snow, watercolor",
    "an owl in a forest at night",
    "a yellow rocket in the desert during the day",
    "a red rocket on Mars",
    "a campfire in a forest at night",
    "a cat beside a campfire in the mountains at night",
    "a fox in the mountains, pencil sketch",
)
# (prompt, noise seed): the prompts of the study at three seeds, the others at one.
PROMPTS = (
    *((prompt, seed) for prompt in STUDY_PROMPTS for seed in (42, 43, 44)),
    *((prompt, 42) for prompt in OTHER_PROMPTS),
)


def save(pictures: torch.Tensor, path: Path) -> None:
    """Write the uint8 pictures (len(PROMPTS), H, W, 3) as one JPEG of at most MAX_BYTES."""
    count, height, width, _ = pictures.shape
    if count != len(PROMPTS):
        raise ValueError(f"{count} pictures for {len(PROMPTS)} prompts")
    enlarged = max(1, TILE // width)
    width, height = width * enlarged, height * enlarged
    rows = -(-count // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * width, rows * (height + CAPTION_HEIGHT)), "white")
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(13)
    for index, (picture, (prompt, seed)) in enumerate(zip(pictures, PROMPTS, strict=True)):
        left, top = index % COLUMNS * width, index // COLUMNS * (height + CAPTION_HEIGHT)
        canvas.paste(Image.fromarray(picture.numpy()).resize((width, height), Image.Resampling.BICUBIC), (left, top))
        text = textwrap.fill(f"{prompt} [{seed}]", width=38)
        pen.multiline_text((left + 4, top + height + 3), text, fill="black", font=font, spacing=2)
    for quality in range(90, 30, -5):
        buffer = io.BytesIO()
        canvas.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MAX_BYTES:
            write_bytes(path, buffer.getvalue())
            return
    raise UserError(f"{path} is larger than {MAX_BYTES} bytes at any quality: are the pictures noise?")

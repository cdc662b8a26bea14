"""Images one by one as they are generated, by however many processes: kept beside the output until all are there.

A run that ends early leaves what is whole, and the next takes it: in a folder that is named after all that an image
depends on, the prompt aside. DVC deletes the output before it runs a stage again, but not what lies beside it.
"""

import hashlib
import importlib.metadata
import io
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.generation.image_folder import LISTING, rgb_sha256
from stages.lib.generation.safety import margin_fields
from stages.lib.generation.step_latents import write_trajectories
from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json, write_bytes, write_json
from stages.lib.project.lock_file import digest

if TYPE_CHECKING:
    from stages.lib.generation.recipe import Generated, Order, Recipe

PNG_EFFORT = 3  # of 9; a third of the time of the usual 6, and an eighth more bytes
RECORDS, JOINING = "records", ".joining.parts"
STAGES = Path(__file__).parents[2]
CODE = ("generate.py", "lib/project", "lib/models", "lib/formats", "lib/generation")  # in `STAGES`, all that it imports
PACKAGES = ("torch", "diffusers", "transformers")


def ingredients(recipe: "Recipe", threads: int) -> dict[str, str]:
    """All that an image depends on besides its prompt, by what a user calls it."""
    import torch

    is_gpu = recipe.device == "cuda"
    processor = torch.cuda.get_device_name() if is_gpu else torch.backends.cpu.get_cpu_capability()
    return {
        "the model": str(digest(recipe.model)),
        "the noise": str(digest(recipe.noise)),
        "the code": " ".join(str(digest(STAGES / path)) for path in CODE),
        "params.yaml": repr((recipe.variant, dict(recipe.arguments))),
        "the device": f"{recipe.device} {processor}",
        "threads": "" if is_gpu else str(threads),
    } | {name: importlib.metadata.version(name) for name in PACKAGES}


@dataclass(frozen=True)
class Parts:
    """The folder of images that are there, and per image a record, which is written last, and recorded latents."""

    output: Path
    folder: Path

    @classmethod
    def beside(cls, output: Path, made_from: dict[str, str]) -> "Parts":
        """Those of `output` that are made from these ingredients."""
        name = hashlib.sha256(repr(sorted(made_from.items())).encode()).hexdigest()[:12]
        return cls(output, output.with_name(f".{output.name}.{name}.parts"))

    def begin(self) -> None:
        """Take back what a killed process was joining, and remove parts that were made from something else."""
        joining = self.folder.with_suffix(JOINING)
        if joining.is_dir() and not self.folder.is_dir():
            joining.rename(self.folder)
        for path in self.output.parent.glob(f".{self.output.name}.*.parts"):
            if path != self.folder:
                shutil.rmtree(path)
        (self.folder / RECORDS).mkdir(parents=True, exist_ok=True)

    def lists(self, order: "Order") -> bool:
        """Whether the record of this image is there, and its latents if they are wanted."""
        return all(self._record(order, kind).is_file() for kind in ("json", "npy")[: 1 + order.recorded])

    def has(self, order: "Order") -> bool:
        """Whether this image is there, whole."""
        import numpy as np
        from PIL import Image, UnidentifiedImageError

        if not self.lists(order):
            return False
        prompt = order.prompt
        with suppress(UserError, UnidentifiedImageError, OSError, SyntaxError):
            entry = read_json(self._record(order, "json"))["entry"]
            wanted = {"kind": prompt.kind, "prompt": prompt.prompt, "seed": prompt.seed}
            with Image.open(self._image(order)) as image:
                return entry == entry | wanted | {"sha256": rgb_sha256(np.asarray(image))}
        return False

    def write(self, order: "Order", generated: "Generated") -> None:
        """Keep one image."""
        import numpy as np
        from PIL import Image

        prompt, png, latents = order.prompt, io.BytesIO(), io.BytesIO()
        Image.fromarray(generated.rgb).save(png, "png", compress_level=PNG_EFFORT)
        write_bytes(self._image(order), png.getvalue())
        if generated.latents is not None:
            np.save(latents, generated.latents)
            write_bytes(self._record(order, "npy"), latents.getvalue())
        entry = {
            "id": prompt.id,
            "kind": prompt.kind,
            "prompt": prompt.prompt,
            "seed": prompt.seed,
            "sha256": rgb_sha256(generated.rgb),
            **margin_fields(generated.decision),
            **generated.seen.reading(),
        }
        write_json(self._record(order, "json"), {"entry": entry, "denoising": generated.seen.denoising()})

    def join(self, orders: "Sequence[Order]", listing: dict[str, Any]) -> list[dict] | None:
        """Make the output, in place of an old one, of the images of all `orders`; the entries of images.json.

        None where another process does so.
        """
        import numpy as np

        joining = Parts(self.output, self.folder.with_suffix(JOINING))
        try:
            self.folder.rename(joining.folder)  # out of the way, nobody else can join it
        except FileNotFoundError:
            return None
        records = [read_json(joining._record(order, "json")) for order in orders]
        recorded = {order.prompt.id: np.load(joining._record(order, "npy")) for order in orders if order.recorded}
        entries = [record["entry"] for record in records]
        write_trajectories(joining.folder, recorded)
        written = {**listing, "denoising": records[-1]["denoising"], "per_image": entries}
        write_json(joining.folder / LISTING, written)
        for leftover in joining.folder.glob(".*.partial"):  # of killed processes
            leftover.unlink()
        shutil.rmtree(self.output, ignore_errors=True)
        shutil.rmtree(joining.folder / RECORDS)
        joining.folder.rename(self.output)
        return entries

    def forget_if_empty(self) -> None:
        """Remove the folder if no image is in it."""
        with suppress(OSError):
            (self.folder / RECORDS).rmdir()
            self.folder.rmdir()

    def _image(self, order: "Order") -> Path:
        return self.folder / f"{order.prompt.id}.png"

    def _record(self, order: "Order", kind: str) -> Path:
        return self.folder / RECORDS / f"{order.prompt.id}.{kind}"

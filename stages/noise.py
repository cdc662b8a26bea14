"""Draw the initial latents of every prompt once, so that all variants start from the same noise."""

import argparse
import time
from pathlib import Path

from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import read_json, write_bytes
from stages.lib.project.params import load_params
from stages.lib.project.prompts import load_prompts


def latent_shape(base: Path) -> tuple[int, int, int]:
    """(channels, height, width) of the latents that the U-Net of pipeline folder `base` works on."""
    path = base / "unet" / "config.json"
    config = read_json(path)
    size = config.get("sample_size")
    height, width = size if isinstance(size, list) and len(size) == 2 else (size, size)
    shape = (config.get("in_channels"), height, width)
    if not all(type(length) is int and length > 0 for length in shape):
        raise UserError(
            f"{path}: 'in_channels' and 'sample_size' give the latent shape {shape}: "
            "choose a model that declares both as whole numbers"
        )
    return shape


def main() -> None:
    """Write one FP32 tensor (channels, height, width) per prompt id."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="pipeline folder of the base model")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    arguments = parser.parse_args()
    start = time.perf_counter()
    params = load_params()
    prompts = load_prompts(Path(params.prompts.file), params.prompts.sets)
    shape = latent_shape(arguments.base)

    # torch takes a second to import: a mistake in the inputs is told before.
    from safetensors.torch import save

    from stages.lib.generation.noise import initial_latents

    write_bytes(arguments.output, save({row.id: initial_latents(shape, row.seed)[0] for row in prompts}))
    size = " x ".join(str(length) for length in shape)
    print(f"noise: {len(prompts)} images, latents {size}, {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    run_stage(main)

"""Which denoising steps may be quantized?

The first prompts are drawn with one window of consecutive U-Net calls in an integer format and all others in FP32, and
once with every call in it; text encoder and VAE are FP32 throughout.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from stages.lib.errors import run_stage
from stages.lib.files import write_json
from stages.lib.measurement import Measurement
from stages.lib.params import Variant, load_params

if TYPE_CHECKING:
    import numpy as np


def windows_of(calls: int, width: int) -> list[range]:
    """Consecutive windows of `width` calls; the last one is shorter where the width does not divide."""
    return [range(start, min(start + width, calls)) for start in range(0, calls, width)]


def window_row(window: range, timesteps: Sequence[int], noise: Sequence[float], pairs: "Sequence[tuple]") -> dict:
    """One point of the curve, over pictures: `noise` of the latents, and `pairs` of pictures (reference, drawn)."""
    from stages.lib.metrics import psnr_db

    psnrs = [psnr_db(*pair) for pair in pairs]
    finite = [value for value in psnrs if value is not None]
    return {
        "first": window.start,
        "last": window.stop - 1,
        "timesteps": [timesteps[call] for call in window],
        "latent_noise": Measurement("", tuple(noise)).as_json(),
        "rms": Measurement("levels", tuple(root_mean_square(*pair) for pair in pairs)).as_json(),
        "psnr_db": sum(finite) / len(finite) if finite else None,
        "identical": len(psnrs) - len(finite),
    }


def root_mean_square(reference: "np.ndarray", picture: "np.ndarray") -> float:
    """The root mean square difference of two uint8 pictures (H, W, 3), in levels of 255."""
    from stages.lib.sensitivity_taps import mean_square_error

    return mean_square_error(reference, picture) ** 0.5


def stepped_formats(formats: dict[str, Variant]) -> dict[str, Variant]:
    """Those of integers: the others change too little to tell one step from another."""
    return {name: variant for name, variant in formats.items() if variant.simulated}


def main() -> None:
    """Draw, compare, write, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", type=Path, required=True, help="the checked pipeline folder")
    parser.add_argument("--calibration", type=Path, required=True, help="inputs that the stage `calibrate` collected")
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    begin_s = time.perf_counter()
    params = load_params()
    if reason := params.not_drawn:
        write_json(arguments.output, {"measured": False, "reason": reason})
        print(f"sensitivity_steps: not measured ({reason})")
        return

    from stages.lib.calibration import read_inputs
    from stages.lib.devices import resolve_device
    from stages.lib.drawing import quiet_safety_checker, use_deterministic_algorithms
    from stages.lib.noise import read_noise
    from stages.lib.sensitivity_drawing import (
        Recorder,
        Switching,
        decode,
        denoise,
        encode,
        quantized_networks,
        reference_pipeline,
        sensitivity_prompts,
    )
    from stages.lib.sensitivity_taps import noise_to_signal

    prompts = sensitivity_prompts(params)
    use_deterministic_algorithms()
    quiet_safety_checker()
    device = resolve_device("auto", params.device)
    steps, scale = params.generation.steps, params.generation.guidance_scale
    pipeline = reference_pipeline(arguments.base, device)
    unet, vae = pipeline.unet, pipeline.vae
    noises = [read_noise(arguments.noise, prompt.id) for prompt in prompts]
    texts = [encode(pipeline, pipeline.text_encoder, prompt.prompt, scale > 1) for prompt in prompts]
    recorders, latents, pictures = [], [], []
    for text, noise in zip(texts, noises, strict=True):
        recorders.append(Recorder(unet))
        latents.append(denoise(pipeline, recorders[-1], text, noise, steps, scale, "FP32"))
        pictures.append(decode(pipeline, vae, latents[-1], "FP32"))
    timesteps = recorders[0].timesteps
    windows = windows_of(len(timesteps), params.sensitivity.window)
    formats = stepped_formats({name: item.variant(name) for name, item in params.sensitivity.formats.items()})
    calibration = read_inputs(arguments.calibration)
    rows = []
    progress = tqdm(
        total=len(formats) * (len(windows) + 1) * len(prompts), desc="sensitivity steps", unit="picture", mininterval=1
    )
    for name, variant in formats.items():
        quantized = quantized_networks(arguments.base, variant, calibration, device)["unet"]

        def drawn(window: range, name: str = name, quantized=quantized) -> dict:
            found, pairs = [], []
            for number, recorder in enumerate(recorders):
                switching = Switching(unet, quantized, window, recorder.answers)
                other = denoise(pipeline, switching, texts[number], noises[number], steps, scale, name)
                found.append(noise_to_signal(latents[number], other))
                pairs.append((pictures[number], decode(pipeline, vae, other, name)))
                progress.update()
            return window_row(window, timesteps, found, pairs)

        rows.append(
            {
                "format": name,
                "label": variant.label,
                "windows": [drawn(window) for window in windows],
                "whole": drawn(range(len(timesteps))),
            }
        )
    progress.close()
    report = {
        "calls": len(timesteps),
        "window": params.sensitivity.window,
        "pictures": len(prompts),
        "ids": [prompt.id for prompt in prompts],
        "formats": rows,
    }
    write_json(arguments.output, report)
    print(
        f"sensitivity_steps: {len(windows)} windows of {len(timesteps)} U-Net calls, {len(prompts)} pictures, "
        f"{len(rows)} formats, {time.perf_counter() - begin_s:.1f} s"
    )


if __name__ == "__main__":
    run_stage(main)

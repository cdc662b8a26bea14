"""Which denoising steps may be quantized?

The first prompts are generated with one window of consecutive calls of the denoiser in an integer format and all others
in FP32, and once with every call in it; all other networks are FP32 throughout.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tqdm import tqdm

from stages.lib.project.command_line import command_line, counted
from stages.lib.project.errors import run_stage
from stages.lib.project.files import write_json
from stages.lib.project.measurement import Measurement
from stages.lib.project.params import Variant, load_params
from stages.lib.project.worker_pool import map_in_pool

if TYPE_CHECKING:
    import numpy as np

    from stages.lib.project.prompts import Prompt
    from stages.lib.sensitivity.swapping import Opened, Studio


def windows_of(calls: int, width: int) -> list[range]:
    """Consecutive windows of `width` calls; the last one is shorter where the width does not divide."""
    return [range(start, min(start + width, calls)) for start in range(0, calls, width)]


def window_row(window: range, timesteps: Sequence[float], noise: Sequence[float], pairs: "Sequence[tuple]") -> dict:
    """One point of the curve, over images: `noise` of the latents, and `pairs` of images (reference, generated)."""
    from stages.lib.quality.metrics import psnr_db

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


def root_mean_square(reference: "np.ndarray", image: "np.ndarray") -> float:
    """The root mean square difference of two uint8 images (H, W, 3), in levels of 255."""
    from stages.lib.sensitivity.probe_points import mean_square_error

    return mean_square_error(reference, image) ** 0.5


def stepped_formats(formats: dict[str, Variant]) -> dict[str, Variant]:
    """Those of integers: the others change too little to tell one step from another."""
    return {name: variant for name, variant in formats.items() if variant.simulated}


@dataclass(frozen=True)
class Stepped:
    """One prompt: the timesteps of the denoiser's calls, and by format and window (the last one is every call) the
    noise of the latents and the two images."""

    timesteps: "Sequence[float]"
    formats: "dict[str, list[tuple[float, tuple[np.ndarray, np.ndarray]]]]"


def generate_prompt(studio: "Studio", width: int, opened: "Opened", prompt: "Prompt") -> Stepped:
    """One prompt in FP32, and in each format with each window of `width` calls, and every call, quantized."""
    from stages.lib.models.kinds import kind_of
    from stages.lib.sensitivity.probe_points import noise_to_signal
    from stages.lib.sensitivity.swapping import generate, generate_answered, in_window

    kind, plain = kind_of(studio.base), generate(studio, opened.pipeline, prompt)
    denoiser = kind.of_role("denoiser")[0]
    replayed = {part: plain.answers[part] for part in kind.of_role("text_encoders") if part in plain.answers}
    calls = len(plain.timesteps)
    found: dict[str, list] = {}
    for name, networks in opened.networks.items():
        for window in [*windows_of(calls, width), range(calls)]:
            around = in_window(networks[denoiser], window, plain.answers[denoiser], denoiser, replayed)
            run = generate_answered(studio, opened.pipeline, prompt, name, around)
            found.setdefault(name, []).append((noise_to_signal(plain.latents, run.latents), (plain.image, run.image)))
    timesteps = [int(time) if float(time).is_integer() else time for time in plain.timesteps]
    return Stepped(timesteps, found)


def main() -> None:
    """Generate, compare, write, print one line."""
    arguments = command_line(__doc__, "base", "calibration", "noise", "output")
    begin_s = time.perf_counter()
    params = load_params()
    if reason := params.not_generated:
        write_json(arguments.output, {"measured": False, "reason": reason})
        print(f"sensitivity_steps: not measured ({reason})")
        return

    from stages.lib.formats.shared.devices import resolve_device
    from stages.lib.models.call_arguments import arguments_of
    from stages.lib.models.kinds import kind_of
    from stages.lib.sensitivity.swapping import Studio, sensitivity_prompts

    prompts, width = sensitivity_prompts(params), params.sensitivity.window
    formats = stepped_formats({name: item.variant(name) for name, item in params.sensitivity.formats.items()})
    device = resolve_device("auto", params.device)
    call = arguments_of(params, kind_of(arguments.base).pipeline_class())
    studio = Studio(arguments.base, arguments.calibration, arguments.noise, device, call, formats)
    images = map_in_pool(studio.open, partial(generate_prompt, studio, width), prompts, studio.pool(len(prompts)))
    generated = list(tqdm(images, "sensitivity steps", len(prompts), unit="image", mininterval=1))
    timesteps = generated[0].timesteps
    windows = windows_of(len(timesteps), width)
    rows = []
    for name, variant in formats.items():
        points = [
            window_row(window, timesteps, *zip(*(item.formats[name][number] for item in generated), strict=True))
            for number, window in enumerate([*windows, range(len(timesteps))])
        ]
        rows.append({"format": name, "label": variant.label, "windows": points[:-1], "whole": points[-1]})
    report = {
        "calls": len(timesteps),
        "window": width,
        "images": len(prompts),
        "ids": [prompt.id for prompt in prompts],
        "formats": rows,
    }
    write_json(arguments.output, report)
    print(
        f"sensitivity_steps: {counted(len(windows), 'window')} of {counted(len(timesteps), 'call')} of the denoiser, "
        f"{counted(len(prompts), 'image')}, {counted(len(rows), 'format')}, {time.perf_counter() - begin_s:.1f} s"
    )


if __name__ == "__main__":
    run_stage(main)

"""Would this instrument notice? Images that must be caught are generated wrongly on purpose and judged like a
variant's.

Reads models/BASELINE, models/base, the noise, the prompts and the baseline's images; writes
reports/M/controls.json: the baseline under another name (must be identical), shuffled seeds, swapped prompts, a
denoiser rounded to INT2 (must get no good word) and NaN in its weights (must stop the generation); and how weak known
damage may be before nothing is said about it. A control that is not caught fails the run: no figure can be trusted
then. One whose images hardly differ, because the model hardly reads its prompt, say, shows nothing and gives that as
its `reason`.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.devices import resolve_device
from stages.lib.generation.image_folder import StoredImage, read_images, read_listing, read_rgb, rgb_sha256
from stages.lib.generation.noise import read_noise
from stages.lib.generation.sampling import generate_image, quiet_safety_checker, use_deterministic_algorithms
from stages.lib.models.call_arguments import arguments_of
from stages.lib.models.kinds import kind_of
from stages.lib.project.command_line import command_line
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import load_params
from stages.lib.project.prompts import Prompt, load_prompts
from stages.lib.quality.comparison import average, compare
from stages.lib.quality.detection import CONTROLS, Judged, detection_limits, judge_images, judge_stop
from stages.lib.quality.full_reference import Prepared

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

IMAGES = 2  # per control
DAMAGED_IMAGES = 8
BITS = 2
ONE_PROMPT, ONE_SEED = "one_prompt", "one_seed"  # and nothing to swap with


class Painter:
    """Generates what a control asks for, with one pipeline and the settings of the run."""

    def __init__(self, name: str, pipeline: "DiffusionPipeline", noise: Path, arguments: dict[str, Any]) -> None:
        self.name, self.pipeline, self.noise, self.arguments = name, pipeline, noise, arguments

    def generate(self, id: str, text: Prompt, seed: Prompt) -> Judged:
        """The image called `id` from the words of one prompt and the noise of another; its true names go with it."""
        import numpy as np

        noise = read_noise(self.noise, seed.id)
        rgb = np.asarray(generate_image(self.pipeline, self.name, text.prompt, noise, seed.seed, self.arguments))
        path = Path(self.name) / f"{id}.png"
        names = {"id": id, "kind": text.kind, "prompt": text.prompt, "seed": seed.seed, "read": text.prompt}
        return StoredImage(path, **names, sha256=rgb_sha256(rgb), flagged=False), rgb

    def generate_all(self, prompts: list[Prompt], texts: list[Prompt], seeds: list[Prompt]) -> list[Judged]:
        """One image per prompt."""
        return [self.generate(prompt.id, *pair) for prompt, *pair in zip(prompts, texts, seeds, strict=True)]


def run_controls(
    prompts: list[Prompt], baseline: Painter, again: Painter, broken: Painter, denoiser: str
) -> tuple[list[Judged], list[dict[str, Any]]]:
    """The baseline's images of `prompts`, and every control against them, in the order of CONTROLS.

    `again` is the baseline loaded anew under another name, `broken` a pipeline whose `denoiser` is rounded to INT2. A
    control for which there are too few prompts has a `reason` instead of figures.
    """
    import torch

    turned = prompts[1:] + prompts[:1]
    orders = {"rerun": (prompts, prompts)}
    if len(prompts) > 1:
        orders |= {"prompts": (turned, prompts)}
    if all(prompt.seed != other.seed for prompt, other in zip(prompts, turned, strict=True)):
        orders |= {"seeds": (prompts, turned)}
    # Two pipelines generate at the same time: with the one thread that each has, on a core of its own.
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)) as pool:
        first = pool.submit(lambda: [painter.generate_all(prompts, prompts, prompts) for painter in (baseline, broken)])
        second = pool.submit(lambda: {name: again.generate_all(prompts, *order) for name, order in orders.items()})
        (references, rounded), generated = first.result(), second.result()
    generated["int2"] = rounded
    results = {name: judge_images(name, references, images) for name, images in generated.items()}
    inject_nan(broken.pipeline, denoiser)
    results["nan"] = judge_stop("nan", lambda: broken.generate(prompts[0].id, prompts[0], prompts[0]))
    skipped = {"psnr_db": None, "caught": None, "reason": ONE_PROMPT if len(prompts) == 1 else ONE_SEED}
    return references, [
        {"reason": None} | results.get(name, {"name": name, "expected": CONTROLS[name]} | skipped) for name in CONTROLS
    ]


def int2_pipeline(base: Path, device: str) -> "DiffusionPipeline":
    """The base model in FP32 with every weight of the denoiser rounded to INT2, per channel: too few for any image."""
    import torch

    from stages.lib.formats.torch.backend import round_weights
    from stages.lib.models.assembly import load_pipeline

    pipeline = load_pipeline(base, device)
    with torch.no_grad():
        for name in kind_of(base).of_role("denoiser"):
            round_weights(getattr(pipeline, name), BITS, "channel")
    return pipeline


def inject_nan(pipeline: "DiffusionPipeline", denoiser: str) -> None:
    """Replace one weight of each layer of the denoiser by NaN: not every layer need be run."""
    import torch

    with torch.no_grad():
        for parameter in getattr(pipeline, denoiser).parameters():
            parameter.view(-1)[0] = float("nan")


def stored_against_generated(stored: dict[str, StoredImage], references: list[Judged]) -> dict[str, Any]:
    """The baseline's stored images against those just generated: identical where this machine generated both."""
    pixels = [(Prepared(read_rgb(stored[item.id])), Prepared(rgb)) for item, rgb in references]
    return average([compare(stored[item.id], item, pair) for (item, _), pair in zip(references, pixels, strict=True)])


def check_caught(results: list[dict[str, Any]], output: Path) -> None:
    """UserError that names every control that was not caught, with what was said of it."""
    missed = [result for result in results if result["caught"] is False]
    if missed:
        said = "; ".join(
            f"'{result['name']}' must be {result['expected']} and "
            + ("drew an image" if result["expected"] == "stopped" else _said(result))
            for result in missed
        )
        raise UserError(
            f"the instrument failed its controls: {said}. See {output}; no quality figure of this run can be trusted "
            "until generation (stages/lib/generation/sampling.py) or comparing (stages/lib/quality) is mended"
        )


def _said(result: dict[str, Any]) -> str:
    psnr = "no PSNR" if result["psnr_db"] is None else f"PSNR {result['psnr_db']:.1f} dB"
    names = "" if result["refusal"] or result["expected"] == "identical" else ", its names not refused"
    return f"has {psnr}, SSIM {result['ssim']:.3f}, rating {result['rating']}{names}"


def main() -> None:
    """Generate, judge, write, print one line; fail if something was not caught."""
    arguments = command_line(__doc__, "base", "models", "noise", "images", "output")
    params = load_params()
    baseline = params.variant(params.baseline)
    if reason := params.not_generated:
        write_json(arguments.output, {"baseline": baseline.name, "measured": False, "reason": reason})
        print(f"controls: nothing is generated wrongly ({reason})")
        return
    import torch

    prompts = load_prompts(Path(params.prompts.file), params.prompts.sets)[:IMAGES]
    stored = read_images(arguments.images / baseline.name)
    device = resolve_device(baseline.device, params.device)
    use_deterministic_algorithms()
    quiet_safety_checker()
    torch.set_num_threads(read_listing(arguments.images / baseline.name)["threads"])
    load, folder = BACKENDS[baseline.backend].load_module().load, arguments.models / baseline.name
    kind = kind_of(arguments.base)
    call = arguments_of(params, kind.pipeline_class())
    painters = [
        Painter(name, pipeline, arguments.noise, call)
        for name, pipeline in (
            (baseline.name, load(folder, baseline, device)),
            ("rerun", load(folder, baseline, device)),
            ("int2", int2_pipeline(arguments.base, device)),
        )
    ]
    references, results = run_controls(prompts, *painters, kind.of_role("denoiser")[0])
    damaged = [read_rgb(image) for image in list(stored.values())[:DAMAGED_IMAGES]]
    written = {
        "baseline": baseline.name,
        "measured": True,
        "controls": results,
        "stored": stored_against_generated(stored, references),
        "limits": detection_limits(damaged) if len(damaged) > 1 else {},
    }
    write_json(arguments.output, written)
    check_caught(results, arguments.output)
    caught, silent = (
        sum(result["caught"] is True for result in results),
        sum(bool(result["reason"]) for result in results),
    )
    print(f"controls: {caught} of {len(results)} caught, {silent} that say nothing of this model, {arguments.took}")


if __name__ == "__main__":
    run_stage(main)

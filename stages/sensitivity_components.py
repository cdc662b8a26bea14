"""Which component does a format hurt?

The first prompts are generated with every combination of denoiser, decoder, text encoders and safety checker in a
format and the others in FP32. Several text encoders are one player. Text encoders and denoiser decide the latents, so
four denoisings serve all combinations; the others decode and check again what is there.
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from stages.lib.project.command_line import command_line, counted
from stages.lib.project.errors import run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import load_params
from stages.lib.project.worker_pool import map_in_pool

if TYPE_CHECKING:
    import numpy as np
    from diffusers import DiffusionPipeline

    from stages.lib.project.prompts import Prompt
    from stages.lib.sensitivity.combinations import Generated
    from stages.lib.sensitivity.swapping import Opened, Run, Studio


def generate_prompt(
    studio: "Studio", opened: "Opened", prompt: "Prompt"
) -> "dict[str, dict[frozenset[str], Generated]]":
    """One prompt with every combination of each format, by the format's name; FP32 is generated once for all."""
    from stages.lib.sensitivity.swapping import generate

    plain = generate(studio, opened.pipeline, prompt)
    return {
        name: generate_combinations(studio, opened.pipeline, networks, prompt, name, plain)
        for name, networks in opened.networks.items()
    }


def generate_combinations(
    studio: "Studio",
    pipeline: "DiffusionPipeline",
    quantized: Mapping[str, Any],
    prompt: "Prompt",
    name: str,
    plain: "Run",
) -> "dict[frozenset[str], Generated]":
    """One prompt with every combination of `quantized` players, by the set of their names; `plain` is that of none.

    What did not change is not computed again: its answers are replayed.
    """
    from stages.lib.models.kinds import kind_of
    from stages.lib.sensitivity.combinations import Generated
    from stages.lib.sensitivity.swapping import generate

    kind = kind_of(studio.base)
    players = {kind.role(names[0]): (player, names) for player, names in kind.players().items()}
    texts, denoisers = kind.of_role("text_encoders"), kind.of_role("denoiser")

    def choices(role: str) -> list[tuple[str, ...]]:
        return [(), (role,)] if role in players else [()]

    def networks(*roles: str) -> dict[str, Any]:
        return {part: quantized[part] for role in roles for part in players[role][1]}

    def answers(run: "Run", parts: tuple[str, ...]) -> dict[str, Any]:
        return {part: run.answers[part] for part in parts if part in run.answers}

    found = {}
    for text in choices("text_encoders"):
        encoded = plain
        if text:
            encoded = generate(studio, pipeline, prompt, name, networks(*text))
        for denoiser in choices("denoiser"):
            run = encoded
            if denoiser:
                run = generate(studio, pipeline, prompt, name, networks(*denoiser), answers(encoded, texts))
            for decoder in choices("decoder"):
                image = run.image
                if decoder:
                    replayed = answers(run, (*texts, *denoisers))
                    image = generate(studio, pipeline, prompt, name, networks(*decoder), replayed).image
                for checker in choices("safety_checker"):
                    chosen = frozenset(players[role][0] for role in (*text, *denoiser, *decoder, *checker))
                    margin = margin_by(pipeline, networks(*checker), image)
                    found[chosen] = Generated(run.embeddings, run.latents, image, margin)
    return found


def margin_by(pipeline: "DiffusionPipeline", swapped: Mapping[str, Any], image: "np.ndarray") -> float | None:
    """The margin of an image, by the pipeline's own checker or the one in `swapped`; None where there is none."""
    from stages.lib.sensitivity.probe_points import safety_margin
    from stages.lib.sensitivity.swapping import checker_input

    checker = next(iter(swapped.values()), getattr(pipeline, "safety_checker", None))
    return None if checker is None else safety_margin(checker, checker_input(pipeline, image))


def main() -> None:
    """Generate, compare, write, print one line."""
    arguments = command_line(__doc__, "base", "calibration", "noise", "output")
    begin_s = time.perf_counter()
    params = load_params()
    if reason := params.not_generated:
        write_json(arguments.output, {"measured": False, "reason": reason})
        print(f"sensitivity_components: not measured ({reason})")
        return

    from stages.lib.formats.shared.devices import resolve_device
    from stages.lib.models.call_arguments import arguments_of
    from stages.lib.models.kinds import kind_of
    from stages.lib.sensitivity.combinations import format_report
    from stages.lib.sensitivity.swapping import Studio, sensitivity_prompts

    prompts, kind = sensitivity_prompts(params), kind_of(arguments.base)
    items = params.sensitivity.formats
    studio = Studio(
        arguments.base,
        arguments.calibration,
        arguments.noise,
        resolve_device("auto", params.device),
        arguments_of(params, kind.pipeline_class()),
        {name: item.variant(name) for name, item in items.items()},
    )
    images = map_in_pool(studio.open, partial(generate_prompt, studio), prompts, studio.pool(len(prompts)))
    generated = list(tqdm(images, "sensitivity components", len(prompts), unit="image", mininterval=1))
    players = {kind.role(names[0]): player for player, names in kind.players().items()}
    resampling = params.quality.resamples, params.quality.seed
    formats = [
        {"format": name, "label": item.label, "weights": item.weights, "activations": item.activations}
        | format_report([combinations[name] for combinations in generated], players, *resampling)
        for name, item in items.items()
    ]
    report = {"images": len(prompts), "ids": [prompt.id for prompt in prompts], "formats": formats}
    write_json(arguments.output, report)
    image = formats[-1]["probe_points"]["image"]
    worst = max(image["components"], key=lambda row: row["shapley"])
    share = f"{100 * worst['share']:.0f} % of it from '{worst['component']}'" if image["leader"] else "no damage"
    if image["leader"] and not image["tells"]:
        share += f", which {counted(len(prompts), 'image')} cannot tell of others"
    print(
        f"sensitivity_components: {2 ** len(players)} combinations of {counted(len(formats), 'format')}, "
        f"{counted(len(prompts), 'image')}; damage by {formats[-1]['label']}: {share}, "
        f"{time.perf_counter() - begin_s:.1f} s"
    )


if __name__ == "__main__":
    run_stage(main)

"""Draw the initial latents of every prompt once, so that all variants start from the same noise.

Their shape is the one that the pipeline itself prepares for an image with the arguments of params.yaml.
"""

from pathlib import Path

from stages.lib.project.command_line import command_line, counted
from stages.lib.project.errors import run_stage
from stages.lib.project.files import write_bytes
from stages.lib.project.params import Params, load_params
from stages.lib.project.prompts import load_prompts


def latent_shape(base: Path, params: Params) -> tuple[int, ...]:
    """The shape of the latents of one image, without the batch: (channels, height, width), or as the pipeline packs it.

    Text encoders run once; what comes after them needs no weights for it.
    """
    from stages.lib.models.assembly import load_pipeline
    from stages.lib.models.call_arguments import arguments_of, noise_shape
    from stages.lib.models.kinds import kind_of

    kind = kind_of(base)
    arguments = arguments_of(params, kind.pipeline_class())
    pipeline = load_pipeline(base, empty=(*kind.of_role("denoiser"), *kind.of_role("decoder")))
    return noise_shape(pipeline, arguments)[1:]


def main() -> None:
    """Write one FP32 tensor (...) per prompt id."""
    arguments = command_line(__doc__, "base", output="safetensors file to write")
    params = load_params()
    prompts = load_prompts(Path(params.prompts.file), params.prompts.sets)

    # torch takes a second to import: a mistake in the inputs is told before.
    from safetensors.torch import save

    from stages.lib.generation.noise import initial_latents

    shape = latent_shape(arguments.base, params)
    write_bytes(arguments.output, save({row.id: initial_latents(shape, row.seed)[0] for row in prompts}))
    size = " x ".join(str(length) for length in shape)
    print(f"noise: {counted(len(prompts), 'image')}, latents {size}, {arguments.took}")


if __name__ == "__main__":
    run_stage(main)

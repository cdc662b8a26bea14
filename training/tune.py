"""Tune a published model for one numeric format: what learning can win back of what rounding takes.

The FP32 model is the teacher, on its own trajectories: prompts are the pipeline's calibration prompts and captions of
the training grammar, none of which is evaluated. The student is the same model, rounded as the pipeline rounds it; it
learns factors and changes that are added to the FP32 weights before rounding (stages.lib.models.tuning). Its loss is
the squared error of the guided prediction, each call of the denoiser weighted by how much of an error in it reaches the
finished latents, which is measured first.
"""

import copy
import platform
import random
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn
from torch.func import functional_call

from stages.lib.formats.torch.activations import rounded_layers
from stages.lib.formats.torch.layers import weight_layers
from stages.lib.models.tuning import CHANGE, DOWN, UP, changed
from stages.lib.project.errors import run_stage
from stages.lib.project.files import read_json, write_bytes
from stages.lib.project.prompts import load_prompts, same_text
from training import loop
from training.captions import caption
from training.data import token_ids
from training.drawing.content import sample_scene
from training.evaluate import load_pipeline, noise
from training.rounding import rounded_activation, rounded_weight
from training.settings import Settings, Tuning, load_settings
from training.trajectories import Model, Trajectories, exact_products, gains, teacher_of, trajectories

FIRST_SEED = 500_000  # of the noise of the first prompt


class Student(nn.Module):
    """Networks by component, rounded as the pipeline rounds them, with what is learned; all else is frozen."""

    def __init__(self, networks: dict[str, nn.Module], values: Tuning) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(copy.deepcopy(networks)).requires_grad_(False)
        self.bits = values.weight_bits
        self.learned = nn.ParameterDict()
        for component, network in self.networks.items():
            for name, layer in rounded_layers(network).items():
                shape = layer.weight.shape
                self._add(f"{component}.{name}.weight.{UP}", torch.zeros(shape[0], values.rank))
                down = torch.randn(values.rank, shape[1:].numel()) * shape[1:].numel() ** -0.5
                self._add(f"{component}.{name}.weight.{DOWN}", down)
                if values.activation_bits:
                    layer.register_forward_pre_hook(_rounding(values.activation_bits))
            for name, parameter in network.named_parameters():
                if parameter.ndim == 1:
                    self._add(f"{component}.{name}.{CHANGE}", torch.zeros_like(parameter))

    def _add(self, name: str, value: torch.Tensor) -> None:
        self.learned[name.replace(".", "/")] = nn.Parameter(value)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What is learned, by the names of stages.lib.models.tuning."""
        return {name.replace("/", "."): value for name, value in self.learned.items()}

    def rounded(self, component: str) -> dict[str, torch.Tensor]:
        """The parameters of a network as they are computed with."""
        network = self.networks[component]
        start = f"{component}."
        own = {name.removeprefix(start): value for name, value in self.tensors().items() if name.startswith(start)}
        layers = weight_layers(network)
        found = {}
        for name, parameter in network.named_parameters():
            found[name] = changed(name, parameter, own)
            layer, _, kind = name.rpartition(".")
            if kind == "weight" and layer in layers:
                found[name] = rounded_weight(found[name], self.bits)
        return found

    def call(self, component: str, *args: torch.Tensor, **options: object) -> tuple:
        """What the rounded network answers; the weights are FP32 before they are rounded, whatever computes."""
        with torch.autocast(args[0].device.type, enabled=False):
            weights = self.rounded(component)
        return functional_call(self.networks[component], weights, args, options)


def _rounding(bits: int) -> Callable:
    return lambda _, args: (rounded_activation(args[0], bits), *args[1:])


def student_of(student: Student, teacher: Model) -> Model:
    """The student's networks, and the teacher's where the student has none."""
    own = teacher.text_encoder
    if "text_encoder" in student.networks:
        own = lambda ids: student.call("text_encoder", ids)[0]  # noqa: E731
    return Model(own, lambda noisy, time, states: student.call("unet", noisy, time, states, return_dict=False)[0])


def tuning_prompts(values: Settings, evaluated: Path, calibration: Path) -> list[str]:
    """The calibration prompts and as many different captions as the settings say; none is evaluated."""
    banned = {same_text(prompt.prompt) for prompt in load_prompts(evaluated, None)}
    texts = [prompt.prompt for prompt in load_prompts(calibration, None)]
    rng = random.Random(f"{values.seed} tuning")
    while len(texts) < values.tune.prompts:
        text = caption(sample_scene(rng), rng)
        if text not in texts:
            texts.append(text)
    return [text for text in texts if same_text(text) not in banned]


def loss_function(
    student: Student,
    rounded: Model,
    met: Trajectories,
    gain: torch.Tensor,
    ids: torch.Tensor,
    values: Tuning,
    settings: Settings,
    device: torch.device,
) -> loop.Loss:
    """What a step's batch of calls adds to the squared error of the finished latents, to first order.

    Calls that matter more are drawn more often.
    """
    fit = values.fit
    chances = gain.sqrt() / gain.sqrt().sum()
    weight = gain / (chances * len(gain))
    layout = loop.convolution_layout(device)
    predict = torch.compile(rounded.guided) if fit.compile else rounded.guided

    def loss_at(progress: float, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        calls = torch.multinomial(chances, fit.batch_size, replacement=True, generator=generator)
        prompts = torch.randint(ids.shape[1], (fit.batch_size,), generator=generator, device=device)
        noisy = met.noisy[calls, prompts].contiguous(memory_format=layout)
        with loop.half_precision(device, fit.bfloat16):
            answer = predict(noisy, met.times[calls], ids[:, prompts].flatten(0, 1), settings.evaluate.guidance_scale)
        error = (answer - met.guided[calls, prompts]).square().mean((1, 2, 3))
        return len(gain) * (weight[calls] * error).mean(), {"squared_error": error.mean()}

    return loss_at


def main() -> None:
    parser = loop.arguments(__doc__)
    parser.add_argument("--format", required=True, help="one of the formats of `tune` in the parameters file")
    parser.add_argument("--model", type=Path, default=Path("data/embedded"), help="the pipeline folder to tune")
    parser.add_argument("--evaluated", type=Path, default=Path("data/prompts.csv"), help="prompts never learned from")
    parser.add_argument("--calibration", type=Path, default=Path("data/calibration.csv"))
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    options = parser.parse_args()
    settings = load_settings(options.params)
    values: Tuning = getattr(settings.tune, options.format)
    options.work.mkdir(parents=True, exist_ok=True)
    run = loop.run_of(f"tune-{options.format}", options, settings.seed + 7)
    torch.manual_seed(run.seed)
    pipeline = load_pipeline(options.model).to(run.device)
    texts = tuning_prompts(settings, options.evaluated, options.calibration)
    ids = torch.stack([token_ids(pipeline.tokenizer, [""] * len(texts)), token_ids(pipeline.tokenizer, texts)])
    ids = ids.to(run.device)
    teacher = teacher_of(pipeline)
    student = Student({name: getattr(pipeline, name) for name in values.components}, values)
    student = student.to(run.device)
    rounded = student_of(student, teacher)
    start = noise(pipeline, list(range(FIRST_SEED, FIRST_SEED + len(texts)))).to(run.device)
    with exact_products():
        met = trajectories(teacher, pipeline, ids, start, settings)
        gain = gains(teacher, rounded, pipeline, ids, met, settings)
    print("gain of each call:", " ".join(f"{value:.3g}" for value in gain.tolist()), flush=True)
    loss_at = loss_function(student, rounded, met, gain, ids, values, settings, run.device)
    average, step = loop.fit(student, loss_at, values.fit, run)
    spent_s = read_json(run.work / f"{run.stem}-checkpoint" / "progress.json")["elapsed_s"]
    metadata = {
        "format": options.format,
        "steps": str(step),
        "prompts": str(len(texts)),
        "seconds": f"{spent_s:.0f}",
        "device": torch.cuda.get_device_name() if run.device.type == "cuda" else platform.machine(),
    }
    loop.finish(run, average, step, values.fit.steps, metadata)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().half().cpu().contiguous() for name, value in average.tensors().items()}
    write_bytes(options.output, save(tensors, metadata=metadata))


if __name__ == "__main__":
    run_stage(main)

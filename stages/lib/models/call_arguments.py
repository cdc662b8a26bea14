"""What a pipeline is called with besides prompt, noise and generator, and the shape of the noise that it takes."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stages.lib.models.kinds import MODEL_INDEX, plain_class
from stages.lib.models.soundness import package_needed
from stages.lib.project.errors import UserError, limit_reached, reason_of
from stages.lib.project.params import PARAMS_FILE, Params

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from stages.lib.models.watch import Watch

# What this project gives a pipeline itself, or what no file can say.
OWN = ("self", "prompt", "latents", "generator", "output_type", "return_dict", "num_images_per_prompt")
FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError),
    *(NameError, RuntimeError, TypeError, ValueError),
)
NO_DATA = ("callback", "embeds", "image", "kwargs", "args", "mask")


def call_arguments(
    pipeline_class: type, general: Mapping[str, Any], own: Mapping[str, Any], key: str
) -> dict[str, Any]:
    """Those of `general` (params.yaml's `generation`) that the pipeline takes, overruled by `own`.

    `own` is `models.<key>.arguments`: one of them that the pipeline does not take is a UserError that lists those it
    does.
    """
    parameters = inspect.signature(pipeline_class.__call__).parameters
    legal = [name for name in parameters if name not in OWN and not any(word in name for word in NO_DATA)]
    strange = next((name for name in own if name not in legal), None)
    if strange is not None:
        raise UserError(
            f"{PARAMS_FILE}: 'models.{key}.arguments.{strange}' has the value {own[strange]!r}, but a "
            f"{pipeline_class.__name__} takes no such argument: use some of {', '.join(legal)}"
        )
    return {name: value for name, value in general.items() if name in parameters} | dict(own)


def arguments_of(params: Params, pipeline_class: type) -> dict[str, Any]:
    """What a pipeline of the chosen model is called with, as params.yaml says."""
    return call_arguments(pipeline_class, params.general_arguments, params.chosen_model.arguments, params.model)


@contextmanager
def named_failure(
    pipeline: "DiffusionPipeline", arguments: Mapping[str, Any], watch: "Watch | None" = None
) -> Iterator[None]:
    """Whatever a pipeline that is called in the block fails with is a UserError: an argument's value, or a part of it.

    `watch` knows in which step, and in which component.
    """
    try:
        yield
    except Exception as error:
        plain = type(error) is Exception  # as diffusers raises for what it does not support
        if not (plain or isinstance(error, FAILURES)) or limit_reached(error):
            raise
        said = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        place = f" in step {len(watch.latents) + 1}, {watch.running or 'between networks'}" if watch else ""
        absent = ", ".join(name for name, part in pipeline.components.items() if part is None)
        without = f"; the model has no {absent}" if absent and "NoneType" in str(error) else ""
        scheduler, name = type(getattr(pipeline, "scheduler", None)).__name__, type(pipeline).__name__
        if scheduler in str(error):  # it lacks what the pipeline asks of it
            without += f"; write a scheduler that a {name} can use into {MODEL_INDEX}, key 'scheduler'"
        if needed := package_needed(error, type(pipeline)):
            raise needed from None
        raise UserError(
            f"the pipeline {name} does not generate from a prompt and {said}: it fails{place} "
            f"({type(error).__name__}: {reason_of(error)}{without}): change these in {PARAMS_FILE}, `arguments` "
            f"of the model, or choose another text-to-image model, key 'model'{plain_class(name)}"
        ) from None


class _Found(Exception):
    """Ends a call of a pipeline whose noise has been seen."""


def _first(made: Any) -> Any:
    return made[0] if isinstance(made, tuple) else made


@contextmanager
def _drawn(pipeline: "DiffusionPipeline", shapes: list[tuple[int, ...]]) -> Iterator[None]:
    """Within the block, the shapes that the pipeline draws noise in are put into `shapes`."""
    module = inspect.getmodule(type(pipeline).prepare_latents)
    own = getattr(module, "randn_tensor", None)

    def draw(shape: Any, *args: Any, **options: Any) -> Any:
        shapes.append(tuple(shape))
        return own(shape, *args, **options)

    if own is None:
        yield
        return
    module.randn_tensor = draw
    try:
        yield
    finally:
        module.randn_tensor = own


@contextmanager
def _stopped_at_drawing(pipeline: "DiffusionPipeline", shapes: list[tuple[int, ...]]) -> Iterator[None]:
    """Of a pipeline whose call draws by itself: the first that it draws is the noise."""
    module = inspect.getmodule(type(pipeline))
    own = module.randn_tensor

    def draw(shape: Any, *_args: Any, **_options: Any) -> None:
        shapes.append(tuple(shape))
        raise _Found

    module.randn_tensor = draw
    try:
        yield
    except _Found:
        pass
    finally:
        module.randn_tensor = own


@contextmanager
def _stopped_at_noise(pipeline: "DiffusionPipeline", shapes: list[tuple[int, ...]]) -> Iterator[None]:
    inner = pipeline.prepare_latents

    def prepare(*args: Any, **options: Any) -> None:
        with _drawn(pipeline, drawn := []):
            noise = _first(inner(*args, **options))
        shapes.append(tuple(noise.shape))
        if drawn and drawn[0] != noise.shape:
            given = inspect.signature(inner).bind(*args, **options).arguments
            try:
                taken = _first(inner(**given | {"latents": noise})).shape == noise.shape
            except FAILURES:
                taken = False
            if not taken:  # it packs what it is given, too
                shapes[-1] = drawn[0]
        raise _Found

    pipeline.prepare_latents = prepare
    try:
        yield
    except _Found:
        pass
    finally:
        del pipeline.prepare_latents


def noise_shape(pipeline: "DiffusionPipeline", arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape that `latents` must have for one image: that of what the pipeline prepares itself (FLUX packs it).

    Some pack what they draw and take it packed, others take it as it is drawn: that is tried out.
    The pipeline is called as for an image and stopped when it has drawn its noise: text encoders run, the denoiser and
    the decoder are only looked at, and need no weights. A pipeline that prepares none is a UserError.
    """
    shapes: list[tuple[int, ...]] = []
    prepares = hasattr(pipeline, "prepare_latents")
    if prepares or hasattr(inspect.getmodule(type(pipeline)), "randn_tensor"):
        stopped = _stopped_at_noise if prepares else _stopped_at_drawing
        with named_failure(pipeline, arguments), stopped(pipeline, shapes):
            pipeline(prompt="a", **arguments)  # of a text without words, tokenizers may make nothing
    if not shapes:
        raise UserError(
            f"a {type(pipeline).__name__} prepares no noise of its own, so that formats could not be compared on the "
            f"same: choose another model in {PARAMS_FILE}, key 'model'"
        )
    return shapes[0]

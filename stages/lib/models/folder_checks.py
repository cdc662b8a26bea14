"""Is the folder of a pipeline complete and sound? Asked before anything is made of it."""

from collections.abc import Iterable
from pathlib import Path

from stages.lib.models.kinds import AGAIN, check_kind, kind_of
from stages.lib.models.pipelines import half_remedy, listed_files, needed_files
from stages.lib.project.documents import read_mapping
from stages.lib.project.errors import UserError

SAYING_SOMETHING = ("config.json", "scheduler_config.json", "preprocessor_config.json")
CLIP_IMAGE_SIZE = 224  # where a config says nothing


def check_pipeline_folder(folder: Path, variant: str | None = None) -> None:
    """Raise a UserError that names file and remedy unless `folder` is a complete, sound pipeline.

    Reads every weight once, one tensor at a time: a file that is truncated or corrupt, or a weight that is NaN or
    infinite, is found.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give the path of a model in the layout of diffusers")
    kind = kind_of(folder)
    check_kind(kind)
    paths = listed_files(folder)
    brought = needed_files(paths, kind, variant)
    needed = brought.values()
    for path in needed:
        if path.endswith(".json"):
            content = read_mapping(folder / path, AGAIN)
            if "quantization_config" in content:
                raise UserError(
                    f"{folder / path}: 'quantization_config' says that its weights are quantized already: give the "
                    "model as it was before, in float32, float16 or bfloat16"
                )
            if not content and path.rpartition("/")[2] in SAYING_SOMETHING:
                raise UserError(f"{folder / path} is empty, which would mean defaults: bring the model again")
            if ".index." in path:
                _check_shard_index(content, folder / path, needed)
    for checker in kind.of_role("safety_checker"):
        _check_image_size(folder, checker)
    for plain, path in brought.items():
        if path.endswith(".safetensors"):
            _check_weights(folder / path, half_remedy(path.partition("/")[0], paths) if plain == path else "")


def check_takes_noise_alone(folder: Path) -> None:
    """UserError if a denoiser takes an image besides the noise, in channels that it does not predict.

    Those for inpainting and editing do. Transformers may take patches of the channels that they predict. To be asked
    of configurations that agree with their weights.
    """
    for denoiser in kind_of(folder).of_role("denoiser"):
        path = folder / denoiser / "config.json"
        config = read_mapping(path, AGAIN)
        taken, predicted, patch = (config.get(key) for key in ("in_channels", "out_channels", "patch_size"))
        if not (isinstance(taken, int) and isinstance(predicted, int)):
            continue
        if taken > predicted * (patch if isinstance(patch, int) else 1) ** 2:
            raise UserError(
                f"{path}: 'in_channels' is {taken} and 'out_channels' {predicted}: the network takes an image besides "
                "the noise, as for inpainting or editing: choose the model of the family that makes images from text"
            )


def _check_image_size(folder: Path, checker: str) -> None:
    """The feature extractor must make images of the size that the safety checker takes."""
    processor, config = folder / "feature_extractor/preprocessor_config.json", folder / checker / "config.json"
    if not processor.is_file():
        return
    crop = read_mapping(processor, AGAIN).get("crop_size", CLIP_IMAGE_SIZE)
    made = crop.get("height") if isinstance(crop, dict) else crop
    taken = (read_mapping(config, AGAIN).get("vision_config") or {}).get("image_size", CLIP_IMAGE_SIZE)
    if made != taken:
        raise UserError(
            f"{processor}: 'crop_size' is {made!r}, but {config} takes images of {taken} pixels: "
            "bring both from the same model"
        )


def _check_shard_index(index: dict, path: Path, needed: Iterable[str]) -> None:
    """The index of a component's shards names them and no other file, least of all one outside the model."""
    shards = {name.partition("/")[2] for name in needed if name.startswith(f"{path.parent.name}/")}
    named = index.get("weight_map")
    if not isinstance(named, dict) or not named or not set(map(str, named.values())) <= shards:
        raise UserError(f"{path}: 'weight_map' does not name the shards beside it: bring the model again")


def _check_weights(path: Path, otherwise: str) -> None:
    """The header fits the size of the file, and every weight is finite, in 16 bits or more; `otherwise`: a remedy."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dictionary
                tensor = file.get_tensor(name)
                if tensor.is_floating_point() and tensor.dtype.itemsize < 2:
                    raise UserError(
                        f"{path}: weight '{name}' is {str(tensor.dtype).removeprefix('torch.')}: "
                        "give the model in float16, bfloat16 or float32"
                    )
                if tensor.is_floating_point() and not tensor.isfinite().all():
                    raise UserError(
                        f"{path}: weight '{name}' holds NaN or infinity: bring the model again or choose another"
                    )
    except SafetensorError as error:
        raise UserError(
            f"{path} is truncated or corrupt ({error}), {path.stat().st_size} bytes: bring the model again{otherwise}"
        ) from None

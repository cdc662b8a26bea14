"""A StableDiffusionPipeline folder: which files make it up, whether they are sound."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from stages.lib.project.errors import UserError
from stages.lib.project.params import COMPONENTS, PARAMS_FILE
from stages.lib.project.sections import ArchitectureModel, FolderModel

MODEL_INDEX = "model_index.json"
PIPELINE_CLASS = "StableDiffusionPipeline"
CONFIGURATIONS = {
    "unet": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "safety_checker": "config.json",
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
    "feature_extractor": "preprocessor_config.json",
}
WEIGHT_STEMS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "safety_checker": "model",
}
OWN_CLIP = ("clip/attributes.json", "clip/config.json", "clip/model.safetensors", "clip/scale.json")
CLIP_IMAGE_SIZE = 224  # where a config says nothing
_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def source_folder(model: FolderModel | ArchitectureModel, key: str) -> Path:
    """The folder of `models.<key>`, which must be there."""
    folder = Path(model.path)
    if folder.is_dir():
        return folder
    committed = folder.parts[:2] in (("data", "embedded"), ("data", "architectures"))
    remedy = f"restore it with `git checkout {folder}`" if committed else "put the model there or mend the path"
    raise UserError(f"{PARAMS_FILE}: 'models.{key}.path' has the value '{model.path}', which is not a folder: {remedy}")


def needed_files(paths: Iterable[str], where: str) -> list[str]:
    """Of all `paths` in a model folder or repository called `where`, those that the pipeline loads, sorted.

    For each of COMPONENTS exactly one set of safetensors is chosen, the one with the plain name: no `.fp16`, no
    `.non_ema`. A missing file, or weights that exist only as pickle, is a UserError.
    """
    paths = set(paths)
    needed = set(configuration_files(paths, where))
    for component in COMPONENTS:
        needed |= _weight_files(component, paths, where)
    return sorted(needed)


def configuration_files(paths: Iterable[str], where: str) -> list[str]:
    """The files of `needed_files` that are no weights, sorted. A missing one is a UserError."""
    paths = set(paths)
    if MODEL_INDEX not in paths:
        raise UserError(f"{where} has no {MODEL_INDEX}: give a {PIPELINE_CLASS} folder in the diffusers layout")
    needed = {MODEL_INDEX}
    for part, configuration in CONFIGURATIONS.items():
        if not any(path.startswith(f"{part}/") for path in paths):
            raise UserError(f"{where} has no component '{part}': give a model that has all of {_listed()}")
        if f"{part}/{configuration}" not in paths:
            raise UserError(f"{where} has no {part}/{configuration}: bring the complete model")
        texts = {path for path in paths if re.fullmatch(rf"{part}/[^/]+\.(json|txt)", path)}
        needed |= {path for path in texts if not path.endswith(".index.json")}
    if not ({"tokenizer/tokenizer.json"} <= paths or {"tokenizer/vocab.json", "tokenizer/merges.txt"} <= paths):
        raise UserError(
            f"{where} has neither tokenizer/tokenizer.json nor tokenizer/vocab.json with tokenizer/merges.txt: "
            "bring the complete model"
        )
    if paths.issuperset(OWN_CLIP):  # the text tower of a CLIP, if the model brings one
        needed |= set(OWN_CLIP)
    return sorted(needed)


def listed_files(folder: Path) -> list[str]:
    """The files of a model folder and of the folders in it, relative to it, with forward slashes."""
    found = [*folder.glob("*"), *folder.glob("*/*")]
    return [path.relative_to(folder).as_posix() for path in found if path.is_file()]


def check_pipeline_folder(folder: Path) -> None:
    """Raise a UserError that names file and remedy unless `folder` is a complete, sound pipeline.

    Reads every weight once, one tensor at a time: a file that is truncated or corrupt, or a weight that is NaN or
    infinite, is found.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give the path of a {PIPELINE_CLASS} folder")
    needed = needed_files(listed_files(folder), str(folder))
    for path in needed:
        if path.endswith(".json"):
            content = _read_json(folder / path)
            if not isinstance(content, dict):
                raise UserError(f"{folder / path} is no JSON mapping: bring the model again")
            if path.endswith(".safetensors.index.json"):
                _check_shard_index(content, folder / path, needed)
            if path == MODEL_INDEX:
                check_model_index(content, folder / path)
    _check_image_size(folder)
    for path in needed:
        if path.endswith(".safetensors"):
            _check_weights(folder / path)


def _check_image_size(folder: Path) -> None:
    """The feature extractor must make images of the size that the safety checker takes."""
    processor, checker = folder / "feature_extractor/preprocessor_config.json", folder / "safety_checker/config.json"
    crop = _read_json(processor).get("crop_size", CLIP_IMAGE_SIZE)
    made = crop.get("height") if isinstance(crop, dict) else crop
    taken = (_read_json(checker).get("vision_config") or {}).get("image_size", CLIP_IMAGE_SIZE)
    if made != taken:
        raise UserError(
            f"{processor}: 'crop_size' is {made!r}, but {checker} takes images of {taken} pixels: "
            "bring both from the same model"
        )


def check_model_index(index: object, where: Path | str) -> None:
    """Raise a UserError unless the content of a model_index.json names the pipeline class and every component."""
    if not isinstance(index, dict) or index.get("_class_name") != PIPELINE_CLASS:
        found = index.get("_class_name") if isinstance(index, dict) else None
        raise UserError(f"{where}: '_class_name' is {found!r}: only a {PIPELINE_CLASS} can be measured")
    for part in CONFIGURATIONS:
        entry = index.get(part)
        if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(item, str) for item in entry)):
            raise UserError(
                f"{where}: component '{part}' is {json.dumps(entry)}: give a model that has all of {_listed()}"
            )


def disable_progress_bars() -> None:
    """Loading a pipeline generates no bars in this process."""
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _weight_files(component: str, paths: set[str], where: str) -> set[str]:
    """The one safetensors file of a component, or its shards with their index."""
    stem = f"{component}/{WEIGHT_STEMS[component]}"
    if f"{stem}.safetensors" in paths:
        return {f"{stem}.safetensors"}
    shards = {path for path in paths if re.fullmatch(rf"{stem}-\d{{5}}-of-\d{{5}}\.safetensors", path)}
    index = f"{stem}.safetensors.index.json"
    if shards:
        count = int(max(shards).removesuffix(".safetensors")[-5:])
        wanted = {f"{stem}-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)} | {index}
        if missing := sorted(wanted - paths):
            raise UserError(f"{where} lacks {', '.join(missing)}: bring the complete model")
        return wanted
    pickles = sorted(path for path in paths if path.startswith(f"{component}/") and path.endswith(_PICKLE_SUFFIXES))
    if pickles:
        raise UserError(
            f"{where} has the weights of '{component}' only as pickle ({', '.join(pickles)}), which can run any code "
            "when it is loaded: choose a model with safetensors, or convert it where you trust it "
            "(`save_pretrained` of diffusers writes safetensors)"
        )
    raise UserError(
        f"{where} has no {stem}.safetensors, the weights of component '{component}': bring the complete model"
    )


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}): bring the model again") from None


def _check_shard_index(index: dict, path: Path, needed: list[str]) -> None:
    """The index of a component's shards names them and no other file, least of all one outside the model."""
    shards = {name.partition("/")[2] for name in needed if name.startswith(f"{path.parent.name}/")}
    named = index.get("weight_map")
    if not isinstance(named, dict) or not named or not set(map(str, named.values())) <= shards:
        raise UserError(f"{path}: 'weight_map' does not name the shards beside it: bring the model again")


def _check_weights(path: Path) -> None:
    """The header fits the size of the file, and every weight is finite, in 16 bits or more."""
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
            f"{path} is truncated or corrupt ({error}), {path.stat().st_size} bytes: bring the model again"
        ) from None


def _listed() -> str:
    return ", ".join(CONFIGURATIONS)

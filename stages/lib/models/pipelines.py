"""A pipeline folder: which files make it up. Whether they are sound, folder_checks says."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from stages.lib.models.families import READ_FROM
from stages.lib.models.kinds import AGAIN, MODEL_INDEX, Kind
from stages.lib.project.documents import read_mapping
from stages.lib.project.errors import UserError
from stages.lib.project.files import write_json
from stages.lib.project.params import PARAMS_FILE
from stages.lib.project.sections import ArchitectureModel, FolderModel

STEMS = ("diffusion_pytorch_model", "model")  # diffusers' networks, and those of transformers
HALF = "fp16"
# The CLIP of a model that brings one: its text tower and what goes with it, and its vision tower, a safety checker's.
OWN_CLIP = (
    *("clip/attributes.json", "clip/config.json", "clip/model.safetensors", "clip/scale.json"),
    *("safety_checker/config.json", "safety_checker/model.safetensors", "feature_extractor/preprocessor_config.json"),
)
TEXTS = re.compile(r"[^/]+\.(json|txt|model|jinja)")
ADAPTER = re.compile(r"lora|adapter", re.IGNORECASE)
_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def source_folder(model: FolderModel | ArchitectureModel, key: str) -> Path:
    """The folder of `models.<key>`, which must be there."""
    folder = Path(model.path).expanduser()
    if folder.is_dir():
        return folder
    committed = folder.parts[:2] in (("data", "embedded"), ("data", "architectures"))
    remedy = f"restore it with `git checkout {folder}`" if committed else "put the model there or mend the path"
    remedy = f"name the folder of {MODEL_INDEX}, or write `source: file`" if folder.is_file() else remedy
    raise UserError(f"{PARAMS_FILE}: 'models.{key}.path' has the value '{model.path}', which is not a folder: {remedy}")


def listed_files(folder: Path) -> list[str]:
    """The files of a model folder and of the folders in it, relative to it, with forward slashes."""
    found = [*folder.glob("*"), *folder.glob("*/*")]
    for path in found:
        if path.suffix in (".json", ".safetensors", ".txt") and path.is_symlink() and not path.exists():
            raise UserError(f"{path} is a link to {path.readlink()}, which is not there: copy the files, not the links")
    return [path.relative_to(folder).as_posix() for path in found if path.is_file()]


def needed_files(paths: Iterable[str], kind: Kind, variant: str | None = None) -> dict[str, str]:
    """Of all `paths` in a model, those that the pipeline loads, by the name that they are brought under, sorted.

    For each network exactly one set of safetensors is chosen: the one with plain names; files of `fp16`, which are
    brought under plain names, where there is no other, or where `variant` asks and there are some. What is missing,
    only there as pickle, or code is a UserError.
    """
    paths = set(paths)
    needed = configuration_files(paths, kind)
    halves = [_weight_set(_inside(component, paths), HALF) for component in kind.networks]
    if variant == HALF and not any(halves):
        raise UserError(f"{kind.where} has no {HALF} weights: remove `variant: {HALF}` in {PARAMS_FILE}")
    for component in kind.networks:
        needed |= _weight_files(component, paths, kind.where, variant)
    return dict(sorted(needed.items()))


def configuration_files(paths: Iterable[str], kind: Kind) -> dict[str, str]:
    """Those of `needed_files` that are no weights. A missing one is a UserError."""
    paths = set(paths)
    code = sorted(path for path in paths if path.endswith(".py"))
    if code:
        raise UserError(
            f"{kind.where} brings code of its own ({code[0]}), which is not run here: choose a model that diffusers "
            "and transformers load by themselves, or remove the file if nothing needs it"
        )
    texts = {path for path in paths if path.partition("/")[0] in kind.parts and TEXTS.fullmatch(path.partition("/")[2])}
    needed = {MODEL_INDEX, *(path for path in texts if ".index." not in path)}
    for component in kind.networks:
        if f"{component}/config.json" not in paths:
            raise UserError(f"{kind.where} has no {component}/config.json: bring the complete model")
    for component in kind.companions:
        ends = (end for end in READ_FROM if end in kind.parts[component][1])
        sets = [{f"{component}/{name}" for name in names} for end in ends for names in READ_FROM[end]]
        if not any(names <= needed for names in sets):
            listed = ", nor ".join(" with ".join(sorted(names)) for names in sets)
            raise UserError(f"{kind.where} has no {listed}: bring the complete model")
    if paths.issuperset(OWN_CLIP):  # also where the pipeline has no safety checker
        needed |= set(OWN_CLIP)
    return {path: path for path in sorted(needed)}


def adapters_beside(paths: Iterable[str]) -> list[str]:
    """Files that look like a LoRA and are part of no network: nothing loads them unless `adapters` names them."""
    return sorted(path for path in paths if path.endswith(".safetensors") and ADAPTER.search(path.rpartition("/")[2]))


def copy_needed(source: Path, output: Path, needed: dict[str, str]) -> None:
    """Copy the files of `needed_files` from `source` to `output`, under the names that they are brought under."""
    plain = {old.rpartition("/")[2]: new.rpartition("/")[2] for new, old in needed.items()}
    for new, old in needed.items():
        (output / new).parent.mkdir(exist_ok=True)
        if new != old and new.endswith(".json"):  # the index of shards that get other names
            index = read_mapping(source / old, AGAIN)
            index["weight_map"] = {name: plain[file] for name, file in index["weight_map"].items()}
            write_json(output / new, index)
        else:
            shutil.copyfile(source / old, output / new)


def disable_progress_bars() -> None:
    """Loading a pipeline draws no bars in this process."""
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _weight_files(component: str, paths: set[str], where: str, variant: str | None) -> dict[str, str]:
    """The one safetensors file of a network, or its shards with their index, by their plain names."""
    inside = _inside(component, paths)
    plain, half = _weight_set(inside, ""), _weight_set(inside, HALF)
    chosen = half if (variant == HALF and half) or not plain else plain
    lost = sorted(f"{component}/{name}" for name in chosen.values() if name not in inside)
    if lost:
        other = half_remedy(component, paths) if chosen is plain else ""
        raise UserError(f"{where} lacks {', '.join(lost)}: bring the complete model{other}")
    if chosen:
        return {f"{component}/{name}": f"{component}/{source}" for name, source in chosen.items()}
    pickles = sorted(f"{component}/{name}" for name in inside if name.endswith(_PICKLE_SUFFIXES))
    if pickles:
        raise UserError(
            f"{where} has the weights of '{component}' only as pickle ({', '.join(pickles)}), which can run any code "
            "when it is loaded: choose a model with safetensors, or convert it where you trust it "
            "(`save_pretrained` of diffusers writes safetensors)"
        )
    raise UserError(f"{where} has no safetensors with the weights of component '{component}': bring the complete model")


def half_remedy(component: str, paths: Iterable[str]) -> str:
    """What else to do where plain weights of a network are no good: take those of 16 bits beside them, if complete."""
    inside = _inside(component, paths)
    half = _weight_set(inside, HALF)
    complete = half and inside.issuperset(half.values())
    return f", or take its {HALF} files with `variant: {HALF}` in {PARAMS_FILE}" if complete else ""


def _inside(component: str, paths: Iterable[str]) -> set[str]:
    return {path.partition("/")[2] for path in paths if path.startswith(f"{component}/")}


def _weight_set(names: set[str], variant: str) -> dict[str, str]:
    """Plain name -> name of each file of a set of weights with `variant` in its names; some may not be there.

    Two ways to name a shard of a variant are in use, and three for its index. Empty if there is nothing of the set.
    """
    dotted = f".{variant}" if variant else ""
    for stem in STEMS:
        if f"{stem}{dotted}.safetensors" in names:
            return {f"{stem}.safetensors": f"{stem}{dotted}.safetensors"}
        for shard in dict.fromkeys((f"{stem}{dotted}-{{}}.safetensors", f"{stem}-{{}}{dotted}.safetensors")):
            pattern = re.escape(shard).replace(r"\{\}", r"\d{5}-of-(\d{5})")
            counts = [int(found[1]) for name in names if (found := re.fullmatch(pattern, name))]
            if counts:
                numbers = [f"{number:05}-of-{max(counts):05}" for number in range(1, max(counts) + 1)]
                shards = {f"{stem}-{number}.safetensors": shard.format(number) for number in numbers}
                index = f"{stem}.safetensors.index.json"
                found = [name for name in sorted(names) if _is_index(name, stem, variant)]
                return shards | {index: found[0] if found else index}
    return {}


def _is_index(name: str, stem: str, variant: str) -> bool:
    words = sorted([*stem.split("."), "safetensors", "index", "json", *([variant] if variant else [])])
    return name.endswith(".json") and sorted(name.split(".")) == words

"""All weights of a model in one safetensors file, as many fine-tunes are published: made a pipeline folder."""

from pathlib import Path
from typing import Any

from stages.lib.models.kinds import check_kind, kind_of
from stages.lib.models.pipelines import ADAPTER, listed_files
from stages.lib.project.errors import UserError, reason_of
from stages.lib.project.sections import FileModel


def source_file(model: FileModel, key: str) -> Path:
    """The file of `models.<key>`, which must be there."""
    path = Path(model.path).expanduser()
    if not path.is_file():
        raise UserError(
            f"params.yaml: 'models.{key}.path' has the value '{model.path}', which is not a file: put the model there "
            "or mend the path"
        )
    return path


def configuration_of(path: str, key: str) -> Path:
    """The folder that `models.<key>.config` names: configurations of a pipeline, tokenizers and scheduler and all."""
    folder = Path(path)
    if not (folder / "model_index.json").is_file():
        raise UserError(
            f"params.yaml: 'models.{key}.config' has the value '{path}', which holds no model_index.json: name a "
            "folder in the layout of diffusers with the configurations of the model that the file was made from"
        )
    try:
        check_kind(kind_of(folder))
    except UserError as error:
        raise UserError(
            f"params.yaml: 'models.{key}.config' has the value '{path}', which describes no whole pipeline ({error}): "
            "name a folder with all configurations of the file's family, tokenizers and scheduler too, such as one "
            "that diffusers saved"
        ) from None
    return folder


def write_pipeline_of_file(path: Path, config: Path, out: Path) -> None:
    """Write the pipeline whose weights are in the file `path` and whose configurations are in `config` to `out`.

    diffusers translates the names of tensors; nothing is fetched. Weights keep their dtype. A file that is no
    safetensors, or of another family than `config`, is a UserError.
    """
    import torch
    from diffusers.loaders.single_file_utils import SingleFileComponentError
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        raise UserError(
            f"{path} is no safetensors, and a pickle can run any code when it is loaded: choose a model that comes as "
            "safetensors"
        )
    kind = kind_of(config)
    try:
        with safe_open(path, framework="pt") as file:
            dtypes = [file.get_slice(name).get_dtype() for name in file.keys()]  # noqa: SIM118 - not a dictionary
            family = family_of(file)
        stored = {"F16": torch.float16, "BF16": torch.bfloat16}.get(max(set(dtypes), key=dtypes.count), torch.float32)
        pipeline = kind.pipeline_class().from_single_file(
            str(path), config=str(config), local_files_only=True, dtype=stored
        )
    except SafetensorError as error:
        raise UserError(f"{path} is truncated or corrupt ({error}): bring the model again") from None
    except (SingleFileComponentError, AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not the weights of a {kind.pipeline} as {config} describes it ({reason_of(error)}): {family}"
        ) from None
    pipeline.save_pretrained(out)
    if "safety_checker" in kind.parts:
        print("download: the file holds no safety checker, so that the model has none")


def family_of(file: Any) -> str:
    """What to do with an open file of weights that is not of the family it was taken for, by its tensors' names."""
    from diffusers.loaders.single_file_utils import infer_diffusers_model_type

    names = set(file.keys())
    if any(ADAPTER.search(name) for name in names):
        return "it looks like a LoRA, which `adapters` of another model names"
    try:
        family = infer_diffusers_model_type({name: file.get_slice(name) for name in names})
    except (AttributeError, IndexError, KeyError, TypeError):  # of slices, which have no shape
        family = "v1"
    known = f", which diffusers takes for {family}," if family != "v1" else ""  # v1 is what it says of all others, too
    return f"name the configurations of its own family{known} in `config`, and a file with all its networks in `path`"


def files_of(path: Path, config: Path) -> list[Path]:
    """The files that such a model is made of."""
    return [path, *(config / name for name in sorted(listed_files(config)) if not name.endswith(".safetensors"))]

"""All weights of a model in one safetensors file, as many fine-tunes are published: made a pipeline folder."""

from pathlib import Path

from stages.lib.models.kinds import kind_of
from stages.lib.models.pipelines import check_kind, listed_files
from stages.lib.project.errors import UserError
from stages.lib.project.sections import FileModel


def source_file(model: FileModel, key: str) -> Path:
    """The file of `models.<key>`, which must be there."""
    path = Path(model.path)
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
    check_kind(kind)
    try:
        with safe_open(path, framework="pt") as file:
            dtypes = [file.get_slice(name).get_dtype() for name in file.keys()]  # noqa: SIM118 - not a dictionary
        stored = {"F16": torch.float16, "BF16": torch.bfloat16}.get(max(set(dtypes), key=dtypes.count), torch.float32)
        pipeline = kind.pipeline_class().from_single_file(
            str(path), config=str(config), local_files_only=True, dtype=stored
        )
    except SafetensorError as error:
        raise UserError(f"{path} is truncated or corrupt ({error}): bring the model again") from None
    except (SingleFileComponentError, AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"{path} is not the weights of a {kind.pipeline} as {config} describes it ({reason[:200]}): name the "
            "configurations of its own family in `config`"
        ) from None
    pipeline.save_pretrained(out)
    if "safety_checker" in kind.parts:
        print("download: the file holds no safety checker, so that the model has none")


def files_of(path: Path, config: Path) -> list[Path]:
    """The files that such a model is made of."""
    return [path, *(config / name for name in sorted(listed_files(config)) if not name.endswith(".safetensors"))]

"""LoRA files, fused into the networks of a pipeline folder when the model is brought.

diffusers reads a file, whatever wrote it, and adds its products of two small matrices to the weights (Hu et al.,
"LoRA", ICLR 2022); what is measured is a model like any other.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from stages.lib.models.assembly import load_pipeline
from stages.lib.models.components import load_component, stored_float_dtype, write_component
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError, reason_of
from stages.lib.project.sections import Adapter


def adapter_files(adapters: Sequence[Adapter], key: str) -> list[Path]:
    """The files of `models.<key>.adapters`, which must be there."""
    for number, adapter in enumerate(adapters):
        if not Path(adapter.path).is_file() or not adapter.path.endswith(".safetensors"):
            raise UserError(
                f"params.yaml: 'models.{key}.adapters.{number}.path' has the value '{adapter.path}', which is no "
                "safetensors file here: put the LoRA there or mend the path"
            )
    return [Path(adapter.path) for adapter in adapters]


def fuse_adapters(folder: Path, adapters: Sequence[Adapter], key: str) -> None:
    """Add the LoRAs of `models.<key>`, each as strong as its weight, to the networks in `folder`, in place.

    Computed in FP32, stored in the dtype that was there. A missing package, a pipeline without LoRAs, and a file that
    changes nothing, because it is of another family, are a UserError.
    """
    import torch

    files = adapter_files(adapters, key)
    if find_spec("peft") is None:
        raise UserError(
            f"params.yaml: 'models.{key}.adapters' needs the package peft: run "
            "`. .venv/bin/activate` and `pip install peft` (`uv pip install peft` where uv made .venv)"
        )
    pipeline = load_pipeline(folder)
    if not hasattr(pipeline, "load_lora_weights"):
        raise UserError(
            f"params.yaml: 'models.{key}.adapters': diffusers cannot load a LoRA into a {type(pipeline).__name__}: "
            "remove `adapters`"
        )
    for number, path in enumerate(files):
        try:
            pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name=f"adapter_{number}")
        except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} is no LoRA for a {type(pipeline).__name__} ({reason_of(error)}): choose one made for this "
                "model"
            ) from None
    names = [f"adapter_{number}" for number in range(len(files)) if _is_loaded(pipeline, f"adapter_{number}")]
    lost = [str(path) for number, path in enumerate(files) if f"adapter_{number}" not in names]
    if lost:
        raise UserError(
            f"{lost[0]} changes no weight of a {type(pipeline).__name__}: choose a LoRA made for this model"
        )
    pipeline.set_adapters(names, [adapter.weight for adapter in adapters])
    pipeline.fuse_lora(adapter_names=names)
    pipeline.unload_lora_weights()
    for component in kind_of(folder).networks:
        dtype = getattr(torch, stored_float_dtype(folder, component))
        before = load_component(folder, component, stored_float_dtype(folder, component)).state_dict()
        after = getattr(pipeline, component).state_dict()
        after = {name: item.to(dtype) if item.is_floating_point() else item for name, item in after.items()}
        if any(not torch.equal(after[name], before[name]) for name in before):
            for path in (folder / component).glob("*.safetensors*"):
                path.unlink()
            write_component(folder, component, after)


def _is_loaded(pipeline: object, name: str) -> bool:
    return any(name in names for names in pipeline.get_list_adapters().values())

"""A model as a folder of the project: copied from where it lies, or made of configurations and a seed; whole or not."""

import shutil
import time
from pathlib import Path

from stages.lib.models.folder_checks import check_pipeline_folder, check_takes_noise_alone
from stages.lib.models.kinds import check_kind, kind_of
from stages.lib.models.pipelines import (
    adapters_beside,
    configuration_files,
    copy_needed,
    listed_files,
    needed_files,
    source_folder,
)
from stages.lib.project.errors import UserError, first_line, limit_reached
from stages.lib.project.files import whole_folder
from stages.lib.project.memory import check_memory
from stages.lib.project.sections import ArchitectureModel, FileModel, FolderModel, HubModel

# Measured highest memory of generation weights, in bytes of the largest network.
DRAWING_PEAK = 1.3


def write_base(model: FolderModel | HubModel | FileModel, key: str, source: Path, output: Path) -> int:
    """Check `models.<key>`, whose folder or file is `source`, and write what its pipeline needs to `output`; bytes.

    Whole or not at all. Tensors are called as the installed libraries call them, and adapters are fused.
    """
    from stages.lib.models.adapters import adapter_files, fuse_adapters
    from stages.lib.models.assembly import load_companions
    from stages.lib.models.components import use_current_names
    from stages.lib.models.single_file import configuration_of, write_pipeline_of_file

    fused = adapter_files(model.adapters, key)
    if not isinstance(model, FileModel):
        check_pipeline_folder(source, model.variant)
    try:
        with whole_folder(output) as folder:
            if isinstance(model, FileModel):
                write_pipeline_of_file(source, configuration_of(model.config, key), folder)
            else:
                paths = listed_files(source)
                copy_needed(source, folder, needed_files(paths, kind_of(source), model.variant))
                for path in adapters_beside(paths):  # a user may believe that it is used
                    if source / path not in fused:
                        print(f"download: {source / path} looks like a LoRA and is not used: name it in `adapters`")
            for component in kind_of(folder).networks:
                if use_current_names(folder, component):
                    print(f"download: {component}, tensors renamed as the installed libraries call them")
            if fused:
                fuse_adapters(folder, model.adapters, key)
            check_pipeline_folder(folder)
            check_takes_noise_alone(folder)
            load_companions(folder)
            return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except UserError as error:  # of what was written for a while, but is the user's
        raise UserError(str(error).replace(str(folder), str(source))) from None
    except OSError as error:
        raise UserError(f"cannot write {output} from {source}: {cause_of(error, output.parent)}") from None


def make_from_architecture(model: ArchitectureModel, key: str, output: Path) -> int:
    """Write the networks of `models.<key>` to `output` with weights drawn from its seed; bytes written.

    FP32 safetensors; one network is in memory at a time. Same configurations and seed, same bytes. A configuration that
    is missing, or too little memory or space, is a UserError.
    """
    from stages.lib.models.components import empty_component, write_component
    from stages.lib.models.random_weights import random_state

    source = source_folder(model, key)
    kind = kind_of(source)
    check_kind(kind)
    configurations = configuration_files(listed_files(source), kind)
    networks = {component: empty_component(source, component) for component in kind.networks}
    sizes_bytes = {name: 4 * sum(item.numel() for item in network.parameters()) for name, network in networks.items()}
    check_memory(DRAWING_PEAK * max(sizes_bytes.values()), f"making {model.label}")
    check_space(sum(sizes_bytes.values()), output.parent, "free space")
    try:
        with whole_folder(output) as folder:
            for path in configurations:
                (folder / path).parent.mkdir(exist_ok=True)
                shutil.copyfile(source / path, folder / path)
            for component, network in networks.items():
                begin_s = time.perf_counter()
                write_component(folder, component, random_state(network, component, model.seed))
                took_s = time.perf_counter() - begin_s
                print(
                    f"download: {component}, {size_text(sizes_bytes[component])} generated, {took_s:.1f} s", flush=True
                )
            check_pipeline_folder(folder)
            return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        raise UserError(f"cannot write {output}: {cause_of(error, output.parent)}") from None


def check_space(needed_bytes: int, folder: Path, remedy: str) -> None:
    """Raise a UserError unless the disk that holds `folder`, which need not exist yet, has `needed_bytes` free."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise UserError(
            f"{folder} needs {size_text(needed_bytes)}, but its disk has {size_text(free_bytes)} free: {remedy}"
        )


def cause_of(error: OSError, folder: Path) -> str:
    if remedy := limit_reached(error):
        return f"{remedy} ({folder})"
    return f"{error.strerror or first_line(error)} ({error.filename or folder})"


def size_text(count_bytes: int) -> str:
    return f"{count_bytes / 1024**3:.2f} GiB" if count_bytes >= 1024**3 else f"{count_bytes / 1024**2:.1f} MiB"

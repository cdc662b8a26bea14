"""Bring the chosen model into the project, only what the pipeline needs, and check it.

Of an architecture, which has no weights, make a model: every network at its true size, its weights drawn from a seed.
"""

import argparse
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.models.kinds import MODEL_INDEX, kind_of, kind_of_index
from stages.lib.models.pipelines import (
    check_kind,
    check_pipeline_folder,
    configuration_files,
    copy_needed,
    listed_files,
    needed_files,
    read_mapping,
    source_folder,
)
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import sha256, whole_folder
from stages.lib.project.memory import check_memory
from stages.lib.project.params import PARAMS_FILE, load_params
from stages.lib.project.sections import ArchitectureModel, HubModel

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

# Measured highest memory of generation weights, in bytes of the largest network.
DRAWING_PEAK = 1.3


def bring_from_hub(model: HubModel, key: str) -> Path:
    """Fetch what is missing of `models.<key>` into the Hugging Face cache; returns the folder of that revision.

    Whole files that are in the cache already are not fetched again; a connection that breaks is resumed where it
    broke. Sizes and digests are those that the Hub's API states. HF_ENDPOINT, HF_HOME and HF_TOKEN are honoured.
    """
    # Plain HTTP goes on in the middle of a file when the connection breaks. huggingface_hub reads this at import.
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download, try_to_load_from_cache

    with _hub_errors(model, key, constants.ENDPOINT):
        info = HfApi().model_info(model.repository, revision=model.revision, files_metadata=True)
        files = {file.rfilename: file for file in info.siblings}
        where = f"repository {model.repository}, revision {model.revision}"
        index = {}
        if MODEL_INDEX in files:
            path = hf_hub_download(model.repository, MODEL_INDEX, revision=model.revision)
            index = read_mapping(Path(path))
        kind = kind_of_index(index, {path.partition("/")[0] for path in files if "/" in path}, where)
        check_kind(kind)
        needed = list(needed_files(files, kind).values())
        total_bytes = sum(files[path].size for path in needed)
        whole_bytes = sum(file.size for file in files.values())
        print(
            f"download: {len(needed)} files, {_size(total_bytes)}, of the {_size(whole_bytes)} "
            f"in {constants.ENDPOINT}/{model.repository}",
            flush=True,
        )
        cached = [try_to_load_from_cache(model.repository, path, revision=model.revision) for path in needed]
        missing = [path for path, found in zip(needed, cached, strict=True) if not isinstance(found, str)]
        remedy = "free space, or set HF_HOME to a folder on another disk"
        check_space(sum(files[path].size for path in missing), Path(constants.HF_HUB_CACHE), remedy)
        folder = Path(snapshot_download(model.repository, revision=model.revision, allow_patterns=needed))
    for path in needed:
        _verify(folder / path, files[path])
    return folder


def copy_pipeline(source: Path, output: Path) -> int:
    """Check the pipeline in `source`, copy what it needs to `output` whole or not at all; bytes copied."""
    from stages.lib.models.components import use_current_names

    check_pipeline_folder(source)
    try:
        with whole_folder(output) as folder:
            copy_needed(source, folder, needed_files(listed_files(source), kind_of(source)))
            for component in kind_of(folder).networks:
                if use_current_names(folder, component):
                    print(f"download: {component}, tensors renamed as the installed libraries call them")
            copied_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        raise UserError(f"cannot copy {source} to {output}: {_cause(error, output.parent)}") from None
    return copied_bytes


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
                print(f"download: {component}, {_size(sizes_bytes[component])} generated, {took_s:.1f} s", flush=True)
            check_pipeline_folder(folder)
            return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        raise UserError(f"cannot write {output}: {_cause(error, output.parent)}") from None


def _verify(path: Path, stated: "RepoSibling") -> None:
    """Compare size and digest with what the Hub states; a file that differs is removed, so that it is fetched again."""
    size_bytes = path.stat().st_size
    if stated.lfs is not None:
        digest, stated_digest = sha256(path), stated.lfs.sha256
    else:  # a small file: the Hub states the digest that Git gives it
        content = path.read_bytes()
        digest = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        stated_digest = stated.blob_id
    if (size_bytes, digest) == (stated.size, stated_digest):
        return
    path.resolve().unlink()  # the file itself; `path` is a link to it where the system has links
    path.unlink(missing_ok=True)
    raise UserError(
        f"{stated.rfilename} came broken: {size_bytes} bytes with digest {digest[:12]}, the Hub states {stated.size} "
        f"bytes with {stated_digest[:12]}; the broken copy was removed, run `dvc repro` to fetch it again"
    )


def check_space(needed_bytes: int, folder: Path, remedy: str) -> None:
    """Raise a UserError unless the disk that holds `folder`, which need not exist yet, has `needed_bytes` free."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise UserError(f"{folder} needs {_size(needed_bytes)}, but its disk has {_size(free_bytes)} free: {remedy}")


@contextmanager
def _hub_errors(model: HubModel, key: str, endpoint: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one message each."""
    from huggingface_hub import constants, errors

    entry = f"{PARAMS_FILE}: 'models.{key}"
    again = "run `dvc repro` again; files that came whole are not fetched twice"
    try:
        yield
    except errors.RevisionNotFoundError:
        raise UserError(
            f"{entry}.revision' has the value '{model.revision}': {endpoint}/{model.repository} has no such "
            "revision: take the full commit hash from its page 'Files and versions', 'History'"
        ) from None
    except errors.GatedRepoError:
        raise UserError(
            f"{entry}.repository' has the value '{model.repository}', which is gated: accept its terms on "
            f"{endpoint}/{model.repository}, then set HF_TOKEN to a token of that account"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{entry}.repository' has the value '{model.repository}', which {endpoint} does not have or does not "
            "show: check the name; for a private one set HF_TOKEN"
        ) from None
    except errors.OfflineModeIsEnabled:
        raise UserError(
            f"{entry}' comes from {endpoint}, but HF_HUB_OFFLINE forbids the network: unset it, or choose a model "
            f"whose source is a folder in {PARAMS_FILE}, key 'model'"
        ) from None
    except errors.HfHubHTTPError as error:
        raise UserError(f"{endpoint} answered {error.response.status_code} for {model.repository}: {again}") from None
    except (errors.HTTPError, errors.LocalEntryNotFoundError) as error:
        cause = error.__cause__ or error
        raise UserError(
            f"{endpoint} cannot be reached or broke off ({type(cause).__name__}: {_first_line(cause)}): check network, "
            f"proxy and HF_ENDPOINT and {again}. Without a network choose a model whose source is a folder in "
            f"{PARAMS_FILE}, key 'model'"
        ) from None
    except OSError as error:
        cause = _cause(error, Path(constants.HF_HUB_CACHE))
        raise UserError(f"the download of {model.repository} failed: {cause}; then {again}") from None


def _cause(error: OSError, folder: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"the disk of {folder} is full: free space"
    return f"{error.strerror or _first_line(error)} ({error.filename or folder})"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no details"])[0]


def _size(count_bytes: int) -> str:
    return f"{count_bytes / 1024**3:.2f} GiB" if count_bytes >= 1024**3 else f"{count_bytes / 1024**2:.1f} MiB"


def main() -> None:
    """Bring, verify and check the model that params.yaml chooses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="pipeline folder to write")
    output = parser.parse_args().output
    start = time.perf_counter()
    params = load_params()
    model = params.chosen_model
    if isinstance(model, ArchitectureModel):
        size_bytes = make_from_architecture(model, params.model, output)
    else:
        bring = bring_from_hub if isinstance(model, HubModel) else source_folder
        size_bytes = copy_pipeline(bring(model, params.model), output)
    print(f"download: {model.label}, {_size(size_bytes)}, checked, {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    run_stage(main)

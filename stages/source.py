"""Which model is it, to the last bit? A folder that changed must be brought again; a pinned revision cannot change.

Runs every time and is cheap: for a folder it writes the SHA-256 of each file that the pipeline loads, for an
architecture that of its configurations and the seed of its weights, for the Hub the repository and the revision.
`download` depends on what it writes.
"""

from pathlib import Path

from stages.lib.models.adapters import adapter_files
from stages.lib.models.kinds import kind_of
from stages.lib.models.pipelines import (
    adapters_beside,
    configuration_files,
    listed_files,
    needed_files,
    source_folder,
)
from stages.lib.models.single_file import configuration_of, files_of, source_file
from stages.lib.project.command_line import command_line
from stages.lib.project.errors import run_stage
from stages.lib.project.files import sha256, write_json
from stages.lib.project.params import load_params
from stages.lib.project.sections import Model


def describe(key: str, model: Model) -> dict:
    """The content of reports/M/source.json for `models.<key>`."""
    brought = {"model": key, "source": model.source, "adapters": digests(adapter_files(model.adapters, key))}
    if model.source == "hub":
        return brought | {"repository": model.repository, "revision": model.revision, "variant": model.variant}
    if model.source == "file":
        files = files_of(source_file(model, key), configuration_of(model.config, key))
        return brought | {"path": model.path, "files": digests(files)}
    folder = source_folder(model, key)
    kind, paths = kind_of(folder), listed_files(folder)
    if model.source == "architecture":
        needed, more = configuration_files(paths, kind), {"seed": model.seed}
    else:
        needed, more = needed_files(paths, kind, model.variant), {"adapters_beside": adapters_beside(paths)}
    files = [{"file": path, "sha256": sha256(folder / path)} for path in needed.values()]
    return brought | {"path": model.path, **more, "files": files}


def digests(paths: list[Path]) -> list[dict[str, str]]:
    """The SHA-256 of each file."""
    return [{"file": path.as_posix(), "sha256": sha256(path)} for path in paths]


def main() -> None:
    arguments = command_line(__doc__, output="the JSON to write")
    params = load_params()
    write_json(arguments.output, describe(params.model, params.chosen_model))
    print(f"source: {params.chosen_model.label}, {arguments.took}")


if __name__ == "__main__":
    run_stage(main)

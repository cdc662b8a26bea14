"""Which model is it, to the last bit? A folder that changed must be brought again; a pinned revision cannot change.

Runs every time and is cheap: for a folder it writes the SHA-256 of each file that the pipeline loads, for an
architecture that of its configurations and the seed of its weights, for the Hub the repository and the revision.
`download` depends on what it writes.
"""

import argparse
import time
from pathlib import Path

from stages.lib.models.kinds import kind_of
from stages.lib.models.pipelines import configuration_files, listed_files, needed_files, source_folder
from stages.lib.project.errors import run_stage
from stages.lib.project.files import sha256, write_json
from stages.lib.project.params import load_params
from stages.lib.project.sections import Model


def describe(key: str, model: Model) -> dict:
    """The content of reports/M/source.json for `models.<key>`."""
    if model.source == "hub":
        return {"model": key, "source": "hub", "repository": model.repository, "revision": model.revision}
    folder = source_folder(model, key)
    brought = configuration_files if model.source == "architecture" else needed_files
    needed = brought(listed_files(folder), kind_of(folder))
    files = [{"file": path, "sha256": sha256(folder / path)} for path in needed.values()]
    seed = {"seed": model.seed} if model.source == "architecture" else {}
    return {"model": key, "source": model.source, "path": model.path, **seed, "files": files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the JSON to write")
    arguments = parser.parse_args()
    start_s = time.perf_counter()
    params = load_params()
    write_json(arguments.output, describe(params.model, params.chosen_model))
    print(f"source: {params.chosen_model.label}, {time.perf_counter() - start_s:.1f} s")


if __name__ == "__main__":
    run_stage(main)

"""Which code runs here? A digest for each stage, by which DVC sees what a change in code concerns.

Runs every time and is cheap: it reads modules, imports none of them. A second part, one digest for each back end, tells
the report which results of other machines come from other code.
"""

import argparse
from pathlib import Path

from stages.lib.formats import BACKENDS
from stages.lib.project.code_graph import backend_digest, stage_digests
from stages.lib.project.errors import run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import load_params


def main() -> None:
    """Digest, write, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="the JSON to write")
    arguments = parser.parse_args()
    backends = {backend: backend_digest(backend) for backend in BACKENDS}
    write_json(arguments.output, {"backends": backends, "stages": stage_digests(load_params())})
    print("code: " + ", ".join(f"{backend} {digest[:12]}" for backend, digest in backends.items()))


if __name__ == "__main__":
    run_stage(main)

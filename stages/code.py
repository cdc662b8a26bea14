"""Which code measures here? A digest for each back end, so that the report can tell results of other code.

Runs every time and is cheap: it reads the modules that dvc.yaml declares for the measuring stages.
"""

import argparse
from pathlib import Path

from stages.lib.backends import BACKENDS
from stages.lib.errors import run_stage
from stages.lib.files import write_json
from stages.lib.pipeline_file import code_digest


def main() -> None:
    """Digest, write, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="the JSON to write")
    arguments = parser.parse_args()
    digests = {backend: code_digest(backend) for backend in BACKENDS}
    write_json(arguments.output, digests)
    print("code: " + ", ".join(f"{backend} {digest[:12]}" for backend, digest in digests.items()))


if __name__ == "__main__":
    run_stage(main)

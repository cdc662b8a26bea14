"""Where does this figure come from? The chain from a figure of the report down to the hashes in dvc.lock.

Run by hand; no stage of the pipeline. What to trace, in one of these forms:

    python -m stages.trace int8-openvino ssim          a format and a figure
    python -m stages.trace floor runs.again.ssim       a file of reports/ and a figure in it
    python -m stages.trace quality int8-openvino ssim  the same, as a table, figure or chart of the report shows it
    python -m stages.trace table-quality               a table, figure or chart: all of its files
    python -m stages.trace int8-openvino               a format: the figures that it has

A figure is a metric (`docs/measurements.md` lists them) or a path such as averages.ms_ssim.mean, of which an end
suffices. Exits with 1 if the file is not the one that dvc.lock describes, or if a stage has read what has been made
anew since.
"""

import argparse
import sys

from stages.lib.project.errors import run_stage
from stages.lib.project.lock_file import read_lock, stale_inputs
from stages.lib.project.params import load_params
from stages.lib.results.tracing import LOCK, chain, holds, locate, measured_by, overview


def main() -> None:
    """Find, print the chain, say with the exit status whether it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", help="[table] format-or-file [figure]")
    arguments = parser.parse_args()
    params = load_params()
    lock = read_lock(LOCK)
    if len(arguments.what) == 1:
        print("\n".join(overview(arguments.what[0], params)))
        return
    figure = locate(arguments.what, params)
    print("\n".join(chain(figure, lock)))
    if not holds(figure.source, lock) or any(stale_inputs(stage, lock) for stage in measured_by(figure, lock)):
        sys.exit(1)


if __name__ == "__main__":
    run_stage(main)

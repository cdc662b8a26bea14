"""Which records of other models lie beside this one's? The report compares them, and is made again once one changes.

Runs every time and is cheap: for each model of `report.compare` but the chosen one it writes the digest of every record
that the report reads, none for what is not there. The report of one model depends on no stage of another.
"""

from stages.lib.project.command_line import command_line
from stages.lib.project.errors import run_stage
from stages.lib.project.files import write_json
from stages.lib.project.lineage import digests
from stages.lib.project.params import load_params


def main() -> None:
    """Look, write, print one line."""
    arguments = command_line(__doc__, "reports", "output")
    params = load_params()
    found = {
        model: {
            file: md5
            for file, md5 in digests(arguments.reports, model, params.variants).items()
            if file.startswith(f"reports/{model}/")
        }
        for model in params.other_models
    }
    write_json(arguments.output, found)
    there = sum(any(files.values()) for files in found.values())
    print(f"compare: {there} of {len(found)} other models have records, {arguments.took}")


if __name__ == "__main__":
    run_stage(main)

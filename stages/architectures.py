"""How large are published models in each format, exactly?

Reads the configurations of params.yaml's `architectures`, builds their networks without memory for weights, and writes
reports/architectures.json: parameters, operators and sizes of every network. Neither weights nor a network are needed.
"""

from pathlib import Path

from stages.lib.project.command_line import command_line
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import PARAMS_FILE, load_params
from stages.lib.project.sections import Architecture


def describe_all(architectures: dict[str, Architecture]) -> list[dict]:
    """One entry per architecture, in declared order. A folder that is missing is a UserError."""
    from stages.lib.models.architecture import describe

    found = []
    for name, item in architectures.items():
        if not Path(item.path).is_dir():
            raise UserError(
                f"{PARAMS_FILE}: 'architectures.{name}.path' has the value '{item.path}', which is not a folder: "
                "mend the path or put the configurations there"
            )
        found.append({"architecture": name, "label": item.label, **describe(Path(item.path))})
    return found


def main() -> None:
    """Count, write, print one line."""
    arguments = command_line(__doc__, output="the JSON to write")
    found = describe_all(load_params().architectures)
    write_json(arguments.output, {"architectures": found})
    counts = ", ".join(f"{item['label']} {item['parameters']:,} parameters" for item in found)
    print(f"architectures: {counts}, {arguments.took}")


if __name__ == "__main__":
    run_stage(main)

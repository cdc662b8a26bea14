"""Describe this machine and the library versions, and say which variants cannot be made and run here.

`fingerprint` covers `machine`, `software` and `threads`: what every timing depends on. `packages` are the versions of
what each back end needs besides, None where it is not installed; `obstacles` has why a variant is left out, or None.
With --what-runs it writes nothing, and prints which format runs on which machine.
With VARIANT_SET=default in the environment, as `make report` has it, those are left out that say `default: false`.
"""

import os
import sys

from stages.lib.formats.shared.availability import find_obstacles, libraries_here
from stages.lib.project.command_line import command_line
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import write_json
from stages.lib.project.params import Params, load_params
from stages.lib.project.prompts import timed_prompt
from stages.lib.reporting.origin import chosen_epoch
from stages.lib.reporting.words.obstacle_words import obstacle_words
from stages.lib.reporting.words.what_runs_words import what_runs_text
from stages.lib.timing.machine import describe


def available(params: Params, machine: dict, software: dict[str, str | None]) -> dict:
    """What each back end finds installed, and what keeps each declared variant from running on `machine`.

    A baseline that cannot run is a UserError.
    """
    packages, libraries = libraries_here(software)
    obstacles = find_obstacles(params, machine, packages, os.environ.get("VARIANT_SET") == "default")
    if obstacles[params.baseline]:
        raise UserError(
            f"params.yaml: baseline '{params.baseline}', with which everything is compared, is not available here. "
            f"{obstacle_words(obstacles[params.baseline], str)}, or choose another baseline"
        )
    return {"packages": packages, "libraries": libraries, "obstacles": obstacles}


def main() -> None:
    """Write the description and print it in one line."""
    if sys.argv[1:] == ["--what-runs"]:
        print(what_runs_text(load_params(), describe()["machine"]))
        return
    arguments = command_line(__doc__, output="JSON file to write")
    params = load_params()
    timed_prompt(params)  # the first stage to run finds a mistake in params.yaml or the prompts file,
    chosen_epoch()  # or in a variable that the last one reads
    environment = describe()
    machine = environment["machine"]
    environment |= available(params, machine, environment["software"])
    write_json(arguments.output, environment)
    print(
        f"environment: {machine['cpu']}, {machine['physical_cores']} cores, threads used: {environment['threads']}, "
        f"{machine['memory_gib']} GiB, {machine['gpu'] or 'no GPU'}, torch {environment['software']['torch']}, "
        f"fingerprint {environment['fingerprint']}"
    )
    left_out: dict[str, list[str]] = {}
    for name, obstacle in environment["obstacles"].items():
        if obstacle:
            left_out.setdefault(obstacle_words(obstacle, str), []).append(params.variants[name].label)
    for reason, labels in left_out.items():
        print(f"environment: left out are {', '.join(labels)} ({reason})")


if __name__ == "__main__":
    run_stage(main)

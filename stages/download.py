"""Bring the chosen model into the project, only what the pipeline needs, and check it.

Of an architecture, which has no weights, make a model: every network at its true size, its weights drawn from a seed.
"""

from stages.lib.models.bringing import make_from_architecture, size_text, write_base
from stages.lib.models.hub import bring_from_hub
from stages.lib.models.pipelines import source_folder
from stages.lib.models.single_file import source_file
from stages.lib.project.command_line import command_line
from stages.lib.project.errors import run_stage
from stages.lib.project.params import load_params
from stages.lib.project.sections import ArchitectureModel


def main() -> None:
    """Bring, verify and check the model that params.yaml chooses."""
    arguments = command_line(__doc__, output="pipeline folder to write")
    params = load_params()
    model = params.chosen_model
    if isinstance(model, ArchitectureModel):
        size_bytes = make_from_architecture(model, params.model, arguments.output)
    else:
        bring = {"hub": bring_from_hub, "folder": source_folder, "file": source_file}[model.source]
        size_bytes = write_base(model, params.model, bring(model, params.model), arguments.output)
    print(f"download: {model.label}, {size_text(size_bytes)}, checked, {arguments.took}")


if __name__ == "__main__":
    run_stage(main)

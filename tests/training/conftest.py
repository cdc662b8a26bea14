"""The first model, trained for three steps in small: what most tests of the trainings start from."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.training.tiny_training import run, tiny_params
from training import assemble, render, tokenizer, train_autoencoder, train_clip, train_diffusion, train_guidance


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with params.yaml, work/ after all tiny trainings of the first model, and the assembled model/."""
    folder = tmp_path_factory.mktemp("training")
    YAML().dump(tiny_params(), folder / "params.yaml")
    params, work = ("--params", folder / "params.yaml"), ("--work", folder / "work")
    run(render, *params, "--output", folder / "work")
    run(tokenizer, *params, *work)
    export = ("--device", "cpu", "--export", folder / "export")
    run(train_autoencoder, *params, *work, *export)
    run(train_clip, *params, *work, *export)
    run(train_diffusion, *params, *work, *export)
    run(train_guidance, *params, *work, *export)
    run(assemble, *params, *work, "--output", folder / "model")
    return folder

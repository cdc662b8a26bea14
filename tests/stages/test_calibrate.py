"""The stage `calibrate`: real inputs of every network, of prompts that are not evaluated."""

import sys
from pathlib import Path

import pytest
import torch

from stages import calibrate
from stages.lib.models.calibration import read_calls, write_calls
from stages.lib.models.calls import NetworkCall
from stages.lib.project.errors import UserError
from stages.lib.project.files import sha256
from stages.lib.project.params import load_params
from tests.conftest import PROJECT
from tests.tiny_project import choose_architecture, write_settings

HEAD = "id,prompt,kind,complexity,seed,set\n"
ROWS = "dog,A dog,animal,low,7,calibration\nfox,A fox,animal,low,8,calibration\n"


@pytest.fixture
def run(monkeypatch, tiny_model, tmp_path):
    """Run the stage in a project with the given calibration prompts; the path of what it writes."""
    write_settings(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(rows: str = ROWS, output: str = "data/runs/tiny/calibration.safetensors") -> Path:
        Path("data/calibration.csv").write_text(HEAD + rows, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["calibrate", "--base", str(tiny_model), "--output", output])
        calibrate.main()
        return Path(output)

    return run


def shapes_of(calls: dict) -> dict[str, list[dict[str, tuple]]]:
    return {
        name: [{key: tuple(tensor.shape) for key, tensor in call.tensors().items()} for call in items]
        for name, items in calls.items()
    }


UNET = {"sample": (2, 4, 16, 16), "timestep": (), "encoder_hidden_states": (2, 16, 32)}


def test_it_keeps_real_calls_of_every_network(run, capsys):
    """Two images: two U-Net calls of each with guidance, two texts, one decoding and one image each."""
    calls = read_calls(run())
    shapes = shapes_of(calls)
    assert shapes["unet"] == [UNET] * 4 and shapes["vae"] == [{"z": (1, 4, 16, 16)}] * 2
    assert shapes["safety_checker"] == [{"clip_input": (1, 3, 32, 32)}] * 2
    assert shapes["text_encoder"] == [{"input_ids": (1, 16)}] * 4
    steps = [call.arguments["timestep"].item() for call in calls["unet"]]
    assert steps[0] >= steps[1] and steps[2] >= steps[3]
    assert all(
        tensor.isfinite().all() for items in calls.values() for call in items for tensor in call.tensors().values()
    )
    line = capsys.readouterr().out.strip()
    assert line.startswith("calibrate: calls in 2 images (4 text_encoder, 4 unet, 2 vae, ") and "\n" not in line


def test_two_runs_give_the_same_bytes(run):
    """DVC sees no change."""
    assert sha256(run()) == sha256(run(output="data/again.safetensors"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "data/calibration.csv has no prompts"),
        (ROWS.splitlines()[0] + "\n", "'calibration.images' has the value 2, but data/calibration.csv has 1 prompts"),
        (ROWS.replace("A dog", "a  CAT"), "'a  CAT' stands in data/prompts.csv too"),
        (ROWS.replace("A dog", "A cat"), "'A cat' stands in data/prompts.csv too: what is evaluated must not be"),
    ],
)
def test_prompts_that_will_not_do_are_refused(run, rows, said):
    """Neither none, nor too few, nor those that the images are judged by."""
    with pytest.raises(UserError) as caught:
        run(rows)
    assert said in str(caught.value)


def test_a_broken_file_is_one_message(tmp_path):
    """Missing, truncated and empty are told apart, each with its remedy."""
    path = tmp_path / "calibration.safetensors"
    with pytest.raises(UserError, match="is missing: run `dvc repro calibrate`"):
        read_calls(path)
    call = NetworkCall(
        "decode", {"z": torch.zeros(1, 4, 2, 2), "extra": {"sizes": (1, 2.5, None)}, "return_dict": False}
    )
    write_calls(path, {"vae": [call]})
    (again,) = read_calls(path)["vae"]
    assert torch.equal(again.arguments["z"], call.arguments["z"]) and again.entry == "decode"
    assert again.arguments["extra"] == {"sizes": (1, 2.5, None)} and again.arguments["return_dict"] is False
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match="is broken .*: delete it"):
        read_calls(path)
    write_calls(path, {})
    with pytest.raises(UserError, match="holds no calls"):
        read_calls(path)


def test_an_architecture_gives_calls_of_the_right_shapes(monkeypatch, tiny_model, tmp_path, capsys):
    """Protects quantizers that need ranges where no image means anything; the same seed, the same bytes."""
    write_settings(tmp_path)
    choose_architecture(tmp_path, tiny_model)
    monkeypatch.chdir(tmp_path)
    Path("data/calibration.csv").write_text(HEAD + ROWS, encoding="utf-8")
    outputs = [Path(name) for name in ("one.safetensors", "two.safetensors")]
    for output in outputs:
        monkeypatch.setattr(sys, "argv", ["calibrate", "--base", str(tiny_model), "--output", str(output)])
        calibrate.main()
    assert sha256(outputs[0]) == sha256(outputs[1])
    assert "calibrate: calls in 1 image (2 text_encoder, 2 unet, " in capsys.readouterr().out
    shapes = {name: items[0] for name, items in shapes_of(read_calls(outputs[0])).items()}
    assert shapes == {
        "unet": UNET,
        "vae": {"z": (1, 4, 16, 16)},
        "text_encoder": {"input_ids": (1, 16)},
        "safety_checker": {"clip_input": (1, 3, 32, 32)},
    }


def test_a_missing_file_names_its_own_key():
    """Protects a user from mending the file of the prompts that are evaluated."""
    params = load_params(PROJECT / "params.yaml")
    away = params.calibration.model_copy(update={"file": "none.csv"})
    with pytest.raises(UserError, match="none.csv is missing: .*, key 'calibration.file'"):
        calibrate.calibration_prompts(params.model_copy(update={"calibration": away}))

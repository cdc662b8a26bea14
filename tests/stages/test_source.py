"""source.json changes when, and only when, the model does."""

import json
import shutil

from tests.command import run
from tests.conftest import PROJECT
from tests.tiny_project import choose_architecture, write_settings

OUTPUT = "reports/tiny/source.json"


def described(project) -> dict:
    done = run(project, "stages.source", "--output", OUTPUT)
    assert done.returncode == 0, done.stderr
    return json.loads((project / OUTPUT).read_text(encoding="utf-8"))


def with_model(project, name: str) -> None:
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("model: embedded\n", f"model: {name}\n", 1), encoding="utf-8")


def test_a_changed_weight_changes_the_fingerprint_of_a_folder(tmp_path, tiny_model):
    """Protects against old results after the model was trained again."""
    with_model(tmp_path, "local")
    shutil.copytree(tiny_model, tmp_path / "data/local")
    (tmp_path / "data/local/notes.md").write_text("not loaded", encoding="utf-8")
    before = described(tmp_path)
    assert described(tmp_path) == before
    assert "notes.md" not in {file["file"] for file in before["files"]}
    weights = tmp_path / "data/local/vae/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    after = described(tmp_path)
    changed = [new["file"] for old, new in zip(before["files"], after["files"], strict=True) if old != new]
    assert changed == ["vae/diffusion_pytorch_model.safetensors"]


def test_a_hub_model_is_its_pinned_revision(tmp_path):
    """Protects from asking the network in every run."""
    with_model(tmp_path, "sd15")
    assert described(tmp_path)["revision"] == "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"


def test_a_missing_folder_is_one_clear_message(tmp_path):
    """Protects the first thing a user with a model of their own may meet."""
    with_model(tmp_path, "local")
    done = run(tmp_path, "stages.source", "--output", OUTPUT)
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: 'models.local.path'") and "Traceback" not in done.stderr
    assert not (tmp_path / OUTPUT).exists()


def test_an_architecture_is_its_configurations_and_its_seed(tmp_path, tiny_model):
    """Protects against old random weights after a configuration or the seed changed."""
    write_settings(tmp_path)
    folder = choose_architecture(tmp_path, tiny_model)
    before = described(tmp_path)
    assert (before["source"], before["seed"]) == ("architecture", 0)
    assert not [file for file in before["files"] if file["file"].endswith(".safetensors")]
    config = folder / "unet/config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    changed = {
        new["file"] for old, new in zip(before["files"], described(tmp_path)["files"], strict=True) if old != new
    }
    assert changed == {"unet/config.json"}
    text = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(
        text.replace("architecture, seed: 0", "architecture, seed: 1"), encoding="utf-8"
    )
    assert described(tmp_path)["seed"] == 1

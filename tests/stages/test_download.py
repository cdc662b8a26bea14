"""The model arrives whole, checked and without what the pipeline does not need, or not at all."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.lib.models.bringing import check_space
from stages.lib.models.pipelines import listed_files
from stages.lib.project.errors import UserError
from stages.lib.project.files import sha256
from tests.command import run
from tests.conftest import PROJECT
from tests.hub import REPOSITORY, REVISION, Hub, serve
from tests.processes import wait_until
from tests.reference import reference_pipeline
from tests.tiny_project import choose_architecture, write_settings

OUTPUT = "data/runs/tiny/models/base"
UNET = "unet/diffusion_pytorch_model.safetensors"
DECOYS = (
    "README.md",
    "v1-5-pruned.ckpt",
    "v1-5-pruned-emaonly.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    "text_encoder/pytorch_model.bin",
    "safety_checker/model.fp16.safetensors",
)


def write_params(project: Path, model: str, **replacements: str) -> None:
    """params.yaml as shipped, with another model and with some of its texts replaced."""
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8").replace("model: embedded", f"model: {model}")
    text = text.replace("stable-diffusion-v1-5/stable-diffusion-v1-5", replacements.get("repository", REPOSITORY))
    text = text.replace("451f4fe16113bff5a5d2269ed5ad43b0592e9a14", replacements.get("revision", REVISION))
    text = text.replace("data/local", replacements.get("path", "data/local"))
    (project / "params.yaml").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def repository(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model among what Stable Diffusion's repository holds besides, its U-Net made larger than 20 MiB."""
    folder = Path(shutil.copytree(tiny_model, tmp_path_factory.mktemp("repository") / "files"))
    # huggingface_hub keeps a broken transfer in pieces of 10 MiB: a smaller file would begin anew.
    weights = load_file(folder / UNET)
    weights["ballast"] = torch.zeros(24 * 1024**2 // 4)
    save_file(weights, folder / UNET, metadata={"format": "pt"})
    for path in DECOYS:
        (folder / path).write_bytes(b"not wanted" * 100)
    return folder


@pytest.fixture
def hub(repository: Path) -> Iterator[Hub]:
    with serve(repository) as hub:
        yield hub


def variables(project: Path, hub: Hub) -> dict[str, str]:
    """What a user sets for a Hub of their own, and a cache inside the project."""
    return {"HF_ENDPOINT": hub.address, "HF_HOME": str(project / "hf"), "HF_HUB_OFFLINE": "0", "no_proxy": "127.0.0.1"}


def download(project: Path, hub: Hub, **more: str) -> subprocess.CompletedProcess:
    return run(project, "stages.download", "--output", OUTPUT, **{**variables(project, hub), **more})


def error(done: subprocess.CompletedProcess, project: Path) -> str:
    """The one message of a failed run, which left nothing in the project's data folder."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not [path for path in (project / "data").rglob("*") if path.is_file()]
    return done.stderr[done.stderr.index("error: ") :]


def assert_complete(project: Path, source: Path) -> None:
    """The folder is the pipeline of `source`, byte for byte but for a tensor that no layer has, and nothing else."""
    expected = {path for path in listed_files(source) if path not in DECOYS}
    assert set(listed_files(project / OUTPUT)) == expected
    assert all(sha256(project / OUTPUT / path) == sha256(source / path) for path in expected - {UNET})
    weights, brought = load_file(source / UNET), load_file(project / OUTPUT / UNET)
    assert brought.keys() ^ weights.keys() == {"ballast"} & weights.keys()
    assert all(torch.equal(brought[name], weights[name]) for name in brought)
    assert [path.name for path in (project / OUTPUT).parent.iterdir()] == ["base"]


def test_only_what_the_pipeline_needs_is_fetched(tmp_path, hub, repository):
    """Protects the user's line and disk: the repository holds several times what is needed."""
    write_params(tmp_path, "sd15")
    done = download(tmp_path, hub)
    assert done.returncode == 0, done.stderr
    assert_complete(tmp_path, repository)
    assert len(hub.fetched) == len(set(hub.fetched)) == 13 and not set(hub.fetched) & set(DECOYS)
    first, _, last = done.stdout.splitlines()
    assert first.startswith("download: 13 files, 25.9 MiB, of the 25.9 MiB in http://127.0.0.1:")
    assert last.startswith("download: Stable Diffusion v1.5, 1.9 MiB, checked, ")


def test_a_second_run_fetches_nothing(tmp_path, hub, repository):
    """Protects a user who deletes data/runs/tiny/models: the cache of huggingface_hub, at HF_HOME, is used."""
    write_params(tmp_path, "sd15")
    download(tmp_path, hub)
    shutil.rmtree(tmp_path / "data")
    hub.fetched.clear()
    assert download(tmp_path, hub).returncode == 0
    assert hub.fetched == []
    assert_complete(tmp_path, repository)


def test_a_connection_that_breaks_once_is_resumed_where_it_broke(tmp_path, hub, repository):
    """Protects hours of a slow download."""
    write_params(tmp_path, "sd15")
    hub.break_off = {UNET: 1}
    done = download(tmp_path, hub)
    assert done.returncode == 0, done.stderr
    assert hub.ranges == [f"bytes={10 * 1024**2}-"]
    assert_complete(tmp_path, repository)


def test_a_connection_that_keeps_breaking_fails_clearly_and_the_next_run_completes(tmp_path, hub, repository):
    """Protects against half a model, and against fetching again what came whole."""
    write_params(tmp_path, "sd15")
    vae = "vae/diffusion_pytorch_model.safetensors"
    hub.break_off = {vae: 1000}
    said = error(download(tmp_path, hub), tmp_path)
    assert "broke off" in said and "run `dvc repro` again" in said
    hub.break_off = {}
    hub.fetched.clear()
    assert download(tmp_path, hub).returncode == 0
    assert hub.fetched == [vae]
    assert_complete(tmp_path, repository)


def holds_half(project: Path) -> bool:
    """Whether the cache has got the part of the large file that came before its transfer stopped."""
    with suppress(FileNotFoundError):  # another file has become whole and got its name
        return any(path.stat().st_size >= 10 * 1024**2 for path in project.rglob("*.incomplete"))
    return False


def test_a_killed_download_goes_on_with_the_next_run(tmp_path, hub, repository):
    """Protects a user who closes the laptop: nothing half-written is taken for whole."""
    write_params(tmp_path, "sd15")
    hub.stall = {UNET}
    command = [sys.executable, "-m", "stages.download", "--output", OUTPUT]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), **variables(tmp_path, hub)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: holds_half(tmp_path), "the first half of a file")
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.stall = set()
    assert not (tmp_path / "data").exists()
    assert download(tmp_path, hub).returncode == 0
    assert_complete(tmp_path, repository)


def test_changed_content_is_caught_and_fetched_again(tmp_path, hub, repository):
    """Protects the figures from other weights than the pinned ones: the digest is that of the Hub's API."""
    write_params(tmp_path, "sd15")
    hub.corrupt = {UNET}
    said = error(download(tmp_path, hub), tmp_path)
    assert f"{UNET} came broken" in said and "run `dvc repro` to fetch it again" in said
    hub.corrupt = set()
    hub.fetched.clear()
    assert download(tmp_path, hub).returncode == 0
    assert hub.fetched == [UNET]
    assert_complete(tmp_path, repository)


def test_a_changed_configuration_is_caught_too(tmp_path, hub):
    """Protects small files, for which the Hub states Git's digest instead of a SHA-256."""
    write_params(tmp_path, "sd15")
    hub.corrupt = {"unet/config.json"}
    assert "unet/config.json came broken" in error(download(tmp_path, hub), tmp_path)


@pytest.mark.parametrize(
    ("replacements", "said"),
    [
        ({"revision": "f" * 40}, f"'models.sd15.revision' has the value '{'f' * 40}'"),
        ({"repository": "someone/else"}, "'models.sd15.repository' has the value 'someone/else'"),
    ],
)
def test_what_the_hub_does_not_have_is_one_message_that_names_the_key(tmp_path, hub, replacements, said):
    """Protects a user with a mistyped repository or commit."""
    write_params(tmp_path, "sd15", **replacements)
    assert said in error(download(tmp_path, hub), tmp_path)
    assert hub.fetched == []


def test_a_gated_model_says_how_to_get_access(tmp_path, hub):
    """Protects a user who has not accepted the terms."""
    write_params(tmp_path, "sd15")
    hub.gated = True
    said = error(download(tmp_path, hub), tmp_path)
    assert "which is gated: accept its terms" in said and "HF_TOKEN" in said


def test_the_token_reaches_the_hub(tmp_path, hub, repository):
    """Protects users of private models: HF_TOKEN is honoured as huggingface_hub does."""
    write_params(tmp_path, "sd15")
    hub.token = "hf_secret"
    assert "set HF_TOKEN" in error(download(tmp_path, hub), tmp_path)
    done = download(tmp_path, hub, HF_TOKEN="hf_secret")
    assert done.returncode == 0 and "hf_secret" not in done.stdout + done.stderr
    assert_complete(tmp_path, repository)


def test_no_network_is_one_message_that_names_the_way_out(tmp_path, hub):
    """Protects a user behind a firewall; nobody listens on port 9 of the loopback."""
    write_params(tmp_path, "sd15")
    said = error(download(tmp_path, hub, HF_ENDPOINT="http://127.0.0.1:9"), tmp_path)
    assert "http://127.0.0.1:9 cannot be reached" in said and "source is a folder" in said
    assert "HF_HUB_OFFLINE" in error(download(tmp_path, hub, HF_HUB_OFFLINE="1"), tmp_path)


def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path):
    """Protects a user from an hour of download that cannot end well."""
    check_space(1, tmp_path / "not" / "there" / "yet", "free space")
    with pytest.raises(UserError, match=r"needs 1073741824\.00 GiB, but its disk has .* free"):
        check_space(2**60, tmp_path / "not" / "there" / "yet", "free space")


@pytest.mark.parametrize("model", ["embedded", "embedded-transformer"])
def test_a_clip_of_the_model_is_brought_whole_or_not_at_all(tmp_path, model):
    """Protects models whose pipeline has no safety checker: the CLIP's vision tower is none of their components."""
    from stages.lib.models.kinds import kind_of
    from stages.lib.models.pipelines import OWN_CLIP, copy_needed, listed_files, needed_files
    from stages.lib.quality.clip_features import find_clip

    source = PROJECT / "data" / model
    files, kind = listed_files(source), kind_of(source)
    (tmp_path / "base").mkdir()
    copy_needed(source, tmp_path / "base", needed_files(files, kind))
    texts = ["a red house", "a boat"]
    assert (find_clip(tmp_path / "base").text_features(texts) == find_clip(source).text_features(texts)).all()
    without = needed_files([path for path in files if path != OWN_CLIP[0]], kind)
    assert not [path for path in without if path.startswith("clip/")]


def test_a_local_folder_is_copied_without_what_is_not_needed(tmp_path, repository, tiny_model):
    """Protects DVC's cache from model cards, images and second copies of the weights."""
    shutil.copytree(tiny_model, tmp_path / "models" / "mine")
    for path in ("README.md", "sheet.png", "clip/model.safetensors", "unet/diffusion_pytorch_model.bin"):
        (tmp_path / "models" / "mine" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "models" / "mine" / path).write_bytes(b"not wanted")
    write_params(tmp_path, "local", path="models/mine")
    done = run(tmp_path, "stages.download", "--output", OUTPUT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("download: Local model, 1.9 MiB, checked, ") and done.stdout.count("\n") == 1
    assert_complete(tmp_path, tiny_model)
    reference_pipeline(tmp_path / OUTPUT)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "embedded",
            "'models.embedded.path' has the value 'data/embedded', which is not a folder: restore it with",
        ),
        ("local", "'models.local.path' has the value 'data/local', which is not a folder: put the model there"),
    ],
)
def test_a_missing_folder_names_key_and_remedy(tmp_path, model, said):
    """Protects a clone without the model, and a mistyped path."""
    write_params(tmp_path, model)
    assert said in error(run(tmp_path, "stages.download", "--output", OUTPUT), tmp_path)


def test_an_unsound_folder_leaves_the_earlier_model_untouched(tmp_path, tiny_model):
    """Protects what was there: the check comes before the copy."""
    shutil.copytree(tiny_model, tmp_path / "mine")
    write_params(tmp_path, "local", path="mine")
    run(tmp_path, "stages.download", "--output", OUTPUT)
    (tmp_path / "mine" / UNET).write_bytes(b"broken")
    done = run(tmp_path, "stages.download", "--output", OUTPUT)
    assert done.returncode == 1 and f"mine/{UNET} is truncated or corrupt" in done.stderr
    assert_complete(tmp_path, tiny_model)


@pytest.fixture
def architecture(tmp_path: Path, tiny_model: Path) -> Path:
    """A project whose model is the tiny one's configurations, without weights."""
    write_settings(tmp_path / "project")
    choose_architecture(tmp_path / "project", tiny_model)
    return tmp_path / "project"


def test_an_architecture_becomes_a_model_with_the_same_bytes_every_time(architecture):
    """Protects reproducibility, and that the result is a whole pipeline of four FP32 networks."""
    digests = []
    for output in ("data/runs/tiny/models/base", "data/runs/tiny/models/again"):
        done = run(architecture, "stages.download", "--output", output)
        assert done.returncode == 0, done.stderr
        files = sorted((architecture / output).rglob("*.safetensors"))
        digests.append([(path.parent.name, sha256(path)) for path in files])
    assert digests[0] == digests[1] and len(digests[0]) == 4
    assert "unet, " in done.stdout and "generated, " in done.stdout and "Tiny architecture" in done.stdout
    pipeline = reference_pipeline(architecture / OUTPUT)
    assert {item.dtype for item in pipeline.unet.parameters()} == {torch.float32}


def test_a_missing_configuration_is_one_message_and_leaves_nothing(architecture):
    """Protects from a model that is made by half."""
    (architecture / "data/architecture/vae/config.json").unlink()
    done = run(architecture, "stages.download", "--output", OUTPUT)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "data/architecture has no vae/config.json: bring the complete model" in done.stderr
    assert not list((architecture / "data").glob("models/*"))

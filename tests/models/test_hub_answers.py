"""Whatever a server answers in the Hub's place, nothing is believed that is not as stated, and it is one message."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given

from stages.lib.models.hub import bring_from_hub
from stages.lib.project.errors import UserError
from stages.lib.project.sections import HubModel
from tests.any_input import edited, one_message, spliced, within_limits
from tests.conftest import PROJECT
from tests.hub import REPOSITORY, REVISION, Hub, serve
from tests.processes import HANGING_S

UNET = "unet/diffusion_pytorch_model.safetensors"
FILE = {"rfilename": UNET, "size": 10, "blobId": "0" * 40, "lfs": {"sha256": "0" * 64, "size": 10, "pointerSize": 134}}
DESCRIPTION = {"id": REPOSITORY, "sha": REVISION, "siblings": [{**FILE, "rfilename": "README.md", "lfs": None}, FILE]}
MODEL = HubModel(label="A model", source="hub", repository=REPOSITORY, revision=REVISION)

# Brings a model in a process of its own, which an alarm may end as it likes.
SLOW = """
import sys
from stages.lib.models import hub, hub_answers
from stages.lib.project.errors import UserError
from stages.lib.project.sections import HubModel

hub_answers.PATIENCE_S, hub_answers.LEAST_BYTES_PER_S = 5, 10**9
try:
    hub.bring_from_hub(HubModel(label="A", source="hub", repository=sys.argv[1], revision=sys.argv[2]), "someone")
except UserError as error:
    print(error)
"""


@pytest.fixture
def hub(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that this process asks, with a cache of its own."""
    from huggingface_hub import constants

    with serve(tiny_model) as hub:
        addresses = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", addresses)
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield hub


def message(hub: Hub) -> str:
    """The one line that bringing the model ends with."""
    with pytest.raises(UserError) as caught:
        bring_from_hub(MODEL, "someone")
    assert hub.address in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@given(edited(DESCRIPTION))
def test_any_description_of_a_repository(document):
    """Protects paths, sizes and digests, which come from outside."""
    describe(json.dumps(document).encode())


@given(spliced(json.dumps(DESCRIPTION).encode()))
def test_any_text_in_place_of_a_description(data):
    describe(data)


def describe(data: bytes) -> None:
    from stages.lib.models.hub_answers import Answers

    with within_limits():
        one_message(lambda: Answers("http://127.0.0.1", REPOSITORY, REVISION).read(data))


def changed(**keys: object) -> bytes:
    """A description whose last file has these keys."""
    return json.dumps({**DESCRIPTION, "siblings": [DESCRIPTION["siblings"][0], {**FILE, **keys}]}).encode()


@pytest.mark.parametrize(
    ("description", "said"),
    [
        (b"<html>Log in to this network</html>", "answered with what is no description (Expecting value"),
        (b"{" * 100_000, "what is no description"),
        (b"[]", "answered with a description whose '' is wrong"),
        (changed(size=None), "'siblings.1.size' is wrong (Input should be a valid integer)"),
        (changed(size="10"), "'siblings.1.size' is wrong (Input should be a valid integer)"),
        (changed(size=-1), "'siblings.1.size' is wrong (Input should be greater than or equal to 0)"),
        (changed(blobId=None), "'siblings.1.blobId' is wrong"),
        (changed(lfs={"sha256": "../x"}), "'siblings.1.lfs.sha256' is wrong"),
        (changed(rfilename="unet\\x"), "'siblings.1.rfilename' is wrong (is no path inside a repository)"),
        (changed(rfilename="a\0b"), "'siblings.1.rfilename' is wrong"),
        (changed(rfilename="../../x"), "'siblings.1.rfilename' is wrong"),
        (changed(rfilename="/x"), "'siblings.1.rfilename' is wrong"),
        (json.dumps({**DESCRIPTION, "siblings": ["README.md"]}).encode(), "'siblings.0' is wrong"),
        (json.dumps({"siblings": [FILE]}).encode(), "'sha' is wrong (Field required)"),
        (json.dumps({**DESCRIPTION, "sha": "f" * 40}).encode(), f"with commit '{'f' * 40}' instead of {REVISION}"),
        (b" " * (2**25 + 1), "with more than 33554432 bytes, asked for its description of someone/tiny"),
    ],
)
def test_a_description_of_another_form_is_one_message(hub, description, said):
    hub.description = description
    assert said in message(hub)
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"X-Repo-Commit": "f" * 40}, f"with commit '{'f' * 40}' instead of {REVISION}"),
        ({"X-Repo-Commit": "../../../x"}, "with commit '../../../x' instead of"),
        ({"ETag": '"../../../../x"'}, "with a header ETag that is no digest"),
        ({"X-Linked-Etag": "../../x"}, "with a header X-Linked-Etag that is no digest"),
        ({"Content-Encoding": "gzip, gzip"}, "with something compressed, asked for model_index.json of someone/tiny"),
    ],
)
def test_headers_lead_nowhere(hub, tmp_path, headers, said):
    """Protects the disk: huggingface_hub makes paths of what a server calls commit and digest."""
    hub.headers = headers
    assert said in message(hub)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_small_packed_body_is_not_unpacked(hub):
    """Protects memory from a description that is a thousand times what came."""
    hub.description = gzip.compress(b" " * 10**8)
    assert "no description" in message(hub)


def test_a_redirection_may_be_larger_than_the_file(hub):
    """Protects small files, which the Hub keeps elsewhere and says so at length."""
    hub.elsewhere = {"model_index.json", "scheduler/scheduler_config.json"}
    assert (bring_from_hub(MODEL, "someone") / "scheduler/scheduler_config.json").is_file()


@pytest.mark.parametrize("name", ["model_index.json", UNET])
def test_a_body_without_an_end_stops_at_the_stated_size(hub, tmp_path, name):
    hub.endless = {name}
    size = next(entry["size"] for entry in hub.files if entry["rfilename"] == name)
    assert f"with more than {size} bytes, asked for {name} of someone/tiny" in message(hub)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 2 * 1024**2


def test_a_body_that_takes_for_ever_is_given_up(hub, tmp_path):
    """Protects from a wait of weeks: each answer has the time that its size takes on a slow line."""
    hub.drip = {"model_index.json"}
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", SLOW, REPOSITORY, REVISION],
        cwd=PROJECT, env=environment, text=True, capture_output=True, timeout=HANGING_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "has not sent model_index.json within 5 s: check network" in done.stdout


def test_an_alarm_that_comes_late_ends_nothing(hub):
    """Protects the process, which the system ends at an alarm that nobody heeds."""
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        bring_from_hub(MODEL, "someone")
        signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_complete_cache_needs_no_network(hub, monkeypatch):
    """Protects HF_HUB_OFFLINE, which is said to forbid the network and nothing else."""
    from huggingface_hub import constants

    folder = bring_from_hub(MODEL, "someone")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.fetched)
    assert bring_from_hub(MODEL, "someone") == folder and len(hub.fetched) == asked
    (folder / UNET).resolve().write_bytes(b"changed")
    with pytest.raises(UserError, match="diffusion_pytorch_model.safetensors came broken: 7 bytes"):
        bring_from_hub(MODEL, "someone")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE forbids the network, and the cache has not the whole model"):
        bring_from_hub(MODEL, "someone")

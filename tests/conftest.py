"""A tiny, complete, random StableDiffusionPipeline folder that tests share, and a deterministic torch."""

import ctypes
import gc
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from matplotlib.mathtext import MathTextParser

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Formulas that one test has parsed keep open fonts, whose place in the file a process that another test forks would
# share with this one: both then read glyphs from where the other left it. The stage parses only in what it forks.
os.register_at_fork(after_in_child=MathTextParser._parse_cached.cache_clear)

PROJECT = Path(__file__).resolve().parents[1]
LONG = ("test_pipeline", "test_any_model", "test_report", "test_openvino")  # the longest one first

# `make faults` has its own examples every time, and more of them.
limits = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "print_blob": False}
settings.register_profile("tests", max_examples=50, derandomize=True, **limits)
settings.register_profile("faults", max_examples=1000, **limits)
settings.load_profile("tests")


@pytest.fixture(scope="module", autouse=True)
def memory_given_back() -> Iterator[None]:
    """What a module's models took goes back to the system, which has it for the processes of other tests."""
    yield
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


def write_tiny_model(folder: Path) -> Path:
    """A pipeline folder of the embedded model's classes with random weights: 32 x 32 images, below 2 MB."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    text = {
        "vocab_size": 520,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "bos_token_id": 512,
        "eos_token_id": 513,
        "pad_token_id": 513,
        "projection_dim": 16,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "projection_dim": 16,
    }
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(16, 32),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=8,
            sample_size=32,
        ).eval(),
        text_encoder=CLIPTextModel(CLIPTextConfig(**text)).eval(),
        tokenizer=CLIPTokenizer.from_pretrained(_write_tokenizer(folder / "bpe")),
        unet=UNet2DConditionModel(
            sample_size=16,
            layers_per_block=1,
            block_out_channels=(16, 32),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=2,
            norm_num_groups=8,
        ).eval(),
        scheduler=PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=StableDiffusionSafetyChecker(
            CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
        ).eval(),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    )
    pipeline.save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def tiny_kind(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind of tests.tiny_models, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("kinds")

    def built(name: str) -> Path:
        from tests.tiny_models import build

        return folder / name if (folder / name).is_dir() else build(name, folder / name)

    return built


def _write_tokenizer(folder: Path) -> Path:
    """A byte-level CLIP vocabulary without merges: 256 symbols, 256 word ends, two special tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = sorted(ByteLevel.alphabet())
    symbols = alphabet + [f"{symbol}</w>" for symbol in alphabet] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 16, "pad_token": "<|endoftext|>"}),
        encoding="utf-8",
    )
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long go first: at the end no worker waits for the other one."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="session")
def stages() -> list:
    """Every resolved stage of the root dvc.yaml."""
    from dvc.repo import Repo  # slow, and few tests want it

    with Repo(str(PROJECT)) as repo:
        return [stage for stage in repo.index.stages if Path(stage.path) == PROJECT / "dvc.yaml"]


@pytest.fixture
def project(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project that the module's `written` is, which a test may change, and the working folder."""
    folder = shutil.copytree(written, tmp_path / "copy")
    monkeypatch.chdir(folder)
    return folder

"""The trainings run, stop in time, go on, and their parts make a pipeline that loads and draws."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from ruamel.yaml import YAML
from safetensors import safe_open
from transformers import CLIPImageProcessor, CLIPTokenizer

from stages.lib.project.errors import UserError
from stages.lib.quality.clip_preprocessing import preprocess
from tests.training.tiny_training import run, tiny_params
from training import (
    evaluate,
    loop,
    train_autoencoder,
    train_clip,
    train_diffusion,
    train_guidance,
)
from training.checkpoint import MAX_FILE_BYTES, load_weights, save_weights
from training.clip import load_clip
from training.data import load_scenes
from training.settings import Fit, load_settings

CAPTION = "a black cat on the beach at sunset, digital art"


class Clock:
    """Stands still until it is put forward, where the module `time` is expected."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of a training."""
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    return clock


def toy_run(work: Path, clock: Clock, limit_s: float | None) -> tuple[torch.Tensor, int]:
    """Ten steps of a linear model on random data; each takes a second."""
    work.mkdir(exist_ok=True)
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 1)

    def loss_at(progress: float, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        clock.now_s += 1
        values = torch.randn(8, 3, generator=generator)
        return (module(values) - values.sum(1, keepdim=True)).square().mean(), {}

    fit = Fit(10, 8, 1e-2, 2, 0.0, 0.9, compile=False, bfloat16=False)
    deadline_s = None if limit_s is None else clock.now_s + limit_s
    average, step = loop.fit(
        module, loss_at, fit, loop.Run("toy", work, torch.device("cpu"), 1, deadline_s, None, None)
    )
    return torch.cat([module.weight, average.weight]).detach(), step


def test_a_training_stopped_by_its_time_limit_goes_on_to_the_same_weights(tmp_path: Path, clock: Clock) -> None:
    """Protects resuming: step, moments, average, schedule and random numbers all continue."""
    whole, _ = toy_run(tmp_path / "whole", clock, None)
    _, reached = toy_run(tmp_path / "stopped", clock, 3.5)
    assert reached == 4
    continued, last = toy_run(tmp_path / "stopped", clock, None)
    assert last == 10
    torch.testing.assert_close(continued, whole, rtol=0, atol=0)


def test_learning_rate_warms_up_then_falls_to_its_floor() -> None:
    """Protects the schedule's ends, which a resumed run depends on."""
    shares = [loop.learning_rate_share(step, step / 100, 10) for step in range(101)]
    assert shares[0] == pytest.approx(0.1, rel=0.01)
    assert max(shares) == shares[9] == pytest.approx(0.98, abs=0.01)
    assert shares[9:] == sorted(shares[9:], reverse=True)
    assert shares[100] == pytest.approx(loop.FINAL_LEARNING_RATE_SHARE)


def test_guidance_of_the_blend_has_the_effect_of_the_effective_scale() -> None:
    """Protects the target of the last training: the pipeline's scale then does what the effective one did."""
    empty, captioned = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    wanted, guided = train_guidance.blend(empty, captioned, 7.5, 2.0)
    torch.testing.assert_close(empty + 7.5 * (wanted - empty), guided)
    torch.testing.assert_close(guided, empty + 2.0 * (captioned - empty))


def test_a_schedule_ends_at_the_time_limit_when_asked_to(tmp_path: Path, clock: Clock) -> None:
    """Protects --anneal: the rate reaches its floor at the deadline, before or after the steps asked for."""
    (tmp_path / "work").mkdir()
    module, rates = torch.nn.Linear(3, 1), []

    def loss_at(progress: float, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        clock.now_s += 1
        rates.append(progress)
        return module(torch.ones(1, 3)).square().mean(), {}

    fit = Fit(10**6, 1, 1e-2, 2, 0.0, 0.9, compile=False, bfloat16=False)
    deadline_s = clock.now_s + 50
    run = loop.Run("toy", tmp_path / "work", torch.device("cpu"), 1, deadline_s, None, None, anneal=True)
    loop.fit(module, loss_at, fit, run)
    assert rates == sorted(rates) and rates[0] == 0 and 0.95 < rates[-1] <= 1


def test_weights_are_split_into_small_files_and_read_back(tmp_path: Path) -> None:
    """Protects the export: no file over its limit, nothing lost, a missing shard noticed."""
    tensors = {name: torch.randn(2_000_000) for name in "abc"}
    paths = save_weights(tmp_path, "net", tensors, {"step": "7"})
    assert len(paths) == 3 and all(path.stat().st_size <= MAX_FILE_BYTES for path in paths)
    loaded, metadata = load_weights(tmp_path, "net")
    assert metadata["step"] == "7"
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    paths[1].unlink()
    with pytest.raises(UserError, match="not all"):
        load_weights(tmp_path, "net")


def test_rendering_gives_the_same_drawings_as_drawing_one_by_one(trained: Path) -> None:
    """Protects the parallel renderer: order and content of both files."""
    from training.scenes import example

    pictures = np.load(trained / "work" / "heldout.npy")
    picture, _, scene = example(10_000_003)
    assert pictures.shape[1:] == (64, 64, 3)
    assert np.abs(pictures[3] - picture.reshape(64, 4, 64, 4, 3).mean((1, 3))).max() <= 0.5
    assert load_scenes(trained / "work", "heldout")[3] == scene


def test_tokenizer_keeps_the_words_and_clips_layout(trained: Path) -> None:
    """Protects the tokenizer: round trip in lower case, start and end ids, padding with the end token."""
    loaded = CLIPTokenizer.from_pretrained(trained / "model" / "tokenizer")
    ids = loaded(CAPTION.upper(), padding="max_length", truncation=True)["input_ids"]
    assert loaded.model_max_length == len(ids) == tiny_params()["tokenizer"]["max_length"]
    assert ids[0] == loaded.bos_token_id == len(loaded) - 2
    assert ids[-1] == loaded.eos_token_id == loaded.pad_token_id == len(loaded) - 1
    assert loaded.decode(ids, skip_special_tokens=True).replace(" ,", ",") == CAPTION
    stranger = loaded("Zürich € 東京")["input_ids"][1:-1]
    assert loaded.eos_token_id not in stranger
    vocabulary = json.loads((trained / "model" / "tokenizer" / "vocab.json").read_text(encoding="utf-8"))
    assert vocabulary == loaded.get_vocab()


def test_every_exported_training_is_complete_and_logged(trained: Path) -> None:
    """Protects the export folder: weights of the last step and a log for each training."""
    for stem in ("autoencoder", "clip", "diffusion"):
        with safe_open(trained / "export" / f"{stem}-1.safetensors", framework="pt") as file:
            assert file.metadata()["step"] == "3"
        lines = (trained / "export" / f"{stem}-log.jsonl").read_text(encoding="utf-8").splitlines()
        assert json.loads(lines[-1])["step"] == 3


def test_a_training_starts_from_exported_weights(trained: Path, tmp_path: Path) -> None:
    """Protects --init: with no time to train, the weights that come out are the ones that went in."""
    for name in ("train.npy", "train.jsonl", "heldout.npy", "heldout.jsonl"):
        (tmp_path / name).symlink_to(trained / "work" / name)
    params = ("--params", trained / "params.yaml", "--work", tmp_path, "--device", "cpu", "--time-limit", 0)
    run(train_autoencoder, *params, "--init", trained / "export")
    before, _ = load_weights(trained / "export", "autoencoder")
    after, metadata = load_weights(tmp_path / "weights", "autoencoder")
    assert metadata["step"] == "0"
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_decoder_phase_leaves_the_encoder_alone(trained: Path, tmp_path: Path) -> None:
    """Protects the latents: the diffusion model stays valid when the decoder is trained further."""
    for name in ("train.npy", "train.jsonl", "heldout.npy", "heldout.jsonl"):
        (tmp_path / name).symlink_to(trained / "work" / name)
    before, metadata = load_weights(trained / "work" / "weights", "autoencoder")
    save_weights(tmp_path / "weights", "autoencoder", before, metadata)
    params = ("--params", trained / "params.yaml", "--work", tmp_path, "--device", "cpu")
    run(train_autoencoder, *params, "--phase", "decoder")
    after, _ = load_weights(tmp_path / "weights", "autoencoder")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith(("encoder.", "quant_conv."))} <= same
    assert "decoder.conv_out.weight" not in same


def test_the_assembled_folder_is_a_pipeline_that_draws(trained: Path) -> None:
    """Protects the shipped layout: loads as any pipeline, draws, safety checker included."""
    pipeline = StableDiffusionPipeline.from_pretrained(trained / "model")
    pipeline.set_progress_bar_config(disable=True)
    output = pipeline(CAPTION, num_inference_steps=2, generator=torch.Generator().manual_seed(1))
    assert output.images[0].size == (64, 64)
    assert len(output.nsfw_content_detected) == 1
    assert pipeline.scheduler.config.skip_prk_steps and pipeline.scheduler.config.steps_offset == 1
    latents = train_diffusion.load_latents(
        trained / "work", load_settings(trained / "params.yaml"), torch.device("cpu")
    )
    assert pipeline.vae.config.scaling_factor == pytest.approx(latents.scaling_factor(), rel=1e-5)


def test_clip_of_the_folder_has_unit_features_and_names_labels(trained: Path) -> None:
    """Protects load_clip: normalised features, labels from the given dictionary, bad input refused."""
    clip = load_clip(trained / "model")
    assert (trained / "model/clip/attributes.json").is_file()
    pictures = np.load(trained / "work" / "heldout.npy")[:3]
    features = clip.image_features(pictures)
    assert features.shape == (3, 16) and clip.text_features([CAPTION]).shape == (1, 16)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    assert set(clip.zero_shot(pictures, {"cat": "a cat", "dog": "a dog"})) <= {"cat", "dog"}
    with pytest.raises(ValueError, match="uint8"):
        clip.image_features(pictures.astype(np.float32))


@pytest.mark.parametrize("shape", [(256, 256), (200, 320)])
def test_preprocessing_agrees_with_the_image_processor(shape: tuple[int, int]) -> None:
    """Protects the features: training, judging and the pipeline's feature extractor see the same picture."""
    processor = CLIPImageProcessor(size={"shortest_edge": 128}, crop_size={"height": 128, "width": 128})
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    picture = np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC))
    expected = processor(Image.fromarray(picture), return_tensors="pt").pixel_values
    ours = preprocess(torch.from_numpy(picture.copy())[None], processor.to_dict())
    scale = torch.tensor(processor.image_std).view(1, 3, 1, 1) * 255
    assert ((ours - expected) * scale).abs().max() < 1.5
    training = train_clip.model_input(torch.from_numpy(picture.copy())[None].permute(0, 3, 1, 2) / 255, 128)
    if shape == (256, 256):
        assert ((training - expected) * scale).abs().max() < 1.5


def test_a_caption_is_true_of_a_scene_that_has_all_it_names() -> None:
    """Protects the contrastive targets: an unnamed attribute excludes nothing, a wrong one excludes."""
    scenes = torch.tensor([[0, 1], [0, 2], [3, -1]])
    captions = torch.tensor([[0, 1], [0, -1], [3, 2]])
    expected = [[True, True, False], [False, True, False], [False, False, False]]
    assert train_clip.truth(scenes, captions).tolist() == expected


def test_wilson_interval_has_its_known_values() -> None:
    """Protects the intervals in quality.json against the textbook value for 8 of 10 and for none."""
    some = evaluate.share([True] * 8 + [False] * 2)
    assert (some.low, some.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert evaluate.share([False] * 10).low == 0


def test_evaluating_writes_quality_sheet_and_card(trained: Path) -> None:
    """Protects the evaluation end to end; two steps of training hold no bound, and it says so."""
    model = trained / "model"
    run(evaluate, "--params", trained / "params.yaml", "--work", trained / "work", "--model", model, "--device", "cpu")
    quality = json.loads((model / "quality.json").read_text(encoding="utf-8"))
    assert quality["measures"]["reconstruction_psnr_db"]["passed"] is False
    assert quality["measures"]["drawing_subject"]["n"] == 16
    assert Image.open(model / "samples.jpg").size[0] == 6 * 256
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "Apache-2.0" in card and f"{quality['measures']['drawing_place']['value']:.1%}".rstrip("%") in card


def test_a_wrong_parameter_is_named(tmp_path: Path) -> None:
    """Protects the params file: an unknown key is an error with its name, not ignored."""
    values = tiny_params()
    values["clip"]["fit"]["stepz"] = values["clip"]["fit"].pop("steps")
    path = tmp_path / "params.yaml"
    YAML().dump(values, path)
    with pytest.raises(UserError, match="stepz"):
        load_settings(path)


def test_held_out_captions_are_distinct_and_unseen_ones_come_first() -> None:
    """Protects the judged captions: no caption twice, training captions only as a last resort."""
    from training.scenes import sample_scene

    scenes = [sample_scene(random.Random(index)) for index in range(60)]
    every = evaluate.heldout_captions(scenes, 60, 1, set())
    known = set(every[::2])
    chosen = evaluate.heldout_captions(scenes, len(every), 1, known)
    assert len(set(chosen)) == len(chosen)
    assert not known & set(chosen[: len(every) - len(known)])

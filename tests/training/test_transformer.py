"""The second model: its parts train, make a pipeline that loads, and the shipped one generates."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusion3Pipeline
from PIL import Image
from safetensors.torch import load_file

from tests.training.tiny_training import run
from training import (
    assemble_transformer,
    evaluate,
    first_model,
    train_transformer,
    train_transformer_guidance,
    transformer_network,
)
from training.assemble import MAX_FOLDER_MIB
from training.checkpoint import load_weights
from training.clip import load_clip
from training.data import token_ids
from training.settings import load_settings

SHIPPED = Path("data/embedded-transformer")
CAPTION = "a black cat on the beach at sunset, digital art"


@pytest.fixture(scope="module")
def transformer(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the second model, tiny, on top of the tiny first one."""
    output = tmp_path_factory.mktemp("transformer") / "model"
    shared = ("--params", trained / "params.yaml", "--work", trained / "work", "--first-model", trained / "model")
    run(train_transformer, *shared, "--device", "cpu")
    run(train_transformer_guidance, *shared, "--device", "cpu")
    run(assemble_transformer, *shared, "--output", output)
    return output


def load(folder: Path) -> StableDiffusion3Pipeline:
    """The pipeline as a user loads it, in FP32."""
    pipeline = DiffusionPipeline.from_pretrained(
        folder, text_encoder_3=None, tokenizer_3=None, torch_dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_few_counted_tokens_work_like_the_pipelines_256_empty_ones(trained: Path) -> None:
    """Protects the training's shortcut: the network that the pipeline runs is the one that was trained."""
    torch.manual_seed(0)
    settings = load_settings(trained / "params.yaml")
    model = transformer_network.Transformer(settings, trained / "model").eval()
    for parameter in model.transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ids = token_ids(first_model.tokenizer(trained / "model"), [CAPTION, ""])
    noisy, time = torch.randn(2, 4, 8, 8), torch.tensor([0.2, 0.9])
    texts = [encoder(ids, output_hidden_states=True) for encoder in (model.text_encoder, model.text_encoder_2)]
    states = torch.cat([text.hidden_states[-2] for text in texts], dim=-1)
    with torch.no_grad():
        expected = model.transformer(
            noisy,
            encoder_hidden_states=torch.cat([states, torch.zeros(2, 256, states.shape[-1])], dim=1),
            pooled_projections=torch.cat([text.text_embeds for text in texts], dim=-1),
            timestep=1000 * time,
        ).sample
        counted = model.count_empty_tokens()(noisy, time, ids)
    assert expected.std() > 0.1
    torch.testing.assert_close(counted, expected, rtol=1e-4, atol=1e-4)


def test_the_pipeline_hands_the_network_what_the_training_did(transformer: Path, trained: Path) -> None:
    """Protects the text's way into the network: both encoders' states before the last layer, and both projections."""
    pipeline = load(transformer)
    states, _, pooled, _ = pipeline.encode_prompt(CAPTION, None, None)
    model = transformer_network.Transformer(load_settings(trained / "params.yaml"), trained / "model").eval()
    tensors, _ = load_weights(trained / "work" / "weights", "transformer_guidance")
    model.load_state_dict(tensors)
    ids = token_ids(first_model.tokenizer(trained / "model"), [CAPTION])
    texts = [encoder(ids, output_hidden_states=True) for encoder in (model.text_encoder, model.text_encoder_2)]
    ours = torch.cat([text.hidden_states[-2] for text in texts], dim=-1)
    torch.testing.assert_close(states[:, : ours.shape[1]], ours, rtol=0, atol=2e-2)
    assert states.shape[1] == ours.shape[1] + 256 and not states[:, ours.shape[1] :].any()
    torch.testing.assert_close(pooled, torch.cat([text.text_embeds for text in texts], dim=-1), rtol=0, atol=2e-2)


def test_a_cut_text_encoder_starts_from_the_first_models_layers(trained: Path) -> None:
    """Protects the start: the kept layers give what they gave, and a projection that changes nothing."""
    ids = token_ids(first_model.tokenizer(trained / "model"), [CAPTION])
    whole = first_model.text_encoder(trained / "model", 2)
    source = load_file(trained / "model" / "text_encoder" / "model.safetensors")
    layer = next(value for name, value in source.items() if name.endswith("layers.1.mlp.fc1.weight"))
    assert any(torch.equal(layer, value) for value in whole.state_dict().values())
    output = whole(ids)
    end = ids[0].tolist().index(whole.config.eos_token_id)
    torch.testing.assert_close(output.text_embeds, output.last_hidden_state[:, end])


def test_times_lie_between_clean_and_noise_and_a_share_is_uniform() -> None:
    """Protects the training's times: logit-normal ones gather in the middle, uniform ones do not."""
    generator, device = torch.Generator().manual_seed(0), torch.device("cpu")
    normal, uniform = (train_transformer.times(20_000, share, generator, device) for share in (0.0, 1.0))
    assert normal.min() > 0 and normal.max() < 1 and uniform.min() >= 0 and uniform.max() <= 1
    assert normal.std() == pytest.approx(0.208, abs=0.01) and uniform.std() == pytest.approx(0.289, abs=0.01)


def test_the_tiny_transformer_is_stored_in_half_precision_and_judged_by_the_first_models_clip(
    transformer: Path, trained: Path
) -> None:
    """Protects the folder: FP16 weights, finite images, the same CLIP files, the latents' scale and shift."""
    weights = load_file(transformer / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    clip = trained / "model" / "clip" / "model.safetensors"
    assert (transformer / "clip" / "model.safetensors").read_bytes() == clip.read_bytes()
    pipeline = load(transformer)
    assert pipeline.vae.config.shift_factor is not None and pipeline.text_encoder_3 is None
    images = pipeline(CAPTION, num_inference_steps=2, output_type="np", height=64, width=64).images
    assert images.shape == (1, 64, 64, 3) and np.isfinite(images).all()
    features = load_clip(transformer).image_features(np.round(images * 255).astype(np.uint8))
    assert features.shape == (1, 16)


def test_evaluating_the_transformer_writes_quality_sheet_and_card(transformer: Path, trained: Path) -> None:
    """Protects the evaluation of the second model with the program of the first."""
    shared = ("--params", trained / "params.yaml", "--work", trained / "work", "--device", "cpu")
    run(evaluate, *shared, "--model", transformer)
    quality = json.loads((transformer / "quality.json").read_text(encoding="utf-8"))
    assert quality["measures"]["generated_subject"]["bound"] == 0.85
    assert Image.open(transformer / "samples.jpg").size[0] == 6 * 256
    card = (transformer / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0") and "| text_encoder_2 |" in card and "FP16" in card


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="the model is not in this checkout")
def test_the_shipped_transformer_loads_holds_no_pickle_and_generates() -> None:
    """Protects data/embedded-transformer: its class, its size, its formats, and an image after two steps."""
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".md", ".jpg"}
    assert sum(path.stat().st_size for path in files) <= MAX_FOLDER_MIB["StableDiffusion3Pipeline"] * 2**20
    pipeline = load(SHIPPED)
    assert type(pipeline) is StableDiffusion3Pipeline
    generator = torch.Generator().manual_seed(0)
    images = pipeline(CAPTION, num_inference_steps=2, generator=generator, output_type="np").images
    assert images.shape == (1, 256, 256, 3) and np.isfinite(images).all() and images.std() > 0.05

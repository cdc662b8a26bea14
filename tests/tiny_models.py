"""Tiny random pipelines of many kinds, made without a network in seconds: `build(kind, folder)`.

Sizes follow diffusers' own tests. Weights are random, so images mean nothing; everything else is as in the real ones.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker

CLIP_TOKENIZER = Path(__file__).resolve().parents[1] / "data/embedded/tokenizer"
CLIP_WORDS = 900
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
LETTERS = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.-'"]


def clip_tokenizer() -> Any:
    return transformers.CLIPTokenizer.from_pretrained(CLIP_TOKENIZER, local_files_only=True)


def t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), *((letter, -3.0) for letter in LETTERS)]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=64)


def qwen_tokenizer() -> Any:
    from tokenizers.pre_tokenizers import ByteLevel

    vocabulary = {symbol: number for number, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    words = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary |= {word: len(vocabulary) + number for number, word in enumerate(words)}
    tokenizer = transformers.Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=256)
    tokenizer.chat_template = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
    return tokenizer


def gemma_tokenizer() -> Any:
    symbols = ["<pad>", "<eos>", "<bos>", "<unk>", "\u2581", *LETTERS]
    return transformers.GemmaTokenizer(vocab={symbol: number for number, symbol in enumerate(symbols)}, merges=[])


def clip(projected: bool = False, activation: str = "quick_gelu", seed: int = 0) -> Any:
    torch.manual_seed(seed)
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(
        transformers.CLIPTextConfig(
            bos_token_id=898,
            eos_token_id=899,
            pad_token_id=899,
            vocab_size=CLIP_WORDS,
            hidden_size=32,
            intermediate_size=64,
            num_attention_heads=4,
            num_hidden_layers=3,
            max_position_embeddings=36,
            hidden_act=activation,
            projection_dim=32,
        )
    )


def t5(width: int = 32) -> Any:
    torch.manual_seed(0)
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=128,
            d_model=width,
            d_kv=8,
            d_ff=37,
            num_layers=3,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
        )
    )


def gemma2(width: int) -> Any:
    text = transformers.Gemma2Config(
        head_dim=16,
        hidden_size=width,
        intermediate_size=64,
        num_attention_heads=2,
        num_hidden_layers=1,
        num_key_value_heads=2,
        vocab_size=128,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    return transformers.Gemma2Model(text)


def vae(latent: int = 4, size: int = 32, quant: bool = True, **settings: Any) -> Any:
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(
        latent_channels=latent,
        block_out_channels=(8, 16),
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=size,
        use_quant_conv=quant,
        use_post_quant_conv=quant,
        **settings,
    )


def unet(**settings: Any) -> Any:
    torch.manual_seed(0)
    usual = {
        "sample_size": 16,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "attention_head_dim": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 32,
    }
    return diffusers.UNet2DConditionModel(**usual | settings)


def checker() -> StableDiffusionSafetyChecker:
    torch.manual_seed(0)
    layers = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4, "num_hidden_layers": 2}
    words = {"vocab_size": CLIP_WORDS, "bos_token_id": 898, "eos_token_id": 899, "pad_token_id": 899}
    text, vision = layers | words | {"max_position_embeddings": 36}, layers | {"image_size": 32, "patch_size": 8}
    network = StableDiffusionSafetyChecker(
        transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)
    )
    with torch.no_grad():
        for name in ("concept_embeds", "special_care_embeds"):
            getattr(network, name).normal_()
    return network


def stable_diffusion(scheduler: Any = None, checked: bool = True, **parts: Any) -> Any:
    extractor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    usual = {
        "vae": vae(),
        "text_encoder": clip(),
        "tokenizer": clip_tokenizer(),
        "unet": unet(),
        "scheduler": scheduler or diffusers.PNDMScheduler(skip_prk_steps=True, set_alpha_to_one=False, **BETAS),
        "safety_checker": checker() if checked else None,
        "feature_extractor": extractor if checked else None,
        "requires_safety_checker": checked,
    }
    return diffusers.StableDiffusionPipeline(**usual | parts)


def v_prediction(**settings: Any) -> Any:
    return diffusers.DDIMScheduler(prediction_type="v_prediction", set_alpha_to_one=False, **BETAS, **settings)


def stable_diffusion_2() -> Any:
    denoiser = unet(use_linear_projection=True, attention_head_dim=(2, 4))
    return stable_diffusion(v_prediction(), unet=denoiser, text_encoder=clip(activation="gelu"))


def sdxl() -> Any:
    denoiser = unet(
        cross_attention_dim=64,
        transformer_layers_per_block=1,
        use_linear_projection=True,
        attention_head_dim=(2, 4),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
    )
    return diffusers.StableDiffusionXLPipeline(
        vae=vae(scaling_factor=0.13025, force_upcast=True),
        text_encoder=clip(),
        text_encoder_2=clip(True, "gelu", 1),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=denoiser,
        scheduler=diffusers.EulerDiscreteScheduler(timestep_spacing="leading", **BETAS),
        add_watermarker=False,
    )


def sd3(with_t5: bool = True) -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=64,
        pooled_projection_dim=64,
        out_channels=16,
        pos_embed_max_size=32,
        qk_norm="rms_norm",
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=denoiser,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(16, quant=False, scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=clip(True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(True, "gelu", 1),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(64) if with_t5 else None,
        tokenizer_3=t5_tokenizer() if with_t5 else None,
    )


def flux(guided: bool = True) -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guided,
    )
    shift = {"use_dynamic_shifting": True, "shift": 3.0} if guided else {"shift": 1.0}
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**shift),
        vae=vae(16, quant=False, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
        transformer=denoiser,
    )


def pixart() -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.PixArtTransformer2DModel(
        sample_size=16,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        use_additional_conditions=False,
    )
    return diffusers.PixArtSigmaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=vae(scaling_factor=0.13025),
        transformer=denoiser,
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


def pixart_alpha() -> Any:
    return diffusers.PixArtAlphaPipeline(**pixart().components)


def auraflow() -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.AuraFlowTransformer2DModel(
        sample_size=16,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pos_embed_max_size=256,
    )
    text = {"vocab_size": 128, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 3, "num_heads": 4}
    return diffusers.AuraFlowPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=transformers.UMT5EncoderModel(transformers.UMT5Config(**text, use_cache=False)),
        vae=vae(),
        transformer=denoiser,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


def chroma() -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.ChromaTransformer2DModel(
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
        approximator_hidden_dim=32,
        approximator_layers=1,
        approximator_num_channels=16,
    )
    return diffusers.ChromaPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae(16, quant=False, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=t5(),
        tokenizer=t5_tokenizer(),
        transformer=denoiser,
    )


def lumina2() -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.Lumina2Transformer2DModel(
        sample_size=16,
        in_channels=4,
        hidden_size=24,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=2,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(128, 128, 128),
        cap_feat_dim=32,
    )
    return diffusers.Lumina2Pipeline(
        transformer=denoiser,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae(shift_factor=0.1),
        text_encoder=gemma2(32),
        tokenizer=gemma_tokenizer(),
    )


def cogview4() -> Any:
    """Every layer of its denoiser is linear: in PyTorch's INT8 it has no parameter left."""
    torch.manual_seed(0)
    denoiser = diffusers.CogView4Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=4,
        num_attention_heads=4,
        text_embed_dim=32,
        time_embed_dim=8,
        condition_dim=4,
    )
    text = transformers.GlmConfig(
        hidden_size=32,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=300,
        pad_token_id=0,
    )
    return diffusers.CogView4Pipeline(
        tokenizer=qwen_tokenizer(),
        text_encoder=transformers.GlmModel(text),
        vae=vae(),
        transformer=denoiser,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type="linear"),
    )


def hunyuan_dit() -> Any:
    """A pool of its denoiser computes with the weights of linear layers by itself."""
    torch.manual_seed(0)
    denoiser = diffusers.HunyuanDiT2DModel(
        sample_size=16,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        in_channels=4,
        cross_attention_dim=32,
        cross_attention_dim_t5=32,
        pooled_projection_dim=16,
        hidden_size=24,
    )
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    text = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
    autoencoder = diffusers.AutoencoderKL(  # the pipeline takes it for granted that latents are an eighth of the image
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        norm_num_groups=8,
        sample_size=128,
    )
    return diffusers.HunyuanDiTPipeline(
        vae=autoencoder,
        text_encoder=transformers.BertModel(transformers.BertConfig(vocab_size=len(words), **text)),
        tokenizer=transformers.BertTokenizer({word: number for number, word in enumerate(words)}),
        transformer=denoiser,
        scheduler=diffusers.DDPMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
    )


def sana() -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=8,
        sample_size=32,
    )
    blocks = ("ResBlock", "EfficientViTBlock")
    autoencoder = diffusers.AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=blocks,
        decoder_block_types=blocks,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    return diffusers.SanaPipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=gemma2(8),
        vae=autoencoder,
        transformer=denoiser,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
    )


def qwen_image() -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    )
    autoencoder = diffusers.AutoencoderKLQwenImage(
        base_dim=24,
        z_dim=4,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    layers = {"hidden_size": 16, "intermediate_size": 16}
    text = layers | {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 300}
    text["rope_parameters"] = {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1000000.0}
    vision = layers | {"depth": 2, "num_heads": 2, "out_hidden_size": 16}
    return diffusers.QwenImagePipeline(
        transformer=denoiser,
        vae=autoencoder,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(
            transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
        ),
        tokenizer=qwen_tokenizer(),
    )


def qwen3() -> Any:
    return transformers.Qwen3Config(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=300,
        max_position_embeddings=512,
    )


def z_image() -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.ZImageTransformer2DModel(
        in_channels=16,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 32, 32],
    )
    return diffusers.ZImagePipeline(
        transformer=denoiser,
        vae=vae(16, quant=False, scaling_factor=0.3611, shift_factor=0.1159),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=transformers.Qwen3Model(qwen3()),
        tokenizer=qwen_tokenizer(),
    )


def flux2() -> Any:
    """Its pipeline draws noise in one shape, takes it in that, and packs it then."""
    torch.manual_seed(0)
    denoiser = diffusers.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    autoencoder = diffusers.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(8,),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
        sample_size=32,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    tokenizer = qwen_tokenizer()
    tokenizer.pad_token = "<|endoftext|>"
    return diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder,
        text_encoder=transformers.Qwen3ForCausalLM(qwen3()),
        tokenizer=tokenizer,
        transformer=denoiser,
    )


def bria_fibo() -> Any:
    """Its text encoder makes words, which nothing looks at, with the weight of its embedding."""
    torch.manual_seed(0)
    denoiser = diffusers.BriaFiboTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=64,
        text_encoder_dim=32,
        pooled_projection_dim=None,
        axes_dims_rope=[0, 4, 4],
    )
    autoencoder = diffusers.AutoencoderKLWan(
        base_dim=8,
        decoder_base_dim=8,
        num_res_blocks=1,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        temperal_downsample=[False, True, True],
        z_dim=16,
    )
    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    words = {"vocab_size": 300, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return diffusers.BriaFiboPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        text_encoder=transformers.SmolLM3ForCausalLM(
            transformers.SmolLM3Config(**text, **words, num_key_value_heads=2, tie_word_embeddings=True)
        ),
        tokenizer=flux2().tokenizer,
        transformer=denoiser,
        vae=autoencoder,
    )


def ernie_image() -> Any:
    """Its pipeline has no method that prepares noise: its call draws by itself."""
    parts = flux2().components
    torch.manual_seed(0)
    denoiser = diffusers.ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=32,
        in_channels=16,
        out_channels=16,
        text_in_dim=16,
        rope_axes_dim=(8, 4, 4),
    )
    with torch.no_grad():  # else its answer is zero
        for parameter in denoiser.parameters():
            parameter.normal_(0, 0.1)
    return diffusers.ErnieImagePipeline(
        transformer=denoiser,
        vae=parts["vae"],
        text_encoder=transformers.Qwen3Model(qwen3()),
        tokenizer=parts["tokenizer"],
        scheduler=parts["scheduler"],
    )


def krea2() -> Any:
    """Its index has a list of numbers, a setting."""
    torch.manual_seed(0)
    denoiser = diffusers.Krea2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=32,
        timestep_embed_dim=8,
        text_hidden_dim=16,
        num_text_layers=3,
        text_num_attention_heads=2,
        text_num_key_value_heads=1,
        text_intermediate_size=16,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 2, 2),
        rope_theta=1000.0,
    )
    layers = {"hidden_size": 16, "intermediate_size": 16}
    text = layers | {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 300}
    text |= {"head_dim": 8, "rope_parameters": {"mrope_section": [2, 1, 1], "rope_type": "default", "rope_theta": 1e4}}
    vision = layers | {"depth": 2, "num_heads": 2, "out_hidden_size": 16}
    return diffusers.Krea2Pipeline(
        transformer=denoiser,
        vae=qwen_image().vae,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        text_encoder=transformers.Qwen3VLModel(transformers.Qwen3VLConfig(text_config=text, vision_config=vision)),
        tokenizer=flux2().tokenizer,
        text_encoder_select_layers=(0, 1, 2),
    )


def ideogram() -> Any:
    """Its pipeline calls layers of the text encoder one by one, not the network; it has two denoisers."""
    torch.manual_seed(0)
    parts = krea2().components
    settings = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_key_value_heads": 1}
    text = settings | {"num_hidden_layers": 36, "head_dim": 8, "vocab_size": 300}
    text |= {"rope_parameters": {"mrope_section": [2, 1, 1], "rope_type": "default", "rope_theta": 1e4}}
    vision = {"hidden_size": 16, "intermediate_size": 16, "depth": 1, "num_heads": 2, "out_hidden_size": 8}

    def denoiser() -> Any:
        return diffusers.Ideogram4Transformer2DModel(
            in_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            intermediate_size=16,
            adaln_dim=8,
            llm_features_dim=13 * 8,
            mrope_section=(2, 1, 1),
        )

    return diffusers.Ideogram4Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=flux2().vae,
        text_encoder=transformers.Qwen3VLModel(transformers.Qwen3VLConfig(text_config=text, vision_config=vision)),
        tokenizer=parts["tokenizer"],
        transformer=denoiser(),
        unconditional_transformer=denoiser(),
    )


def cogview3() -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.CogView3PlusTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=4,
        text_embed_dim=32,
        time_embed_dim=8,
        condition_dim=2,
        pos_embed_max_size=32,
        sample_size=8,
    )
    return diffusers.CogView3PlusPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=vae(),
        transformer=denoiser,
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )


def kandinsky5() -> Any:
    """Its answer has one `image`, which is a list; it encodes sizes in eighths."""
    torch.manual_seed(0)
    denoiser = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        in_text_dim=16,
        in_text_dim2=32,
        time_dim=16,
        out_visual_dim=4,
        model_dim=16,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(2, 2, 4),
    )
    with torch.no_grad():  # else it hardly hears its blocks
        for parameter in denoiser.parameters():
            parameter.normal_(0, 0.2)
    reader = clip().config.to_dict() | {"max_position_embeddings": 77}
    return diffusers.Kandinsky5T2IPipeline(
        transformer=denoiser,
        vae=vae(),
        text_encoder=qwen_image().text_encoder,
        tokenizer=flux2().tokenizer,
        text_encoder_2=transformers.CLIPTextModel(transformers.CLIPTextConfig(**reader)),
        tokenizer_2=clip_tokenizer(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


def latent_diffusion() -> Any:
    """Its text encoder is diffusers' own and is not called so."""
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel

    torch.manual_seed(0)
    text = {"vocab_size": CLIP_WORDS, "d_model": 32, "encoder_layers": 1, "encoder_ffn_dim": 37, "head_dim": 8}
    return diffusers.LDMTextToImagePipeline(
        vqvae=vae(),
        bert=LDMBertModel(LDMBertConfig(**text, max_position_embeddings=77, encoder_attention_heads=4)),
        tokenizer=clip_tokenizer(),
        unet=unet(),
        scheduler=diffusers.DDIMScheduler(set_alpha_to_one=False, **BETAS),
    )


def bria() -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.BriaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=[0, 4, 4],
    )
    return diffusers.BriaPipeline(
        transformer=denoiser,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae(shift_factor=0),
        text_encoder=t5(),
        tokenizer=t5_tokenizer(),
    )


def ovis_image() -> Any:
    torch.manual_seed(0)
    denoiser = diffusers.OvisImageTransformer2DModel(
        in_channels=16,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(4, 2, 2),
    )
    return diffusers.OvisImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae(scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=transformers.Qwen3Model(qwen3()),
        tokenizer=flux2().tokenizer,
        transformer=denoiser,
    )


def sana_sprint() -> Any:
    parts = sana().components
    settings = {key: value for key, value in parts["transformer"].config.items() if not key.startswith("_")}
    torch.manual_seed(0)
    settings |= {"guidance_embeds": True, "qk_norm": "rms_norm_across_heads"}
    denoiser = diffusers.SanaTransformer2DModel(**settings)
    return diffusers.SanaSprintPipeline(
        **parts | {"transformer": denoiser, "scheduler": diffusers.SCMScheduler()},
    )


def sdxl_pag() -> Any:
    """It predicts three times in a step, once with attention that looks away."""
    parts = {name: part for name, part in sdxl().components.items() if part is not None}
    return diffusers.StableDiffusionXLPAGPipeline(**parts, pag_applied_layers=["mid"], add_watermarker=False)


def latent_consistency() -> Any:
    return diffusers.LatentConsistencyModelPipeline(
        vae=vae(),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        unet=unet(time_cond_proj_dim=32),
        scheduler=diffusers.LCMScheduler(**BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


KINDS: dict[str, Callable[[], Any]] = {
    "sd15": stable_diffusion,
    "sd15-unchecked": lambda: stable_diffusion(checked=False),
    "sd15-oblong": lambda: stable_diffusion(unet=unet(sample_size=(16, 24))),
    "sd15-other-vae-size": lambda: stable_diffusion(vae=vae(size=16)),
    "sd15-dpm": lambda: stable_diffusion(diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True, **BETAS)),
    "sd15-ancestral": lambda: stable_diffusion(diffusers.EulerAncestralDiscreteScheduler(**BETAS)),
    "sd15-lcm-unguided": lambda: stable_diffusion(diffusers.LCMScheduler(**BETAS), checked=False),
    "sd15-lcm": lambda: stable_diffusion(diffusers.LCMScheduler(**BETAS), unet=unet(time_cond_proj_dim=32)),
    "sd15-zero-snr": lambda: stable_diffusion(
        v_prediction(rescale_betas_zero_snr=True, timestep_spacing="trailing"), checked=False
    ),
    "sd21": stable_diffusion_2,
    "lcm": latent_consistency,
    "sdxl": sdxl,
    "sd3": sd3,
    "sd3-without-t5": lambda: sd3(with_t5=False),
    "flux": flux,
    "flux-schnell": lambda: flux(guided=False),
    "pixart-sigma": pixart,
    "pixart-alpha": pixart_alpha,
    "auraflow": auraflow,
    "chroma": chroma,
    "lumina2": lumina2,
    "cogview4": cogview4,
    "hunyuan-dit": hunyuan_dit,
    "sana": sana,
    "qwen-image": qwen_image,
    "z-image": z_image,
    "flux2-klein": flux2,
    "bria-fibo": bria_fibo,
    "ernie-image": ernie_image,
    "krea2": krea2,
    "ideogram": ideogram,
    "cogview3": cogview3,
    "kandinsky5": kandinsky5,
    "latent-diffusion": latent_diffusion,
    "bria": bria,
    "ovis-image": ovis_image,
    "sana-sprint": sana_sprint,
    "sdxl-pag": sdxl_pag,
    "flux-kontext": lambda: diffusers.FluxKontextPipeline(**flux().components),
}
# Call arguments without which a kind does not generate, or not as it is meant to.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "flux": {"height": 32, "width": 32, "max_sequence_length": 16},
    "flux-schnell": {"height": 32, "width": 32, "max_sequence_length": 16, "guidance_scale": 0.0},
    "sd3": {"height": 32, "width": 32, "max_sequence_length": 16},
    "sd3-without-t5": {"height": 32, "width": 32},
    "pixart-sigma": {"height": 32, "width": 32, "max_sequence_length": 16, "use_resolution_binning": False}
    | {"clean_caption": False},
    "sana": {"height": 32, "width": 32, "max_sequence_length": 16, "use_resolution_binning": False}
    | {"clean_caption": False, "complex_human_instruction": None},
    "pixart-alpha": {"height": 32, "width": 32, "max_sequence_length": 16, "use_resolution_binning": False},
    "auraflow": {"height": 32, "width": 32, "max_sequence_length": 16},
    "chroma": {"height": 32, "width": 32, "max_sequence_length": 16},
    "lumina2": {"height": 32, "width": 32, "max_sequence_length": 16},
    "cogview4": {"height": 32, "width": 32, "max_sequence_length": 16, "negative_prompt": "bad"},
    "hunyuan-dit": {"height": 128, "width": 128, "use_resolution_binning": False},
    "qwen-image": {"height": 32, "width": 32, "max_sequence_length": 16, "true_cfg_scale": 4.0, "negative_prompt": " "},
    "z-image": {"height": 32, "width": 32, "max_sequence_length": 16},
    "flux2-klein": {"height": 32, "width": 32, "max_sequence_length": 64, "text_encoder_out_layers": (1, 2, 3)},
    "ernie-image": {"height": 32, "width": 32},
    "krea2": {"height": 32, "width": 32, "max_sequence_length": 16, "negative_prompt": "bad"},
    "ideogram": {"height": 32, "width": 32, "max_sequence_length": 64, "guidance_schedule": None},
    **{
        name: {"height": 32, "width": 32, "max_sequence_length": 16}
        for name in ("cogview3", "kandinsky5", "bria", "ovis-image")
    },
    "latent-diffusion": {"height": 32, "width": 32},
    "sana-sprint": {"height": 32, "width": 32, "max_sequence_length": 16, "use_resolution_binning": False}
    | {"clean_caption": False, "complex_human_instruction": None, "num_inference_steps": 2},
    "bria-fibo": {"height": 32, "width": 32, "negative_prompt": "bad"},
    "flux-kontext": {"height": 32, "width": 32, "max_sequence_length": 16, "max_area": 1024, "_auto_resize": False},
}


def build(kind: str, folder: Path) -> Path:
    """The pipeline folder of that kind, written to `folder` as diffusers saves it."""
    shutil.rmtree(folder, ignore_errors=True)
    KINDS[kind]().save_pretrained(folder)
    return folder

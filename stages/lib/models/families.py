"""What cannot be read from a model: what names mean in the libraries. Tables only; a new family is a line here."""

import re

# Classes that hold no weights, by the end of their name.
WITHOUT_WEIGHTS = re.compile(r"(Scheduler|Tokenizer(Fast)?|Processor(Fast|Pil)?|FeatureExtractor|Guidance)$")
# Networks by their class: what makes images of latents, and what judges images.
DECODERS = re.compile(r"Autoencoder|VQModel|VQGAN|VAE$")
CHECKERS = re.compile(r"SafetyChecker$")
# Text encoders are of transformers, or are called so, or are of such a class.
TEXT_ENCODER = "text_encoder"
READERS = re.compile(r"Bert")
# Networks that serve images given as prompts: generation from text never calls them.
IDLE = ("image_encoder",)
# Classes of components that a model may lack though its index names them: they change no image.
SPARABLE = re.compile(r"(SafetyChecker|FeatureExtractor|Processor(Fast|Pil)?)$")
# What a component without weights is read from, by the end of its class: all files of one of the sets.
READ_FROM = {
    "Scheduler": [{"scheduler_config.json"}],
    "Guidance": [{"guider_config.json"}],
    "ByT5Tokenizer": [{"tokenizer_config.json"}],  # its words are bytes
    "Tokenizer": [
        {"tokenizer.json"},
        {"vocab.json", "merges.txt"},
        {"spiece.model"},
        {"tokenizer.model"},
        {"vocab.txt"},
    ],
    "Processor": [{"preprocessor_config.json"}, {"processor_config.json"}],
    "FeatureExtractor": [{"preprocessor_config.json"}],
}
# What answers of pipelines call their images; answers of others are videos, sounds, or inputs of further pipelines.
IMAGES = ("images", "image")
# Classes that a library has renamed.
RENAMED = {"CLIPFeatureExtractor": "CLIPImageProcessor"}

# Arguments of networks that keep FP32 where all else is cast to fewer bits: positions, times, sizes, finished images.
EXACT_ARGUMENTS = re.compile(r"(^|_)(ids|timesteps?|sigmas?|guidance|rotary_emb|t|images)$")

# Arguments by which a denoiser is given the guidance scale: it then predicts once in a step.
GUIDANCE_INPUTS = ("guidance", "timestep_cond")
# The argument of a call that is the guidance scale where there are two; the other one is such an input.
TRUE_GUIDANCE = "true_cfg_scale"

# Pipelines whose guided prediction begins at the one with the prompt, f(c) + w (f(c) - f); that of others begins at the
# one without, f + w (f(c) - f).
GUIDED_FROM_PROMPT = re.compile(r"^(ZImage|Cosmos|Krea)")
# Pipelines that scale the guided prediction back to the length of the one with the prompt.
GUIDED_LENGTH_KEPT = re.compile(r"^(QwenImage|NucleusMoE|Lumina2)")

# Pipelines that cut a prompt after a text encoder has read it: they drop the first embeddings, which are a template's,
# as many as an attribute of the pipeline says, and keep as many of the others as an argument of the call says.
CUT_AFTER_READING = {"QwenImagePipeline": ("prompt_template_encode_start_idx", "max_sequence_length")}

# Denoisers that take one row of times for all rows of a batch; others are given as many rows.
ONE_TIME = re.compile(r"^UNet2DCondition")

# Modules, by their class, that compute with the weights of layers in them and do not call these.
USING_WEIGHTS = re.compile(r"AttentionPool$|^MultiheadAttention$")

# First and last layers, by their whole name in a denoiser or decoder: a few thousand weights. Rounding the last one can
# cost more than rounding all others together (its few channels are the prediction, and nothing averages over them), and
# the first one's input is an image whose noise, towards the end, is finer than a step of INT8.
END_LAYERS = (
    r"(decoder\.)?conv_(in|out)|pos_embed\.proj|patch_embed\.proj|x_embedder|img_in|proj_out|"
    r"all_x_embedder\.[^.]+|all_final_layer\.[^.]+\.linear"
)
# Of a transformer, those that scale, shift and gate every token by the time (adaLN).
MODULATION_LAYERS = r".*norm\w*\.linear|.*\.(img|txt)_mod\.1|.*adaLN_modulation\.\d"
# Layers that hear of the time: few rows, whose errors are in everything.
TIME_LAYERS = (
    rf"(time_embedding|time_text_embed|time_embed|adaln_single|t_embedder)\..*|.*\.time_emb_proj|{MODULATION_LAYERS}"
)
# Second layers of feed-forward parts: their input, a product of two activations, has outliers, by far the largest
# errors of INT8 activations.
OUTLIER_LAYERS = (
    r".*\.(ff(_context)?|img_mlp|txt_mlp)\.net\.2|.*\.feed_forward\.w2|single_transformer_blocks\.\d+\.proj_out"
)

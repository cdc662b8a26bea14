"""What cannot be read from a model: what names mean in the libraries. Tables only; a new family is a line here."""

import re

# Classes that hold no weights, by the end of their name.
WITHOUT_WEIGHTS = re.compile(r"(Scheduler|Tokenizer(Fast)?|Processor(Fast|Pil)?|FeatureExtractor)$")
# Networks by their class: what makes images of latents, and what judges images.
DECODERS = re.compile(r"Autoencoder|VQModel|VQGAN|VAE$")
CHECKERS = re.compile(r"SafetyChecker$")
# Text encoders are of transformers, or are called so.
TEXT_ENCODER = "text_encoder"
# Networks that serve images given as prompts: generation from text never calls them.
IDLE = ("image_encoder",)
# What a component without weights is read from, by the end of its class: all files of one of the sets.
READ_FROM = {
    "Scheduler": [{"scheduler_config.json"}],
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
# Classes that a library has renamed.
RENAMED = {"CLIPFeatureExtractor": "CLIPImageProcessor"}

# Arguments of networks that keep FP32 where all else is cast to fewer bits: positions, times, sizes, finished images.
EXACT_ARGUMENTS = re.compile(r"(^|_)(ids|timesteps?|sigmas?|guidance|rotary_emb|t|images)$")

"""What readers are told of the codes in records and parameters: parts of a model, ratings, effects, reasons."""

from stages.lib.project.errors import UserError
from stages.lib.quality.full_reference import MS_SSIM_SMALLEST_SIDE
from stages.lib.reporting.languages import N_, Translate

# Words of params.yaml, data/prompts.csv and the table of metrics as they come. A user's own are in no catalogue.
AS_THEY_COME = (
    N_("How quantization changes a diffusion model"),
    N_("Embedded scene model"),
    N_("Embedded scene model, transformer"),
    N_("Local model"),
    N_("Stable Diffusion v1.5 architecture, random weights"),
    *(N_("landscape"), N_("animal"), N_("fantasy"), N_("person"), N_("object"), N_("blocked")),
    *(N_("low"), N_("medium"), N_("high")),
    N_("Research and development"),
    N_("Production on a GPU with more than 8 GB"),
    N_("Production on a GPU with 4 to 8 GB"),
    N_("Production on a GPU with 2 to 4 GB"),
    N_("Demonstrations and prototypes"),
    N_("Deployment on a CPU alone"),
    N_("Mobile devices"),
    N_("Edge computing"),
    N_("Hessel et al., EMNLP 2021, arXiv:2104.08718, without its factor 2.5"),
)
UNITS = (N_("MiB"), N_("GiB"), N_("dB"), N_("s"), N_("MB"))


def translated(text: str, _: Translate) -> str:
    """`text` of params.yaml, prompts or metrics in the language of `_`, if it is as it came; a user's own as it is."""
    return _(text) if text in AS_THEY_COME else text


def reason(code: str, _: Translate) -> str:
    """Why something was not measured. A code that is not known is a UserError: the record is of other code."""
    words = {
        "simulated": _(
            "simulated: numbers are rounded to integers, but stored and computed in floating point, so time and memory "
            "would say nothing about integer arithmetic"
        ),
        "random_weights": _("images generated from random weights mean nothing"),
        "no_clip": _("the model brings no CLIP of its own"),
        "not_sampled": _("no prompt is in the sample (quality.perceptual_prompts), or images are too small"),
        "small_images": _("images have fewer than %(side)s pixels on a side") % {"side": MS_SSIM_SMALLEST_SIDE},
        "no_embedding": _("this back end's safety checker shows no image embedding"),
        "no_checker": _("this model has no safety checker"),
        "one_prompt": _("there is only one prompt, and nothing to swap with"),
        "one_seed": _("prompts have the same seed, and nothing to shuffle"),
        "prompt_hardly_read": _("this model hardly reads its prompt: that control says nothing"),
        "noise_hardly_used": _("this model's images hardly depend on the noise: that control says nothing"),
        "weights_hardly_used": _("this model's images hardly depend on its denoiser: that control says nothing"),
    }
    if code not in words:
        raise UserError(f"the results give '{code}' as a reason, which this code does not: run `dvc repro`")
    return words[code]


def names_of(kind: str, _: Translate) -> dict[str, str]:
    """What readers are told of every code of that kind, a key of NAMES; a component without a name by its own."""
    return _Named({code: _(name) for code, name in NAMES[kind].items()})


class _Named(dict[str, str]):
    def __missing__(self, code: str) -> str:
        return code


NAMES = {
    "kernel": {  # what a GPU's kernels are for
        "attention": N_("attention"),
        "layout": N_("layout conversions"),
        "unpacking": N_("unpacking weights"),
        "convolutions": N_("convolutions"),
        "products": N_("matrix products"),
        "rounding": N_("rounding activations"),
        "casts": N_("casts and copies"),
        "other": N_("other kernels"),
        "waiting": N_("the GPU waits for the processor"),
    },
    "component": {  # and the parts of the time of an image
        "unet": N_("U-Net"),
        "vae": N_("VAE"),
        "text_encoder": N_("Text encoder"),
        "text_encoder_2": N_("Text encoder 2"),
        "safety_checker": N_("Safety checker"),
        "transformer": N_("Transformer"),
        "denoiser": N_("denoiser"),
        "decoder": N_("decoder"),
        "text_encoders": N_("text encoders"),
        "text_encoder_3": N_("Text encoder 3"),
        "other": N_("Other"),
    },
    "operator": {
        "Conv1d": N_("1D convolutions"),
        "Conv2d": N_("convolutions"),
        "Conv3d": N_("3D convolutions"),
        "Linear": N_("linear layers"),
        "MatMul": N_("attention"),
    },
    "probe_point": {  # where damage is looked for
        "embeddings": N_("embeddings"),
        "latents": N_("latents"),
        "image": N_("image"),
        "safety": N_("safety margin"),
    },
    "sparing": {  # kinds of format, by stages.lib.sensitivity.sparing
        "int8": N_("INT8 weights"),
        "int8_activations": N_("INT8 weights and activations"),
        "float8": N_("FP8 weights"),
        "int4": N_("weights of 4 bits"),
    },
    "layer_kind": {  # what a layer of a denoiser is for, by stages.lib.formats.torch.layers.KINDS
        "first and last": N_("first and last"),
        "modulation": N_("modulation (adaLN)"),
        "time": N_("time"),
        "self-attention": N_("self-attention"),
        "cross-attention": N_("cross-attention"),
        "attention": N_("attention"),
        "embeddings": N_("embeddings"),
        "feed-forward": N_("feed-forward"),
        "projection": N_("projection"),
        "resampling": N_("resampling"),
        "shortcut": N_("shortcut"),
        "convolution": N_("convolution"),
        "other": N_("other"),
    },
    "rating": {  # the study's, by bands of PSNR
        "identical": N_("identical"),
        "excellent": N_("excellent"),
        "good": N_("good"),
        "fair": N_("fair"),
        "poor": N_("poor"),
    },
    "effect": {  # of a format on a component, and how critical the component is
        "negligible": N_("negligible"),
        "minimal": N_("minimal"),
        "moderate": N_("moderate"),
        "significant": N_("significant"),
        "low": N_("low"),
        "medium": N_("medium"),
        "high": N_("high"),
    },
    "feature": {"own_clip": N_("the model's own CLIP")},  # what sets of images are compared by
    "measure": {  # of damage: the head of its column, with its unit
        "blur": N_("Blur"),
        "detail_db": N_("Fine detail, dB"),
        "blockiness": N_("Blocks, levels"),
        "posterization_bits": N_("Tones lost, bit"),
        "noise": N_("Grain, levels"),
        "mottling": N_("Mottling, levels"),
        "lightness": N_("L*"),
        "green_red": N_("a*"),
        "blue_yellow": N_("b*"),
    },
    "control": {  # what was done wrongly on purpose
        "rerun": N_("The baseline under another name"),
        "seeds": N_("Shuffled seeds"),
        "prompts": N_("Swapped prompts"),
        "int2": N_("Denoiser's weights rounded to INT2"),
        "nan": N_("One weight that is not a number"),
    },
    "expectation": {  # of a control
        "identical": N_("identical in every pixel"),
        "different": N_("no good word"),
        "stopped": N_("generation stops"),
    },
    "damage": {  # that is known
        "blur": N_("Gaussian blur"),
        "jpeg": N_("JPEG"),
        "posterize": N_("Posterization"),
        "tint": N_("Warm tint"),
        "noise": N_("Noise"),
        "mottle": N_("Blotches of 4 to 16 pixels"),
    },
    "strength": {  # of known damage: what it counts
        "blur": N_("standard deviation, pixels"),
        "jpeg": N_("quality"),
        "posterize": N_("values per channel"),
        "tint": N_("share by which red rises and blue falls"),
        "noise": N_("standard deviation, grey levels"),
        "mottle": N_("standard deviation, grey levels"),
    },
    "cause": {  # of a blank image
        "scene": N_("as in the reference"),
        "flagged": N_("flagged and blackened"),
        "broken": N_("broken arithmetic"),
    },
    "primary": {  # the answer to a primary question
        "within": N_("within the margin"),
        "beyond": N_("beyond the margin"),
        "undecided": N_("undecided"),
    },
    "network": {  # whose features distances of sets are of
        "clip": N_("own CLIP"),
        "imagenet": "ImageNet",
    },
    "scale_figure": {  # of large sets
        "psnr": "PSNR",
        "attributes": N_("attributes"),
        "clip": N_("distances by own CLIP"),
        "imagenet": N_("distances by ImageNet"),
    },
    "scale_verdict": {  # on the attributes of large sets, where they cannot be told from the baseline's
        "equal": N_("equal"),
        "undecided": N_("undecided"),
    },
    "scale_note": {  # what was done by hand with a record of large sets
        "by_hand": N_("The record was put together from these runs by hand."),
        "clip_in_fp16": N_("CLIP features were kept in FP16."),
        "few_corrected": N_("Samples without any change were counted as undecided afterwards, by hand."),
    },
    "comparison": {  # the verdict on two formats
        "equal": N_("equal within the margin"),
        "higher": N_("higher"),
        "lower": N_("lower"),
        "undecided": N_("undecided"),
    },
    "verdict": {  # on what the study printed
        "agrees": N_("agrees"),
        "differs": N_("differs"),
        "implausible": N_("implausible"),
        "impossible": N_("impossible"),
        "meaningless": N_("meaningless"),
        "incomparable": N_("not comparable"),
        "unmeasured": N_("not measured"),
    },
    "memory": {"rss": N_("resident"), "cuda": N_("allocated")},  # how it was measured
}

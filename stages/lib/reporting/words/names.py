"""What readers are told of the codes in records and parameters: parts of a model, ratings, effects, reasons."""

from stages.lib.project.errors import UserError
from stages.lib.quality.full_reference import MS_SSIM_SMALLEST_SIDE
from stages.lib.reporting.languages import N_, Translate

# Words of params.yaml, data/prompts.csv and the table of metrics as they come. A user's own are in no catalogue.
AS_THEY_COME = (
    N_("How quantization changes a diffusion model"),
    N_("Embedded scene model"),
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
    }
    if code not in words:
        raise UserError(f"the results give '{code}' as a reason, which this code does not: run `dvc repro`")
    return words[code]


def component_names(_: Translate) -> dict[str, str]:
    """The components, and the parts of the time of an image."""
    return {
        "unet": _("U-Net"),
        "vae": _("VAE"),
        "text_encoder": _("Text encoder"),
        "text_encoder_2": _("Text encoder 2"),
        "safety_checker": _("Safety checker"),
        "transformer": _("Transformer"),
        "denoiser": _("denoiser"),
        "decoder": _("decoder"),
        "text_encoders": _("text encoders"),
        "text_encoder_3": _("Text encoder 3"),
        "other": _("Other"),
    }


def operator_names(_: Translate) -> dict[str, str]:
    """The operators that are executed."""
    return {"Conv2d": _("convolutions"), "Linear": _("linear layers"), "MatMul": _("attention")}


def probe_point_names(_: Translate) -> dict[str, str]:
    """The places where damage is looked for."""
    return {
        "embeddings": _("embeddings"),
        "latents": _("latents"),
        "image": _("image"),
        "safety": _("safety margin"),
    }


def layer_kind_names(_: Translate) -> dict[str, str]:
    """What a layer of a U-Net is for, by stages.lib.formats.torch.layers.KINDS."""
    return {
        "first and last": _("first and last"),
        "time": _("time"),
        "self-attention": _("self-attention"),
        "cross-attention": _("cross-attention"),
        "feed-forward": _("feed-forward"),
        "projection": _("projection"),
        "resampling": _("resampling"),
        "shortcut": _("shortcut"),
        "convolution": _("convolution"),
        "other": _("other"),
    }


def rating_names(_: Translate) -> dict[str, str]:
    """The study's ratings by bands of PSNR."""
    return {
        "identical": _("identical"),
        "excellent": _("excellent"),
        "good": _("good"),
        "fair": _("fair"),
        "poor": _("poor"),
    }


def effect_names(_: Translate) -> dict[str, str]:
    """The effect of a format on a component, and how critical the component is."""
    return {
        "negligible": _("negligible"),
        "minimal": _("minimal"),
        "moderate": _("moderate"),
        "significant": _("significant"),
        "low": _("low"),
        "medium": _("medium"),
        "high": _("high"),
    }


def feature_names(_: Translate) -> dict[str, str]:
    """The networks whose features sets of images are compared by."""
    return {"own_clip": _("the model's own CLIP")}

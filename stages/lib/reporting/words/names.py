"""What readers call the parts of a model and its operators."""

from stages.lib.reporting.languages import Translate


def component_names(_: Translate) -> dict[str, str]:
    """What readers call the components and the parts of the generation time."""
    return {
        "unet": _("U-Net"),
        "vae": _("VAE"),
        "text_encoder": _("Text encoder"),
        "text_encoder_2": _("Text encoder 2"),
        "safety_checker": _("Safety checker"),
        "unet_step": _("U-Net"),
        "vae_decode": _("VAE decoder"),
        "other": _("Other"),
    }


def operator_names(_: Translate) -> dict[str, str]:
    """What readers call the operators."""
    return {"Conv2d": _("convolutions"), "Linear": _("linear layers"), "MatMul": _("attention")}


def probe_point_names(_: Translate) -> dict[str, str]:
    """What readers call the places where damage is looked for."""
    return {
        "embeddings": _("embeddings"),
        "latents": _("latents"),
        "image": _("image"),
        "safety": _("safety margin"),
    }

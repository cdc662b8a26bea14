"""Rules of thumb about formats as readers are told them, and the figures that each was held against."""

from stages.lib.project.params import Params
from stages.lib.reporting.languages import N_, Translate, number, percent_of
from stages.lib.reporting.numbers import figure, quantity
from stages.lib.reporting.words.names import names_of
from stages.lib.results.rules import Finding, Rules
from stages.lib.results.speeds import Range

RULES = {
    "floats_of_16_bits": N_("16-bit floats leave the images as they are: SSIM of %(same)s or more."),
    "weights_of_8_bits": N_("Weights in INT8 alone keep an SSIM of %(threshold)s."),
    "activations_cost_more": N_("Rounding the activations to INT8 as well costs more than %(margin)s SSIM."),
    "weights_of_4_bits": N_("Weights in INT4 throughout do not keep an SSIM of %(threshold)s."),
    "mixed_bits": N_("With the worst layers spared, INT4 keeps an SSIM of %(threshold)s."),
    "mixtures_win": N_("A mixture with half a bit less in the mean, or fewer still, beats equal bits throughout."),
    "spare_the_ends": N_(
        "The first and the last layer are what must be spared: most of the noise at 4 bits is theirs."
    ),
    "spare_the_time": N_(
        "Layers that hear of the time, adaLN among them, must be spared: they cause more of the noise at 4 bits than "
        "their share of the weights."
    ),
    "runtime_alone": N_("Another runtime is faster in FP32 already, with the same images."),
    "integers_are_fastest": N_("The fastest format computes in INT8."),
    "denoiser_decides": N_("The denoiser causes the largest part of the damage."),
    "text_encoders_withstand": N_("Rounding the text encoders alone changes no image more than minimally."),
    "decoder_withstands": N_("Rounding the decoder alone changes no image more than minimally."),
    "early_calls": N_("The first third of the denoiser's calls is the most sensitive."),
}


def rule_words(rules: Rules, params: Params, _: Translate) -> str:
    """The rule, with the bounds of params.yaml."""
    margin, threshold = params.quality.margins.ssim, params.scenarios[params.main_scenario].ssim_threshold
    values = {"same": 1 - margin, "margin": margin, "threshold": threshold}
    return _(RULES[rules.key]) % {key: number(value, "g") for key, value in values.items()}


def finding_words(finding: Finding, _: Translate) -> str:
    """The figures that a rule was held against."""
    return {
        "ssim": _ssim,
        "speedup": _speedup,
        "change": _change,
        "component": _component,
        "effects": _effects,
        "window": _window,
        "layers": _layers,
        "budget": _budget,
    }[finding.shape](finding.figures, _)


def _ssim(found: dict, _: Translate) -> str:
    values = {"label": found["label"], **_interval("ssim", found["ssim"])}
    return _("%(label)s: %(value)s (%(low)s to %(high)s)") % values


def _speedup(found: dict, _: Translate) -> str:
    values = {"label": found["label"], **_interval("speedup", found["speedup"])}
    return _("%(label)s: %(value)s× (%(low)s to %(high)s)") % values


def _interval(key: str, found: Range) -> dict[str, str]:
    return {"value": figure(key, found.value), "low": figure(key, found.low), "high": figure(key, found.high)}


def _change(found: dict, _: Translate) -> str:
    change = found["change"]
    values = {"mean": number(change.mean, "+.3f"), "label": found["label"], "other": found["other"]}
    if change.low is None:
        return _("%(label)s against %(other)s: %(mean)s") % values
    values |= {"low": number(change.low, "+.3f"), "high": number(change.high, "+.3f")}
    return _("%(label)s against %(other)s: %(mean)s (%(low)s to %(high)s)") % values


def _component(found: dict, _: Translate) -> str:
    values = {"component": names_of("component", _)[found["component"]], "format": found["format"], "n": found["n"]}
    text = _("%(format)s: %(component)s %(share)s of the damage, n = %(n)d images")
    return text % (values | {"share": percent_of(found["share"], ".0f")})


def _effects(found: dict, _: Translate) -> str:
    values = {"component": names_of("component", _)[found["component"]], "format": found["format"]}
    if None in (found["psnr_db"], found["psnr_worst_db"]):
        return _("%(format)s, %(component)s: all images identical") % values
    values |= {"mean": quantity(found["psnr_db"], "psnr_db"), "worst": quantity(found["psnr_worst_db"], "psnr_db")}
    return _("%(format)s, %(component)s: %(mean)s, the worst image %(worst)s") % values


def _window(found: dict, _: Translate) -> str:
    return _("worst: calls %(first)d to %(last)d of %(calls)d, in %(own)d of n = %(n)d images") % found


def _layers(found: dict, _: Translate) -> str:
    values = {key: percent_of(found[key], ".2g") for key in ("noise", "weights")}
    return _("%(noise)s of the noise, %(weights)s of the weights") % values


def _budget(found: dict, _: Translate) -> str:
    return _("%(mixed)s bits in a mixture against %(uniform)s throughout") % {
        "mixed": number(found["mixed"], ".2f"),
        "uniform": number(found["uniform"], ".0f"),
    }

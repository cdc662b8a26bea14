"""What stages and data files say in English, and the report in its own language.

Measurements hold words and reasons as text, so that JSON can be read without a catalogue. The words are listed here
and not where they are written: a change there would measure everything again. A text that is not listed is a user's
own (the label of a variant, a kind of prompt) or another program's, and stays as it is.
"""

import re
from functools import cache

from stages.lib.quality.metrics import METRICS
from stages.lib.reporting.languages import N_, Translate

UNITS = (N_("MiB"), N_("GiB"), N_("dB"), N_("s"), N_("MB"))

WORDS = (
    # ratings by the bands of PSNR
    *(N_("identical"), N_("excellent"), N_("good"), N_("fair"), N_("poor")),
    # verdicts on the study's numbers
    *(N_("agrees"), N_("differs"), N_("implausible"), N_("impossible"), N_("meaningless")),
    # effects of a format on a component, and how critical it is; also the complexity of a prompt
    *(N_("negligible"), N_("minimal"), N_("moderate"), N_("significant")),
    *(N_("low"), N_("medium"), N_("high")),
    # kinds of the prompts that come with the project
    *(N_("landscape"), N_("animal"), N_("fantasy"), N_("person"), N_("object"), N_("blocked")),
    # kinds of layers
    *(N_("first and last"), N_("time"), N_("self-attention"), N_("cross-attention"), N_("feed-forward")),
    *(N_("projection"), N_("resampling"), N_("shortcut"), N_("convolution"), N_("other")),
    # components in the audit
    *(N_("U-Net"), N_("VAE"), N_("text encoder"), N_("safety checker")),
    # params.yaml as it comes: title, models
    N_("How quantization changes a diffusion model"),
    N_("Embedded scene model"),
    N_("Local model"),
    N_("Stable Diffusion v1.5 architecture, random weights"),
    N_("Hessel et al., EMNLP 2021, arXiv:2104.08718, without its factor 2.5"),
    # what features are taken from
    N_("the model's own CLIP"),
)

# What stages write where nothing was measured, and what would help; %(name)s stands for anything.
REASONS = (
    N_(
        "simulated: numbers are rounded to integers, but stored and computed in floating point, so time and memory "
        "would say nothing about integer arithmetic"
    ),
    N_("images generated from random weights mean nothing"),
    N_("the model brings no CLIP of its own"),
    N_("its weights (a VGG16 trained on photographs) are not part of this pipeline"),
    N_("images have fewer than %(side)s pixels on a side"),
    N_("this back end's safety checker shows no image embedding"),
    N_("there is only one prompt, and nothing to swap with"),
)


def said(text: str, _: Translate) -> str:
    """`text`, which comes from JSON, params.yaml or a data file, in the language of `_`; unknown text as it is."""
    if text in _known():
        return _(text)
    for reason, pattern in _patterns().items():
        if found := pattern.fullmatch(text):
            return _(reason) % found.groupdict()
    return text


@cache
def _known() -> frozenset[str]:
    metrics = [text for metric in METRICS.values() for text in (metric.name, metric.sentence)]
    return frozenset([*UNITS, *WORDS, *metrics, *(reason for reason in REASONS if "%(" not in reason)])


@cache
def _patterns() -> dict[str, re.Pattern]:
    with_values = [reason for reason in REASONS if "%(" in reason]
    return {text: re.compile(re.sub(r"%\\\((\w+)\\\)s", r"(?P<\1>.+)", re.escape(text))) for text in with_values}

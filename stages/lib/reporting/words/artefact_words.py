"""What readers are told of damage, blank images and controls: the study's Table 9 in words that were measured."""

from typing import Any

from stages.lib.quality.appearance import GRADES, MEASURES
from stages.lib.reporting.languages import Translate


def measure_names(_: Translate) -> dict[str, str]:
    """The head of each measure's column, with its unit."""
    return {
        "blur": _("Blur"),
        "detail_db": _("Fine detail, dB"),
        "blockiness": _("Blocks, levels"),
        "posterization_bits": _("Tones lost, bit"),
        "noise": _("Grain, levels"),
        "mottling": _("Mottling, levels"),
        "lightness": _("L*"),
        "green_red": _("a*"),
        "blue_yellow": _("b*"),
    }


def measure_digits() -> dict[str, int]:
    """Decimals shown of each measure."""
    return {key: {"blur": 3, "lightness": 1, "green_red": 1, "blue_yellow": 1}.get(key, 2) for key in MEASURES}


def damage_words(measures: dict[str, dict[str, Any]], _: Translate) -> list[str]:
    """What was seen of one format, the strongest first: 'clearly blurred'; nothing if nothing was seen."""
    effects = {
        "blur": (_("blurred"), _("blurred")),
        "detail_db": (_("poorer in fine detail"), _("poorer in fine detail")),
        "blockiness": (_("blocky"), _("blocky")),
        "posterization_bits": (_("posterized"), _("posterized")),
        "noise": (_("grainy"), _("grainy")),
        "mottling": (_("mottled"), _("mottled")),
        "lightness": (_("darker"), _("brighter")),
        "green_red": (_("greener"), _("redder")),
        "blue_yellow": (_("bluer"), _("yellower")),
    }
    degrees = {
        "slight": _("slightly %(effect)s"),
        "moderate": _("clearly %(effect)s"),
        "strong": _("strongly %(effect)s"),
    }
    graded = [(GRADES.index(measures[key]["grade"]), key) for key in MEASURES if measures[key]["grade"] in degrees]
    graded.sort(key=lambda pair: -pair[0])  # stable: equal grades stay in the order of the measures
    return [degrees[GRADES[number]] % {"effect": effects[key][measures[key]["shift"] > 0]} for number, key in graded]


def control_names(_: Translate) -> dict[str, str]:
    """What was done wrongly on purpose."""
    return {
        "rerun": _("The baseline under another name"),
        "seeds": _("Shuffled seeds"),
        "prompts": _("Swapped prompts"),
        "int2": _("U-Net weights rounded to INT2"),
        "nan": _("One weight that is not a number"),
    }


def expectations(_: Translate) -> dict[str, str]:
    """What a control must come to."""
    return {
        "identical": _("identical in every pixel"),
        "different": _("no good word"),
        "stopped": _("generation stops"),
    }


def damage_names(_: Translate) -> dict[str, tuple[str, str]]:
    """Each kind of known damage, and what its strength counts."""
    return {
        "blur": (_("Gaussian blur"), _("standard deviation, pixels")),
        "jpeg": (_("JPEG"), _("quality")),
        "posterize": (_("Posterization"), _("values per channel")),
        "tint": (_("Warm tint"), _("share by which red rises and blue falls")),
        "noise": (_("Noise"), _("standard deviation, grey levels")),
        "mottle": (_("Blotches of 4 to 16 pixels"), _("standard deviation, grey levels")),
    }


def causes(_: Translate) -> dict[str, str]:
    """Why an image is blank."""
    return {
        "scene": _("as in the reference"),
        "flagged": _("flagged and blackened"),
        "broken": _("broken arithmetic"),
    }

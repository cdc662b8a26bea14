"""How figures are written: with the digits of the table of metrics, units and signs, in the language of the page."""

from stages.lib.project.files import rounded
from stages.lib.quality.metrics import METRICS
from stages.lib.reporting.languages import NO_BREAK_SPACE, number, percent_of, unit

DTYPE_NAMES = {
    "float32": "FP32",
    "tensorfloat32": "TF32",
    "float16": "FP16",
    "bfloat16": "BF16",
    "float8": "FP8",
    "int8": "INT8",
    "int6": "INT6",
    "int4": "INT4",
    "nf4": "NF4",
    "fp4": "FP4",
} | {name: name.upper() for name in ("q8_0", "q5_1", "q5_k", "q5_0", "q4_k", "q4_0", "uint4")}


def figure(key: str, value: float) -> str:
    """`value` in the format of the metric `key`, as the language of the page writes numbers.

    Rounded first as records are, so that 1.1849965 is 1.19 here as where a record of it, 1.185, is read.
    """
    return number(rounded(value), METRICS[key].format)


def figures(key: str, **values: float) -> dict[str, str]:
    """What a text is filled with: every value by its name, in the format of the metric `key`."""
    return {name: figure(key, value) for name, value in values.items()}


def quantity(value: float, key: str) -> str:
    """`value` in the format of the metric `key`, with its unit: '17.02 MiB', '1.42×', '+4.7 %'."""
    sign = METRICS[key].unit
    if sign == "x":
        return f"{figure(key, value)}×"
    return f"{figure(key, value)}{NO_BREAK_SPACE}{unit(sign)}" if sign else figure(key, value)


def signed(value: float, digits: int) -> str:
    """A difference with its sign, '+0.13' or '−0.13'; one that rounds to zero has none."""
    text = number(value, f"+,.{digits}f")
    return text if any(digit in text for digit in "123456789") else text[1:]


def percent(share: float) -> str:
    """A share (0 to 1) in whole percent; one that is neither 0 nor 1 is not shown as such."""
    digits = 0 if 0.01 <= share <= 0.99 or share in (0, 1) else 1
    return percent_of(share, f".{digits}f")


def dtype_name(dtype: str) -> str:
    """What readers call a dtype: FP32 for float32."""
    return DTYPE_NAMES.get(dtype, dtype)

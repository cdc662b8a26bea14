"""Why a format is fast or slow: the sentences of the typical cases."""

from stages.lib.formats.shared.executed_work import ExecutedWork
from stages.lib.reporting.words.explanation import Explained, explain
from stages.lib.timing.prediction import Prediction, Run, RuntimeSpeedup

GIGA = 10**9
REFERENCE = Run(1.0, 0.6)
FP32 = {"Conv2d": ("float32", 0.4), "Linear": ("float32", 0.2)}


def work(kinds: dict[str, tuple[str, float]]) -> list[ExecutedWork]:
    """Convolutions of 80 and linear layers of 20 x 10^9 multiply-accumulates, in a dtype and so many seconds."""
    counts = {"Conv2d": 80 * GIGA, "Linear": 20 * GIGA}
    return [ExecutedWork("unet", "main", key, dtype, 1, counts[key], time_s) for key, (dtype, time_s) in kinds.items()]


def said(
    kinds: dict,
    variant: Run,
    stored: str = "int8",
    runtime: RuntimeSpeedup | None = None,
    reference: Run = REFERENCE,
) -> str:
    item = Explained(
        label="X",
        baseline="FP32",
        stored_dtype=stored,
        prediction=Prediction(reference, variant),
        work=work(kinds),
        baseline_work=work(FP32),
        runtime=runtime,
        runtime_label="FP32 R" if runtime else "",
    )
    return explain(item, str).replace("\u00a0", " ")


def test_dynamic_quantization_is_slow_by_its_rest():
    """Linear layers alone are faster, and rounding activations eats it up."""
    text = said(FP32 | {"Linear": ("int8", 0.1)}, Run(1.1, 0.5))
    assert text.startswith("X generates at 0.91 times the speed of FP32, of whose image multiplication takes 60 %; ")
    assert "its kernels predict 1.11 times." in text
    assert "convolutions (80 % of the work) in FP32: 1.00 times; linear layers (20 % of the work) in INT8: 2.00" in text
    assert "It is slower than that: all that is no multiplication" in text
    assert "takes 60 % of the time of an image of FP32, and only 40 % there." in text
    assert "runtime" not in text and "unpacked first" not in text


def test_what_the_figures_do_not_tell_is_not_explained():
    """Protects from a reason that is none: clocks around single layers took more than the image itself."""
    text = said(FP32, Run(1.1, 1.1), "float32", reference=Run(1.0, 1.5))
    assert "these figures do not tell" in text and "that is no multiplication" not in text


def test_weights_that_are_unpacked_have_no_integer_kernel():
    """Weight-only INT8."""
    assert "No kernel executes INT8: the weights are unpacked first." in said(FP32, Run(1.0, 0.6))


def test_a_dtype_without_arithmetic_is_named():
    """FP16 stored on a processor that computes in FP32."""
    assert "No kernel executes FP16: the weights are converted first." in said(FP32, Run(1.2, 0.6), "float16")
    half = {key: ("bfloat16", time_s / 2) for key, (_, time_s) in FP32.items()}
    text = said(half, Run(0.7, 0.3), "bfloat16")
    assert "No kernel" not in text and "in BF16: 2.00 times" in text
    assert "That agrees with the measurement within 10 %." in text


def test_a_runtime_is_told_apart_from_the_format():
    """What the runtime alone gives is not the merit of INT8."""
    kinds = {"Conv2d": ("int8", 0.1), "Linear": ("int8", 0.05)}
    text = said(kinds, Run(0.25, 0.15), runtime=RuntimeSpeedup("r", 2.0, 2.0, 1.8, 2.3))
    assert "It is faster than that: all that is no multiplication takes 10 %" in text
    assert "The runtime alone (FP32 R) gives 2.00 times, the format in it another 2.00 times (1.80 to 2.30)." in text


def test_a_gain_within_the_spread_is_not_claimed():
    """A range that holds 1 is no gain."""
    text = said(FP32, Run(0.5, 0.4), runtime=RuntimeSpeedup("r", 2.0, 1.02, 0.9, 1.1))
    assert "what the format adds, 1.02 times (0.90 to 1.10), cannot be told from nothing." in text

"""What INT8 covers: shares and sentences worked out by hand."""

from stages.lib.formats.shared.executed_work import ExecutedWork
from stages.lib.reporting.numbers import percent
from stages.lib.reporting.words.coverage import coverage, coverage_sentence, left_sentence
from tests.reference import COMPONENTS


def size(**stored: str) -> dict:
    """900 weights of each operator in each component; `stored` says which dtype an operator has, FP32 otherwise."""
    rows = [
        {"component": component, "operator": operator, "dtype": stored.get(operator, "float32"), "parameters": 900}
        for component in COMPONENTS
        for operator in ("Conv2d", "Linear", "Normalization")
    ]
    return {"operators": rows}


def work(conv: str, linear: str, attention: str = "float32") -> list[ExecutedWork]:
    kinds = (("Conv2d", conv, 70), ("Linear", linear, 20), ("MatMul", attention, 10))
    return [
        ExecutedWork(component, "main", operator, dtype, 1, count, 0.1)
        for component in COMPONENTS
        for operator, dtype, count in kinds
    ]


def said(stored: dict, executed: list[ExecutedWork]) -> str:
    return coverage_sentence("X", size(**stored), executed, str).replace("\u00a0", " ")


def test_components_that_read_the_same_are_one_row():
    """Protects the table from five equal rows; normalizations are not weights to store as INT8."""
    (row,) = coverage(size(Linear="int8"), work("float32", "int8"))
    assert (row.component, row.stored) == (None, 0.5)
    assert row.executed == {"int8": 0.2, "float32": 0.8}
    assert row.operators["Linear"] == {"int8": 1} and row.operators["Conv2d"] == {"float32": 1}


def test_a_component_that_differs_shows_all():
    """Only the U-Net in INT8: its row, the others', and the whole."""
    executed = [row for row in work("float32", "float32") if row.component != "unet"]
    rows = coverage(size(), executed + [row for row in work("int8", "int8", "int8") if row.component == "unet"])
    assert [row.component for row in rows] == [*COMPONENTS, None]
    assert rows[0].executed == {"int8": 1} and rows[0].operators == {}
    assert rows[-1].executed == {"int8": 0.25, "float32": 0.75}


def test_what_was_not_executed_is_not_claimed():
    """A simulated format has stored weights and nothing else."""
    (row,) = coverage(size(), [])
    assert row.executed == {} and said({"Linear": "int8"}, []) == ""


def test_convolutions_left_in_fp32_are_told():
    """The case of dynamic quantization."""
    expected = "X executes 20 % of its multiply-accumulates in INT8; it leaves convolutions (70 %) in FP32 and "
    assert said({"Linear": "int8"}, work("float32", "int8")) == expected + "attention (10 %) in FP32."


def test_weights_that_are_unpacked_are_told():
    """Stored in INT8, multiplied in BF16: the name says only the first."""
    expected = (
        "X stores 100 % of its weights as INT8 and executes nothing in fewer than 16 bits: its arithmetic is BF16."
    )
    assert said({"Linear": "int8", "Conv2d": "int8"}, work(*["bfloat16"] * 3)) == expected


def test_nothing_is_said_of_a_format_that_claims_no_int8_or_keeps_its_word():
    """No sentence without cause."""
    assert said({}, work("float32", "float32")) == ""
    assert said({"Linear": "int8", "Conv2d": "int8"}, work(*["int8"] * 3)) == ""


def test_formats_of_eight_bits_and_fewer_are_all_named():
    """Protects GGUF, of which one file has several types of blocks, and FP8 that is multiplied."""
    stored = said({"Linear": "q4_k", "Conv2d": "q5_0"}, work(*["float32"] * 3))
    assert stored.startswith(
        "X stores 100 % of its weights as Q5_0 and Q4_K and executes nothing in fewer than 16 bits"
    )
    assert said({"Linear": "float8"}, work("bfloat16", "float8", "bfloat16")) == (
        "X executes 20 % of its multiply-accumulates in FP8; it leaves convolutions (70 %) in BF16 and attention "
        "(10 %) in BF16."
    )


def test_layers_that_a_library_left_out_are_counted_and_named():
    """Protects from a format that is mostly something else, as torchao's FP8 of small layers."""
    size = {"linear_layers": {"total": 9, "otherwise": {"bfloat16": ["unet.a", "unet.b", "unet.c", "unet.d"]}}}
    expected = "X stores 4 of its 9 linear layers in another format: 4 in BF16 (unet.a, unet.b, unet.c, …)."
    assert left_sentence("X", size, str) == expected
    assert (
        left_sentence("X", {"linear_layers": {"total": 9, "otherwise": {}}}, str) == left_sentence("X", {}, str) == ""
    )


def test_a_share_that_is_not_all_is_not_100_percent():
    """Rounding must not turn nearly all into all."""
    texts = [percent(share).replace("\u00a0", " ") for share in (0, 0.004, 0.234, 0.996, 1)]
    assert texts == ["0 %", "0.4 %", "23 %", "99.6 %", "100 %"]

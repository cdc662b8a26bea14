"""Charts: the same bytes for the same numbers, bars from zero, nothing that only colour tells apart."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from stages.lib.project.errors import UserError
from stages.lib.reporting.charts import canvas, illustrations
from stages.lib.reporting.charts import shapes as charts
from stages.lib.reporting.charts.formulas import formula
from stages.lib.reporting.charts.rounded_weight import largest_weight, round_weight
from stages.lib.reporting.charts.shapes import Bar, Dots

BARS = [Bar("FP32", (2.0, 1.0), "3 MiB", True, (2.9, 3.1)), Bar("Simulated", (), "not measured")]


def plain(text: str) -> str:
    return text


def weight():
    values = np.random.default_rng(0).normal(0, 0.1, (8, 4, 3, 3)).astype(np.float32)
    return round_weight("conv.weight", values)


CHARTS = {
    "stacked": lambda: charts.stacked_bars(BARS, ["U-Net", "VAE"], "MiB"),
    "samples": lambda: charts.bars_with_samples(BARS, "s", "one call"),
    "strip": lambda: charts.strip(
        [Dots("FP16", (30.0,), (40.0,), 35.0, "35 dB")], "dB", ("a", "b", "c"), [("good", 30.0)]
    ),
    "strip of identical": lambda: charts.strip([Dots("FP16", (), (), None, "3 identical")], "dB", ("a", "b", "c"), []),
    "calls": lambda: charts.call_order([("FP16", [(0, True, 1.0), (1, False, 0.9)])], ("call", "s")),
    "pipeline": lambda: illustrations.pipeline(plain),
    "rounding": lambda: illustrations.rounding(weight(), plain),
    "formula": lambda: formula("ssim").screen,
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_generating_is_the_same_svg_twice_and_bears_no_date(name):
    """Byte-stable reports need byte-stable charts."""
    first = CHARTS[name]()
    assert first == CHARTS[name]()
    assert ElementTree.fromstring(first).tag.endswith("svg")
    assert not re.search(r"<dc:date>|matplotlib v", first, re.IGNORECASE)


@pytest.mark.parametrize("label", [r"$\frac{ 5$", r"from $5 to $6"])
def test_dollar_signs_in_a_label_are_no_formula(label, monkeypatch):
    """Protects a label that a person chose from being typeset as mathematics, or from stopping the report."""
    monkeypatch.setitem(canvas.SETTINGS, "svg.fonttype", "none")
    for svg in (
        charts.stacked_bars([Bar(label, (1.0,), "1 MiB")], ["all"], "MiB"),
        charts.bars_with_samples([Bar(label, (1.0,), "1 s")], "s", "one call"),
        charts.strip([Dots(label, (30.0,), (), 30.0, "30 dB")], f"PSNR against {label}, dB", ("a", "b", "c"), []),
        charts.call_order([(label, [(0, False, 1.0)])], ("call", "s")),
    ):
        texts = ["".join(item.itertext()).strip() for item in ElementTree.fromstring(svg).iter() if "text" in item.tag]
        assert label in texts


def test_letters_are_text_in_a_font_that_every_browser_replaces_by_one_no_wider():
    """The chart is laid out for DejaVu Sans; Verdana has its metrics, others are narrower. Formulas are paths."""
    families = set(re.findall(r"font-family: ([^;\"]+)", CHARTS["stacked"]()))
    assert families == {"'Report Sans', 'DejaVu Sans', Verdana, sans-serif"}
    assert "<text" not in CHARTS["formula"]()


def test_many_rows_are_lower_and_leave_room_for_a_second_chart():
    """A chart of sixteen formats takes less than half of the 251 mm that a page has."""
    assert charts.rows_in(4, 0.42) == pytest.approx(4 * 0.42)
    assert (charts.rows_in(16, 0.42) + 0.95) * 25.4 < 251 / 2


def test_bars_begin_at_zero(monkeypatch):
    limits = []
    real = charts.measure_axis
    monkeypatch.setattr(charts, "measure_axis", lambda axes, *rest: (real(axes, *rest), limits.append(axes.get_xlim())))
    CHARTS["stacked"]()
    CHARTS["samples"]()
    assert [low for low, _ in limits] == [0, 0]


def test_the_parts_of_a_bar_differ_without_colour():
    """In grey print two parts differ in lightness by a tenth at least, or one is hatched and the other not so."""
    from matplotlib.colors import to_rgb

    grey = [float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114))) for colour, _ in charts.PARTS]
    for i, (_, hatch) in enumerate(charts.PARTS):
        for j in range(i):
            assert abs(grey[i] - grey[j]) >= 0.1 or hatch != charts.PARTS[j][1]


def test_a_chart_renders_in_the_pdf():
    """WeasyPrint generates the SVG: a page with it is longer than one without."""
    from stages.lib.reporting.document import svg_data_uri
    from stages.lib.reporting.pdf import pdf_of

    page = '<html lang="en"><title>t</title><body>{}</body></html>'
    image = f'<img alt="a chart" src="{svg_data_uri(CHARTS["stacked"]())}">'
    assert len(pdf_of(page.format(image), 0)) > len(pdf_of(page.format("nothing"), 0)) + 2000


def test_rounding_stays_within_half_a_step_and_channels_do_no_worse():
    rounded = weight()
    assert np.abs(rounded.errors_in_steps).max() <= 0.5 + 1e-9
    assert np.abs(np.round(rounded.restored / rounded.scale)).max() == 127
    assert rounded.signal_to_noise_per_channel_db > rounded.signal_to_noise_db


def test_rounding_is_that_of_the_formats():
    """Figure 2 computes in NumPy what the back ends do in PyTorch: not one weight differs."""
    from stages.lib.formats.shared.quantization import dequantize, quantize_weight

    values = np.random.default_rng(1).normal(0, 0.1, (8, 4, 3, 3)).astype(np.float32)
    values[3] = 0
    rounded = round_weight("conv.weight", values)
    integers, scale, zero_point = quantize_weight(torch.from_numpy(values), 8, "tensor")
    assert rounded.scale == scale.item()
    assert np.array_equal(rounded.restored, dequantize(integers, scale, zero_point).double().flatten().numpy())
    by_channel = dequantize(*quantize_weight(torch.from_numpy(values), 8, "channel")).numpy()
    error = np.square(values.astype("f8")).mean() / np.square((values - by_channel).astype("f8")).mean()
    assert rounded.signal_to_noise_per_channel_db == pytest.approx(10 * np.log10(error), rel=1e-9)


def denoiser_folder(model: Path) -> Path:
    """The empty folder of the denoiser of a model that has nothing else."""
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    (model / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    (model / "unet").mkdir()
    return model / "unet"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_figure_2_reads_weights_of_any_format(dtype, tmp_path):
    from safetensors.torch import save_file as save_torch_file

    weight = torch.linspace(-1, 1, 72).reshape(2, 4, 3, 3).to(dtype)
    save_torch_file({"conv.weight": weight}, denoiser_folder(tmp_path) / "model.safetensors")
    name, values = largest_weight(tmp_path)
    assert name == "conv.weight" and values.dtype == np.float32
    assert np.array_equal(values, weight.float().numpy())


@pytest.mark.parametrize(("side", "largest"), [(2, "conv.weight"), (1, "linear.weight")])
def test_figure_2_shows_the_largest_weight_convolution_or_not(side, largest, tmp_path: Path):
    """Protects Figure 2 of a transformer, whose one convolution, of patches, is among its smallest weights."""
    weights = {"conv.weight": np.ones((2, 1, side, side), np.float32), "linear.weight": np.ones((3, 2), np.float32)}
    save_file(weights, denoiser_folder(tmp_path) / "model.safetensors")
    name, values = largest_weight(tmp_path)
    assert name == largest and values.shape == weights[largest].shape


def test_a_model_without_weights_is_named(tmp_path: Path):
    denoiser_folder(tmp_path)
    with pytest.raises(UserError, match="has no weight in safetensors"):
        largest_weight(tmp_path)

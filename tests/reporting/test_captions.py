"""Captions say what the charts and tables above and below them show."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from stages.lib.reporting import page
from tests.pages import rendered
from tests.results_folder import write_project
from tests.timings import set_speedup

INT4 = {"backend": "torch", "weights": "int4", "simulated": True}
VARIANTS = {
    "fp32": {"label": "FP32", "backend": "torch", "weights": "float32"},
    "fp16": {"label": "FP16", "backend": "torch", "weights": "float16"},
    "int4": {"label": "INT4", **INT4},
    "int4-tuned": {"label": "INT4 tuned", **INT4},
    "int4-spare": {"label": "INT4 spared", **INT4, "spare": "auto"},
    "int4-spare-these": {"label": "INT4 spared by hand", **INT4, "spare": ["*.attn2", "unet.conv_in"]},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captions")
    save_file({"unet.conv_in.bias.change": np.ones(4, np.float16)}, folder / "tuning.safetensors")
    tuning = {"path": str(folder / "tuning.safetensors"), "sha256": "0" * 64}
    tuned = {"int4-tuned": VARIANTS["int4-tuned"] | {"tuning": tuning}}
    write_project(folder / "project", VARIANTS | tuned)
    return folder / "project"


def test_the_chart_of_layers_and_its_caption_count_alike(project, monkeypatch):
    """Protects a caption from a number of layers that the chart has no longer."""
    monkeypatch.setattr(page, "SHOWN_LAYERS", 1)
    assert "The 1 of" in rendered()


def test_no_two_formats_are_described_alike(project):
    """Protects a reader from two rows of the table of formats that differ in nothing but their names."""
    table = rendered().split('id="table-formats"')[1].split("</table>")[0]
    said = [row.split("</th>")[1] for row in table.split("<tr")[2:]]
    assert len(said) == len(set(said)) == len(VARIANTS)
    assert "weights tuned before rounding" in table and "not rounded: *.attn2, unet.conv_in" in table


@pytest.mark.parametrize(
    ("speedup", "factor", "baseline", "said"),
    [
        (0.5, 1.02, 1.0, "never: not faster"),
        (0.97, 1.2, 1.0, "not known: speeds not told apart"),
        (0.5, 1.02, 1.2, "not known: speeds not told apart"),
    ],
)
def test_what_never_pays_back_is_slower_beyond_doubt(project, speedup, factor, baseline, said):
    """Protects a reader from 'never' of a format that another run finds faster, or of a run that is not trusted."""
    set_speedup(Path("reports/embedded/timing/fp16.json"), speedup, factor)
    set_speedup(Path("reports/embedded/timing/fp32.json"), baseline, 1.01)
    row = rendered().split('id="table-costs"')[1].split(">FP16<")[1].split("</tr>")[0]
    assert said in row


def test_sections_of_another_document_bear_no_number_that_it_does_not_give_them(project):
    """Protects a reader who looks for section 9 in an audit that numbers its own sections."""
    contents = rendered().split('<nav class="contents"')[1].split("</nav>")[0].replace("&nbsp;", "\u00a0")
    audit, page = (contents.split(f"<b>{name}:</b>")[1].split("</p>")[0] for name in ("audit.pdf", "report.html"))
    assert "Audit of the earlier study" in audit and "\u00a0" not in audit
    assert "2.1\u00a0Affine quantization" in page

"""A tuned format stands beside itself without tuning, with what tuning took; other formats are not taken for it."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from stages.lib.project.params import load_params
from stages.lib.reporting.tuned_formats import tuned_formats
from stages.lib.results.records import load_results
from tests.pages import RUN, rendered
from tests.results_folder import write_project

INT4 = {"backend": "torch", "weights": "int4", "simulated": True}
VARIANTS = {
    "fp32": {"label": "FP32", "backend": "torch", "weights": "float32"},
    "int4-groups": {"label": "INT4 groups", **INT4, "granularity": "group"},
    "int4": {"label": "INT4", **INT4},
    "int4-tuned": {"label": "INT4 tuned", **INT4, "default": False},
    "int8-tuned": {"label": "INT8 tuned", **INT4, "weights": "int8"},
}
TOOK = {"format": "int4", "steps": "1752", "prompts": "1997", "seconds": "371", "device": "Invented GPU"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: results of a format and of the same one tuned, and of a tuned one that stands alone."""
    save_file({"unet.conv_in.bias.change": np.ones(4, np.float16)}, tmp_path / "tuning.safetensors", metadata=TOOK)
    tuning = {"tuning": {"path": str(tmp_path / "tuning.safetensors"), "sha256": "0" * 64}}
    variants = {name: entry | (tuning if "tuned" in name else {}) for name, entry in VARIANTS.items()}
    write_project(tmp_path / "project", variants)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_a_tuned_format_is_paired_with_the_same_one_without(project: Path) -> None:
    """Protects the comparison: nothing but the tuning may differ, and what cannot be compared is left out."""
    found = tuned_formats(load_results(Path("reports"), RUN / "images", load_params()))
    assert [(pair.before.name, pair.after.name, pair.took) for pair in found] == [("int4", "int4-tuned", TOOK)]


def test_the_report_shows_both_and_what_tuning_took(project: Path) -> None:
    """Protects the reader from a gain without its price."""
    table = rendered().split('id="tuned"')[1].split("</table>")[0]
    assert table.index(">INT4<") < table.index(">INT4 tuned<")
    assert "371 s on Invented GPU, 1752 steps, 1997 prompts" in table and "INT8 tuned" not in table

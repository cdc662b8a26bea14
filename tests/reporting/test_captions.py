"""Captions say what the charts and tables above and below them show."""

from pathlib import Path

import pytest

from stages.lib.reporting import page
from tests.pages import rendered
from tests.results_folder import write_project

VARIANTS = {
    "fp32": {"label": "FP32", "backend": "torch", "weights": "float32"},
    "fp16": {"label": "FP16", "backend": "torch", "weights": "float16"},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captions") / "project"
    write_project(folder, VARIANTS)
    return folder


def test_the_chart_of_layers_and_its_caption_count_alike(project, monkeypatch):
    """Protects a caption from a number of layers that the chart has no longer."""
    monkeypatch.setattr(page, "SHOWN_LAYERS", 1)
    assert "The 1 of" in rendered()

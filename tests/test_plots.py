"""`dvc plots show` needs no network: its page draws the plots itself."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.processes import HANGING_S

PAGE = (PROJECT / ".dvc/plots/page.html").read_text(encoding="utf-8")
BARS = {
    "title": {"text": "Size <b>"},
    "data": {"values": [
        {"label": "FP32", "mib": 34.0, "rev": "workspace"}, {"label": "INT8", "mib": 8.5, "rev": "workspace"},
        {"label": "none", "mib": None, "rev": "workspace"},
    ]},
    "encoding": {"x": {"field": "mib", "type": "quantitative"}, "y": {"field": "label", "type": "nominal"}},
}  # fmt: skip
POINTS = {
    "title": "Quality",
    "data": {"values": [{"mib": 1.0, "db": 30.0, "rev": "a"}, {"mib": 2.0, "db": 40.0, "rev": "b"}]},
    "layer": [{"encoding": {"x": {"field": "mib"}, "y": {"field": "db", "type": "quantitative"}}}],
}


def test_the_page_fetches_nothing_and_has_the_places_that_dvc_fills():
    assert not re.search(r"""src\s*=|@import|fetch\(|https?://(?!www\.w3\.org/2000/svg)""", PAGE)
    assert "{plot_divs}" in PAGE and "{scripts}" not in PAGE


def test_dvc_finds_the_page():
    assert "html_template = plots/page.html" in (PROJECT / ".dvc/config").read_text(encoding="utf-8")


def test_bars_and_points_are_generated_without_vega(tmp_path: Path):
    """In a real browser: a bar for each value with its length to scale, and a dot for each point."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium: apt-get install chromium")
    specs = {"bars": BARS, "points": POINTS, "nothing": {}}
    divs = "".join(
        f"<div id='{name}'><script>vegaEmbed('#{name}', {json.dumps(spec)})</script></div>"
        for name, spec in specs.items()
    )
    (tmp_path / "index.html").write_text(PAGE.replace("{plot_divs}", divs).replace("{refresh_tag}", ""), "utf-8")
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    dom = subprocess.run(
        [*command, "--dump-dom", (tmp_path / "index.html").as_uri()], capture_output=True, text=True, timeout=HANGING_S,
        check=True,
    ).stdout  # fmt: skip
    lengths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', dom)]
    assert len(lengths) == 2 and lengths[0] == pytest.approx(4 * lengths[1])
    assert len(re.findall("<circle", dom)) == 2
    assert "<h2>Size &lt;b&gt;</h2>" in dom and "no data for this template" in dom

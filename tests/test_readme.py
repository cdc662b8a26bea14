"""The README tells the truth: its figures are those of the committed report, its commands and files exist."""

import json
import re
import subprocess
from itertools import pairwise

import pytest
from dvc.repo import Repo
from PIL import Image

from stages.lib.project.lock_file import read_lock
from stages.lib.project.params import load_params
from stages.lib.quality.metrics import METRICS
from tests.conftest import PROJECT
from tools import images, measurements
from tools.readme import BEGIN, END, GRID, GRID_BEGIN, default_set, result_table, with_images, with_results

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def committed(name: str) -> str:
    """A file as HEAD has it: a user's own `make report` must not make this test fail."""
    done = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no {name} at HEAD: this is not a clone of the project with its results")
    return done.stdout


def test_the_results_are_those_of_the_committed_report():
    """Protects the figures in the README from going stale."""
    readme, summary = committed("README.md"), json.loads(committed("reports/embedded/summary.json"))
    assert with_results(readme, summary, default_set(load_params(PROJECT / "params.yaml"))) == readme


def test_a_figure_that_was_not_measured_is_not_invented():
    """Protects against a speed in the row of a simulated format."""
    rows = [
        {"variant": "fp32", "label": "FP32", "disk_mib": 4.0, "compression": 1.0, "latency_s": 1.0, "speedup": 1.0,
         "run_peak_mib": 500.0, "psnr_db": None, "ssim": 1.0, "identical": 3},
        {"variant": "sim", "label": "Simulated", "disk_mib": 2.0, "compression": 2.0, "latency_s": None,
         "speedup": None, "run_peak_mib": None, "psnr_db": 30.0, "ssim": 0.9, "identical": 0},
    ]  # fmt: skip
    rows.append({**rows[1], "variant": "other"})
    table = result_table({"baseline": "fp32", "variants": rows}, ("fp32", "sim")).splitlines()
    assert len(table) == 4
    assert table[2].count("identical") == 1
    assert table[3].count("not measured") == 3


def test_every_make_target_it_names_exists():
    """Protects the commands a newcomer types."""
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", README))
    assert {"report", "test"} <= named <= targets


def test_every_path_it_names_exists():
    """Protects the annotated tree and the links."""
    named = set(re.findall(r"\]\(((?!https?:|#)[^)#]+)\)", README)) | set(
        re.findall(r"^([\w./-]+/?) {2,}", README, re.M)
    )
    assert named
    for path in named:
        assert (PROJECT / path).exists(), path


def test_the_images_are_those_of_the_committed_run(tmp_path):
    """Protects the image grid from going stale: `python -m tools.readme` after a run, then commit."""
    readme = committed("README.md")
    (tmp_path / "dvc.lock").write_text(committed("dvc.lock"), encoding="utf-8")
    assert with_images(readme, images.stamp(read_lock(tmp_path / "dvc.lock"))) == readme


def test_the_image_grid_is_small_and_shown():
    path = PROJECT / GRID
    assert path.stat().st_size <= 300 * 1024
    assert f"]({GRID})" in README and README.count(GRID_BEGIN) == 1


def test_the_grid_shows_each_image_in_its_own_place(tmp_path):
    """One colour for each format and prompt is found where row and column say."""
    columns = []
    for column in range(10):
        files = []
        for row in range(3):
            file = tmp_path / f"{column}-{row}.png"
            Image.new("RGB", (64, 64), (20 * column, 80 * row, 7)).save(file)
            files.append(file)
        columns.append((f"Format {column}", files))
    image = images.grid(columns)
    step, band = images.SIDE + images.GAP, images.LABEL + 3 * (images.SIDE + images.GAP)
    for column in range(10):
        for row in range(3):
            x = (column % 5) * step + images.SIDE // 2
            y = (column // 5) * band + images.LABEL + row * step + images.SIDE // 2
            assert image.getpixel((x, y)) == (20 * column, 80 * row, 7)


def test_every_metric_is_in_the_page_on_measuring_and_the_page_is_what_the_code_says():
    """A new metric needs a word of what to beware of; then `python -m tools.measurements`."""
    assert all(metric.caveat for metric in METRICS.values())
    assert (PROJECT / measurements.PAGE).read_text(encoding="utf-8") == measurements.page()


def test_the_generated_pipeline_is_that_of_dvc_yaml():
    """Every stage stands in the diagram, and every arrow in it is a file that one stage writes and the other reads."""
    generation = README.partition("```mermaid\n")[2].partition("```")[0]
    lines = [re.sub(r'\["[^"]*"\]', "", line).split("-->") for line in generation.splitlines()[1:]]
    arrows = {(start.strip(), end.strip()) for line in lines for start, end in pairwise(line)}
    with Repo(str(PROJECT)) as repo:
        stages = [stage for stage in repo.index.stages if stage.path == str(PROJECT / "dvc.yaml")]
        names = {stage.addressing: re.match(r"sensitivity|[a-z]+", stage.name)[0] for stage in stages}
        outs = [(out.fs_path, names[stage.addressing]) for stage in stages for out in stage.outs]
        real = {
            (maker, names[stage.addressing])
            for stage in stages for dep in stage.deps for path, maker in outs
            if f"{path}/".startswith(f"{dep.fs_path}/")
        }  # fmt: skip
    assert {name for arrow in arrows for name in arrow} == set(names.values())
    assert arrows <= real, arrows - real


def test_it_has_the_markers_of_the_results():
    assert README.count(BEGIN) == README.count(END) == 1

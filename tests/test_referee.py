"""`make referee`: figures of a finished run come out again, and one that was changed does not."""

import sys
from pathlib import Path

import numpy as np
import pytest

from stages import summarize
from tests.conftest import PROJECT
from tests.referee import __main__ as referee
from tests.stages.test_summarize import evaluate_all, write_reports
from tests.tiny_project import PROMPTS, edit_json, write_images, write_settings

MIB = {"fp32": 8, "bf16": 4, "int8-simulated": 4}
NOISE = {"fp32": 0.0, "bf16": 2.0, "int8-simulated": 9.0}


def images(noise: float, side: int = 192) -> dict[str, np.ndarray]:
    """Soft blobs, other ones for each prompt, with noise of that standard deviation."""
    found = {}
    for number, name in enumerate(PROMPTS):
        shapes, random = np.random.default_rng(number), np.random.default_rng((number, round(noise)))
        rows, columns = np.mgrid[:side, :side] / side
        planes = [128 + 90 * np.sin(9 * shapes.random() * rows + 9 * shapes.random() * columns) for _ in range(3)]
        found[name] = np.clip(np.stack(planes, 2) + random.normal(0, noise, (side, side, 3)), 0, 255).astype("u1")
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which sizes and timings are made up, and all of quality is evaluated and joined by the stages."""
    folder = tmp_path_factory.mktemp("run") / "project"
    write_settings(folder)
    (folder / "data/base").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, mib in MIB.items():
            simulated = name == "int8-simulated"
            dtypes = {"fp32": ("float32",) * 2, "bf16": ("bfloat16",) * 2}.get(name, ("int8", "float16"))
            write_reports(folder / "reports/tiny", name, dtypes, mib, None if simulated else mib / 4)
            write_images(folder / "data/runs/tiny/images" / name, images(NOISE[name]))
            (folder / f"data/runs/tiny/models/{name}/unet").mkdir(parents=True)
            (folder / f"data/runs/tiny/models/{name}/unet/model.safetensors").write_bytes(bytes(mib * 2**20))
        evaluate_all(patch)
        words = "summarize --reports reports --images data/runs/tiny/images --output reports/tiny/summary.json"
        words += " --metrics reports/tiny/metrics --rows reports/tiny/rows.json"
        patch.setattr(sys, "argv", words.split())
        summarize.main()
    return folder


def judged(run: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["referee", "--root", str(run), *words])
    with pytest.raises(SystemExit) as end:
        referee.main()
    return end.value.code


def test_every_figure_comes_out_again(run: Path, monkeypatch, capsys) -> None:
    """Protects both sides: metrics, statistics, ratios and sizes, by two programs that share nothing."""
    code = judged(run, monkeypatch, "--figures", "100000")
    said = capsys.readouterr().out
    assert code == 0, "\n".join(line for line in said.splitlines() if line.startswith("DIFFERS"))


def test_a_figure_that_was_changed_is_found(run: Path, monkeypatch, capsys) -> None:
    """Protects the referee from agreeing with everything."""
    path = run / "reports/tiny/size/bf16.json"
    before = path.read_text(encoding="utf-8")
    try:
        edit_json(path, disk_mib=4.001)
        assert judged(run, monkeypatch, "--figures", "100000") == 1
    finally:
        path.write_text(before, encoding="utf-8")
    assert "DIFFERS  size/bf16.json disk_mib: 4.001 stored, 4 recomputed" in capsys.readouterr().out


def test_the_referee_has_no_line_of_what_it_judges() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (PROJECT / "tests/referee").glob("*.py")]
    assert not any("stages." in line for text in sources for line in text.splitlines() if "import" in line)

"""Advice in the report: what the first page, tables 10, 12 and 13 say follows from the results, whatever they are."""

import json
import re
import shutil
from collections.abc import Callable
from gettext import NullTranslations
from pathlib import Path

import pytest

from stages.lib.project.params import load_params
from stages.lib.reporting import outline
from stages.lib.reporting.charts.formulas import formula
from stages.lib.reporting.document import TEMPLATES, environment
from stages.lib.reporting.page import advice_values
from stages.lib.results.candidates import candidates_here
from stages.lib.results.records import load_results
from tests.pages import subject
from tests.quality_results import set_ssim
from tests.results_folder import write_machine, write_project
from tests.stages.test_report import Text, table
from tests.timings import calls_of, set_speedup, spread

VARIANTS = {
    "fp32": {"label": "FP32", "backend": "torch", "weights": "float32"},
    "bf16": {"label": "BF16", "backend": "torch", "weights": "bfloat16"},
    "fp16": {"label": "FP16", "backend": "torch", "weights": "float16"},
    "int8-simulated": {"label": "INT8 Simulated", "backend": "torch", "weights": "int8", "simulated": True},
}
OTHER = "ffffffffffff"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("advice") / "project"
    write_project(folder, VARIANTS)
    write_machine(folder, OTHER, VARIANTS, "a" * 40)
    for name, ssim in {"bf16": 0.96, "fp16": 0.9995, "int8-simulated": 0.9}.items():
        set_ssim(folder / f"reports/embedded/quality/{name}.json", ssim)
    return folder


def change(path: Path, edit: Callable[[dict], None]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    edit(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def rendered(with_machines: bool = False) -> str:
    """The first page's box and the chapters on trade-off, advice and costs."""
    about = subject() if with_machines else subject(machines=())
    params, results, translations, _ = about.params, about.results, NullTranslations(), str
    shown = advice_values(about, translations)
    jinja = environment(TEMPLATES, translations)
    page = "".join(f'{{% include "partials/{name}.html.j2" %}}' for name in ("summary", "tradeoff", "advice", "cost"))
    return jinja.from_string(page).render(
        params=params,
        results=results,
        answer=[],
        sections=outline.sections(_, results.illustrated),
        numbers=outline.numbers(_, results.illustrated),
        elsewhere={},
        viewer=None,
        formulas={name: formula(name) for name in ("efficiency", "cost")},
        runtime_mib=150,
        suspect=results.clock.is_suspect,
        sources_of=lambda key: (),
        study_beside={},
        study_recommended={},
        **shown,
    )


def words(html: str) -> str:
    return " ".join(" ".join(Text(html).words).split())


def box(html: str) -> str:
    return words("<dl>" + html.partition('class="answer box"')[2].partition(">")[2].partition("</dl>")[0])


def row(html: str, key: str, name: str) -> str:
    """The row of one table that begins with `name`."""
    part = html.split(f'id="table-{key}"')[1].split("</table>")[0]
    found = [words(f"<p>{item}") for item in part.split("<tr")[1:]]
    return next(item.partition(">")[2].strip() for item in found if re.match(rf"[^>]*>\s*(\d+ )?{name}\b", item))


def test_time_is_the_baseline_s_divided_by_the_paired_speed_up(project):
    """Protects the advice from times of another hour; the baseline's own noise does not make it faster or slower."""
    set_speedup(project / "reports/embedded/timing/bf16.json", 1.5, 1.2**0.5)
    results = load_results(Path("reports"), Path("data/runs/embedded/images"), load_params())
    fp32, bf16, _fp16, simulated = candidates_here(results)
    reference_s = results.clock.reference_s
    assert (fp32.speedup.low, fp32.speedup.value, fp32.time_s.value) == (1, 1, reference_s)
    assert bf16.time_s.value == pytest.approx(reference_s / 1.5)
    assert (bf16.time_s.low, bf16.time_s.high) == pytest.approx((reference_s / 1.8, reference_s / 1.25))
    assert (simulated.speedup, simulated.time_s, simulated.peak_mib, simulated.efficiency) == (None,) * 4


def test_the_box_answers_the_five_questions(project):
    """Protects the first page: which format, what is lost, how sure, what it costs, why not the others."""
    set_speedup(project / "reports/embedded/timing/bf16.json", 2.0, 1.05)
    set_speedup(project / "reports/embedded/timing/fp16.json", 0.9, 1.05)
    said = box(rendered())
    assert "Which format? BF16, for: Deployment on a CPU alone" in said and "2.00 times as fast as FP32" in said
    assert "What is lost? Its images agree with those of FP32 to" in said and "SSIM 0.960" in said
    assert "is not supported: SSIM 0.960, but its 95 % interval from 0.940 to 0.980 reaches below" in said
    assert "The best that surely keeps it is FP32 (1.00×)." in said and "It is the fastest" in said
    assert "if an hour costs 1.00 USD and 50 % of it is spent generation; both are assumptions" in said
    assert (
        "Slower: FP32 and FP16." in said
        and "Not told from it" not in said
        and "Only simulated: INT8 Simulated." in said
    )


def test_two_images_support_no_threshold(project):
    """Protects advice from the interval of a mean that has none."""
    for name in VARIANTS:
        change(
            project / f"reports/embedded/quality/{name}.json",
            lambda quality: quality["averages"]["ssim"].update(low=None, high=None),
        )
    assert "meets the threshold of 0.950 in general is not known" in box(rendered())


def test_a_tie_in_time_is_not_called_the_fastest(project):
    set_speedup(project / "reports/embedded/timing/bf16.json", 2.0, 1.25**0.5)
    set_speedup(project / "reports/embedded/timing/fp16.json", 1.9, 1.25**0.5)
    page = rendered()
    assert (
        "That it is the fastest is not supported: the 95 % interval of its speed-up, 1.60× to 2.50×, overlaps that of "
        "FP16." in box(page)
    )
    assert "Not told from it in speed: FP16. Slower: FP32." in box(page)
    assert "Not faster: 1.90× against 2.00×, their intervals overlap." in words(page)


@pytest.mark.parametrize("answered", [True, False])
def test_a_noisy_reference_takes_the_speeds_their_trust_on_the_first_page(project, answered):
    """Protects from 0.88 without a consequence, also where no format can be recommended."""
    set_speedup(project / "reports/embedded/timing/fp32.json", 0.88, 1.02)
    if not answered:
        set_ssim(project / "reports/embedded/quality/fp32.json", 0.9)
        change(project / "params.yaml", lambda params: params["scenarios"]["cpu-only"].update(ssim_threshold=1.0))
    page = rendered()
    said = box(page)
    assert ("No measured format serves this." in said) != answered
    assert ("It is not supported at 95 %; what is: FP32." in said) == answered, "as the brief recommends"
    assert "It is the fastest" not in said and "Not faster" not in said and "Slower:" not in words(page)
    assert "Are the speeds to be trusted? The speeds of this run are not to be trusted. FP32, timed against" in said


def test_one_latency_of_the_reference_stands_everywhere(project):
    """Protects from 1.296 s in a table and 1.041 s in a text, and from costs divided one by a ratio from the other."""
    for name, reference_s, ratio in (("fp32", 1.296, 1.0), ("bf16", 1.041, 2.0), ("fp16", 1.1, 1.25)):
        calls = calls_of(spread(ratio, 1.01), reference_s)
        change(project / f"reports/embedded/timing/{name}.json", lambda timing, calls=calls: timing.update(calls=calls))
    change(project / "params.yaml", lambda params: params["cost"].update(price_per_hour=3.6, utilisation=1.0))
    page = rendered()
    glance = page.partition("figures glance")[2].partition("</table>")[0]
    for name, latency_s in (("FP32", "1.100"), ("BF16", "0.550"), ("FP16", "0.880")):
        assert latency_s in words("<p>" + glance.partition(name)[2].partition("</tr>")[0])
        assert row(page, "costs", name).split()[1] == latency_s
    assert "A thousand images cost 0.550 USD, with FP32 1.100, if" in box(page)


def test_nothing_better_means_to_stay(project):
    for name in ("bf16", "fp16"):
        set_speedup(project / f"reports/embedded/timing/{name}.json", 0.6, 1.1)
    said = box(rendered())
    assert "FP32 is the reference" in said and "1.000 to 1.000" not in said and "1.00× to 1.00×" not in said
    assert (
        "Which format? Stay with FP32" in said
        and "What is lost? Nothing: its images (n = 5) are those of FP32." in said
    )


def test_a_floor_that_nothing_reaches_says_so_and_how_far_it_would_have_to_fall(project):
    """The baseline is below it here only because it is made so."""
    set_ssim(project / "reports/embedded/quality/fp32.json", 0.9)
    change(project / "params.yaml", lambda params: params["scenarios"]["cpu-only"].update(ssim_threshold=1.0))
    page = rendered()
    assert "Above an SSIM threshold of 0.9995, 0.0005 more than asked, no format would be recommended." in words(page)
    assert "Deployment on a CPU alone: No measured format serves this." in box(page)
    assert "No measured format serves this." in row(page, "recommendations", "Deployment on a CPU")
    assert "With an SSIM threshold of 0.9995, 0.0005 less than asked, it would be FP16." in words(page)


def test_a_device_that_nothing_was_measured_on_says_so(project):
    page = rendered()
    assert "were not both measured of a model of true size" in row(
        page, "recommendations", "Production on a GPU with more"
    )
    assert "nothing was measured on a phone" in row(page, "recommendations", "Mobile devices")


def test_another_machine_s_gpu_answers_for_a_gpu(project):
    """Protects merged results from being ignored: same model, measured with images, on a GPU."""
    for name, ratio in (("fp32", 1.0), ("bf16", 3.0), ("fp16", 2.0)):
        folder = project / f"reports/machines/{OTHER}/embedded/{name}"
        set_speedup(folder / "timing.json", ratio, 1.03, device="cuda")
        shutil.copy(project / f"reports/embedded/quality/{name}.json", folder / "quality.json")
    given = row(rendered(with_machines=True), "recommendations", "Production on a GPU with 4")
    assert "BF16 (3.00×)" in given and "Invented GPU" in given and "FP16 (2.00×)" in given
    best = row(rendered(with_machines=True), "recommendations", "Production on a GPU with more")
    assert "FP16 (2.00×)" in best, "BF16 is below that scenario's floor"


def test_a_small_model_says_nothing_about_a_gpu(project):
    """Protects "GPU with 2 to 4 GB" from 74 MiB of a model of 8.9 million parameters: it fits into anything."""
    for name, ratio in (("fp32", 1.0), ("bf16", 3.0), ("fp16", 2.0)):
        folder = project / f"reports/machines/{OTHER}/embedded/{name}"
        set_speedup(folder / "timing.json", ratio, 1.03, device="cuda")
        shutil.copy(project / f"reports/embedded/quality/{name}.json", folder / "quality.json")
    published = {"parameters": 1_370_216_895}
    change(project / "reports/architectures.json", lambda found: found["architectures"][0].update(published))
    page = rendered(with_machines=True)
    for scenario in ("more than 8 GB", "4 to 8 GB", "2 to 4 GB"):
        assert "Not answered" in row(page, "recommendations", f"Production on a GPU with {scenario}")
    assert "Invented GPU" not in table(page, "recommendations")
    assert "Not answered" not in row(page, "recommendations", "Deployment on a CPU alone")


def test_another_model_on_a_gpu_is_a_fact_and_no_advice(project):
    """Protects a reader from speeds of random weights as advice for this model."""
    folder = project / f"reports/machines/{OTHER}"
    (folder / "embedded").rename(folder / "big")
    change(folder / "asked.json", lambda asked: asked.update(models={"big": asked["models"]["embedded"]}))
    unmeasured = {
        "variant": "",
        "label": "",
        "baseline": "fp32",
        "measured": False,
        "reason": "random",
        "per_image": [],
    }
    for name, ratio in (("fp32", 1.0), ("bf16", 3.0), ("fp16", 2.0)):
        set_speedup(folder / f"big/{name}/timing.json", ratio, device="cuda")
        (folder / f"big/{name}/quality.json").write_text(json.dumps(unmeasured), encoding="utf-8")
    page = rendered(with_machines=True)
    assert "Not answered" in row(page, "recommendations", "Production on a GPU with 4")
    assert "the fastest format of Embedded within the limit is BF16 (3.00× against FP32" in words(page)
    assert "Its quality was not measured there." in words(page)


def test_dominated_variants_are_named_with_what_dominates_them(project):
    set_speedup(project / "reports/embedded/timing/bf16.json", 2.0, 1.05)
    set_speedup(project / "reports/embedded/timing/fp16.json", 0.9, 1.05)
    page = rendered()
    fp16 = row(page, "tradeoff", "FP16")
    assert re.search(r"front 0\.90× FP32", fp16), fp16
    assert "not measured: simulated, so without a speed the efficiency is undefined" in row(
        page, "tradeoff", "INT8 Simulated"
    )
    assert re.search(r"2\.00× front .* 3\.8\d$", row(page, "tradeoff", "BF16")), "2 x 2.00 x 0.96"


def test_costs_follow_from_price_speed_and_the_share_of_acceptable_images(project):
    """BF16 is twice as fast, and four of its five images reach 0.95: half the price, a quarter more for the fifth."""
    set_speedup(project / "reports/embedded/timing/bf16.json", 2.0, 1.05)

    def assume(params: dict) -> None:
        params["cost"].update(price_per_hour=3.6, utilisation=1.0, currency="EUR")

    change(project / "params.yaml", assume)
    results = load_results(Path("reports"), Path("data/runs/embedded/images"), load_params())
    latency_s = results.clock.reference_s
    found = row(page := rendered(), "costs", "BF16").split()
    assert float(found[1]) == pytest.approx(latency_s / 2, abs=0.001)
    assert "80 38 to 96" in " ".join(found)
    assert f"{latency_s / 2 / 0.8:.3f}" in found
    assert "not measured: simulated" in row(page, "costs", "INT8 Simulated") and "1000 images" in table(page, "costs")
    assert "<b>Assumed</b> are 3.60 EUR" in page


def test_without_images_advice_is_withheld_with_the_reason_and_costs_remain(project):
    for name in VARIANTS:
        unmeasured = {"variant": name, "label": name, "baseline": "fp32", "measured": False, "reason": "random_weights"}
        (project / f"reports/embedded/quality/{name}.json").write_text(
            json.dumps(unmeasured | {"per_image": []}), encoding="utf-8"
        )
        change(project / f"data/runs/embedded/images/{name}/images.json", lambda listing: listing.update(images=[]))
    for name in ("summary", "pairs"):
        change(project / f"reports/embedded/{name}.json", lambda content: content.update(pairs=[]))
    page = rendered()
    assert "Advice is withheld: without images no format can be held to a quality threshold (images generated" in box(
        page
    )
    assert 'id="table-recommendations"' not in page and 'id="table-tradeoff"' not in page
    assert "Acceptable" not in table(page, "costs") and "BF16" in table(page, "costs")


@pytest.mark.parametrize(("images", "restarts"), [(3, 2), (11, 2), (34, 1)])
def test_few_images_or_one_start_support_nothing(project, images, restarts):
    """Protects a first look from 'supported at 95 %' of three images, or of processes that were started once."""
    set_speedup(project / "reports/embedded/timing/bf16.json", 2.0, 1.05)
    set_ssim(project / "reports/embedded/quality/bf16.json", 0.98, 0.01, images)
    if restarts == 1:
        calls = calls_of([[2.0, 2.1]])
        change(project / "reports/embedded/timing/bf16.json", lambda timing: timing.update(calls=calls))
    said = box(rendered())
    assert "Which format? BF16" in said and "It is not supported at 95 %; what is: FP32." in said
    assert ("meets the threshold of 0.950 is supported at 95 %" in said) == (images == 34)
    assert ("but of fewer than 12 images" in said) == (images < 12)
    assert ("its processes were started once" in said) == (restarts == 1)

"""What do all variants together say?

Reads environment.json, the size, timing and quality of every declared variant, and every two of them compared; writes
summary.json (one row per variant, and the pairs) and, for `dvc metrics show`, one short row per variant in metrics, and
for `dvc plots show` the same rows in one file. Variants that cannot run here are listed with the reason, and nothing is
computed of them. A figure that belongs to another machine, baseline or format stops the stage: nothing stale is joined.
"""

from stages.lib.project.command_line import command_line, counted
from stages.lib.project.errors import run_stage
from stages.lib.project.files import whole_folder, write_json
from stages.lib.project.params import load_params
from stages.lib.quality.variant_answers import compare_variants, primary, rank_correlations
from stages.lib.results.summary import (
    definition,
    read_pairs,
    read_report,
    runtime_speedups,
    unavailable_variants,
    variant_rows,
)

METRICS_KEYS = (
    "label",
    "disk_mib",
    "compression",
    "latency_s",
    "speedup",
    "run_peak_mib",
    "psnr_db",
    "ssim",
    "identical",
)


def main() -> None:
    """Read, check, join, compare, write, print one line."""
    arguments = command_line(
        __doc__,
        "reports",
        "images",
        "output",
        metrics="folder for one short row per variant",
        rows="file for these rows together, every key in each",
    )
    params = load_params()
    environment = arguments.reports / "environment.json"
    reports = arguments.reports / params.model
    unavailable = unavailable_variants(params, environment, reports)
    missing = {item["variant"] for item in unavailable}
    variants = [variant for name, variant in params.variants.items() if name not in missing]
    rows = variant_rows(params, variants, environment, reports, arguments.images)
    runtimes = runtime_speedups(variants, params.baseline, reports)
    generated = all(row["quality_reason"] is None for row in rows)
    pairs = read_pairs(reports, [variant.name for variant in variants]) if generated else []
    compared = [variant.name for variant in variants] if generated else []
    qualities = {name: read_report(reports, "quality", name) for name in compared}
    comparisons = compare_variants(qualities, params.quality)
    model = {"name": params.model, "label": params.chosen_model.label}
    joined = {"variants": rows, "unavailable": unavailable, "runtimes": runtimes}
    joined["pairs"] = [{key: pair[key] for key in pair if key != "per_image"} for pair in pairs]
    joined["definitions"] = {variant.name: definition(variant) for variant in variants}
    joined["comparisons"] = comparisons
    joined["primary"] = primary(qualities, params.baseline, params.quality)
    joined["agreement"] = rank_correlations(qualities, params.baseline)
    write_json(arguments.output, {"model": model, "baseline": params.baseline, **joined})
    with whole_folder(arguments.metrics) as folder:
        for row in rows:
            shown = {key: row[key] for key in METRICS_KEYS if row[key] is not None}
            write_json(folder / f"{row['variant']}.json", shown)
    write_json(arguments.rows, [{key: row[key] for key in METRICS_KEYS} for row in rows])
    print(
        f"summarize: {counted(len(rows), 'variant')}, {len(unavailable)} left out, {counted(len(pairs), 'pair')} of "
        f"{counted(rows[0]['images'] or 0, 'image')}, {arguments.took}"
    )


if __name__ == "__main__":
    run_stage(main)

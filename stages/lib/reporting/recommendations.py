"""Trade-off, advice and costs as the report shows them: rows and sentences from the candidates."""

from dataclasses import dataclass
from typing import Any

from stages.lib.project.params import Params
from stages.lib.reporting.charts.result_charts import tradeoff_chart
from stages.lib.reporting.languages import Translate
from stages.lib.reporting.words import certainty_words, scenario_words
from stages.lib.reporting.words.names import translated
from stages.lib.results.candidates import Source, candidates_here, sources
from stages.lib.results.cost import CostRow, cost_of_generating, cost_row, digits_of
from stages.lib.results.machines import Machine
from stages.lib.results.pareto import COSTS, Standing, standings
from stages.lib.results.records import Results
from stages.lib.results.scenarios import Decision, decide

PRICES = (0.5, 1.0, 2.0)  # multiples of the assumed price
UTILISATIONS = (0.25, 0.5, 1.0)
# A model with fewer parameters than this share of the smallest published architecture in params.yaml says nothing about
# a GPU: it fits any memory, and a GPU waits for it instead of computing.
TRUE_SIZE = 0.1


@dataclass(frozen=True)
class Advice:
    """One scenario with its decision, ready for a table. `source` is None where no machine measured the device."""

    key: str
    label: str
    asked: list[str]
    decision: Decision
    source: Source | None
    unanswered: str
    elsewhere: list[str]
    shown: dict[str, str]
    sure: list[str]
    tie: str
    turning: list[str]
    why_not: dict[str, str]


def tradeoff(results: Results, _: Translate) -> dict[str, Any]:
    """Table 10 and its chart: where each variant stands against size, time and memory, and its efficiency."""
    candidates = candidates_here(results)
    found: dict[str, dict[str, Standing]] = {key: standings(candidates, key, results.comparisons) for key in COSTS}
    baseline_s = results.baseline.timing["latency_s"]
    return {
        "candidates": candidates,
        "standings": found,
        "labels": {item.name: item.label for item in candidates},
        "chart": tradeoff_chart(candidates, found, baseline_s, _) if results.illustrated and results.others else None,
    }


def advice(params: Params, results: Results, machines: tuple[Machine, ...], _: Translate) -> list[Advice]:
    """Table 12: every scenario of params.yaml, in its order."""
    measured = sources(results, machines, params.model, params.chosen_model.label)
    least = least_true_size(results)
    found = []
    for key, scenario in params.scenarios.items():
        large = [item for item in measured if scenario.device != "cuda" or item.parameters >= least]
        source, others = _source(large, scenario.device, params.model)
        decision = decide(scenario, source.candidates if source else ())
        given = [*decision.eligible, *(item for item, _held in decision.excluded)]
        found.append(
            Advice(
                key=key,
                label=translated(scenario.label, _),
                asked=scenario_words.asked_for(scenario, _),
                decision=decision,
                source=source,
                unanswered=scenario_words.unanswered(decision, source, _),
                elsewhere=[] if source else [scenario_words.elsewhere(scenario, other, _) for other in others],
                shown={item.name: scenario_words.shown(scenario, item) for item in decision.eligible},
                sure=certainty_words.how_sure(decision, _),
                tie=certainty_words.break_the_tie(decision, _),
                turning=certainty_words.turning(decision, _),
                why_not={item.name: scenario_words.why_not(decision, item, _) for item in given if decision.winner},
            )
        )
    return found


def least_true_size(results: Results) -> float:
    """The parameters of the smallest model that says something about published ones."""
    return TRUE_SIZE * min((item["parameters"] for item in results.architectures), default=0)


def _source(measured: list[Source], device: str, model: str) -> tuple[Source | None, list[Source]]:
    """The first machine that timed `model` on `device`, and the sources that timed other models on it."""

    def timed(source: Source) -> bool:
        return any(item.time_s and device in ("any", item.device) for item in source.candidates)

    there = [source for source in measured if timed(source)]
    own = next((source for source in there if source.model == model), None)
    return own, [source for source in there if source.model != model]


def costs(params: Params, results: Results) -> dict[str, Any]:
    """Table 13: what each variant of this machine costs, and how that depends on price and utilisation."""
    candidates = candidates_here(results)
    baseline = next(item for item in candidates if item.is_baseline)
    floor = params.scenarios[params.main_scenario].ssim_threshold
    price, utilisation = params.cost.price_per_hour, params.cost.utilisation
    rows = [cost_row(item, baseline, price, utilisation, floor) for item in candidates]
    cheapest = min((row for row in rows if row.thousand), key=lambda row: row.thousand.value)
    prices = [price * factor for factor in PRICES]

    def thousand(price: float, share: float) -> list[float]:
        """The cost of a thousand images of the baseline and of the cheapest variant."""
        pair = (baseline, cheapest.candidate)
        return [1000 * cost_of_generating(item.time_s.value, price, share) for item in pair]

    utilisations = sorted({*UTILISATIONS, utilisation})
    return {
        "rows": rows,
        "floor": floor,
        "digits": digits_of([row.thousand.value for row in rows if row.thousand]),
        "cheapest": cheapest,
        "utilisations": utilisations,
        "grid": [(price, [thousand(price, share) for share in utilisations]) for price in prices],
    }


def main_cost(params: Params, results: Results, name: str) -> tuple[CostRow, CostRow] | None:
    """The costs of the variant `name` and of the baseline on this machine; None if it was not measured here."""
    found = {row.candidate.name: row for row in costs(params, results)["rows"]}
    baseline = found[results.baseline.name]
    return (found[name], baseline) if name in found and found[name].thousand else None

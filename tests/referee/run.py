"""Everything in a finished run that can be computed again: where it stands, and what it must be."""

import gzip
import json
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from scipy import stats
from skimage import io

from tests.referee.pixels import distances, looks

MIB = 1024**2
MEASURES = ("psnr_db", "ssim", "ms_ssim", "ciede2000", "ciede2000_p95", "gmsd")
DISTANCES_BELOW = ("ciede2000", "ciede2000_p95", "gmsd")  # less is better
Figure = tuple[str, float, Callable[[], float]]


class Run:
    """The folders of one model, `reports` and `data`, and the settings in `params`, those of params.yaml."""

    def __init__(self, reports: Path, data: Path, params: dict) -> None:
        self.reports, self.data, self.settings = reports, data, params["quality"]
        self.summary = self.read("summary.json")
        self.baseline = self.summary["baseline"]
        self.variants = [row["variant"] for row in self.summary["variants"] if row["quality_reason"] is None]
        self.others = [name for name in self.variants if name != self.baseline]
        self.rgb = cache(self._rgb)
        self.distances = cache(lambda one, other, id: distances(self.rgb(one, id), self.rgb(other, id)))
        self.looks = cache(lambda name, id: looks(self.rgb(name, id)))

    def read(self, path: str) -> dict:
        return json.loads((self.reports / path).read_text(encoding="utf-8"))

    def _rgb(self, name: str, id: str) -> np.ndarray:
        return io.imread(self.data / "images" / name / f"{id}.png")

    def ids(self, name: str) -> list[str]:
        return [row["id"] for row in self.read(f"quality/{name}.json")["per_image"]]

    def values(self, key: str, name: str) -> dict[str, float]:
        """One measure of all images against the baseline's, without identical ones where it has none of them."""
        found = {id: self.distances(self.baseline, name, id)[key] for id in self.ids(name)}
        return {id: value for id, value in found.items() if value is not None}

    def recorded(self, key: str, name: str) -> dict[str, float]:
        """The same with the digits of the records, of which the summary is made."""
        return {id: float(f"{value:.6g}") for id, value in self.values(key, name).items()}

    def kinds(self) -> dict[str, list[Figure]]:
        """By kind of figure: every figure of this run of that kind."""
        kinds = (self.images, self.means, self.tails, self.shifts, self.pairs, self.comparisons, self.primary)
        kinds += (self.latents, self.sizes, self.speeds, self.agreement, self.looks_of_images)
        return {kind.__name__: [figure for figure in kind() if figure[1] is not None] for kind in kinds}

    def images(self) -> Iterator[Figure]:
        for name in self.others:
            for row in self.read(f"quality/{name}.json")["per_image"]:
                for key in MEASURES:
                    where = f"quality/{name}.json {row['id']} {key}"
                    yield where, row[key], lambda n=name, i=row["id"], k=key: self.distances(self.baseline, n, i)[k]

    def looks_of_images(self) -> Iterator[Figure]:
        for name in self.variants:
            for row in self.read(f"appearance/{name}.json")["per_image"]:
                for key in ("blur", "detail_db", "posterization_bits", "noise", "mottling", "lightness", "green_red"):
                    where = f"appearance/{name}.json {row['id']} {key}"
                    yield where, row[key], lambda n=name, i=row["id"], k=key: self.looks(n, i)[k]

    def means(self) -> Iterator[Figure]:
        for name in self.others:
            quality = self.read(f"quality/{name}.json")
            for key in MEASURES:
                for part in ("mean", "low", "high"):
                    stored = quality["averages"].get(key, {}).get(part)
                    yield f"quality/{name}.json {key} {part}", stored, lambda n=name, k=key, p=part: self._mean(n, k, p)
            yield f"quality/{name}.json psnr_db_std", quality["psnr_db_std"], lambda n=name: self._deviation(n)

    def _deviation(self, name: str) -> float:
        return np.std(list(self.values("psnr_db", name).values()), ddof=1)

    def _mean(self, name: str, key: str, part: str) -> float:
        values = list(self.values(key, name).values())
        return np.mean(values) if part == "mean" else self.interval(values, 0.95)[part == "high"]

    def interval(self, values: list[float], confidence: float) -> tuple[float, float]:
        """BCa over images, from the run's own resamples."""
        if np.ptp(values) == 0:
            return values[0], values[0]
        rng = np.random.default_rng(self.settings["seed"])
        scale = np.abs(values).max()

        def mean(drawn: np.ndarray, axis: int) -> np.ndarray:
            """Of few values many resamples have the mean itself, but for rounding."""
            return np.round(np.mean(drawn, axis=axis) / scale, 12) * scale

        options = {"n_resamples": self.settings["resamples"], "method": "BCa", "vectorized": True, "rng": rng}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return stats.bootstrap((values,), mean, confidence_level=confidence, **options).confidence_interval

    def tails(self) -> Iterator[Figure]:
        for name, key in product(self.others, MEASURES):
            stored = self.read(f"quality/{name}.json")["tails"].get(key, {})
            for part, place in (("worst", 0), ("percentile_5", None)):
                where = f"quality/{name}.json {key} {part}"
                yield where, stored.get(part), lambda n=name, k=key, p=place: self._tail(n, k, p)

    def _tail(self, name: str, key: str, place: int | None) -> float:
        ordered = sorted(self.values(key, name).values(), reverse=key in DISTANCES_BELOW)
        return ordered[int(np.ceil(0.05 * len(self.ids(name)))) - 1 if place is None else place]

    def shifts(self) -> Iterator[Figure]:
        for name in self.others:
            for key, item in self.read(f"appearance/{name}.json")["measures"].items():
                if key != "blockiness":
                    for part in ("shift", "low", "high"):
                        where = f"appearance/{name}.json {key} {part}"
                        yield where, item[part], lambda n=name, k=key, p=part: self._shift(n, k, p)

    def _shift(self, name: str, key: str, part: str) -> float:
        found = [self.looks(name, id)[key] - self.looks(self.baseline, id)[key] for id in self.ids(name)]
        if part == "shift":
            return np.mean(found)
        return stats.t.interval(0.99, len(found) - 1, np.mean(found), stats.sem(found))[part == "high"]

    def pairs(self) -> Iterator[Figure]:
        for pair in self.read("pairs.json")["pairs"]:
            one, other = pair["reference"], pair["variant"]
            for key in ("psnr_db", "ssim"):
                yield f"pairs.json {one} {other} {key}", pair[key], lambda o=one, v=other, k=key: self._pair(o, v, k)

    def _pair(self, one: str, other: str, key: str) -> float:
        found = [self.distances(one, other, id)[key] for id in self.ids(other)]
        return np.mean([value for value in found if value is not None])

    def comparisons(self) -> Iterator[Figure]:
        for entry in self.summary["comparisons"]:
            one, other = entry["reference"], entry["variant"]
            for key in ("psnr_db", "ssim"):
                for part in ("mean", "low", "high", "low_90", "high_90"):
                    where = f"summary.json {one} {other} {key} {part}"
                    stored = (entry[key] or {}).get(part)
                    yield where, stored, lambda o=one, v=other, k=key, p=part: self._comparison(o, v, k, p)

    def _comparison(self, one: str, other: str, key: str, part: str) -> float:
        first, second = self.recorded(key, one), self.recorded(key, other)
        found = [second[id] - first[id] for id in second if id in first]
        if part == "mean":
            return np.mean(found)
        return self.interval(found, 0.90 if part.endswith("90") else 0.95)[part.startswith("high")]

    def primary(self) -> Iterator[Figure]:
        """Answers whose corrected p is that of the correction for SSIM alone cannot be told from rows of features."""
        for row in self.summary["primary"]:
            where = f"summary.json primary {row['variant']} ssim"
            yield f"{where} mean", row["ssim"]["mean"], lambda n=row["variant"]: self._mean(n, "ssim", "mean")
            yield f"{where} p", row["ssim"]["p"], lambda n=row["variant"]: self._corrected(n)

    def _corrected(self, name: str) -> float:
        """Holm's, over SSIM from the pixels and over CLIP scores, whose network is not here, from their rows."""
        p = {}
        for row in self.summary["primary"]:
            own = row["variant"]
            tests = {"ssim": (list(self.recorded("ssim", own).values()), 1 - self.settings["margins"]["ssim"])}
            changes = [image["clip_score_change"] for image in self.read(f"quality/{own}.json")["per_image"]]
            tests["clip_score_change"] = (changes, -self.settings["margins"]["clip_score"])
            p |= {(own, key): stats.ttest_1samp(*test).pvalue for key, test in tests.items() if key in row}
        ordered = sorted(p, key=p.__getitem__)
        steps = [min(1.0, (len(p) - rank) * p[key]) for rank, key in enumerate(ordered)]
        return max(steps[: ordered.index((name, "ssim")) + 1])

    def latents(self) -> Iterator[Figure]:
        for name in self.others:
            for step, stored in enumerate(self.read(f"quality/{name}.json")["trajectory"]["mean_snr_db"]):
                yield f"quality/{name}.json latents {step}", stored, lambda n=name, s=step: self._latent_snr(n, s)

    def _latent_snr(self, name: str, step: int) -> float:
        exact, found = (self._latents(variant) for variant in (self.baseline, name))
        ratios = [np.sum(exact[id][step] ** 2) / np.sum((found[id][step] - exact[id][step]) ** 2) for id in found]
        return np.mean(10 * np.log10([ratio for ratio in ratios if np.isfinite(ratio)]))

    def _latents(self, name: str) -> dict[str, np.ndarray]:
        """A safetensors file: the length of a header, the header, the tensors."""
        content = (self.data / "images" / name / "latents.safetensors").read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        header.pop("__metadata__", None)
        return {
            id: np.frombuffer(content[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]], "<f4")
            .reshape(entry["shape"])
            .astype(float)
            for id, entry in header.items()
        }

    def sizes(self) -> Iterator[Figure]:
        for name in self.variants:
            stored = self.read(f"size/{name}.json")
            yield f"size/{name}.json disk_mib", stored["disk_mib"], lambda n=name: self._bytes(n, False) / MIB
            yield f"size/{name}.json runtime_mib", stored["runtime_mib"], lambda n=name: self._bytes(n, True) / MIB

    def _bytes(self, name: str, unpacked: bool) -> int:
        total = 0
        for path in (self.data / "models" / name).glob("*/*"):
            if path.suffix in (".safetensors", ".bin", ".data", ".gz") and "clip" not in path.parent.name:
                packed = path.suffix == ".gz" and unpacked
                total += len(gzip.decompress(path.read_bytes())) if packed else path.stat().st_size
        return total

    def speeds(self) -> Iterator[Figure]:
        for row in self.summary["variants"]:
            if row["speedup"] is not None:
                where, name = f"summary.json {row['variant']}", row["variant"]
                yield f"{where} speedup", row["speedup"], lambda n=name: self._speedup(n)
                yield f"{where} latency_s", row["latency_s"], lambda n=name: self._reference_s() / self._speedup(n)

    def _speedup(self, name: str) -> float:
        """Geometric mean over restarts, of pairs of which no call was discarded; of all, where none is left."""
        if name == self.baseline:
            return 1.0
        calls = self.read(f"timing/{name}.json")["calls"]
        pairs = list(zip(calls[::2], calls[1::2], strict=True))
        kept = [pair for pair in pairs if not (pair[0]["discarded"] or pair[1]["discarded"])] or pairs
        logs: dict[int, list[float]] = {}
        for pair in kept:
            seconds = {call["role"]: call["latency_s"] for call in pair}
            logs.setdefault(pair[0]["restart"], []).append(np.log(seconds["baseline"] / seconds["variant"]))
        return np.exp(np.mean([np.mean(found) for found in logs.values()]))

    def _reference_s(self) -> float:
        timed = [row["variant"] for row in self.summary["variants"] if row["speedup"] is not None]
        calls = [call for name in timed for call in self.read(f"timing/{name}.json")["calls"]]
        return np.median([call["latency_s"] for call in calls if call["role"] == "baseline"])

    def agreement(self) -> Iterator[Figure]:
        found = self.summary["agreement"]
        if found is None:
            return
        for (i, one), (j, other) in product(enumerate(found["measures"]), repeat=2):
            if i < j and {one, other} <= set(MEASURES):
                where = f"summary.json agreement {one} {other}"
                yield where, found["spearman"][i][j], lambda o=one, v=other: self._agreement(o, v)

    def _agreement(self, one: str, other: str) -> float:
        rows = self.read(f"quality/{self.others[0]}.json")["per_image"]
        sample = [row["id"] for row in rows if row["st_lpips"] is not None]
        means = [
            [np.mean([self.values(key, name)[id] for id in sample]) for name in self.others] for key in (one, other)
        ]
        sign = (-1) ** ((one in DISTANCES_BELOW) + (other in DISTANCES_BELOW))
        return sign * stats.spearmanr(*means).statistic

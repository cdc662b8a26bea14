"""What thousands of images of every format say beside the baseline's: attributes, distances of sets, verdicts."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.lib.project.files import read_json, write_bytes, write_json
from stages.lib.project.params import Params
from stages.lib.project.prompts import Prompt
from stages.lib.quality.alignment import check_attributes, class_texts
from stages.lib.quality.clip_features import find_clip
from stages.lib.quality.distributions import cmmd, kid
from stages.lib.quality.large_sets import frechet_distances, precision_recall
from stages.lib.quality.statistics import CONFIDENCE, EQUIVALENCE_CONFIDENCE, verdict
from stages.lib.results.scale import NETWORKS
from tools.many_images import OTHER_NOISE

FEW, DRAWS = 34, 1000  # prompts of the pipeline's own set, and how often so many are drawn
MARGIN = 1.0  # percentage points of attributes within which two formats are called equal
UNSEEN = 3  # images that may change of any number though none of n did (Hanley and Lippman-Hand, JAMA 249, 1983)
RUNS = "runs.json"


@dataclass(frozen=True)
class Stored:
    """Batches of prompts in a folder, a file each: arrays by SET.WHAT, as Many.do gives them; and which runs made them:
    their `commit`, `processes`, `prompts` and `seconds`, loading included."""

    folder: Path
    batches: Sequence[list[Prompt]]

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"

    def missing(self) -> list[tuple[int, list[Prompt]]]:
        """Those that are not there, with their numbers."""
        return [item for item in enumerate(self.batches) if not self._path(item[0]).is_file()]

    def there(self) -> list[tuple[int, list[Prompt]]]:
        """Those that are."""
        return [item for item in enumerate(self.batches) if self._path(item[0]).is_file()]

    def keep(self, number: int, result: dict[str, dict[str, Any]]) -> None:
        """Write one whole batch."""
        content = io.BytesIO()
        np.savez(content, **{f"{name}.{key}": value for name, own in result.items() for key, value in own.items()})
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self._path(number), content.getvalue())

    def runs(self) -> list[dict[str, Any]]:
        """Those so far."""
        return read_json(self.folder / RUNS) if (self.folder / RUNS).is_file() else []

    def note(self, runs: list[dict[str, Any]]) -> None:
        """Write down all of them."""
        write_json(self.folder / RUNS, runs)

    def read(self) -> tuple[list[Prompt], dict[str, dict[str, Any]]]:
        """The prompts that are there, n, and by set its arrays over all of them, (n, ...); digests as lists."""
        prompts, found = [], {}
        for number, batch in self.there():
            prompts += batch
            with np.load(self._path(number)) as file:
                for key in file.files:
                    name, _, what = key.rpartition(".")
                    found.setdefault(name, {}).setdefault(what, []).append(file[key])
        for own in found.values():
            for what in own.keys() - {"sha256"}:
                own[what] = np.concatenate(own[what])
        return prompts, found


def compare_sets(stored: Stored, params: Params, base: Path, device: str) -> list[dict[str, Any]]:
    """A row for each variant, the baseline first: n, identical, PSNR, attributes, distances; none of fewer than FEW.

    `psnr_db`: the mean over images that differ from the baseline's; None if none does. Matrices are on `device`.
    """
    prompts, found = stored.read()
    if len(prompts) < FEW:
        return []
    baseline = params.baseline
    other = found.pop(OTHER_NOISE)
    networks = [name for name in NETWORKS if name in other]
    distances = {
        network: distances_of({name: own[network] for name, own in found.items()}, baseline, other[network], device)
        for network in networks
    }
    seen = {name: own["clip"] for name, own in found.items()} if "clip" in networks else {}
    right = attributes_right(prompts, seen, base) if seen else {}
    rows, seed = [], params.quality.seed
    for name, own in found.items():
        variant = params.variant(name)
        error = own["squared_error"]
        changed = error[error > 0]
        rows.append(
            {
                "variant": name,
                "label": variant.label,
                "options": variant.model_dump(mode="json", exclude_unset=True),
                "n": len(prompts),
                "sha256": hashlib.sha256("".join(map(str, own["sha256"])).encode()).hexdigest(),
                "identical": int((error == 0).sum()),
                "psnr_db": float((10 * np.log10(255**2 / changed)).mean()) if len(changed) else None,
                "attributes": attributes_row(right[name], right[baseline], seed) if name in right else None,
                **{network: distances[network][name] for network in networks},
            }
        )
    return rows


def distances_of(
    sets: dict[str, np.ndarray], baseline: str, other: np.ndarray, device: str
) -> dict[str, dict[str, Any]]:
    """By variant, of features (n, d): FID and its excess (None of too few images), KID, CMMD, precision and recall
    against `other` (n, d), the baseline's images of other noise."""
    reference = torch.from_numpy(other).to(device)
    tensors = {name: torch.from_numpy(features).to(device) for name, features in sets.items()}
    frechet = frechet_distances(tensors, baseline, reference)
    found = {}
    for name, features in sets.items():
        precision, recall = precision_recall(reference, tensors[name])
        found[name] = {
            "fid": asdict(frechet[name]) if frechet[name] else None,
            "kid": asdict(kid(features, other)),
            "cmmd": asdict(cmmd(features, other)),
            "precision": precision,
            "recall": recall,
        }
    return found


def attributes_right(prompts: Sequence[Prompt], features: dict[str, np.ndarray], base: Path) -> dict[str, np.ndarray]:
    """By variant, of each image: how many of the attributes that its prompt names are right, and how many it names,
    (n, 2), from CLIP features (n, d), L2-normalised. Empty without a CLIP."""
    clip = find_clip(base)
    if clip is None:
        return {}
    texts, labels = [prompt.prompt for prompt in prompts], clip.text_features(class_texts(clip.attributes))
    found = {}
    for name, images in features.items():
        checks = check_attributes(texts, images, labels, clip.attributes)
        found[name] = np.array([(sum(check.right for check in own), len(own)) for own in checks], np.float64)
    return found


def attributes_row(own: np.ndarray, baseline: np.ndarray, seed: int) -> dict[str, Any] | None:
    """How many of those `asked` are right, the `change` in percentage points with its 95 % interval and verdict, and
    what `few` prompts would have said; both None for the baseline itself. `own`, `baseline`: (n, 2), right and asked.

    None where fewer than FEW prompts name an attribute.
    """
    asked = own[:, 1] > 0
    if asked.sum() < FEW:
        return None
    counts = {
        "asked": int(own[:, 1].sum()),
        "right": int(own[:, 0].sum()),
        "baseline_right": int(baseline[:, 0].sum()),
    }
    if own is baseline:
        return {**counts, "change": None, "few": None}
    # a ratio of sums as a mean: every image counts by the attributes that its prompt names
    change, most = (item / own[asked, 1].mean() * 100 for item in ((own - baseline)[asked, 0], own[:, 1].max()))
    mean, wide, narrow = spans(change[None], most)
    return {
        **counts,
        "change": {
            "mean": float(mean[0]),
            "low": float(mean[0] - wide[0]),
            "high": float(mean[0] + wide[0]),
            "verdict": verdicts(mean, wide, narrow)[0],
        },
        "few": verdicts_of_few(change, most, seed),
    }


def verdicts_of_few(change: np.ndarray, most: float, seed: int) -> dict[str, Any]:
    """Which share, 0 to 1, of DRAWS sets of FEW prompts, drawn with `seed`, comes to which verdict. `change` (n,) and
    `most` as in `spans`."""
    generator = np.random.default_rng(seed)
    drawn = np.stack([generator.choice(change, FEW, replace=False) for _ in range(DRAWS)])
    words = verdicts(*spans(drawn, most))
    return {
        "prompts": FEW,
        "draws": DRAWS,
        "verdicts": {word: words.count(word) / DRAWS for word in sorted(set(words))},
    }


def spans(values: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of rows (m, n) of changes in percentage points: means, and half the widths of their 95 % and 90 % intervals by
    Student's t, (m,) each.

    That no image changed does not prove that none does: where all of a row are the same, half the width is what
    UNSEEN images of n would move the mean, by `most` points each.
    """
    from scipy.special import stdtrit

    n = values.shape[1]
    errors = values.std(axis=1, ddof=1) / n**0.5
    wide, narrow = (stdtrit(n - 1, (1 + share) / 2) * errors for share in (CONFIDENCE, EQUIVALENCE_CONFIDENCE))
    unseen = UNSEEN / n * most
    return values.mean(axis=1), *(np.where(np.ptp(values, axis=1) > 0, half, unseen) for half in (wide, narrow))


def verdicts(means: np.ndarray, wide: np.ndarray, narrow: np.ndarray) -> list[str]:
    """What each of them, (m,) in percentage points, says of a difference, as statistics.Comparison explains."""
    return [
        verdict((mean - out, mean + out), (mean - inside, mean + inside), MARGIN)
        for mean, out, inside in zip(means, wide, narrow, strict=True)
    ]

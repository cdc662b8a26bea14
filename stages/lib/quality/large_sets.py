"""Are two large sets of images from the same distribution? Frechet distance, precision and recall of features.

For thousands of images; `distributions` has the distances that small sets allow. Features are tensors (n, d) of any
device, one row an image.
"""

from dataclasses import dataclass

import torch

from stages.lib.quality.distributions import student_975
from stages.lib.quality.frechet import Moments, frechet_distance, square_root

GROUPS = 10  # of the delete-a-group jackknife
NEIGHBOURS = 3  # Kynkaanniemi et al.'s choice
ROWS = 1000  # of a distance matrix at a time


@dataclass(frozen=True)
class Excess:
    """A Frechet distance, 0 or more in squared units of the features, and by how much it exceeds that of the
    baseline's own images: `excess` of either sign, with its 95 % interval from `low` to `high`."""

    distance: float
    excess: float
    low: float
    high: float


def frechet_distances(sets: dict[str, torch.Tensor], baseline: str, other: torch.Tensor) -> dict[str, Excess | None]:
    """By name: each set of `sets` from `other`, the baseline's images from other noise, all (n, d) of the same prompts.

    The interval is the delete-a-group jackknife's over prompts, taken out of all sets at once, with Student's t
    (Kott, J. Off. Stat. 17, 2001). Of d images or fewer a covariance lacks rank, and the distance is of chance: None
    for all where n without a group is no more than d.
    """
    n, dimension = other.shape
    if n - -(-n // GROUPS) <= dimension:
        return dict.fromkeys(sets)
    rows = [slice(start, None, GROUPS) for start in range(GROUPS)]
    parts = {name: [Moments.of(features[group]) for group in rows] for name, features in sets.items()}
    reference = [Moments.of(other[group]) for group in rows]
    whole = {name: _sum(moments) for name, moments in parts.items()}
    found = _frechet_all(whole, _sum(reference))
    without = [
        _frechet_all({name: whole[name] - parts[name][left] for name in sets}, _sum(reference) - reference[left])
        for left in range(GROUPS)
    ]
    result = {}
    for name, distance in found.items():
        excess = distance - found[baseline]
        changes = torch.tensor([item[name] - item[baseline] for item in without], dtype=torch.float64)
        spread = float(((changes - changes.mean()).square().sum() * (GROUPS - 1) / GROUPS).sqrt())
        half = student_975(GROUPS - 1) * spread
        result[name] = Excess(distance, excess, excess - half, excess + half)
    return result


def _sum(moments: list[Moments]) -> Moments:
    total = moments[0]
    for item in moments[1:]:
        total = total + item
    return total


def _frechet_all(sets: dict[str, Moments], reference: Moments) -> dict[str, float]:
    root = square_root(reference.covariance)
    return {name: frechet_distance(moments, reference, root) for name, moments in sets.items()}


def precision_recall(reference: torch.Tensor, images: torch.Tensor) -> tuple[float, float]:
    """The share of `images` (m, d) that lie among `reference` (n, d) and the other way round, 0 to 1 each.

    Among: nearer to one of a set than that one's third nearest neighbour in its set is (Kynkaanniemi et al.,
    arXiv:1904.06991). Both have four images at least.
    """
    return _among(reference, images), _among(images, reference)


def _among(owners: torch.Tensor, asked: torch.Tensor) -> float:
    owners, asked = owners.float(), asked.float()
    radii = torch.cat([torch.cdist(part, owners).kthvalue(NEIGHBOURS + 1).values for part in owners.split(ROWS)])
    inside = [(torch.cdist(part, owners) <= radii).any(dim=1) for part in asked.split(ROWS)]
    return float(torch.cat(inside).float().mean())

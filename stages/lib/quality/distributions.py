"""Do two sets of images look as if they came from the same source? Distances between sets of features.

Images of two formats are paired: same prompt, same noise. Estimators that average over all cross terms are biased
downwards by that; what is used here leaves out the pairs and so stays unbiased (the U-statistic of Gretton et al.,
"A kernel two-sample test", JMLR 13, 2012, equation 4).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np

from stages.lib.quality.statistics import FEWEST, Interval

CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0
BLOCK = 1000  # of more images than that, blocks of about so many are compared and averaged
Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]
Measure = Callable[[np.ndarray, np.ndarray], Interval]


def polynomial_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x.y / d + 1)^3 of rows of x (m, d) and y (n, d): the kernel of KID (Binkowski et al., arXiv:1801.01401)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def gaussian_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """exp(-|x - y|^2 / (2 x 10^2)) of L2-normalised rows: the kernel of CMMD (Jayasumana et al., arXiv:2401.09603)."""
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2 * x @ y.T
    return np.exp(-squares / (2 * CMMD_SIGMA**2))


def mmd2_paired(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> Interval:
    """Squared maximum mean discrepancy of two sets (n, d) paired row by row: unbiased, exactly 0 for equal sets.

    The interval is the jackknife's with Student's t (Arvesen, Ann. Math. Statist. 40, 1969). Raises ValueError of
    fewer than two pairs or of sets of different sizes.
    """
    if x.shape != y.shape or len(x) < 2:
        raise ValueError(f"expected two sets of at least two, paired row by row, got {x.shape} and {y.shape}")
    x, y = x.astype(np.float64), y.astype(np.float64)
    terms = [_terms(*block, kernel) for block in _blocks(x, y)]
    mean = float(np.mean([value for value, _ in terms]))
    n = len(x)
    if n < FEWEST:
        return Interval(mean, None, None, n)
    pseudo = np.concatenate([values for _, values in terms])
    half = student_975(n - 1) * float(pseudo.std(ddof=1)) / n**0.5
    return Interval(mean, mean - half, mean + half, n)


def _terms(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> tuple[float, np.ndarray]:
    """The U-statistic of one block, and the jackknife's pseudo-values, one per pair."""
    n = len(x)
    cross = kernel(x, y)
    h = kernel(x, x) + kernel(y, y) - cross - cross.T
    np.fill_diagonal(h, 0)
    rows, total = h.sum(axis=1), h.sum()
    value = total / (n * (n - 1))
    without = (total - 2 * rows) / ((n - 1) * (n - 2)) if n > 2 else np.full(n, value)
    return float(value), n * value - (n - 1) * without


def _blocks(x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    count = -(-len(x) // BLOCK)
    return [(x[start::count], y[start::count]) for start in range(count)]


def student_975(freedom: int) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def kid(x: np.ndarray, y: np.ndarray) -> Interval:
    """Kernel Inception distance of paired features (n, d), with whatever features it is given."""
    return mmd2_paired(x, y, polynomial_kernel)


def cmmd(x: np.ndarray, y: np.ndarray) -> Interval:
    """1000 x the squared maximum mean discrepancy of paired, L2-normalised CLIP features (n, d)."""
    found = mmd2_paired(x, y, gaussian_kernel)
    scaled = [None if value is None else CMMD_SCALE * value for value in (found.mean, found.low, found.high)]
    return Interval(*scaled, found.n)


def fid(x: np.ndarray, y: np.ndarray) -> float:
    """The Frechet distance of features x (m, d) and y (n, d)."""
    import torch

    from stages.lib.quality.frechet import Moments, frechet_distance

    return frechet_distance(Moments.of(torch.from_numpy(x)), Moments.of(torch.from_numpy(y)))


def distance(measure: Measure, sets: Sequence[np.ndarray], resampled: Sequence[np.ndarray]) -> dict:
    """One kernel distance of paired features as JSON, and whether it can be told from zero.

    `noise` is how far it moves when the same images come to the CLIP through another resampling filter. Only where the
    whole interval lies beyond that are the sets different: what another computation would change is no finding.
    """
    found = measure(*sets)
    noise = abs(measure(*resampled).mean - found.mean)
    return asdict(found) | {"noise": noise, "beyond_zero": found.low is not None and found.low > noise}


def distances_of_sets(sets: Sequence[np.ndarray], resampled: Sequence[np.ndarray], fid_images: int) -> dict:
    """KID, CMMD and FID (or why not) of paired features (n, d) as JSON; `rank` is the covariance's at most.

    `resampled` are the features of the same two sets of images through another resampling filter.
    """
    x, y = sets
    n, dimension = x.shape
    enough = n >= fid_images and n > dimension  # FID's bias falls with 1/n (arXiv:1911.07023)
    return {
        "n": n,
        "dimension": dimension,
        "rank": min(n - 1, dimension),
        "kid": distance(kid, sets, resampled) if n > 1 else None,
        "cmmd": distance(cmmd, sets, resampled) if n > 1 else None,
        "fid": fid(x, y) if enough else None,
        "fid_required": fid_images if enough else max(fid_images, dimension + 1),
    }

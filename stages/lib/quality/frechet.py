"""The Frechet distance of two sets of features, tensors (n, d) of any device with one row an image."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Moments:
    """Of a set of features: how many, their sum (d,) and the sum of their outer products (d, d), FP64."""

    n: int
    sums: torch.Tensor
    products: torch.Tensor

    @classmethod
    def of(cls, features: torch.Tensor) -> "Moments":
        """Those of features (n, d) of any floating-point dtype, on their device."""
        values = features.double()
        return cls(len(values), values.sum(0), values.T @ values)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.n + other.n, self.sums + other.sums, self.products + other.products)

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(self.n - other.n, self.sums - other.sums, self.products - other.products)

    @property
    def mean(self) -> torch.Tensor:
        """(d,); n is 1 or more."""
        return self.sums / self.n

    @property
    def covariance(self) -> torch.Tensor:
        """(d, d), over n - 1; n is 2 or more. Its rank is n - 1 at most: of n <= d images it is singular."""
        return (self.products - self.n * torch.outer(self.mean, self.mean)) / (self.n - 1)


def square_root(covariance: torch.Tensor) -> torch.Tensor:
    """The symmetric square root (d, d) of a covariance (d, d); eigenvalues that rounding made negative count as 0."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def frechet_distance(one: Moments, other: Moments, root: torch.Tensor | None = None) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2) of two Gaussians (Heusel et al., arXiv:1706.08500), 0 or more.

    Both are of the same d; the distance has the square of the features' unit. `root` (d, d) is the square root of the
    covariance of `other`, where it is known. Of n images it is too large by about what two sets of the same source
    differ, so it is told beside that; of n <= d images it should not be told at all.
    """
    root = square_root(other.covariance) if root is None else root
    shared = torch.linalg.eigvalsh(root @ one.covariance @ root).clamp(min=0).sqrt().sum()
    apart = (one.mean - other.mean).square().sum()
    return max(0.0, float(apart + one.covariance.trace() + other.covariance.trace() - 2 * shared))

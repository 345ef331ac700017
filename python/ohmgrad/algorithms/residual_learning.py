"""Residual Learning: a fast array learns what the slow one still lacks, and hands it over.

    min over W of |P*(W)|^2,        P*(W) = argmin over P of f(W + gamma P) = (W* - W) / gamma

    P <- P - alpha g F(P) - alpha |g| G(P)        g: gradient at the mixture W + gamma P        (eq. 10)
    W <- W + beta P F(W) - beta |P| G(W)                                                        (eq. 11)

Z. Wu, Q. Xiao, T. Gokmen, O. Fagbohungbe, T. Chen, "Analog in-memory training on general non-ideal resistive elements",
NeurIPS 2025, arXiv 2502.06309. ``P`` is the array ``fast`` with ``alpha = fast_lr``, ``W`` the array ``slow`` with
``beta = transfer_lr``: it is Tiki-Taka with a share ``gamma > 0`` of the fast array in the weight. The paper's theory
transfers the whole array each time, ``n_reads_per_transfer=0``; its experiments read one column.
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import algorithms
from .tiki_taka import TikiTaka


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ResidualLearning(TikiTaka):
    """:class:`TikiTaka` with ``gamma = 0.4``, the paper's choice; all other parameters are the same.

    >>> import ohmgrad as og
    >>> og.ResidualLearning(fast_lr=0.05).gamma
    0.4
    """

    gamma: float = 0.4

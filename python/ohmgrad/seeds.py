"""Seeds: one number for everything, or one for each source of randomness."""

from __future__ import annotations

from dataclasses import dataclass

from ._record import Record, as_int, settings

__all__ = ["Seeds", "as_seeds"]

_LIMIT = 1 << 64


@settings.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Seeds(Record):
    """Seeds of the three sources of randomness, each an integer with 0 <= seed < 2**64.

    - ``device``: the values of the cells, drawn when a tile is built.
    - ``noise``: pulse trains, cycle noise and the noise of the periphery.
    - ``init``: initial weights of a layer.

    Raises ValueError naming the field for a value out of range, TypeError for a value that is no integer.

    >>> from ohmgrad import Seeds
    >>> Seeds(device=7, noise=1)
    Seeds(device=7, noise=1)
    """

    device: int = 0
    noise: int = 0
    init: int = 0

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        for name, seed in self.describe().items():
            if not 0 <= seed < _LIMIT:
                raise ValueError(f"seed {name} must be an integer with 0 <= seed < 2**64, got {seed}")


def as_seeds(seed: int | Seeds) -> Seeds:
    """``seed`` itself if it is a :class:`Seeds`; an integer stands for all three.

    >>> from ohmgrad.seeds import as_seeds
    >>> as_seeds(5) == Seeds(device=5, noise=5, init=5)
    True
    """
    if isinstance(seed, Seeds):
        return seed
    seed = as_int("seed", seed)
    return Seeds(device=seed, noise=seed, init=seed)

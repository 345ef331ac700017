"""The periphery of a crossbar: converters, noise, and the management of ranges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from . import _core
from ._record import Record, settings

__all__ = ["IO"]


@settings.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class IO(Record):
    """The analog matrix-vector product ``y = W x``; ``IO()`` is ideal, realism comes from the presets and the fields.

    In this order: ``v = x / (alpha r)``, quantised, clipped to ``+-inp_bound``, plus ``inp_noise * N(0, 1)``;
    ``z = W v``; ``z + out_noise * N(0, 1)``, quantised, clipped to ``+-out_bound``; ``y = z * alpha * r * out_scale``.
    ``alpha`` is the factor of noise management, ``r`` that of bound management. The parameters are those of aihwkit
    (M. J. Rasch et al., arXiv 2104.02184).

    - ``is_perfect``: True leaves the exact product times ``out_scale``, whatever the other fields say.
    - ``inp_bound``, ``out_bound``: ranges of the converters, in units of the normalised signal; <= 0: unlimited.
    - ``inp_res``, ``out_res``: resolution relative to the full range ``2 * bound``; <= 0: off; above 1: a number of
      steps (``inp_res=126`` is ``1/126``).
    - ``inp_noise``, ``out_noise``: standard deviations, >= 0.
    - ``noise_management``: ``"none"`` (``alpha = 1``), ``"constant"`` (``alpha = nm_thres``, or 1), or ``"abs_max"``
      (``alpha = max |x|`` of each vector, at most ``nm_thres`` if that is positive).
    - ``bound_management``: ``"none"``, or ``"iterative"``: forward only, while an output is clipped, ``r`` is doubled
      and the product repeated, until ``r > max_bm_factor`` or ``r`` exceeds ``max_bm_res`` of the input's steps.
    - ``out_scale``: factor on the output.

    Raises ValueError naming the field for a value out of range, TypeError for a value of another kind.

    >>> from ohmgrad import IO
    >>> IO(out_noise=0.1)
    IO(out_noise=0.1)
    >>> IO.kit(out_noise=0.0).out_bound
    12.0
    """

    is_perfect: bool = False
    inp_bound: float = 0.0
    inp_res: float = 0.0
    inp_noise: float = 0.0
    out_bound: float = 0.0
    out_res: float = 0.0
    out_noise: float = 0.0
    noise_management: Literal["none", "constant", "abs_max"] = "none"
    nm_thres: float = 0.0
    bound_management: Literal["none", "iterative"] = "none"
    max_bm_factor: int = 1000
    max_bm_res: float = 0.25
    out_scale: float = 1.0

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        _core.validate_io(self.describe())

    @classmethod
    def kit(cls, **overrides: Any) -> IO:
        """aihwkit's defaults: 7 bit in, 9 bit out over +-12, output noise 0.06, both managements (arXiv 2104.02184).

        ``overrides`` are fields of :class:`IO`.
        """
        preset: dict[str, Any] = dict(
            inp_bound=1.0,
            inp_res=1 / 126,
            out_bound=12.0,
            out_res=1 / 510,
            out_noise=0.06,
            noise_management="abs_max",
            bound_management="iterative",
        )
        return cls(**preset | overrides)

    @classmethod
    def paper(cls, **overrides: Any) -> IO:
        """The text of arXiv 2502.06309: 8 bit in and out, range +-20, output noise 0.1, both managements.

        ``overrides`` are fields of :class:`IO`.
        """
        preset: dict[str, Any] = dict(
            inp_bound=1.0,
            inp_res=1 / 254,
            out_bound=20.0,
            out_res=1 / 254,
            out_noise=0.1,
            noise_management="abs_max",
            bound_management="iterative",
        )
        return cls(**preset | overrides)

    def readout(self) -> IO:
        """This periphery as it reads single lines of an array: without noise management and bound management."""
        return replace(self, noise_management="none", bound_management="none")

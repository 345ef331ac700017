"""How an update becomes pulses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from . import _core
from ._record import Record, settings

__all__ = ["PulseTrain"]


@settings.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class PulseTrain(Record):
    """The pulse generator of an update ``W <- W - lr * sum_b d_b x_b^T``.

    ``stochastic_compressed`` sends one random train of ``BL`` slots over every line: the line of ``x_j`` fires in a
    slot with probability ``min(1, B |x_j|)``, the line of ``d_i`` with ``min(1, A |d_i|)``, and every coincidence is
    one pulse at the cell, where ``A B = lr / (granularity BL)``. In the mean that is ``lr |x_j d_i| / granularity``
    pulses (T. Gokmen, Y. Vlasov, Front. Neurosci. 10:333, 2016; scale factors as in aihwkit).

    - ``pulse_type``: ``"stochastic_compressed"``; ``"analog_update"``, per vector ``w + Dw F(w) - |Dw| G(w)`` with
      ``Dw = -lr d_i x_j`` (arXiv 2502.06309); ``"none_with_device"``, the exact product clipped to the cell's bounds;
      ``"none"``, the exact product.
    - ``desired_bl``: slots of a train (the most there may be, with ``update_bl_management``), 1 to 16384.
    - ``update_management``: balance the probabilities of the two sides by the ratio of ``max |x|`` and ``max |d|``.
    - ``update_bl_management``: shorten the train to ``ceil(lr max|x| max|d| / granularity)`` slots; with it the
      sides are balanced too.

    Raises ValueError naming the field for a value out of range, TypeError for a value of another kind.

    >>> from ohmgrad import PulseTrain
    >>> PulseTrain(desired_bl=10, update_management=True)
    PulseTrain(desired_bl=10)
    """

    pulse_type: Literal["stochastic_compressed", "analog_update", "none_with_device", "none"] = "stochastic_compressed"
    desired_bl: int = 31
    update_management: bool = True
    update_bl_management: bool = True

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        _core.validate_pulses(self.describe())

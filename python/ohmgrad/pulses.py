"""How an update becomes pulses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from . import _core
from ._record import Record, settings

__all__ = ["PulseTrain"]


@settings.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class PulseTrain(Record):
    """The pulse generator of an update ``W <- W - lr * sum_b d_b x_b^T``.

    With the learning rate ``lr``, the granularity ``g`` of the device and a train of ``BL`` slots, the line of ``x_j``
    has the probability ``p_x = min(1, B |x_j|)`` to fire in a slot, the line of ``d_i`` has ``p_d = min(1, A |d_i|)``,
    and ``A B = lr / (g BL)``. A negative rate turns all signs. ``pulse_type`` is one of

    - ``"stochastic_compressed"``: a random train on every line, and a pulse of the sign of ``-lr d_i x_j`` where both
      fire, in the mean ``lr |x_j d_i| / g`` of them (T. Gokmen, Y. Vlasov, Front. Neurosci. 10:333, 2016; scale
      factors as in aihwkit).
    - ``"stochastic"``: positive and negative inputs in separate phases. All pulses of a vector at a cell have one
      sign, so the result is the same, bit for bit; only hardware would take twice the time.
    - ``"mean_count"``: without randomness ``n = rint(BL p)`` pulses on each line and ``rint(n_x n_d / BL)`` at a cell.
    - ``"deterministic_implicit"``: without randomness ``rint(BL p_x p_d)`` pulses, the probabilities rounded to
      ``x_res_implicit`` and ``d_res_implicit`` beforehand.
    - ``"pulsed"``: ``|Dw| / g`` pulses of full size, ``Dw = -lr d_i x_j``, whole by ``rounding``, at most 16384.
      Its distance from ``"analog_update"`` is ``O(g) + O(Dw^2)`` and, with cycle noise ``s``, ``sqrt(g |Dw|) s``
      (arXiv 2502.06309, theorem 4, with ``rounding="ceil"``; arXiv 2406.12774, eq. 20).
    - ``"analog_update"``: the mathematical update ``w + Dw F(w) - |Dw| G(w)``, clipped (arXiv 2502.06309).
    - ``"random_increment"``: the mathematical update of ``g N`` in the direction of ``Dw``, ``N`` the coincidences of
      the stochastic trains: its mean is ``Dw``, its variance of order ``lr g``, and there is no cycle noise (the
      discretisation error of arXiv 2510.02516, lemma 1).
    - ``"none_with_device"``, ``"none"``: ``w + Dw``, clipped to the cell's bounds or not.

    The fields of trains, which ``mean_count`` and ``deterministic_implicit`` use too:

    - ``desired_bl``: slots of a train (the most there may be, with ``update_bl_management``), 1 to 16384.
    - ``fixed_bl``: False lets a train without ``update_bl_management`` grow to ``ceil(lr / g)`` slots with
      ``A = B = 1`` where ``desired_bl`` slots cannot hold the learning rate, up to 16384. As in aihwkit,
      ``update_management`` still clips the errors of vectors that need more than ``desired_bl``.
    - ``update_management``: balance the probabilities of the two sides by the ratio of ``max |x|`` and ``max |d|``.
    - ``update_bl_management``: shorten the train to ``ceil(lr max|x| max|d| / g)`` slots; with it the sides are
      balanced too.
    - ``um_grad_scale``: factor on ``max |d|`` in both, 1e-9 to 1e9; below 1 the largest errors are clipped.
    - ``res``: probabilities are rounded to multiples of it, ties to even, 0 to 1e9; 0: not at all; above 1: a number of
      steps (``res=10`` is ``0.1``). With ``sto_round`` they are rounded up or down such that the mean is right.
    - ``x_res_implicit``, ``d_res_implicit``: the same for ``deterministic_implicit``, which rounds to the nearest.

    Those of ``pulsed`` and of the updates without pulses:

    - ``increment``: what is given to the device in one go, the ``Dw`` of every ``"sample"``, one after the other as
      hardware does it, or their sum over the ``"batch"`` as theory has it: ``|Dw|`` of a mean gradient. A batch ends
      where a transfer that reads or changes the array, or a refresh of its pairs, comes in between.
    - ``rounding``: of ``|Dw| / g`` to a whole number of pulses: ``"stochastic"``, ``floor(|Dw| / g + U)`` with ``U``
      uniform in [0, 1), whose mean is right; ``"ceil"``; or ``"floor"``.

    Raises ValueError naming the field for a value out of range, TypeError for a value of another kind.

    >>> from ohmgrad import PulseTrain
    >>> PulseTrain(desired_bl=10, update_management=True)
    PulseTrain(desired_bl=10)
    >>> PulseTrain(pulse_type="pulsed", rounding="ceil").rounding
    'ceil'
    """

    pulse_type: Literal[
        "stochastic_compressed",
        "stochastic",
        "mean_count",
        "deterministic_implicit",
        "pulsed",
        "analog_update",
        "random_increment",
        "none_with_device",
        "none",
    ] = "stochastic_compressed"
    desired_bl: int = 31
    fixed_bl: bool = True
    update_management: bool = True
    update_bl_management: bool = True
    um_grad_scale: float = 1.0
    res: float = 0.0
    sto_round: bool = False
    x_res_implicit: float = 0.0
    d_res_implicit: float = 0.0
    increment: Literal["sample", "batch"] = "sample"
    rounding: Literal["stochastic", "ceil", "floor"] = "stochastic"

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        _core.validate_pulses(self.describe())

    @classmethod
    def unmanaged(cls, **overrides: Any) -> PulseTrain:
        """The original scheme: 10 slots, no management (T. Gokmen, Y. Vlasov, Front. Neurosci. 10:333, 2016).

        ``overrides`` are fields of :class:`PulseTrain`.

        >>> PulseTrain.unmanaged()
        PulseTrain(desired_bl=10, update_management=False, update_bl_management=False)
        """
        preset: dict[str, Any] = dict(desired_bl=10, update_management=False, update_bl_management=False)
        return cls(**preset | overrides)

    @classmethod
    def single(cls, **overrides: Any) -> PulseTrain:
        """One slot without management, as buffered algorithms write: a line fires once, or not, with ``p`` as above.

        ``overrides`` are fields of :class:`PulseTrain`.

        >>> PulseTrain.single()
        PulseTrain(desired_bl=1, update_management=False, update_bl_management=False)
        """
        return cls.unmanaged(**dict(desired_bl=1) | overrides)

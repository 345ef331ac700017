"""Resistive elements: one frozen dataclass per model, with its equations and its source.

A weight is a cell that moves in pulses. ``s_up``, ``s_down`` are the steps of one cell at weight zero, ``b_up >= 0``
and ``b_down <= 0`` its bounds. They are drawn once when a tile is built (``N``: independent normal numbers):

    b_up   = w_max (1 + w_max_dtod N)              gain = 1 + dw_min_dtod N, or exp(dw_min_dtod N)
    b_down = w_min (1 + w_min_dtod N)              r    = up_down_dtod N
    s_up   = dw_min (gain + r + min(up_down, 0))   s_down = dw_min (gain - r - max(up_down, 0))

A pulse adds a step with its cycle noise, then the weight is clipped to the bounds. The network sees ``v - r_ref`` where
``v`` is the weight of the cell and ``r_ref = reference_mean + reference_std N`` (plus the cell's symmetric point if
``subtract_symmetry_point``). All spread and all noise are zero unless set.

>>> from ohmgrad.devices import SoftBounds
>>> device = SoftBounds(dw_min=0.01, w_max=1.0, w_min=-0.5)
>>> device
SoftBounds(dw_min=0.01, w_min=-0.5)
>>> device.q_up(0.5), device.q_down(0.5)
(0.5, 2.0)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any, Literal

from . import _core
from ._measured import read_steps, total
from ._record import Record, Registry, as_floats, settings
from .response import Grid, Response, Table

__all__ = [
    "Cell",
    "ConstantStep",
    "Drift",
    "ExpStep",
    "ExponentialResponse",
    "LinearResponse",
    "LinearStep",
    "OneSided",
    "PiecewiseStep",
    "PowStep",
    "PowStepReference",
    "PowerResponse",
    "ReferenceCell",
    "SaturatingExponential",
    "ShiftedLinear",
    "SoftBounds",
    "SoftBoundsPmax",
    "SoftBoundsReference",
    "Tabulated",
    "Vector",
]


@settings.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Drift(Record):
    """How a weight that is left alone fades, as a power of time (aihwkit, arXiv 2104.02184; for PCM: I. Boybat et al.).

        w = w0 max(t / t_0, 1)^-e + w_noise_std N''
        e = nu (1 + nu_dtod N) - nu_k (log((w0 - w_offset) / wg_ratio + g_offset) - log_g0) + nu_std nu N'

    ``t`` is the time since the cell was last changed, in the unit of ``t_0``, and ``w0`` its weight then. ``N`` is
    drawn once for every cell, ``N'`` and ``N''`` at every call of :meth:`ohmgrad.Tile.drift`; nothing drifts by itself.

    - ``nu``: mean exponent; ``nu_dtod``: its relative spread, >= 0; ``nu_std``: its variation from call to call, >= 0.
    - ``t_0``: the time that drift is counted from, > 0.
    - ``nu_k``, ``log_g0``, ``g_offset``, ``w_offset``, ``wg_ratio`` (> 0): how the exponent depends on the conductance.
    - ``w_noise_std``: noise of a weight at every call, >= 0.
    - ``reset_tol``: the clock of a weight that changed by more than this starts anew, >= 0.

    >>> from ohmgrad.devices import Drift, SoftBounds
    >>> SoftBounds(drift=Drift(nu=0.03, nu_dtod=0.2))
    SoftBounds(drift=Drift(nu=0.03, nu_dtod=0.2))
    """

    nu: float = 0.0
    t_0: float = 1.0
    nu_dtod: float = 0.0
    nu_std: float = 0.0
    nu_k: float = 0.0
    log_g0: float = 0.0
    g_offset: float = 0.0
    w_offset: float = 0.0
    wg_ratio: float = 1.0
    w_noise_std: float = 0.0
    reset_tol: float = 1e-7


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Device(Response):
    """What all models share. Raises ValueError naming field, value and range; TypeError for another kind of value.

    - ``dw_min``: step at weight zero, > 0. ``dw_min_dtod``: its relative spread over the cells, >= 0;
      ``dw_min_dtod_log_normal``: that spread is log-normal.
    - ``dw_min_std``: cycle noise relative to the step, >= 0; ``mult_noise``: True scales it with the step at the
      present weight (``dw (1 + dw_min_std N)``), False with the step at zero (``dw + s dw_min_std N``).
    - ``up_down``: -1 to 1; positive shrinks the down step, negative the up step. ``up_down_dtod``: its spread, >= 0.
    - ``w_max_dtod``, ``w_min_dtod``: relative spread of the bounds, >= 0.
    - ``reference_mean``, ``reference_std`` (>= 0, not relative), ``subtract_symmetry_point`` (refused by a device that
      has none): the reference that every read subtracts.
    - ``enforce_consistency``: True makes drawn steps positive and orders drawn bounds around zero.
    - ``lifetime``: time constant of the decay to zero in mini-batches, >= 0, 0 for none; ``diffusion``: standard
      deviation of a random walk's step per mini-batch, >= 0; ``lifetime_dtod``, ``diffusion_dtod``: relative spreads.
      Both act when a mini-batch ends (``tile.end_batch()``): ``w <- w + diffusion N``, then
      ``w <- (w - b) (1 - 1 / lifetime) + b`` with ``b`` the cell's reset target.
    - ``reset``, ``reset_dtod``: the weight that a reset leads to, ``reset + reset_dtod N`` of a cell (the spread is
      added, in units of the weight, >= 0); ``reset_std``: what a single reset leaves around it, >= 0.
    - ``drift``: a :class:`Drift`, or None.
    - ``write_noise_std``: standard deviation of the weight that is seen around the one that is stored, in units of
      ``dw_min``, >= 0; drawn when a cell is pulsed and, with ``apply_write_noise_on_set``, when weights are set.
    - ``corrupt_devices_prob``: share of cells that are stuck, 0 to 1, each at a weight uniform between its bounds
      within ``+-corrupt_devices_range``, >= 0.
    - ``perfect_bias``: cells of the last column have no spread, steps ``dw_min``, no reference, bounds out of reach
      (100 times the nominal ones), and do not age.
    """

    dw_min: float = 0.001
    dw_min_dtod: float = 0.0
    dw_min_dtod_log_normal: bool = False
    dw_min_std: float = 0.0
    mult_noise: bool = True
    up_down: float = 0.0
    up_down_dtod: float = 0.0
    w_max_dtod: float = 0.0
    w_min_dtod: float = 0.0
    reference_mean: float = 0.0
    reference_std: float = 0.0
    subtract_symmetry_point: bool = False
    enforce_consistency: bool = True
    lifetime: float = 0.0
    lifetime_dtod: float = 0.0
    diffusion: float = 0.0
    diffusion_dtod: float = 0.0
    reset: float = 0.0
    reset_dtod: float = 0.0
    reset_std: float = 0.0
    drift: Drift | None = None
    write_noise_std: float = 0.0
    apply_write_noise_on_set: bool = True
    corrupt_devices_prob: float = 0.0
    corrupt_devices_range: float = 0.1
    perfect_bias: bool = False

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        if self.drift is not None and not isinstance(self.drift, Drift):
            raise TypeError(f"drift must be a Drift or None, got {self.drift!r}")
        _core.validate_device(self.describe())

    def describe(self) -> dict[str, Any]:
        """``{"model": name, field: value, ...}``, as the compiled core takes it."""
        return {"model": type(self).__name__} | Record.describe(self)


models: Registry[Any] = Registry("device", inner=settings)
"""The models by name; ``models.names()`` lists them."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class _Bounded(Device):
    """A device with nominal bounds ``w_min <= 0 <= w_max``."""

    w_max: float = 1.0
    w_min: float = -1.0


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class _Symmetric(Device):
    """A device with nominal bounds ``+-tau``, ``tau > 0``, and additive cycle noise unless said."""

    tau: float = 1.0
    mult_noise: bool = False


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ConstantStep(_Bounded):
    """Steps that do not depend on the weight, hard bounds (T. Gokmen, Y. Vlasov, Front. Neurosci. 10:333, 2016).

        up  v += s_up        down  v -= s_down        q_up = q_down = 1

    Fields: those of :class:`Device` (``write_noise_std`` 0), ``w_max >= 0``, ``w_min <= 0``. Granularity ``dw_min``.

    >>> from ohmgrad.devices import ConstantStep
    >>> ConstantStep(dw_min=0.01).n_states
    200.0
    """


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SoftBounds(_Bounded):
    """Steps that shrink linearly to zero at the bound they move towards (aihwkit, arXiv 2104.02184).

        up  v += s_up (1 - v / b_up)        down  v -= s_down (1 - v / b_down)

    Fields: those of :class:`Device`, and ``w_max >= 0``, ``w_min <= 0``. Granularity ``dw_min``.

    >>> from ohmgrad.devices import SoftBounds
    >>> SoftBounds(up_down=0.5).q_down(0.0)
    0.5
    """


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SoftBoundsReference(_Bounded):
    """Soft bounds with additive noise and spread slopes, the device of M. J. Rasch et al. (Nat. Commun. 15, 2024).

    With ``dw_min_dtod_log_normal`` the steps are spread as there, ``dw_min exp(dw_min_dtod N)``.

        up  v += s_up (1 - v / b_up + dw_min_std N)        down  v -= s_down (1 - v / b_down + dw_min_std N)

    Slopes ``s / b`` are drawn with a factor ``|1 + slope_dtod N|``, which moves the bound. Source: Methods of
    doi 10.1038/s41467-024-51221-z.
    Fields: those of :class:`Device` (``mult_noise`` False), ``w_max >= 0``, ``w_min <= 0``, ``slope_up_dtod``,
    ``slope_down_dtod >= 0``, the relative spread of the slopes, and ``kit_compat``: weights ``w`` that are set are
    clipped to ``b_down <= w <= b_up`` as in aihwkit; False clips ``w + r_ref``, what the cell stores. Granularity
    ``dw_min``.

    >>> from ohmgrad.devices import SoftBoundsReference
    >>> SoftBoundsReference(dw_min=0.0949, reference_std=0.05).mult_noise
    False
    """

    mult_noise: bool = False
    slope_up_dtod: float = 0.0
    slope_down_dtod: float = 0.0
    kit_compat: bool = False


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class PowStep(_Bounded):
    """Steps that are a power of the distance to the bound (aihwkit; arXiv 2406.12774, eq. 24).

        up    v += s_up   ((b_up - v) / (b_up - b_down))^gamma_up
        down  v -= s_down ((v - b_down) / (b_up - b_down))^gamma_down

        gamma_up   = pow_gamma (1 + pow_gamma_dtod N + r + min(pow_up_down, 0)),   r = pow_up_down_dtod N
        gamma_down = pow_gamma (1 + pow_gamma_dtod N - r - max(pow_up_down, 0))

    Fields: those of :class:`Device`, ``w_max >= 0``, ``w_min <= 0``, ``pow_gamma > 0``, ``-1 <= pow_up_down <= 1`` and
    the spreads ``pow_gamma_dtod``, ``pow_up_down_dtod >= 0``. Granularity ``dw_min 0.5^pow_gamma``, the step in the
    middle of the range. :class:`PowerResponse` is the same curve with step ``dw_min`` at zero.

    >>> from ohmgrad.devices import PowStep
    >>> PowStep(dw_min=0.01, pow_gamma=2.0).granularity
    0.0025
    """

    pow_gamma: float = 1.0
    pow_gamma_dtod: float = 0.0
    pow_up_down: float = 0.0
    pow_up_down_dtod: float = 0.0


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class PowStepReference(PowStep):
    """The device :class:`PowStep` without write noise, as aihwkit has it for a reference that is subtracted.

    Fields: those of :class:`PowStep` (``write_noise_std`` 0), and ``kit_compat``: weights ``w`` that are set are
    clipped to ``b_down <= w <= b_up`` as in aihwkit; False clips ``w + r_ref``, what the cell stores.

    >>> from ohmgrad.devices import PowStepReference
    >>> PowStepReference(pow_gamma=2.0, reference_std=0.05, subtract_symmetry_point=True).granularity
    0.00025
    """

    kit_compat: bool = False


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class LinearStep(_Bounded):
    """Steps that change linearly with the weight (aihwkit, arXiv 2104.02184).

        up  v += s_up (1 - gamma_up v / ref_up)        down  v -= s_down (1 - gamma_down v / ref_down)

    ``gamma`` is the part of its step that a cell has lost when it reaches the bound ``ref``; of every cell it is
    ``|gamma + gamma_dtod N|``. ``gamma = 0`` is :class:`ConstantStep`, ``gamma = 1`` at the cell's own bounds
    :class:`SoftBounds`.
    Fields: those of :class:`Device`, ``w_max >= 0``, ``w_min <= 0``, ``gamma_up``, ``gamma_down`` and their spreads
    ``gamma_up_dtod``, ``gamma_down_dtod >= 0`` (added, not relative); ``allow_increasing``: no absolute value, steps
    may grow towards their bound; ``mean_bound_reference``: ``ref`` are the nominal bounds, False takes those of each
    cell; ``reverse_up``, ``reverse_down``: the step in this direction grows from the other bound on, ``ref_up`` is the
    lower bound less ``reverse_offset >= 0``, ``ref_down`` the upper bound and ``reverse_offset``.
    Granularity ``dw_min``.

    >>> from ohmgrad.devices import LinearStep
    >>> device = LinearStep(gamma_up=0.25, gamma_down=0.5, w_min=-0.5)
    >>> device.q_up(1.0), device.q_down(-0.5)
    (0.75, 0.5)
    """

    gamma_up: float = 0.0
    gamma_down: float = 0.0
    gamma_up_dtod: float = 0.0
    gamma_down_dtod: float = 0.0
    allow_increasing: bool = False
    mean_bound_reference: bool = True
    reverse_up: bool = False
    reverse_down: bool = False
    reverse_offset: float = 0.01


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SoftBoundsPmax(Device):
    """Soft bounds by their measured pulse curves: ``p`` pulses lead from one end of a range to the other (aihwkit).

        up from range_min      w = range_min + B (1 - exp(-alpha p))        B = (range_max - range_min)
        down from range_max    w = range_max - B (1 - exp(-alpha p))            / (1 - exp(-alpha p_max))

    A pulse goes ``1 - exp(-alpha)`` of the way to ``w_max = range_min + B`` or ``w_min = range_max - B``, so this is
    :class:`SoftBounds` with these bounds; ``device.dw_min``, the larger step at zero, and ``device.up_down``, which
    shrinks the other, are derived, too, and cannot be given.
    Fields: those of :class:`Device` but these two; ``p_max >= 1`` pulses, ``alpha > 0``, ``range_min <= 0`` and
    ``range_max >= 0``; ``kit_compat``: aihwkit's translation ``w_min = range_min``, ``up_down = 1 + 2 range_min / B``,
    ``dw_min = alpha B``, which is off the curves. Granularity ``dw_min``.

    >>> from ohmgrad.devices import SoftBoundsPmax
    >>> device = SoftBoundsPmax(p_max=100, alpha=0.02)
    >>> round(device.bounds[1], 6), round(device.dw_min, 6), device.symmetric_point
    (1.313035, 0.026, 0.0)
    """

    dw_min: float = field(init=False, compare=False)
    up_down: float = field(init=False, compare=False)
    p_max: float = 1000.0
    alpha: float = 0.0005
    range_min: float = -1.0
    range_max: float = 1.0
    kit_compat: bool = False

    def __post_init__(self) -> None:
        Device.__post_init__(self)
        for name in ("dw_min", "up_down"):
            object.__setattr__(self, name, self._facts()[name])


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ExpStep(_Bounded):
    """Steps that change exponentially with the weight (T. Gong et al., Nat. Commun. 9:2102, 2018; aihwkit).

        up    v += s_up   max(1 - A_up exp(gamma_up z), 0)            z = 2 a v / (b_up - b_down) + b
        down  v -= s_down max(1 - A_down exp(-gamma_down z), 0)

    Cycle noise has the standard deviation ``dw_min_std (|dw| + dw_min_std_add + dw_min_std_slope |v|)``, ``dw`` the
    step (at weight zero if not ``mult_noise``; S. R. Nandakumar et al., Front. Neurosci. 14:406, 2020).
    Fields: those of :class:`Device`, ``w_max >= 0``, ``w_min <= 0``; ``A_up``, ``A_down`` (negative: larger steps than
    ``dw_min``), ``gamma_up`` and ``gamma_down`` 0 to 40, ``a`` and ``b`` -10 to 10; ``dw_min_std_add >= 0`` in units
    of the weight, ``dw_min_std_slope >= 0``. Granularity: the mean of the up and the down step at zero;
    ``kit_compat``: the down step alone, as in aihwkit.

    >>> from ohmgrad.devices import ExpStep
    >>> device = ExpStep(dw_min=0.01)
    >>> round(device.q_up(0.0), 4), round(device.q_down(-1.0), 4), round(device.granularity, 6)
    (0.9834, 0.6245, 0.009834)
    """

    A_up: float = 0.00081
    A_down: float = 0.36833
    gamma_up: float = 12.44625
    gamma_down: float = 12.78785
    a: float = 0.244
    b: float = 0.2425
    dw_min_std_add: float = 0.0
    dw_min_std_slope: float = 0.0
    kit_compat: bool = False


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class PiecewiseStep(_Bounded):
    """Steps that are tables over the range of the cell, straight lines in between (aihwkit).

        up  v += s_up u_up(v)        down  v -= s_down u_down(v)

    Nodes are equally spaced from ``b_down`` to ``b_up``; a table of one number is a constant. :class:`Tabulated` has
    nodes anywhere.
    Fields: those of :class:`Device`, ``w_max >= 0``, ``w_min <= 0``, and ``u_up``, ``u_down``: 1 to 4096 numbers >= 0,
    as many up as down, sequences or 1-D arrays, stored as tuples. Granularity ``dw_min u_up[n // 2]``, which is > 0.

    >>> from ohmgrad.devices import PiecewiseStep
    >>> device = PiecewiseStep(u_up=[2, 1, 0], u_down=[0, 1, 2])
    >>> device.q_up(0.5), device.q_down(-1.0)
    (0.5, 0.0)
    """

    u_up: tuple[float, ...] = (1.0,)
    u_down: tuple[float, ...] = (1.0,)


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class LinearResponse(_Symmetric):
    """Linear response with an offset of the symmetric point (Z. Wu et al., arXiv 2502.06309).

        q_up = (1 + c) (1 - w / tau)        q_down = (1 - c) (1 + w / tau)
        F = 1 - c w / tau                   G = w / tau - c                     symmetric point c tau

    Fields: those of :class:`Device` (``mult_noise`` False), ``tau > 0`` and ``-1 < c < 1``. Granularity ``dw_min``.

    >>> from ohmgrad.devices import LinearResponse
    >>> round(LinearResponse(tau=2.0, c=0.25).symmetric_point, 12)
    0.5
    """

    c: float = 0.0


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class PowerResponse(_Symmetric):
    """Power response (Z. Wu et al., arXiv 2502.06309, eq. 144).

        q_up = (1 - w / tau)^gamma        q_down = (1 + w / tau)^gamma        symmetric point 0

    Fields: those of :class:`Device` (``mult_noise`` False), ``tau > 0`` and ``gamma > 0``. Granularity ``dw_min``; the
    scripts of the paper use aihwkit's power step, which is :class:`PowStep`, of granularity ``dw_min 0.5^gamma``.

    >>> from ohmgrad.devices import PowerResponse
    >>> PowerResponse(gamma=2.0).q_up(0.5)
    0.25
    """

    gamma: float = 1.0


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ExponentialResponse(_Symmetric):
    """Exponential response (Z. Wu et al., arXiv 2502.06309, eq. 145).

        q_up   = (exp(gamma (1 - w / tau)) - 1) / (exp(gamma) - 1)
        q_down = (exp(gamma (1 + w / tau)) - 1) / (exp(gamma) - 1)            symmetric point 0

    Fields: those of :class:`Device` (``mult_noise`` False), ``tau > 0`` and ``gamma > 0``; as gamma goes to 0 the
    response becomes linear. Granularity ``dw_min``.

    >>> from ohmgrad.devices import ExponentialResponse
    >>> ExponentialResponse(gamma=3.0).q_up(0.0)
    1.0
    """

    gamma: float = 1.0


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ShiftedLinear(Device):
    """Linear response with a shifted symmetric point (Z. Wu et al., arXiv 2406.12774).

        q_up = 1 - (w - shift) / tau_max        q_down = 1 - (w - shift) / tau_min        symmetric point shift

    Bounds are ``shift + tau_min`` and ``shift + tau_max``; a cell with bounds of its own evaluates the response at its
    normalised position, so that its steps fall to zero there.
    Fields: those of :class:`Device` (``mult_noise`` False), ``tau_max > 0``, ``tau_min < 0`` and ``shift`` from
    ``-tau_max`` to ``-tau_min``, so that zero is within the bounds. Granularity ``dw_min``, the step at ``shift``.

    >>> from ohmgrad.devices import ShiftedLinear
    >>> device = ShiftedLinear(tau_max=2.0, tau_min=-1.0, shift=0.5)
    >>> device.q_up(0.5), device.q_down(0.0), device.bounds
    (1.0, 0.5, (-0.5, 2.5))
    """

    mult_noise: bool = False
    tau_max: float = 1.0
    tau_min: float = -1.0
    shift: float = 0.0


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SaturatingExponential(_Bounded):
    """Exponential saturation, concave near the bounds (Z. Wu et al., arXiv 2406.12774, eq. 25).

        q_up   = 1 - exp(-gamma_up (w_max - w) / (w_max - w_min))
        q_down = 1 - exp(-gamma_down (w - w_min) / (w_max - w_min))

    Fields: those of :class:`Device` (``mult_noise`` False), ``w_max >= 0``, ``w_min <= 0``, not both zero, and
    ``gamma_up``, ``gamma_down`` > 0 and at most 40. Granularity: the mean of the up and the down step at zero.

    >>> from ohmgrad.devices import SaturatingExponential
    >>> round(SaturatingExponential(gamma_up=2.0, gamma_down=2.0).q_up(0.0), 6)
    0.632121
    """

    mult_noise: bool = False
    gamma_up: float = 1.0
    gamma_down: float = 1.0


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Tabulated(Device):
    """A measured response: ``q_up`` and ``q_down`` at nodes ``w``, straight lines in between.

        up  v += s_up q_up(v)        down  v -= s_down q_down(v)

    The ends of the grid are the nominal bounds; a cell with bounds of its own evaluates the table at its normalised
    position. ``device.q_up`` is both the table (a tuple of floats) and the function: ``device.q_up(w)``.
    Fields: those of :class:`Device`; ``w`` (at least two strictly increasing nodes with ``w[0] <= 0 <= w[-1]``),
    ``q_up`` and ``q_down`` (>= 0, one value per node), each a sequence or 1-D array, stored as tuples.
    Granularity ``dw_min (q_up(0) + q_down(0)) / 2``.

    >>> from ohmgrad.devices import Tabulated
    >>> device = Tabulated(w=[-1, 0, 1], q_up=[2, 1, 0], q_down=[0, 1, 2])
    >>> device.q_up(0.5)
    0.5
    >>> device.q_up
    (2.0, 1.0, 0.0)
    """

    w: Grid
    # field() without a default: the inherited methods of these names must not become defaults
    q_up: Any = field()
    q_down: Any = field()

    def __post_init__(self) -> None:
        for name in ("w", "q_up", "q_down"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))
        Device.__post_init__(self)
        object.__setattr__(self, "q_up", Table.up(self.q_up, self))
        object.__setattr__(self, "q_down", Table.down(self.q_down, self))

    @classmethod
    def from_tables(cls, folder: str | Path, **fields: Any) -> Tabulated:
        """A device measured pulse by pulse: ``folder`` has its tables ``dG_increasing*`` and ``dG_decreasing*``.

        The tables are those that CrossSim distributes (``.txt`` or ``.txt.gz``: a line of text, conductances,
        cumulative probabilities, steps). The range of conductances becomes the weights -1 to 1, the mean of the steps
        ``q_up`` and ``q_down``, with ``dw_min`` the mean of both at weight zero; steps that go backwards in the mean
        count as none. The spread of the steps, on average over the range, becomes additive noise ``dw_min_std``.
        ``fields`` replaces any field.

        FileNotFoundError if a table is missing; ValueError naming the file if it has another form.

        >>> import tempfile
        >>> from pathlib import Path
        >>> from ohmgrad.devices import Tabulated
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, steps in (("increasing", "0.2 0.1 0"), ("decreasing", "0 -0.1 -0.2")):
        ...         lines = "conductances, probabilities, steps", "1, 2, 3", "0, 1", steps, steps
        ...         _ = (Path(folder) / f"dG_{name}.txt").write_text("\\n".join(lines))
        ...     device = Tabulated.from_tables(folder)
        >>> device
        Tabulated(dw_min=0.1, mult_noise=False, w=(-1.0, 0.0, 1.0), q_up=(2.0, 1.0, 0.0), q_down=(0.0, 1.0, 2.0))
        """
        up, down = (read_steps(Path(folder), direction) for direction in ("increasing", "decreasing"))
        if up[0] != down[0] or any(a >= b for a, b in zip(up[0], up[0][1:], strict=False)):
            raise ValueError(f"the tables in {str(folder)!r} have conductances that differ or do not rise")
        first, last = up[0][0], up[0][-1]
        w = [2 * (g - first) / (last - first) - 1 for g in up[0]]
        q = [[max(0.0, step) for step in steps] for steps in (up[1], [-step for step in down[1]])]
        unit = cls(w=w, q_up=q[0], q_down=q[1], dw_min=1.0).granularity
        noise = sqrt(total(up[2] + down[2]) / (2 * len(w))) / unit
        settings: dict[str, Any] = dict(
            w=w,
            q_up=[step / unit for step in q[0]],
            q_down=[step / unit for step in q[1]],
            dw_min=2 * unit / (last - first),
            dw_min_std=noise,
            mult_noise=False,
        )
        return cls(**settings | fields)


# ---- cells of several devices


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Cell(Record):
    """A cell of several devices: wherever a device stands, a cell may stand, and every algorithm runs on it.

    ``tile.arrays[name].parameters`` has the values of device i under ``"i.w_max"``, ``"i.dw_up"``, ... The granularity
    of an array of such cells is what a pulse at zero changes of the weight, in the mean over the devices that take
    turns. Raises ValueError naming field, value and range; TypeError for another kind of value.
    """

    devices: tuple[Device, ...] = field(kw_only=False)

    def __post_init__(self) -> None:
        devices = (self.devices,) * 2 if isinstance(self.devices, Device) else self.devices
        if not isinstance(devices, (tuple, list)) or not all(isinstance(device, Device) for device in devices):
            raise TypeError(f"devices must be a tuple of devices, got {self.devices!r}")
        object.__setattr__(self, "devices", tuple(devices))
        Record.__post_init__(self)
        _core.validate_device(self.describe())

    @property
    def granularity(self) -> float:
        """The nominal step of the weight that pulse counts refer to."""
        return _core.cell_facts(self.describe())[0]

    @property
    def n_states(self) -> float:
        """Number of steps over the nominal range of the weight."""
        return _core.cell_facts(self.describe())[1]

    def describe(self) -> dict[str, Any]:
        """``{"model": name, "devices": [...], ...}``, as the compiled core takes it."""
        return {"model": type(self).__name__} | Record.describe(self)


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Vector(Cell):
    """Devices side by side, ``w = sum_i gamma_i w_i`` (aihwkit; I. Boybat et al., Nat. Commun. 9:2514, 2018).

    - ``devices``: 1 to 64 of them. ``gamma_vec``: their shares, of any sign, with a sum that is not 0; empty: 1/n each.
      Devices that take turns have shares other than 0.
    - ``update_policy``: which device gets the pulses of a vector: ``"all"``, ``"single_fixed"`` (number
      ``first_update_idx``), ``"single_sequential"`` (from there on, one after the other), ``"single_random"``.

    Weights that are set go to all devices alike.

    >>> import ohmgrad as og
    >>> cell = og.devices.Vector((og.devices.SoftBounds(dw_min=0.01), og.devices.SoftBounds(dw_min=0.02)))
    >>> og.Tile(2, 3, device=cell).granularity()
    0.015
    """

    gamma_vec: tuple[float, ...] = ()
    update_policy: Literal["all", "single_fixed", "single_sequential", "single_random"] = "all"
    first_update_idx: int = 0


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ReferenceCell(Cell):
    """A device and its reference: ``w = w_0 - w_1``, and only device 0 gets pulses (aihwkit's reference cell).

    - ``devices``: two; one alone stands for both. Weights that are set leave the reference where it is.

    >>> import ohmgrad as og
    >>> cell = og.devices.ReferenceCell((og.devices.SoftBounds(), og.devices.ConstantStep(dw_min=0.25)))
    >>> tile = og.Tile(1, 1, device=cell)
    >>> tile.arrays["weight"].parameters["1.dw_up"]
    array([[0.25]], dtype=float32)
    """


@models.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class OneSided(Cell):
    """Two devices that only go up: ``w = w_0 - w_1``; up pulses raise w_0, down pulses raise w_1 (PCM pairs).

    - ``devices``: two; one alone stands for both.
    - ``refresh_every``: vectors between two looks at the cells, >= 0; 0: none. A cell whose larger device is above
      ``refresh_upper_thres * w_max`` and whose smaller one is above ``refresh_lower_thres * w_max`` (0 to 1 each) is
      programmed anew: the smaller device is reset, the larger one set to ``|w|`` on top of its reset target.

    S. R. Nandakumar et al., Front. Neurosci. 14:406 (2020); names as in aihwkit.

    >>> import ohmgrad as og
    >>> pcm = og.devices.SoftBounds(dw_min=0.1, w_max=1.0, w_min=0.0)
    >>> tile = og.Tile(1, 1, device=og.devices.OneSided(pcm, refresh_every=1))
    >>> tile.arrays["weight"].pulse([[-2]])
    >>> tile.weights
    array([[-0.19]], dtype=float32)
    """

    refresh_every: int = 0
    refresh_upper_thres: float = 0.75
    refresh_lower_thres: float = 0.25

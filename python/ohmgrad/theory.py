"""The mathematics of analog training: updates without hardware, and what they must converge to.

A weight that is asked to move by ``dw`` moves by ``dw F(w) - |dw| G(w)``, where ``F = (q_down + q_up) / 2`` and
``G = (q_down - q_up) / 2`` are the parts of its response. Everything here follows from that one line, in float64, for
the mean cell of any device; nothing is clipped to the bounds. Weights ``w`` are arrays of any shape, in the units of
the device's bounds: scalar problems run as many independent replicas at once, one per entry.

Sources: Z. Wu et al., "Analog in-memory training on general non-ideal resistive elements", NeurIPS 2025, arXiv
2502.06309 (below: W25); Z. Wu et al., "Towards exact gradient-based training on analog in-memory computing", NeurIPS
2024, arXiv 2406.12774 (below: W24); arXiv 2602.21321 on tracking symmetric points (S26); M. J. Rasch et al., "Fast and
robust analog in-memory deep neural network training", Nat. Commun. 15, 7133, 2024 (R24). What has no source is derived
in its docstring.

Analog SGD stops short of the optimum 0.3, where the pull to the symmetric point balances the gradient:

>>> import numpy as np
>>> from itertools import islice
>>> from ohmgrad import theory
>>> from ohmgrad.devices import LinearResponse
>>> device, rng = LinearResponse(tau=1.0), np.random.default_rng(1)
>>> gradient = theory.quadratic_gradient(rng, curvature=1.0, optimum=0.3, sigma=0.5)
>>> run = theory.simulate_analog_sgd(device, gradient, np.zeros(500), rate=0.02)
>>> round(float(theory.time_average(run, steps=800).mean()), 2)
0.21
>>> round(theory.stationary_point(device, lambda w: w - 0.3, sigma=0.5), 6)
0.21354
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import as_float64
from .devices import Device

__all__ = [
    "ResidualState",
    "analog_update",
    "asymptotic_error",
    "asymptotic_error_linear",
    "digital_storage",
    "first_order_stationary_point",
    "folded_normal_mean",
    "mean_squared_gradient",
    "mean_step",
    "penalty",
    "penalty_curvature",
    "penalty_slope",
    "pulse_error_mean",
    "pulse_error_std",
    "pulsed_error",
    "pulsed_update",
    "quadratic_gradient",
    "random_increment",
    "residual_bias",
    "residual_learning_error",
    "residual_learning_metric",
    "residual_spread",
    "saturation",
    "simulate_analog_sgd",
    "simulate_residual_learning",
    "stationary_point",
    "symmetric_point_rate",
    "tiki_taka_damping",
    "tiki_taka_frequency",
    "time_average",
    "two_point_noise",
    "update_time",
    "weighted_norm",
    "zero_shift_cycles",
    "zero_shift_last_bound",
    "zero_shift_mean_bound",
    "zero_shift_spread",
]

Floats = NDArray[np.float64]
Gradient = Callable[[Floats], ArrayLike]

_ABS_NORMAL = math.sqrt(2 / math.pi)  # E|xi| of a standard normal number


class Update(Protocol):
    """An update: device, weights, wanted increments -> new weights; :func:`analog_update` is one."""

    def __call__(self, device: Device, w: ArrayLike, dw: ArrayLike) -> Floats: ...


# ---- updates


def analog_update(device: Device, w: ArrayLike, dw: ArrayLike) -> Floats:
    """The Analog Update ``w + dw F(w) - |dw| G(w)``: ``w + dw q_up(w)`` or ``w + dw q_down(w)`` by the sign of ``dw``.

    ``w`` and the wanted increment ``dw`` are arrays that broadcast. No granularity, no cycle noise (the Analog
    Update of W25 and W24). A response that is linear in ``w`` keeps it in the range if ``|dw|`` times the slope of the
    response is at most 1.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> theory.analog_update(LinearResponse(tau=1.0), [0.5, 0.5, 1.0], [0.25, -0.25, -0.25])
    array([0.625, 0.125, 0.5  ])
    """
    start, increment = as_float64(w), as_float64(dw)
    return start + increment * _step(device, start, increment >= 0)


def pulsed_update(
    device: Device,
    w: ArrayLike,
    dw: ArrayLike,
    *,
    rng: np.random.Generator,
    rounding: Literal["stochastic", "ceil", "floor"] = "stochastic",
) -> Floats:
    """The same increments as whole pulses, one after the other, with the cycle noise of the device.

        n = round(|dw| / dw_min) times:  w <- w +- dw_min (q(w) + dw_min_std N)       (W25 eq. 26)

    With ``mult_noise`` a step is ``dw_min q(w) (1 + dw_min_std N)``. ``rounding`` ``"ceil"`` is the paper's,
    ``"stochastic"`` is right in the mean. Against :func:`analog_update` the error is of the orders ``dw_min``, ``dw^2``
    and ``sqrt(dw_min |dw|) dw_min_std`` (W25 Thm. 4): see :func:`pulse_error_mean`, :func:`pulse_error_std`.

    >>> import numpy as np
    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> device, rng = LinearResponse(tau=1.0, dw_min=0.25), np.random.default_rng(0)
    >>> theory.pulsed_update(device, [0.0, 0.0], [0.5, -0.3], rng=rng, rounding="floor")
    array([ 0.4375, -0.25  ])
    """
    weight, increment = np.broadcast_arrays(as_float64(w), as_float64(dw))
    wanted = np.abs(increment) / device.dw_min
    match rounding:
        case "stochastic":
            pulses = np.floor(wanted + rng.random(wanted.shape))
        case "ceil":
            pulses = np.ceil(wanted)
        case "floor":
            pulses = np.floor(wanted)
        case _:
            raise ValueError(f"rounding must be 'stochastic', 'ceil' or 'floor', got {rounding!r}")
    up = increment >= 0
    sign = np.where(up, device.dw_min, -device.dw_min)
    for pulse in range(int(pulses.max(initial=0))):
        step = _step(device, weight, up)
        if device.dw_min_std > 0:
            noise = device.dw_min_std * rng.standard_normal(weight.shape)
            step = step + (step * noise if device.mult_noise else noise)
        weight = np.where(pulse < pulses, weight + sign * step, weight)
    return np.array(weight)


def random_increment(device: Device, dw: ArrayLike, *, rng: np.random.Generator, slots: int = 31) -> Floats:
    """The random increment that trains of ``slots`` pulses ask for, to be given to :func:`analog_update`.

    ``sign(dw) dw_min n`` with ``n ~ Binomial(slots, p)``, ``p = |dw| / (slots dw_min)``: mean ``dw``, variance
    ``dw_min |dw| (1 - p)``, the discretisation error of arXiv 2510.02516. Beyond ``p = 1`` all slots fire and the
    increment saturates at ``slots dw_min``. ``slots >= 1``, else ValueError.

    >>> import numpy as np
    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> device, rng = LinearResponse(dw_min=0.01), np.random.default_rng(0)
    >>> theory.random_increment(device, [0.5, -0.5, 0.0], rng=rng, slots=4)
    array([ 0.04, -0.04,  0.  ])
    """
    if slots < 1:
        raise ValueError(f"slots must be an integer >= 1, got {slots}")
    increment = as_float64(dw)
    probability = np.minimum(np.abs(increment) / (slots * device.dw_min), 1.0)
    return np.asarray(np.sign(increment) * device.dw_min * rng.binomial(slots, probability), dtype=np.float64)


# ---- simulation


def quadratic_gradient(
    rng: np.random.Generator, *, curvature: float = 1.0, optimum: ArrayLike = 0.0, sigma: ArrayLike = 1.0
) -> Gradient:
    """The stochastic gradient ``curvature (w - optimum) + sigma N`` of a parabola, with fresh noise at each call.

    ``optimum`` and ``sigma`` broadcast against the weights, so that replicas may solve problems of their own.

    >>> import numpy as np
    >>> from ohmgrad import theory
    >>> gradient = theory.quadratic_gradient(np.random.default_rng(0), curvature=2.0, optimum=0.5, sigma=0.0)
    >>> gradient(np.array([0.0, 1.0]))
    array([-1.,  1.])
    """
    centre, spread = as_float64(optimum), as_float64(sigma)
    return lambda w: curvature * (w - centre) + spread * rng.standard_normal(w.shape)


def two_point_noise(w: ArrayLike, uniform: ArrayLike, *, sigma: ArrayLike, tau: float) -> Floats:
    """The gradient noise of the lower bound on Analog SGD: two values, the larger one towards the symmetric point.

        sigma sqrt((1 - p) / p)  with probability  p = (1 - w/tau) / 2,  else  -sigma sqrt(p / (1 - p))

    Mean 0, standard deviation ``sigma >= 0`` and ``E|noise| = sigma sqrt(1 - w^2/tau^2)`` for every weight inside the
    range ``+-tau`` of a linear response. ``uniform`` are random numbers in [0, 1) that pick the value; all broadcast.
    As long as no true gradient turns the sign of the noise, the mean step is zero where the squared gradient is
    ``sigma^2 r / (1 - r)``, ``r = (w/tau)^2``: ``sigma^2`` times :func:`asymptotic_error_linear`. Source: W24 Thm. 3,
    whose conclusion has a factor 4 that its example does not have. ValueError for a weight outside the range.

    >>> from ohmgrad import theory
    >>> theory.two_point_noise(0.6, [0.1, 0.3], sigma=1.0, tau=1.0)
    array([ 2. , -0.5])
    """
    _require_not_negative(sigma=sigma)
    _require_positive(tau=tau)
    at = as_float64(w)
    _require_inside("w", at, tau)
    p = (1 - at / tau) / 2
    value = np.where(np.asarray(uniform) < p, np.sqrt((1 - p) / p), -np.sqrt(p / (1 - p)))
    return np.asarray(as_float64(sigma) * value)


def simulate_analog_sgd(
    device: Device, gradient: Gradient, start: ArrayLike, *, rate: float, update: Update = analog_update
) -> Iterator[Floats]:
    """Analog SGD, ``w <- w - rate g F(w) - rate |g| G(w)``: yields the weights after each step, for ever.

    ``gradient`` maps the weights (the shape of ``start``) to a stochastic gradient of that shape; ``rate >= 0``;
    ``update`` may be ``functools.partial(pulsed_update, rng=rng)``. ValueError for a rate out of range. Source: W25,
    Analog SGD.

    >>> from itertools import islice
    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> run = theory.simulate_analog_sgd(LinearResponse(tau=1.0), lambda w: w - 0.5, [0.0], rate=0.5)
    >>> [float(w[0]) for w in islice(run, 3)]
    [0.25, 0.34375, 0.39501953125]
    """
    _require_not_negative(rate=rate)
    return _analog_sgd(device, gradient, as_float64(start), rate, update)


def _analog_sgd(device: Device, gradient: Gradient, w: Floats, rate: float, update: Update) -> Iterator[Floats]:
    while True:
        w = update(device, w, -rate * as_float64(gradient(w)))
        yield w


class ResidualState(NamedTuple):
    """The arrays of :func:`simulate_residual_learning` after a step, each of the shape of the problem."""

    fast: Floats
    """``P``, as it is in the cells."""
    slow: Floats
    """``W``"""
    weight: Floats
    """``W + gamma (P - reference)``, where the next gradient is taken."""


def simulate_residual_learning(
    fast: Device,
    slow: Device,
    gradient: Gradient,
    start: ArrayLike,
    *,
    gamma: float,
    fast_rate: float,
    slow_rate: float,
    start_fast: ArrayLike | None = None,
    reference: float = 0.0,
    update: Update = analog_update,
) -> Iterator[ResidualState]:
    """Residual Learning (Tiki-Taka for ``gamma = 0``): yields the arrays after each step, for ever.

        P <- P - alpha g F(P) - alpha |g| G(P)        g: gradient at W + gamma (P - reference)      (W25 eq. 10)
        W <- W + beta p F(W) - beta |p| G(W)          p = P - reference, with the new P             (W25 eq. 11)

    ``fast`` and ``slow`` are the devices of ``P`` and ``W``; ``alpha = fast_rate``, ``beta = slow_rate``, all >= 0.
    ``W`` starts at ``start``, ``P`` at ``start_fast`` (None: at ``reference``). ``reference`` is subtracted wherever
    ``P`` is read; the symmetric point of ``fast`` is the value that makes the result exact.

    >>> from itertools import islice
    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> device = LinearResponse(tau=1.0)
    >>> run = theory.simulate_residual_learning(
    ...     device, device, lambda w: w - 0.5, [0.0], gamma=0.5, fast_rate=0.1, slow_rate=0.05
    ... )
    >>> state = next(islice(run, 2000, None))
    >>> round(float(state.weight[0]), 6)
    0.5
    """
    _require_not_negative(gamma=gamma, fast_rate=fast_rate, slow_rate=slow_rate)
    w = as_float64(start)
    p = np.broadcast_to(as_float64(reference if start_fast is None else start_fast), w.shape)
    return _residual_learning(fast, slow, gradient, p, w, gamma, fast_rate, slow_rate, reference, update)


def _residual_learning(
    fast: Device,
    slow: Device,
    gradient: Gradient,
    p: Floats,
    w: Floats,
    gamma: float,
    fast_rate: float,
    slow_rate: float,
    reference: float,
    update: Update,
) -> Iterator[ResidualState]:
    weight = w + gamma * (p - reference)
    while True:
        p = update(fast, p, -fast_rate * as_float64(gradient(weight)))
        w = update(slow, w, slow_rate * (p - reference))
        weight = w + gamma * (p - reference)
        yield ResidualState(p, w, weight)


def time_average(values: Iterable[ArrayLike], *, steps: int, discard: int | None = None) -> Floats:
    """The mean over the first ``steps`` entries of ``values`` without the first ``discard`` (None: half of them).

    All entries have one shape, which is the shape of the answer. ValueError unless ``0 <= discard < steps`` and there
    are that many entries.

    >>> from ohmgrad import theory
    >>> theory.time_average([[8.0, 8.0], [8.0, 8.0], [1.0, 2.0], [2.0, 3.0]], steps=4)
    array([1.5, 2.5])
    """
    first = steps // 2 if discard is None else discard
    if not 0 <= first < steps:
        raise ValueError(f"discard must be >= 0 and below steps = {steps}, got {first}")
    total, count = np.zeros(()), 0
    for value in islice(values, first, steps):
        total = total + as_float64(value)
        count += 1
    if count < steps - first:
        raise ValueError(f"steps must not exceed the number of values, {first + count}, got {steps}")
    return np.asarray(total / count)


# ---- predictions


def folded_normal_mean(m: ArrayLike, sigma: ArrayLike) -> Floats:
    """``mu(m, sigma) = E|m + sigma N| = sigma sqrt(2/pi) exp(-m^2 / (2 sigma^2)) + m erf(m / (sigma sqrt(2)))``.

    ``m`` and ``sigma >= 0`` broadcast; ``sigma = 0`` gives ``|m|``.

    >>> from ohmgrad import theory
    >>> theory.folded_normal_mean([0.0, 1.0, -1.0], [1.0, 0.0, 1.0]).round(6)
    array([0.797885, 1.      , 1.166631])
    """
    mean, spread = as_float64(m), as_float64(sigma)
    _require_not_negative(sigma=sigma)
    z = mean / np.where(spread > 0, spread, 1.0)
    smooth = spread * _ABS_NORMAL * np.exp(-z * z / 2) + mean * np.asarray(_erf(z / math.sqrt(2)), dtype=np.float64)
    return np.asarray(np.where(spread > 0, smooth, np.abs(mean)))


def mean_step(device: Device, w: ArrayLike, slope: ArrayLike, sigma: ArrayLike) -> Floats:
    """Expected step of Analog SGD per unit of its rate, ``-(slope F(w) + mu(slope, sigma) G(w))``.

    ``slope`` is the true gradient at ``w``, ``sigma >= 0`` the standard deviation of its Gaussian noise; all broadcast.
    It is the mean of the Analog Update of W25, with :func:`folded_normal_mean`.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> theory.mean_step(LinearResponse(tau=1.0), [0.5, 0.5], [0.25, 0.0], [0.0, 1.0]).round(6)
    array([-0.375   , -0.398942])
    """
    at, true = as_float64(w), as_float64(slope)
    return np.asarray(-(true * device.F(at) + folded_normal_mean(true, sigma) * device.G(at)))


def penalty(device: Device, w: ArrayLike) -> Floats:
    """``R_c(w)``, the integral of ``G / F`` from the symmetric point to ``w``: the penalty of Analog SGD (W25 Thm. 1).

    In the mean Analog SGD descends on ``f(w) + E|noise| R_c(w)``, in place of the loss ``f``. For a linear response
    with its symmetric point at zero it is ``w^2 / (2 tau)``. ``w`` are weights inside the bounds, of any shape. By
    Gauss-Legendre quadrature with 100 nodes: exact to rounding for a smooth response, to about 1e-5 for a table, which
    has kinks. ValueError for a device without a symmetric point.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> theory.penalty(LinearResponse(tau=2.0), [-1.0, 0.0, 2.0]).round(12)
    array([0.25, 0.  , 1.  ])
    """
    centre = _symmetric_point(device)
    return _integral(lambda v: penalty_slope(device, v), centre, as_float64(w))


def penalty_slope(device: Device, w: ArrayLike) -> Floats:
    """``G(w) / F(w)``, the slope of the penalty that Analog SGD adds to the loss per unit of ``E|noise|`` (W25 Thm. 1).

    Zero at the symmetric point, -1 and 1 at the bounds.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> theory.penalty_slope(LinearResponse(tau=2.0), [-2.0, 0.0, 1.0])
    array([-1. ,  0. ,  0.5])
    """
    at = as_float64(w)
    return np.asarray(device.G(at) / device.F(at))


def penalty_curvature(device: Device) -> float:
    """``(G/F)'`` at the symmetric point: ``1 / (tau (1 - c^2))`` for a linear response (W25 Thm. 1).

    ValueError for a device without a symmetric point.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> round(theory.penalty_curvature(LinearResponse(tau=1.0, c=0.5)), 6)
    1.333333
    """
    return float(_derivative(device, lambda w: penalty_slope(device, w), _symmetric_point(device)))


def stationary_point(device: Device, slope: Callable[[float], float], sigma: float) -> float:
    """Where Analog SGD with a small rate settles: the root of ``slope(w) F(w) + mu(slope(w), sigma) G(w)``.

    ``slope`` is the derivative of the loss, increasing (else one of several roots is found); ``sigma >= 0`` the
    standard deviation of the Gaussian gradient noise. The exact form of W25 Thm. 1, by bisection between the bounds;
    a root beyond them is an error (ValueError), which can only be without noise or without asymmetry.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> round(theory.stationary_point(LinearResponse(tau=1.0), lambda w: w - 0.3, sigma=0.5), 6)
    0.21354
    """

    def pull(w: float) -> float:
        return -float(mean_step(device, w, slope(w), sigma))

    return _root(pull, *device.bounds)


def first_order_stationary_point(device: Device, optimum: float, sigma: float, *, curvature: float = 1.0) -> float:
    """First order of :func:`stationary_point` for the loss ``curvature (w - optimum)^2 / 2``.

        (h optimum + rho S w_sp) / (h + rho S),    h = curvature > 0,  S = sigma sqrt(2/pi),  rho = (G/F)'(w_sp)

    A mean of the optimum and the symmetric point ``w_sp``. W25 eqs. 46 to 54 print minus signs, which no penalty can
    have; with the plus signs it is what simulation gives.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> round(theory.first_order_stationary_point(LinearResponse(tau=1.0), 0.3, 0.5), 6)
    0.214448
    """
    _require_not_negative(sigma=sigma)
    _require_positive(curvature=curvature)
    penalty = penalty_curvature(device) * sigma * _ABS_NORMAL
    return (curvature * optimum + penalty * device.symmetric_point) / (curvature + penalty)


def residual_bias(device: Device, sigma: float) -> float:
    """The gradient that Residual Learning leaves when its fast device has ``G(0) != 0``, for vanishing rates.

    The fast array rests at zero only if ``m F(0) + E|m + noise| G(0) = 0``: the root of ``m = c mu(m, sigma)`` with
    ``c = -G(0) / F(0)``, in first order ``c sigma sqrt(2/pi)``. On a loss of curvature ``h`` the weight ends ``m / h``
    above the optimum. Stationary condition of W25 eq. 10; ``sigma >= 0``. ValueError for a device that cannot move both
    up and down at zero.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> round(theory.residual_bias(LinearResponse(tau=1.0, c=0.2), sigma=0.5), 4)
    0.0808
    """
    _require_not_negative(sigma=sigma)
    up, down = device.q_up(0.0), device.q_down(0.0)
    if not (up > 0 and down > 0):
        raise ValueError(f"device must have q_up(0) > 0 and q_down(0) > 0, got {up} and {down}")
    c = -float(penalty_slope(device, 0.0))
    # |m| <= |c| (|m| + E|noise|)
    largest = abs(c) * sigma * _ABS_NORMAL / (1 - abs(c))
    return _root(lambda m: m - c * float(folded_normal_mean(m, sigma)), -largest, largest)


def residual_spread(device: Device, sigma: float, *, gamma: float, rate: float, curvature: float = 1.0) -> float:
    """``E|P - w_sp|`` of the fast array of Residual Learning in the stationary state, for small rates.

    Linearised at the symmetric point ``w_sp`` of ``device``, a step of ``P`` is ``-rate F (noise + k (P - w_sp))`` with
    ``k = gamma curvature + rho sigma sqrt(2/pi)`` and ``rho`` of :func:`penalty_curvature`; that is a normal
    distribution of variance ``rate F sigma^2 / (2 k)``. All arguments >= 0, ``k > 0``.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> round(theory.residual_spread(LinearResponse(tau=1.0), 0.5, gamma=0.4, rate=0.02), 4)
    0.0446
    """
    _require_not_negative(rate=rate)
    stiffness = _stiffness(device, sigma, gamma, curvature)
    if stiffness <= 0:
        raise ValueError(f"sigma or gamma * curvature must be > 0, got {sigma} and {gamma * curvature}")
    return _ABS_NORMAL * sigma * math.sqrt(rate * device.F(device.symmetric_point) / (2 * stiffness))


def residual_learning_error(
    fast: Device, slow: Device, optimum: float, sigma: float, *, gamma: float, rate: float, curvature: float = 1.0
) -> float:
    """What a finite ``rate`` (of the fast array) leaves of ``weight - optimum`` in Residual Learning, leading order.

    For a fast device with its symmetric point at zero, or where it is subtracted. ``W`` rests if ``E[P] F(W) = E|P|
    G(W)``, and that ``E[P]`` costs the gradient ``-rho sigma sqrt(2/pi) E[P]``; with ``E|P|`` of
    :func:`residual_spread` the error is of order ``sqrt(rate)``, where that of Analog SGD does not depend on the rate.
    Follows from the two stationary conditions of W25 eqs. 10 and 11.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> device = LinearResponse(tau=1.0)
    >>> [round(theory.residual_learning_error(device, device, 0.3, 0.5, gamma=0.4, rate=r), 4) for r in (0.02, 0.005)]
    [-0.0053, -0.0027]
    """
    _require_positive(curvature=curvature)
    spread = residual_spread(fast, sigma, gamma=gamma, rate=rate, curvature=curvature)
    mean = spread * float(penalty_slope(slow, optimum))
    return -penalty_curvature(fast) * sigma * _ABS_NORMAL * mean / curvature


def symmetric_point_rate(device: Device, sigma: float) -> float:
    """How fast pure noise forgets: ``E[w - w_sp]`` shrinks by ``1 - rate * symmetric_point_rate`` in a step.

    Without a gradient the mean step is ``-rate sigma sqrt(2/pi) G(w)``; this is ``sigma sqrt(2/pi) G'(w_sp)``, which is
    ``sigma sqrt(2/pi) / tau`` for a linear response, and exact there (W24's remark on Analog SGD at the optimum).
    ``sigma >= 0``. ValueError for a device without a symmetric point.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> round(theory.symmetric_point_rate(LinearResponse(tau=2.0, c=0.2), sigma=0.5), 6)
    0.199471
    """
    _require_not_negative(sigma=sigma)
    return float(sigma * _ABS_NORMAL * _derivative(device, device.G, _symmetric_point(device)))


def tiki_taka_damping(fast: Device, sigma: float, *, gamma: float, rate: float, curvature: float = 1.0) -> float:
    """How fast the fast array of Tiki-Taka forgets, per step: ``rate F (gamma curvature + rho sigma sqrt(2/pi))``.

    ``F`` and ``rho`` (:func:`penalty_curvature`) are those of ``fast`` at its symmetric point, which is subtracted. For
    a linear response with ``c = 0`` it is ``rate (gamma curvature + sigma sqrt(2/pi) / tau)``: without a share
    ``gamma`` in the weight it takes gradient noise to forget (W24 Thm. 4 needs a lower bound on it). Close to the
    optimum ``W`` then moves as an oscillator does,

        W'' + k W' + omega^2 (W - W*) = 0,        k = tiki_taka_damping,    omega = tiki_taka_frequency

    which overshoots if ``k < 2 omega``, by ``exp(-pi / sqrt((2 omega / k)^2 - 1))`` of the way; ``k = 2 omega`` is the
    critical damping. Linearised; the forgetting of the slow array, of second order, is left out. All arguments >= 0.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> device = LinearResponse(tau=1.0)
    >>> [round(theory.tiki_taka_damping(device, s, gamma=0.0, rate=0.02), 4) for s in (0.0, 0.1, 0.5)]
    [0.0, 0.0016, 0.008]
    """
    _require_not_negative(rate=rate)
    return rate * float(fast.F(_symmetric_point(fast))) * _stiffness(fast, sigma, gamma, curvature)


def tiki_taka_frequency(
    fast: Device, slow: Device, optimum: float, *, fast_rate: float, slow_rate: float, curvature: float = 1.0
) -> float:
    """Undamped frequency of Tiki-Taka in radians per step, ``sqrt(fast_rate slow_rate curvature)`` for ``F = 1``.

    Times ``sqrt(F)`` of ``fast`` at its symmetric point, which is subtracted, and times
    ``2 / (1/sqrt(q_up) + 1/sqrt(q_down))`` of ``slow`` at the ``optimum``: half a period for each direction, which is
    ``sqrt(F)`` at a symmetric point. It is that of ``P' = -fast_rate curvature (W - W*)``, ``W' = slow_rate P``, to
    leading order; with its damping: :func:`tiki_taka_damping`. Rates and ``curvature >= 0``. A slow device that cannot
    move in both directions there does not come back: 0.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> device = LinearResponse(tau=1.0)
    >>> round(theory.tiki_taka_frequency(device, device, 0.0, fast_rate=0.02, slow_rate=0.005), 6)
    0.01
    """
    _require_not_negative(fast_rate=fast_rate, slow_rate=slow_rate, curvature=curvature)
    up, down = float(slow.q_up(optimum)), float(slow.q_down(optimum))
    if not (up > 0 and down > 0):
        return 0.0
    halves = 2 / (1 / math.sqrt(up) + 1 / math.sqrt(down))
    return halves * math.sqrt(fast_rate * slow_rate * curvature * float(fast.F(_symmetric_point(fast))))


def pulse_error_mean(device: Device, w: ArrayLike, dw: ArrayLike) -> Floats:
    """Leading mean error of :func:`pulsed_update` (stochastic rounding) against :func:`analog_update`, order ``dw^2``.

    Pulses see the weight that earlier ones left: ``dw^2 q(w) q'(w) / 2`` with the response ``q`` of that direction, for
    ``|dw|`` well above ``dw_min`` (below it there is one pulse at most, and no such error). For a linear response and
    ``dw > 0`` it is ``-(1 - w/tau) dw^2 / (2 tau)`` (W25 Thm. 4, W24 eq. 20). ``w`` and ``dw`` broadcast.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> theory.pulse_error_mean(LinearResponse(tau=1.0), 0.5, [0.1, -0.1]).round(6)
    array([-0.0025,  0.0075])
    """
    at, increment = as_float64(w), as_float64(dw)
    up = increment >= 0
    slope = _derivative(device, lambda v: _step(device, v, up), at)
    return np.asarray(increment**2 * _step(device, at, up) * slope / 2)


def pulse_error_std(device: Device, w: ArrayLike, dw: ArrayLike) -> Floats:
    """Leading standard deviation that cycle noise gives :func:`pulsed_update`, ``sqrt(dw_min |dw|) dw_min_std``.

    With ``mult_noise`` times the response at ``w``. The last order of W25 Thm. 4; ``w`` and ``dw`` broadcast.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> float(theory.pulse_error_std(LinearResponse(dw_min=0.01, dw_min_std=0.5), 0.0, -0.04))
    0.01
    """
    at, increment = as_float64(w), as_float64(dw)
    step = _step(device, at, increment >= 0) if device.mult_noise else np.ones(np.broadcast(at, increment).shape)
    return np.asarray(np.sqrt(device.dw_min * np.abs(increment)) * device.dw_min_std * step)


def pulsed_error(device: Device, sigma: float, *, rate: float, curvature: float = 1.0) -> float:
    """``E[(w - optimum)^2]`` that Analog SGD in pulses keeps at an optimum in the symmetric point, for small rates.

        (rate sigma^2 F^2 + dw_min Sigma (F^2 + v)) / (2 F (h + rho Sigma)),    Sigma = sigma sqrt(2/pi),  h = curvature

    with ``F`` at the symmetric point, ``rho`` of :func:`penalty_curvature`, ``v = dw_min_std^2`` (times ``F^2`` with
    ``mult_noise``). The first term is the gradient noise. The second is the floor that pulses set whatever the rate,
    for as many of them as trains send, a random number whose variance is its mean: linear in ``dw_min``, as in the
    bounds of arXiv 2510.02516 (Thms. 1 and 2). It follows from the variances of :func:`random_increment` and
    :func:`pulse_error_std`. ``sigma`` and ``rate >= 0``, ``curvature > 0``. ValueError for a device without a symmetric
    point.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> [round(theory.pulsed_error(LinearResponse(dw_min=d), 0.5, rate=0.01), 6) for d in (0.0001, 0.001, 0.01)]
    [0.000908, 0.001036, 0.002319]
    """
    _require_not_negative(sigma=sigma, rate=rate)
    _require_positive(curvature=curvature)
    noise, f = sigma * _ABS_NORMAL, device.F(_symmetric_point(device))
    cycle = device.dw_min_std**2 * (f**2 if device.mult_noise else 1.0)
    variance = rate * (sigma * f) ** 2 + device.dw_min * noise * (f**2 + cycle)
    return float(variance / (2 * f * (curvature + penalty_curvature(device) * noise)))


# ---- zero-shifting


def zero_shift_cycles(
    device: Device, distance: float, tolerance: float, *, mode: Literal["alternating", "random"] = "alternating"
) -> float:
    """Cycles of zero-shifting (:class:`ohmgrad.ZeroShift`) from ``distance`` off the symmetric point to ``tolerance``.

    ``"alternating"``: a pair of pulses multiplies the distance by ``(1 + dw_min q_up') (1 - dw_min q_down')``, slopes
    at the symmetric point, which is exact for responses that are linear in the weight: ``(1 - dw_min/b)^2`` for soft
    bounds ``+-b``. It ends at a fixed point that is below the symmetric point by up to a step, by half of one if the
    slopes are alike. ``"random"``: ``log(2 d^2 / t^2) / (2 mu dw_min)``
    pulses, after which the first term of :func:`zero_shift_last_bound` has fallen to half of ``t^2`` (S26).
    ``distance >= tolerance > 0``, else ValueError, as for a device without a symmetric point.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import SoftBounds
    >>> [round(theory.zero_shift_cycles(SoftBounds(dw_min=d), 1.0, 0.01)) for d in (0.01, 0.001)]
    [229, 2301]
    """
    _require_positive(distance=distance, tolerance=tolerance)
    if distance < tolerance:
        raise ValueError(f"distance must be >= tolerance = {tolerance}, got {distance}")
    if mode == "random":
        return math.log(2 * (distance / tolerance) ** 2) / (2 * device.dw_min * _monotonicity(device))
    if mode != "alternating":
        raise ValueError(f"mode must be 'alternating' or 'random', got {mode!r}")
    at = _symmetric_point(device)
    up, down = (device.dw_min * float(_derivative(device, q, at)) for q in (device.q_up, device.q_down))
    return math.log(distance / tolerance) / -(math.log1p(up) + math.log1p(-down))


def zero_shift_spread(device: Device) -> float:
    """Standard deviation around the symmetric point that zero-shifting with random pulses ends up with.

        s sqrt((1 + v) / (2 a - a^2)),    s = dw_min F,  a = dw_min G'

    with ``F``, ``G'`` at the symmetric point, ``v = dw_min_std^2`` (over ``F^2`` without ``mult_noise``): a pulse maps
    the distance ``u`` to ``(1 - a) u +- s``. Exact for soft bounds ``+-b`` without cycle noise: ``sqrt(s b / 2)`` for
    small steps, where alternating pulses end half a step off. ValueError for a device without a symmetric point.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import SoftBounds
    >>> round(theory.zero_shift_spread(SoftBounds(dw_min=0.001)), 4)
    0.0224
    """
    at = _symmetric_point(device)
    f = float(device.F(at))
    forgets = device.dw_min * float(_derivative(device, device.G, at))
    cycle = device.dw_min_std**2 / (1.0 if device.mult_noise else f**2)
    return device.dw_min * f * math.sqrt((1 + cycle) / (2 * forgets - forgets**2))


def zero_shift_mean_bound(device: Device, start: float, cycles: int) -> float:
    """Upper bound on the mean of ``G(w_k)^2`` over random pulses ``k = 0, ..., cycles - 1`` from ``start``.

        phi / (cycles dw_min) + L dw_min q_max^2 / 2

    ``phi`` is the integral of ``G`` from the symmetric point to ``start``, ``L`` the largest slope of ``G`` and
    ``q_max`` the largest response between the bounds (S26 Thm. 2.2). Without cycle noise and for a cell with the
    parameters of the mean; ``L`` and ``q_max`` from 4097 points. ValueError for a device without a symmetric point.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import SoftBounds
    >>> [round(theory.zero_shift_mean_bound(SoftBounds(dw_min=0.01), 0.8, n), 4) for n in (100, 1000, 10_000)]
    [0.34, 0.052, 0.0232]
    """
    if cycles < 1:
        raise ValueError(f"cycles must be an integer >= 1, got {cycles}")
    potential = float(_integral(device.G, _symmetric_point(device), as_float64(start)))
    w = _between_bounds(device)
    slope = float(np.abs(np.diff(device.G(w)) / np.diff(w)).max())
    return potential / (cycles * device.dw_min) + slope * device.dw_min * _largest_response(device) ** 2 / 2


def zero_shift_last_bound(device: Device, start: float, cycles: int) -> float:
    """Upper bound on ``E (w_N - w_sp)^2`` after ``N = cycles`` random pulses from ``start``.

        (1 - 2 dw_min mu)^N (start - w_sp)^2 + dw_min q_max^2 / mu

    ``mu > 0`` is the largest number with ``G(w) / (w - w_sp) >= mu`` between the bounds, ``1 / b`` for soft bounds
    ``+-b``; ``q_max`` as in :func:`zero_shift_mean_bound` (S26; half of the second term would do). ValueError for a
    device without a symmetric point, or where ``G`` has another root.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import SoftBounds
    >>> [round(theory.zero_shift_last_bound(SoftBounds(dw_min=0.001), 0.8, n), 4) for n in (0, 500, 5000)]
    [0.644, 0.2392, 0.004]
    """
    if cycles < 0:
        raise ValueError(f"cycles must be an integer >= 0, got {cycles}")
    mu = _monotonicity(device)
    shrinks = max(1 - 2 * device.dw_min * mu, 0.0)
    distance = start - _symmetric_point(device)
    return shrinks**cycles * distance**2 + device.dw_min * _largest_response(device) ** 2 / mu


# ---- diagnostics of a run


def saturation(device: Device, w: ArrayLike) -> Floats:
    """``q_up(w) q_down(w) = F(w)^2 - G(w)^2``: zero at the bounds, where a weight no longer follows one direction.

    Convergence of all analog algorithms needs it to stay above zero (W24 and W25, Assumption 3). It is the weight of
    the norm in which they descend, see :func:`weighted_norm`.

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> theory.saturation(LinearResponse(tau=2.0), [-2.0, 0.0, 1.0])
    array([0.  , 1.  , 0.75])
    """
    at = as_float64(w)
    return np.asarray(device.q_up(at) * device.q_down(at))


def weighted_norm(values: ArrayLike, weights: ArrayLike) -> Floats:
    """``sqrt(sum_i s_i v_i^2)`` of ``values`` ``[..., D]`` over the last axis; ``weights`` ``s >= 0`` broadcast.

    Without gradient noise and with ``rate = 1 / (L F_max)``, a step of Analog SGD lowers a loss whose gradient has the
    Lipschitz constant ``L`` by at least ``|g|_s^2 / (2 L F_max^2)``, ``s`` being the :func:`saturation` at the weights:
    the step is ``-rate g q`` with one of the responses, ``q (1 - q / (2 F_max)) >= q_up q_down / (2 F_max)``. With the
    least saturation on the way, that is the rate of W24 Thm. 6 and W25 Thm. 9.

    >>> from ohmgrad import theory
    >>> theory.weighted_norm([[3.0, 4.0], [3.0, 4.0]], [[1.0, 1.0], [0.0, 0.25]])
    array([5., 2.])
    """
    _require_not_negative(weights=weights)
    return np.asarray(np.sqrt((as_float64(weights) * as_float64(values) ** 2).sum(axis=-1)))


def mean_squared_gradient(gradients: ArrayLike) -> float:
    """``E_K = (1/K) sum_k |g_k|^2`` of the true gradients ``[K, D]`` along a run, the error that W25 Thm. 2 bounds.

    With gradient noise of total variance ``sigma^2`` and the rate of that theorem, Analog SGD has ``E_K`` of at most
    ``16 F_max^2 sqrt((f_0 - f*) sigma^2 L / K) + 8 F_max sigma^2 S_K``, ``S_K`` being :func:`asymptotic_error`.

    >>> from ohmgrad import theory
    >>> theory.mean_squared_gradient([[3.0, 4.0], [0.0, 1.0]])
    13.0
    """
    return float((_trajectory(gradients, "gradients") ** 2).sum(axis=1).mean())


def residual_learning_metric(
    gradients: ArrayLike, fast: ArrayLike, slow: ArrayLike, *, optimum: ArrayLike, gamma: float
) -> float:
    """``(1/K) sum_k |g_k|^2 + |P_k - P*(W_k)|^2 + |W_k - W*|^2``, the error of Residual Learning (W25 Thm. 3).

    ``gradients`` are the true ones at the mixture ``W + gamma P``, ``fast`` is ``P`` as it is read (without its
    reference), ``slow`` is ``W``, all ``[K, D]``; ``optimum`` ``W*`` has D entries and is the only one, ``gamma > 0``,
    ``P*(W) = (W* - W) / gamma``. The paper leaves constants open, here they are one. What no number of steps
    removes is proportional to :func:`asymptotic_error` of the fast device on ``fast``.

    >>> from ohmgrad import theory
    >>> theory.residual_learning_metric([[0.5]], [[1.0]], [[0.0]], optimum=[1.0], gamma=0.5)
    2.25
    """
    _require_positive(gamma=gamma)
    g, p, w = (_trajectory(v, n) for v, n in ((gradients, "gradients"), (fast, "fast"), (slow, "slow")))
    left = as_float64(optimum) - w
    return float((g**2 + (p - left / gamma) ** 2 + left**2).sum(axis=1).mean())


def asymptotic_error(device: Device, trajectory: ArrayLike) -> float:
    """``S_K = (1/K) sum_k max_i G(w_ki)^2 / F(w_ki)`` of weights ``[K, D]`` on their way (W25 Thm. 2).

    The part of the error of Analog SGD that no number of steps removes is this times the variance of the gradient, up
    to a constant. For Residual Learning it is that of the fast device on the way of its array (W25 Thm. 3).

    >>> from ohmgrad import theory
    >>> from ohmgrad.devices import LinearResponse
    >>> theory.asymptotic_error(LinearResponse(tau=1.0), [[0.0, 0.5], [-0.5, 0.0]])
    0.25
    """
    w = _trajectory(trajectory)
    return float((np.asarray(device.G(w)) ** 2 / np.asarray(device.F(w))).max(axis=1).mean())


def asymptotic_error_linear(trajectory: ArrayLike, tau: float) -> float:
    """``S_K = (1/K) sum_k r_k / (1 - r_k)`` with ``r_k = max_i w_ki^2 / tau^2`` of weights ``[K, D]`` (W24 Thm. 2).

    W24 writes the metric so for a linear response with range ``+-tau``, ``tau > 0``; for weights small against ``tau``
    it equals :func:`asymptotic_error`. Weights must be inside the range.

    >>> from ohmgrad import theory
    >>> round(theory.asymptotic_error_linear([[0.0, 0.5], [-0.5, 0.0]], tau=1.0), 6)
    0.333333
    """
    _require_positive(tau=tau)
    w = _trajectory(trajectory)
    _require_inside("trajectory", w, tau)
    r = ((w / tau) ** 2).max(axis=1)
    return float((r / (1 - r)).mean())


# ---- cost

Costed = Literal["AnalogSGD", "TikiTakaV2", "ChoppedTikiTakaV2", "AGAD", "MixedPrecision", "MultiTileResidualLearning"]


def update_time(
    algorithm: Costed,
    n: int = 512,
    *,
    reads_every: int = 2,
    pulses: float = 5.0,
    pulse_time: float = 5.0,
    product_time: float = 40.0,
    batch: int = 100,
    throughput: float = 175.0,
) -> float:
    """Time that the update of an ``n x n`` array takes per sample, in ns: the model of R24, Table 1.

    - ``reads_every``: vectors from one read of a line to the next, or, multi-tile, from one transfer to the next; >= 1,
      multi-tile >= 2. ``batch``: mini-batch of mixed precision, after which the array is written row by row.
    - ``pulses`` of a vector, ``pulse_time`` of one, ``product_time`` of an analog product, in ns.
    - ``throughput``: digital operations per ns (0.7 TFLOPS that four tiles share).

    With ``t = pulse_time``, ``M = product_time``, ``l = pulses``, ``m = reads_every``, the parts are

        TikiTakaV2, ChoppedTikiTakaV2    (l + 1/m) t + M/m              2 n + 2 n/m operations
        AGAD                             (l + 1/m) t + M/m              2 n + 6 n/m
        AnalogSGD                        l t                            2 n
        MixedPrecision                   (n/batch) t                    2 n^2 + n
        MultiTileResidualLearning        l t m/(m-1) + M/(m-1)          2 n

    All numbers > 0. The last row is that of arXiv 2510.02516, Table 5.

    >>> from ohmgrad import theory
    >>> names = "AnalogSGD", "TikiTakaV2", "AGAD", "MixedPrecision"
    >>> [round(theory.update_time(name), 1) for name in names]
    [30.9, 56.3, 62.1, 3024.5]
    """
    _require_positive(n=n, pulses=pulses, pulse_time=pulse_time, product_time=product_time, batch=batch)
    _require_positive(throughput=throughput)
    least = 2 if algorithm == "MultiTileResidualLearning" else 1
    if reads_every < least:
        raise ValueError(f"reads_every must be an integer >= {least}, got {reads_every}")
    m = reads_every
    analog, operations = pulses * pulse_time, 2.0 * n
    match algorithm:
        case "AnalogSGD":
            pass
        case "TikiTakaV2" | "ChoppedTikiTakaV2" | "AGAD":
            analog += pulse_time / m + product_time / m
            operations += (6 if algorithm == "AGAD" else 2) * n / m
        case "MixedPrecision":
            analog, operations = n / batch * pulse_time, 2.0 * n**2 + n
        case "MultiTileResidualLearning":
            analog = (analog * m + product_time) / (m - 1)
        case _:
            raise ValueError(_unknown(algorithm))
    return analog + operations / throughput


def digital_storage(algorithm: Costed, n: int = 512, *, batch: int = 100) -> int:
    """Digital numbers, of a byte each, that the update of an ``n x n`` array keeps: R24, Table 1.

    ``2 n`` for the two vectors of an update, and ``n^2`` for each digital matrix; mixed precision keeps its matrix and
    the vectors of a whole mini-batch. ``n`` and ``batch >= 1``.

    >>> from ohmgrad import theory
    >>> [theory.digital_storage(name, 100) for name in ("AnalogSGD", "TikiTakaV2", "AGAD", "MixedPrecision")]
    [200, 10200, 30200, 30000]
    """
    _require_positive(n=n, batch=batch)
    match algorithm:
        case "AnalogSGD" | "MultiTileResidualLearning":
            return 2 * n
        case "TikiTakaV2" | "ChoppedTikiTakaV2":
            return n**2 + 2 * n
        case "AGAD":
            return 3 * n**2 + 2 * n
        case "MixedPrecision":
            return n**2 + 2 * n * batch
        case _:
            raise ValueError(_unknown(algorithm))


# ---- helpers

_erf = np.frompyfunc(math.erf, 1, 1)


def _step(device: Device, w: Floats, up: NDArray[np.bool_]) -> Floats:
    return np.asarray(np.where(up, device.q_up(w), device.q_down(w)))


def _derivative(device: Device, f: Callable[[Floats], ArrayLike], w: ArrayLike) -> Floats:
    low, high = device.bounds
    at, h = as_float64(w), 1e-5 * (high - low)
    return np.asarray((np.asarray(f(at + h)) - np.asarray(f(at - h))) / (2 * h))


def _symmetric_point(device: Device) -> float:
    point = device.symmetric_point
    if math.isnan(point):
        raise ValueError(f"device must have a symmetric point, {device!r} has none")
    return point


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    if f(low) > 0 or f(high) < 0:
        raise ValueError(f"no root between {low} and {high}")
    while low < (middle := low + (high - low) / 2) < high:
        low, high = (middle, high) if f(middle) < 0 else (low, middle)
    return high


def _trajectory(trajectory: ArrayLike, name: str = "trajectory") -> Floats:
    w = as_float64(trajectory)
    if w.ndim != 2 or w.size == 0:
        raise ValueError(f"{name} must have the shape [steps, weights], both >= 1, got {list(w.shape)}")
    return w


@cache
def _gauss() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(100)
    return (1 + nodes) / 2, weights / 2


def _integral(f: Callable[[Floats], ArrayLike], start: float, end: Floats) -> Floats:
    span, (nodes, weights) = end[..., np.newaxis] - start, _gauss()
    return np.asarray((span * weights * np.asarray(f(start + span * nodes))).sum(axis=-1))


def _stiffness(device: Device, sigma: float, gamma: float, curvature: float) -> float:
    _require_not_negative(sigma=sigma, gamma=gamma, curvature=curvature)
    return gamma * curvature + penalty_curvature(device) * sigma * _ABS_NORMAL


def _between_bounds(device: Device) -> Floats:
    return np.linspace(*device.bounds, 4097)


def _largest_response(device: Device) -> float:
    w = _between_bounds(device)
    return float(np.maximum(device.q_up(w), device.q_down(w)).max())


def _monotonicity(device: Device) -> float:
    w, centre = _between_bounds(device), _symmetric_point(device)
    w = w[np.abs(w - centre) > 1e-6 * (w[-1] - w[0])]
    mu = float((np.asarray(device.G(w)) / (w - centre)).min())
    if mu <= 0:
        raise ValueError(f"device must have one symmetric point, {device!r} has others than {centre}")
    return mu


def _unknown(algorithm: object) -> str:
    return f"algorithm must be one of {', '.join(get_args(Costed))}, got {algorithm!r}"


def _require_inside(name: str, w: Floats, tau: float) -> None:
    if not (inside := np.abs(w) < tau).all():
        raise ValueError(f"{name} must stay between -{tau} and {tau}, got {float(w[~inside].flat[0])}")


def _require_not_negative(**values: ArrayLike) -> None:
    for name, value in values.items():
        numbers = as_float64(value)
        if not ((numbers >= 0) & np.isfinite(numbers)).all():
            raise ValueError(f"{name} must be finite and >= 0, got {value!r}")


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be finite and > 0, got {value!r}")

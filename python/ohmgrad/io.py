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

    For each vector, in this order (``N``: a normal number drawn anew, ``N'``: one that an output line keeps for life;
    ``n`` lines in; signals are dimensionless, in units of the DAC's full scale times weight 1):

    1. ``v = x / (alpha r)``, quantised, clipped to ``+-inp_bound``, plus ``inp_noise N``; ``v (1 - inp_asymmetry)``
       where negative.
    2. ``z = W v``, then IR drop, voltage offset, series resistance, and the noise of the weights.
    3. Saturation; ``z (1 - out_asymmetry)`` where negative; plus ``|out_noise (1 + out_noise_std N')| N``; quantised,
       clipped to ``+-out_bound``; ``y = z alpha r out_scale``.

    ``alpha`` is the factor of noise management, ``r`` that of bound management. The parameters are those of aihwkit
    (M. J. Rasch et al., arXiv 2104.02184). All numbers must be finite; those below are >= 0 unless said.

    - ``is_perfect``: True leaves the exact product times ``out_scale``, whatever the other fields say.
    - ``mv_type``: ``"one_pass"``, or the inputs ``max(v, 0)`` and ``max(-v, 0)`` one after the other:
      ``"pos_neg_separate"`` (one conversion of the difference ``z+ - z-``) or ``"pos_neg_separate_digital_sum"``
      (both are converted, ``y = y+ - y-``).
    - ``inp_bound``, ``out_bound``: ranges of the converters, in units of the normalised signal; <= 0: unlimited.
    - ``inp_res``, ``out_res``: resolution relative to the full range ``2 * bound``; <= 0: off; above 1: a number of
      steps (``inp_res=126`` is ``1/126``).
    - ``inp_sto_round``, ``out_sto_round``: round to one of the two neighbours at random, right in the mean.
    - ``inp_noise``, ``out_noise``: standard deviations; ``out_noise_std``: their relative spread between lines.
    - ``inp_asymmetry``, ``out_asymmetry``: relative loss of negative signals, -1 to 1.
    - ``noise_management``: ``"none"`` (``alpha = 1``), ``"constant"`` (``alpha = nm_thres``, or 1), ``"abs_max"``
      (``alpha = max |x|`` of each vector, at most ``nm_thres`` if that is positive), ``"max"`` (likewise ``max x``),
      ``"abs_max_np_sum"`` (as ``"abs_max"``, but at least ``nm_assumed_wmax s / out_bound`` with ``s`` the larger of
      the sums of positive and of negative inputs; that at most ``max_bm_res`` input steps), ``"average_abs_max"``
      (the running mean ``m`` of ``max |x|`` in training, ``m <- (1 - nm_decay) m + nm_decay max |x|``, from the first
      that is not 0; evaluating uses it as it is; it is part of the tile's state). Where ``alpha <= 0``, ``y = 0``
      (unless there is input noise).
    - ``bound_management``: ``"none"``; ``"iterative"``: forward only, while an output is clipped, ``r`` is doubled
      and the product repeated, until ``r > max_bm_factor`` or ``r`` exceeds ``max_bm_res`` of the input's steps;
      ``"iterative_worst_case"``: the first repetition takes ``alpha`` of ``"abs_max_np_sum"`` and ``r = 1``.
      ``bm_test_negative_bound=False``: only outputs above ``out_bound`` count.
    - ``out_scale``: factor on the output, any number.
    - ``w_noise``, ``w_noise_type``: noise of the weights while they are read, of standard deviation
      ``w_noise sqrt(sum_j v_j^2)`` (``"additive_constant"``) or ``w_noise sqrt(sum_j |W_ij| v_j^2)`` (``"pcm_read"``).
    - ``ir_drop`` (0 to 1e6), ``ir_drop_g_ratio`` (1 to 1e9; conductance of a wire per cell over that of weight 1):
      ``z_i -= c sum_j W_ij v_j (1 - (1 - j/n)^2)``, ``c = 0.05 a^3 - 0.2 a^2 + 0.5 a``,
      ``a = ir_drop n / ir_drop_g_ratio sum_j |W_ij v_j|`` (M. J. Rasch et al., Nat. Commun. 14, 5282, 2023).
    - ``v_offset_std``, ``v_offset_w_min`` (any number): ``z_i += v_offset_std N' G_i`` with the conductance
      ``G_i = sum_j max(W_ij - v_offset_w_min, 0)`` of a line. ``r_series``: then ``z_i /= 1 + r_series G_i / n``.
    - ``out_nonlinearity``, ``out_nonlinearity_std``, ``slope_calibration``: ``z <- g z / (1 + k |z| / out_bound)``
      with ``k = |out_nonlinearity (1 + out_nonlinearity_std N')|``, ``g = 1 + out_nonlinearity slope_calibration``:
      the mean curve is exact at ``slope_calibration * out_bound``.
    - ``w_read_asymmetry_dtod``: negative inputs see ``W_ij (1 + w_read_asymmetry_dtod N')``, ``N'`` kept by each cell.

    Where something is measured by an unlimited ``out_bound``, that counts as 1. What lines and cells keep follows from
    the seed of the devices; forward, backward and read-outs of each array have patterns of their own.

    Raises ValueError naming the field for a value out of range, TypeError for a value of another kind.

    >>> from ohmgrad import IO
    >>> IO(out_noise=0.1)
    IO(out_noise=0.1)
    >>> IO.kit(out_noise=0.0).out_bound
    12.0
    """

    is_perfect: bool = False
    mv_type: Literal["one_pass", "pos_neg_separate", "pos_neg_separate_digital_sum"] = "one_pass"
    inp_bound: float = 0.0
    inp_res: float = 0.0
    inp_noise: float = 0.0
    inp_sto_round: bool = False
    inp_asymmetry: float = 0.0
    out_bound: float = 0.0
    out_res: float = 0.0
    out_noise: float = 0.0
    out_noise_std: float = 0.0
    out_sto_round: bool = False
    out_asymmetry: float = 0.0
    noise_management: Literal["none", "constant", "max", "abs_max", "abs_max_np_sum", "average_abs_max"] = "none"
    nm_thres: float = 0.0
    nm_assumed_wmax: float = 0.6
    nm_decay: float = 1e-3
    bound_management: Literal["none", "iterative", "iterative_worst_case"] = "none"
    max_bm_factor: int = 1000
    max_bm_res: float = 0.25
    bm_test_negative_bound: bool = True
    out_scale: float = 1.0
    w_noise: float = 0.0
    w_noise_type: Literal["none", "additive_constant", "pcm_read"] = "none"
    ir_drop: float = 0.0
    ir_drop_g_ratio: float = 571428.57
    v_offset_std: float = 0.0
    v_offset_w_min: float = -1.0
    r_series: float = 0.0
    out_nonlinearity: float = 0.0
    out_nonlinearity_std: float = 0.0
    slope_calibration: float = 0.0
    w_read_asymmetry_dtod: float = 0.0

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        _core.validate_io(self.describe())

    @classmethod
    def kit(cls, **overrides: Any) -> IO:
        """aihwkit's defaults: 7 bit in, 9 bit out over +-12, output noise 0.06, both managements (arXiv 2104.02184).

        ``overrides`` are fields of :class:`IO`.
        """
        return _managed(overrides, inp_res=1 / 126, out_bound=12.0, out_res=1 / 510, out_noise=0.06)

    @classmethod
    def kit_device(cls, **overrides: Any) -> IO:
        """The periphery of aihwkit's device presets: :meth:`kit` with range +-20 and output noise 0.1.

        ``overrides`` are fields of :class:`IO`.

        >>> import ohmgrad as og
        >>> og.IO.kit_device() == og.IO.kit(out_bound=20.0, out_noise=0.1)
        True
        """
        return cls.kit(**{"out_bound": 20.0, "out_noise": 0.1} | overrides)

    @classmethod
    def standard(cls, **overrides: Any) -> IO:
        """aihwkit's standard set: 8 bit in and out, range +-10, output noise 0.04, both managements.

        ``overrides`` are fields of :class:`IO`.

        >>> import ohmgrad as og
        >>> og.IO.standard().out_noise
        0.04
        """
        return _managed(overrides, inp_res=1 / 254, out_bound=10.0, out_res=1 / 254, out_noise=0.04)

    @classmethod
    def paper(cls, **overrides: Any) -> IO:
        """The text of arXiv 2502.06309: 8 bit in and out, range +-20, output noise 0.1, both managements.

        ``overrides`` are fields of :class:`IO`.
        """
        return _managed(overrides, inp_res=1 / 254, out_bound=20.0, out_res=1 / 254, out_noise=0.1)

    def readout(self) -> IO:
        """This periphery as it reads single lines of an array: without noise management and bound management."""
        return replace(self, noise_management="none", bound_management="none")


def _managed(overrides: dict[str, Any], **converters: float) -> IO:
    """A preset with inputs in +-1 and both managements."""
    preset: dict[str, Any] = dict(inp_bound=1.0, noise_management="abs_max", bound_management="iterative")
    return IO(**preset | converters | overrides)

"""Devices as they were measured, and what users combine them with.

A device is a function of its fields: ``presets.ecram()``, or ``presets.ecram(dw_min_std=1.0)`` with one field changed.
The fits are those of aihwkit (M. J. Rasch et al., arXiv 2104.02184); weights are in units of the nominal range.

A configuration is called after an algorithm and a device. It is a dictionary of what a tile or a network takes: device,
algorithm, periphery and pulses; fields given replace its own. Algorithms with a buffer (``tiki_taka_v2_...``, which is
``ChoppedTikiTakaV2`` without flips, ``chopped_tiki_taka_v2_...``, ``agad_...``) are there for the devices that they
were tuned to, with aihwkit's values.

>>> import ohmgrad as og
>>> round(og.presets.reram_array_om().n_states, 2)
21.07
>>> tile = og.Tile(2, 3, **og.presets.tiki_taka_reram_sb(), seed=1)
>>> tile.algorithm, tile.device.dw_min
(TikiTaka(fast_lr=1.0, scale_fast_lr=True), 0.002)
>>> og.presets.configurations()[:3]
('analog_sgd_reram_es', 'analog_sgd_reram_sb', 'analog_sgd_capacitor')
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from .algorithms import AGAD, AnalogSGD, ChoppedTikiTakaV2, MixedPrecision, ResidualLearning, TikiTaka
from .devices import Cell, ConstantStep, Device, ExpStep, LinearStep, OneSided, SoftBoundsReference
from .io import IO
from .pulses import PulseTrain

__all__ = [
    "capacitor",
    "configurations",
    "ecram",
    "ecram_mo",
    "gokmen_vlasov",
    "idealized",
    "io",
    "pcm",
    "reram_array_hfo2",
    "reram_array_om",
    "reram_es",
    "reram_sb",
]

D = TypeVar("D", bound=Device)


def _preset(model: type[D], overrides: dict[str, Any], **fields: Any) -> D:
    return model(**fields | overrides)


def reram_es(**overrides: Any) -> ExpStep:
    """A ReRAM cell, exponential steps (T. Gong et al., Nat. Commun. 9:2102, 2018). ``overrides``: fields of the device.

    Most of its noise is write noise: what is seen is not what is stored.

    >>> import ohmgrad as og
    >>> round(og.presets.reram_es().n_states)
    959
    """
    return _preset(
        ExpStep,
        overrides,
        **dict(dw_min=0.00135, dw_min_dtod=0.2, dw_min_std=5.0, up_down=0.259359, up_down_dtod=0.05),
        **dict(w_max_dtod=0.3, w_min_dtod=0.3, write_noise_std=75.0),
        **dict(a=-0.5, b=-0.5, A_up=-1.18445, A_down=-0.081404, gamma_up=5.0, gamma_down=5.0),
    )


def reram_sb(**overrides: Any) -> SoftBoundsReference:
    """The same cell, soft bounds, calibrated to its symmetric point (T. Gong et al., Nat. Commun. 9:2102, 2018).

    A looser fit than :func:`reram_es`. ``overrides``: fields of the device.

    >>> import ohmgrad as og
    >>> round(og.presets.reram_sb().n_states)
    1000
    """
    return _preset(
        SoftBoundsReference,
        overrides,
        **dict(dw_min=0.002, dw_min_dtod=0.3, dw_min_std=3.75, up_down_dtod=0.01, write_noise_std=56.0),
        **dict(w_max=1.25, w_min=-0.75, w_max_dtod=0.3 / 1.25, w_min_dtod=0.3 / 0.75),
    )


def capacitor(**overrides: Any) -> LinearStep:
    """A capacitor cell with some leakage (Y. Li et al., Symposium on VLSI Technology, 2018).

    ``lifetime`` counts mini-batches (``tile.end_batch()``): adapt it to the time that one takes.
    ``overrides``: fields of the device.

    >>> import ohmgrad as og
    >>> round(og.presets.capacitor().n_states)
    400
    """
    return _preset(
        LinearStep,
        overrides,
        **dict(dw_min=0.005, dw_min_dtod=0.1, dw_min_std=0.3, up_down_dtod=0.06, mult_noise=False),
        **dict(w_max_dtod=0.07, w_min_dtod=0.07, lifetime=1e6, lifetime_dtod=0.3),
        **dict(gamma_up=0.05, gamma_down=0.05, gamma_up_dtod=0.01, gamma_down_dtod=0.01),
    )


def ecram(**overrides: Any) -> LinearStep:
    """A lithium ECRAM cell, range shifted to its symmetric point (J. Tang et al., IEDM 2018).

    ``overrides``: fields of the device.

    >>> import ohmgrad as og
    >>> round(og.presets.ecram().n_states)
    1000
    """
    return _preset(
        LinearStep,
        overrides,
        **dict(dw_min=0.002, dw_min_dtod=0.1, dw_min_std=0.3, up_down_dtod=0.01),
        **dict(w_max=1.1724, w_min=-0.8276, w_max_dtod=0.05, w_min_dtod=0.05),
        **dict(gamma_up=0.1153, gamma_down=0.5085, gamma_up_dtod=0.05, gamma_down_dtod=0.05),
    )


def ecram_mo(**overrides: Any) -> LinearStep:
    """A metal-oxide ECRAM cell, range shifted to its symmetric point (S. Kim et al., IEDM 2019).

    ``overrides``: fields of the device.

    >>> import ohmgrad as og
    >>> round(og.presets.ecram_mo().n_states)
    7089
    """
    return _preset(
        LinearStep,
        overrides,
        **dict(dw_min=2.8214e-4, dw_min_dtod=0.1, dw_min_std=2.0, up_down_dtod=0.01),
        **dict(w_max=1.1714, w_min=-0.8286, w_max_dtod=0.05, w_min_dtod=0.05),
        **dict(gamma_up=0.4152, gamma_down=0.7342, gamma_up_dtod=0.05, gamma_down_dtod=0.05),
    )


def idealized(**overrides: Any) -> ConstantStep:
    """A symmetric cell of 10 000 states (M. J. Rasch et al., IEEE Design & Test, 2019, arXiv 1906.02698).

    ``overrides``: fields of the device.

    >>> import ohmgrad as og
    >>> round(og.presets.idealized().n_states)
    10000
    """
    spread = dict(dw_min_dtod=0.3, dw_min_std=0.3, w_max_dtod=0.3, w_min_dtod=0.3)
    return _preset(ConstantStep, overrides, dw_min=0.0002, **spread)


def gokmen_vlasov(**overrides: Any) -> ConstantStep:
    """The specification of T. Gokmen, Y. Vlasov (Front. Neurosci. 10:333, 2016) on the range +-1, 1250 states.

    ``overrides``: fields of the device.

    >>> import ohmgrad as og
    >>> round(og.presets.gokmen_vlasov().n_states)
    1250
    """
    spread = dict(dw_min_dtod=0.3, dw_min_std=0.3, w_max_dtod=0.3, w_min_dtod=0.3, up_down_dtod=0.01)
    return _preset(ConstantStep, overrides, dw_min=0.0016, **spread)


def pcm(**overrides: Any) -> ExpStep:
    """One phase-change cell of Ge2Sb2Te5 (S. R. Nandakumar et al., Front. Neurosci. 14:406, 2020).

    It goes one way only, from 0 to 2: made for pairs, one cell for up and one for down, that are refreshed.
    ``overrides``: fields of the device.

    >>> import ohmgrad as og
    >>> round(og.presets.pcm().n_states)
    13
    """
    return _preset(
        ExpStep,
        overrides,
        **dict(dw_min=0.01, dw_min_dtod=0.2, up_down_dtod=0.05, w_max=2.0, w_min=0.0, w_max_dtod=0.1),
        **dict(dw_min_std=0.6, dw_min_std_add=0.042, dw_min_std_slope=0.108),
        **dict(a=-1.0, b=0.0, A_up=-27.235, A_down=-2.235, gamma_up=2.5, gamma_down=2.5),
        **dict(reset=0.01, reset_dtod=0.02, reset_std=0.01),
    )


def _array(overrides: dict[str, Any], **fields: Any) -> SoftBoundsReference:
    """What the two arrays share: spread of the steps is log-normal, the symmetric point is subtracted, 5 % off."""
    shared = dict(dw_min_dtod_log_normal=True, up_down_dtod=0.01, corrupt_devices_range=0.01)
    reference = dict(subtract_symmetry_point=True, reference_std=0.05)
    return _preset(SoftBoundsReference, shared | reference | overrides, **fields)


def reram_array_om(**overrides: Any) -> SoftBoundsReference:
    """An array of ReRAM of optimised material, about 21 states (N. Gong, M. J. Rasch et al., IEDM 2022).

    The symmetric point of every cell is subtracted, with an error of 5 %. Of the cells measured, 13.48 % were stuck;
    that is left out here: ``corrupt_devices_prob=0.1348``. ``overrides``: fields of the device.

    >>> import ohmgrad as og
    >>> round(og.presets.reram_array_om().n_states)
    21
    """
    return _array(
        overrides,
        **dict(dw_min=0.0949, dw_min_dtod=0.7829, dw_min_std=0.4158, write_noise_std=1.4113),
        **dict(w_max_dtod=0.3499, w_min_dtod=0.5695),
    )


def reram_array_hfo2(**overrides: Any) -> SoftBoundsReference:
    """An array of baseline HfO2 ReRAM, about 4 states (N. Gong, M. J. Rasch et al., IEDM 2022).

    The symmetric point of every cell is subtracted, with an error of 5 %. Of the cells measured, 9.77 % were stuck;
    that is left out here: ``corrupt_devices_prob=0.0977``. ``overrides``: fields of the device.

    >>> import ohmgrad as og
    >>> round(og.presets.reram_array_hfo2().n_states)
    4
    """
    return _array(
        overrides,
        **dict(dw_min=0.4622, dw_min_dtod=0.7125, dw_min_std=0.2174, write_noise_std=0.5841),
        **dict(w_max_dtod=0.4295, w_min_dtod=0.5990),
    )


def io(**overrides: Any) -> IO:
    """The periphery of the configurations: 7 bit in, 9 bit out over +-20, output noise 0.1, both managements.

    ``overrides``: fields of :class:`IO`.

    >>> import ohmgrad as og
    >>> og.presets.io() == og.IO.kit_device()
    True
    """
    return IO.kit_device(**overrides)


def _pcm_pair() -> OneSided:
    # A pair without refresh ends with both devices full; the peer looks once in a mini-batch, here vectors count.
    return OneSided((pcm(), pcm()), refresh_every=10)


_DEVICES: dict[str, Callable[..., Device | Cell]] = {
    device.__name__: device
    for device in (
        *(reram_es, reram_sb, capacitor, ecram, ecram_mo, idealized, gokmen_vlasov),
        *(reram_array_om, reram_array_hfo2),
    )
} | {"pcm": _pcm_pair}
# Algorithms that do for any device. Both rates of a transfer follow the learning rate.
_ALGORITHMS: dict[str, Any] = {
    "analog_sgd": AnalogSGD(),
    "tiki_taka": TikiTaka(fast_lr=1.0, scale_fast_lr=True),
    "residual_learning": ResidualLearning(fast_lr=1.0, scale_fast_lr=True),
    "mixed_precision": MixedPrecision(),
}


def _v2(fast_lr: float, auto_granularity: float, in_chop_prob: float = 0.0) -> ChoppedTikiTakaV2:
    return ChoppedTikiTakaV2(
        fast_lr=fast_lr, auto_scale=True, auto_granularity=auto_granularity, in_chop_prob=in_chop_prob
    )


def _agad(fast_lr: float, auto_granularity: float, in_chop_prob: float, tail_weightening: float) -> AGAD:
    return AGAD(
        fast_lr=fast_lr,
        auto_granularity=auto_granularity,
        in_chop_prob=in_chop_prob,
        tail_weightening=tail_weightening,
    )


# Algorithms with a buffer are tuned to a device: the algorithm, and the desired_bl of its gradient.
_TUNED: dict[str, dict[str, tuple[Any, int]]] = {
    "tiki_taka_v2": {
        "reram_es": (_v2(0.5, 1000.0), 31),
        "reram_sb": (_v2(0.5, 1000.0), 31),
        "capacitor": (_v2(0.1, 1000.0), 31),
        "ecram": (_v2(0.1, 500.0), 100),
        "ecram_mo": (_v2(0.1, 500.0), 100),
        "idealized": (_v2(0.1, 500.0), 100),
    },
    "chopped_tiki_taka_v2": {
        "reram_es": (_v2(0.5, 1000.0, 0.01), 31),
        "reram_sb": (_v2(0.5, 1000.0, 0.01), 31),
        "capacitor": (_v2(0.1, 1000.0, 0.01), 31),
        "ecram": (_v2(1.0, 500.0, 0.01), 100),
        "ecram_mo": (_v2(0.1, 500.0, 0.001), 100),
        "idealized": (_v2(0.1, 500.0, 0.001), 100),
    },
    "agad": {
        "reram_es": (_agad(0.5, 1000.0, 0.02, 5.0), 31),
        "reram_sb": (_agad(0.5, 1000.0, 0.02, 5.0), 31),
        "capacitor": (_agad(0.1, 1000.0, 0.01, 20.0), 31),
        "ecram": (_agad(0.1, 750.0, 0.005, 50.0), 31),
        "ecram_mo": (_agad(0.1, 500.0, 0.005, 50.0), 100),
        "idealized": (_agad(0.1, 500.0, 0.005, 50.0), 100),
    },
}
_CONFIGURATIONS: dict[str, tuple[str, Any, int]] = {
    f"{name}_{device}": (device, algorithm, PulseTrain().desired_bl)
    for name, algorithm in _ALGORITHMS.items()
    for device in _DEVICES
} | {f"{name}_{device}": (device, *tuned) for name, row in _TUNED.items() for device, tuned in row.items()}


def configurations() -> tuple[str, ...]:
    """The names of all configurations, ``algorithm_device``; each is a function of this module."""
    return tuple(_CONFIGURATIONS)


def _configuration(name: str, /, **overrides: Any) -> dict[str, Any]:
    device, algorithm, desired_bl = _CONFIGURATIONS[name]
    # Fast arrays count on a reference: this device is only said to be calibrated.
    fast = device == "reram_sb" and not isinstance(algorithm, AnalogSGD | MixedPrecision)
    cells = _DEVICES[device](**dict(subtract_symmetry_point=True) if fast else {})
    return dict(device=cells, algorithm=algorithm, io=io(), pulses=PulseTrain(desired_bl=desired_bl)) | overrides


def __getattr__(name: str) -> Callable[..., dict[str, Any]]:
    if name not in _CONFIGURATIONS:
        raise AttributeError(f"presets has no {name!r}; configurations: {', '.join(configurations())}")
    return partial(_configuration, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *configurations()])

"""Pictures; matplotlib is loaded when one is drawn (``pip install 'ohmgrad[plot]'``)."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from .curves import cell, mean, noise_free, pulse_train
from .demo import Run, Settings, summary
from .devices import Device

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colours of Okabe and Ito, which people with any colour vision can tell apart.
_COLOURS = ("#000000", "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7")


def demo_picture(settings: Settings, runs: Sequence[Run]) -> bytes:
    """The demo's result as a PNG file: accuracy against learning rate, accuracy over epochs, the device's response.

    Lines are means over the seeds, bands reach from the worst to the best seed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    rates, epochs, device = figure.subplots(1, 3)
    # More algorithms than colours: the others are dashed.
    looks = [(colour, style) for style in ("-", "--") for colour in _COLOURS]
    for result, (colour, style) in zip(summary(settings, runs), looks, strict=False):
        own = [run for run in runs if run.algorithm == result.algorithm]
        at_rate = [[run.test[-1] for run in own if run.lr == lr] for lr in sorted(settings.rates)]
        _band(rates, sorted(settings.rates), at_rate, colour, style, result.algorithm)
        chosen = [run.test for run in own if run.lr == result.lr]
        over_epochs = list(zip(*chosen, strict=True))
        _band(epochs, range(1, settings.epochs + 1), over_epochs, colour, style, result.algorithm)
        rates.plot(result.lr, 100 * result.test, "o", ms=11, mfc="none", mec=colour)
    rates.set(xscale="log", xlabel="learning rate", title="At the last epoch (ring: rate chosen by validation)")
    rates.set_xticks(sorted(settings.rates), [f"{lr:g}" for lr in sorted(settings.rates)], minor=False)
    rates.set_xticks([], minor=True)
    epochs.set(xlabel="epoch", title="At the chosen learning rate")
    for axes in (rates, epochs):
        axes.set_ylabel("test accuracy (%)")
        axes.grid(alpha=0.3)
    epochs.legend(loc="lower right")
    response(device, settings.device)
    figure.suptitle(f"8x8 digits, 64-32-10 network, {settings.seeds} seeds (bands: worst to best)")
    return _png(figure)


def device_picture(device: Device, at: tuple[int, int] = (0, 0), seed: int = 0) -> bytes:
    """A device as a PNG file: its response, and pulses up and down of the mean cell and of the one drawn for `at`.

    The trains begin at the lower bound and have as many pulses each way as the range has states, at most 2000.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    response(left, device)
    pulses = int(min(max(device.n_states, 10), 2000))
    kinds = (
        ("drawn cell, with noise", device, at, _COLOURS[1]),
        ("drawn cell, noise-free", noise_free(device), at, _COLOURS[2]),
        ("mean cell", mean(device), (0, 0), _COLOURS[0]),
    )
    for label, cells, place, colour in kinds:
        tile, place = cell(cells, at=place, seed=seed)
        right.plot(pulse_train(tile, place, pulses), color=colour, lw=1, label=label)
    right.axvline(pulses, color="0.6", lw=0.8)
    right.set(xlabel="pulse", ylabel="weight", title=f"{pulses} pulses up, {pulses} down (cell {at[0]},{at[1]})")
    right.grid(alpha=0.3)
    right.legend()
    return _png(figure)


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _band(
    axes: Axes, x: Sequence[float], values: Sequence[Sequence[float]], colour: str, style: str, label: str
) -> None:
    low, mean, high = ([100 * f(v) for v in values] for f in (min, fmean, max))
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(x, mean, "o" + style, ms=3.5, color=colour, label=label)


def response(axes: Axes, device: Device) -> None:
    """Draw `q_up`, `q_down` and the symmetric point of a device, noise-free, over its nominal range."""
    low, high = device.bounds
    w = np.linspace(low, high, 201)
    axes.plot(w, device.q_up(w), color=_COLOURS[4], label="q_up")
    axes.plot(w, device.q_down(w), color=_COLOURS[5], label="q_down")
    point = device.symmetric_point
    if low <= point <= high:
        axes.axvline(point, color="0.4", ls="--", lw=1, label=f"symmetric point {round(point, 9) + 0.0:g}")
    axes.set(xlabel="weight", ylabel="step / dw_min", title=f"{type(device).__name__}, {device.n_states:.4g} states")
    axes.grid(alpha=0.3)
    axes.legend()

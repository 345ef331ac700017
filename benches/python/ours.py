"""Our side: ohmgrad, through its public interface."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from bounds import LANES, Made
from courses import COURSES, Layers, Network, initial
from numpy.typing import NDArray
from rows import EVERY, Floats, Row, weights
from sides import Learner, Side, Tile

import ohmgrad as og
from ohmgrad import _core

_FIVE = og.PulseTrain(desired_bl=5)
_EIGHT = og.PulseTrain(desired_bl=8)
ALGORITHMS: dict[str, tuple[Any, og.PulseTrain]] = {
    "Analog SGD": (og.AnalogSGD(), og.PulseTrain()),
    "Tiki-Taka": (og.TikiTaka(fast_lr=0.01), og.PulseTrain()),
    # As the peer's build_config makes them.
    "TTv2": (og.TikiTakaV2(variant="chopped", fast_lr=1.0, momentum=0.0, units_in_mbatch=False), _FIVE),
    "c-TTv2": (og.ChoppedTikiTakaV2(fast_lr=0.1, auto_scale=True), _FIVE),
    "AGAD": (og.AGAD(transfer_pulses=og.PulseTrain(desired_bl=1)), _FIVE),
    # The published script: all columns after every batch, read with the default periphery.
    "Analog SGD, figure 2": (og.AnalogSGD(), _EIGHT),
    "Tiki-Taka, figure 2": (
        og.TikiTaka(
            gamma=0.4, fast_lr=0.8, n_reads_per_transfer=50, transfer_io=og.IO.kit(), transfer_pulses=og.PulseTrain()
        ),
        _EIGHT,
    ),
}
IOS = {
    "kit": og.IO.kit(),
    "range": og.IO(inp_bound=10.0, out_bound=10.0, bound_management="iterative"),
}


class Ours(Side):
    """See the head of this file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)

    def versions(self) -> dict[str, str]:
        info = _core.info()
        return {"ohmgrad": f"{info['version']} ({info['isa']})", "numpy": np.__version__}

    def threads(self, n: int) -> None:
        if og.threads() != n:
            og.threads(n)

    def native(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(values)

    def tile(self, row: Row, seed: int) -> Tile:
        fields = dict(row.device)
        model = getattr(og.devices, fields.pop("model"))
        if model is og.devices.ExpStep:
            fields["kit_compat"] = True
        algorithm = og.TikiTaka(fast_lr=0.01) if row.tiki_taka else og.AnalogSGD()
        tile = og.Tile(row.d_out, row.d_in, device=model(**fields), algorithm=algorithm, io=og.IO.kit(), seed=seed)
        return _Tile(tile, row.lr)

    def learner(self, network: Network, seed: int, start: Layers) -> Learner:
        return _Learner(network, seed, start)

    def work(self, name: str) -> Made:
        """What a call of a row or a whole course is made of."""
        self.threads(1)
        before = _core.work()
        products = self._course(name) if name in COURSES else self._call(name)
        return {what: n - before[what] for what, n in _core.work().items()} | products

    def _call(self, name: str) -> Made:
        row, (x, d) = EVERY[name], self._xd(name)
        tile = self.tile(row, 0)
        tile.set(weights(row))
        if "update" in row.ops:
            tile.update(x, d)
        products = [_forward(x, row.d_out)] if "forward" in row.ops else []
        products += [_backward(d, row.d_in)] if "backward" in row.ops else []
        return _sum(products)

    def _course(self, name: str) -> Made:
        course, products = COURSES[name], []
        batches = self._batches(course)
        for network in course.networks:
            learner = self.learner(network, 0, initial(network, self._inputs))
            for x, y in batches:
                learner.step(x, y)
            noisy = network.io == "kit"
            for x, _ in batches:
                v = x
                for i, (width, height) in enumerate(pairwise(network.sizes)):
                    v = v if i == 0 else np.ones((len(x), width), np.float32)
                    products.append(_forward(v, height, noisy))
                    products += [_backward(np.ones((len(x), height), np.float32), width, noisy)] if i > 0 else []
        return _sum(products)


def _forward(x: Floats, d_out: int, noisy: bool = True) -> Made:
    """Lanes are vectors; columns without a voltage are left out."""
    columns = int(np.count_nonzero(x.any(axis=0)))
    return {"pairs": d_out * columns * -(-len(x) // LANES), "normals": len(x) * d_out * noisy}


def _backward(d: Floats, d_in: int, noisy: bool = True) -> Made:
    """Lanes are columns."""
    return {"pairs": d.size * -(-d_in // LANES), "normals": len(d) * d_in * noisy}


def _sum(products: list[Made]) -> Made:
    return {what: sum(product[what] for product in products) for what in ("pairs", "normals")}


class _Tile(Tile):
    def __init__(self, tile: og.Tile, lr: float) -> None:
        self._tile, self._lr = tile, lr

    def set(self, w: Floats) -> None:
        self._tile.set_weights(w)

    def weights(self) -> Floats:
        return self._tile.weights

    def fast(self) -> Floats:
        weights: Floats = self._tile.arrays["fast"].weights
        return weights

    def update(self, x: Any, d: Any) -> None:
        self._tile.update(x, d, self._lr)

    def forward(self, x: Any) -> Any:
        return self._tile.forward(x)

    def backward(self, d: Any) -> Any:
        return self._tile.backward(d)


def half_mean_square(y: Floats, target: Floats) -> tuple[float, Floats]:
    """A loss."""
    error = y - target
    return 0.5 * float(np.square(error).mean()), error / np.float32(error.size)


class _Learner(Learner):
    def __init__(self, network: Network, seed: int, start: Layers) -> None:
        layers: list[Any] = []
        for width, height in pairwise(network.sizes):
            layers += [og.nn.Linear(width, height, bias=network.classes), og.nn.Sigmoid()]
        layers[-1:] = [og.nn.LogSoftmax()] if network.classes else []
        algorithm, pulses = ALGORITHMS[network.algorithm]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="layer .* initial weights")
            self._model = og.nn.Sequential(*layers).on(
                og.devices.SoftBoundsReference(**network.device),
                algorithm=algorithm,
                pulses=pulses,
                io=IOS[network.io],
                seed=seed,
                learn_out_scaling=network.classes,
            )
        self._linear = [layer for layer in self._model if isinstance(layer, og.nn.Linear)]
        for layer, (w, b) in zip(self._linear, start, strict=True):
            layer.set_weight(w)
            if b is not None:
                layer.set_bias(b)
        self._loss = og.nn.NLL() if network.classes else half_mean_square
        self._lr = network.lr

    def step(self, x: Any, y: Any) -> float:
        return self._model.train_step(x, y, self._loss, self._lr)[0]

    def weights(self) -> list[Floats]:
        return [layer.tile.weights for layer in self._linear]

    def fast(self) -> list[Floats]:
        arrays = (layer.tile.arrays for layer in self._linear)
        return [matrices["fast"].weights for matrices in arrays if "fast" in matrices]

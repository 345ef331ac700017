"""Rows of whole training runs: networks that learn from the same batches and the same initial weights on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rows import NOISE, ROWS, Floats, inputs

Arrays = dict[str, NDArray[Any]]

BATCH, EPOCH = 10, 6000
"""Vectors of a mini-batch, and mini-batches of an epoch of MNIST."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """Layers of these sizes with sigmoids between; ``algorithm`` is a name that both sides know.

    ``device`` holds the fields of ``SoftBoundsReference`` that are not the default. With ``classes`` the network ends
    in a log-softmax with the negative log-likelihood, and layers have digital biases and a learned output scale; else
    half the mean square is fitted, without bias. ``io`` is ``"kit"``, or ``"range"``: converters of range 10 alone.
    With ``taught`` it begins with the weights of an exact network that has learnt a little.
    """

    name: str
    sizes: tuple[int, ...]
    algorithm: str
    device: dict[str, Any]
    lr: float
    classes: bool = True
    io: str = "kit"
    taught: bool = False


@dataclass(frozen=True, kw_only=True)
class Course:
    """``networks`` that are trained one after the other, each on all batches of ``data``, ``repeated`` so many times.

    ``tail`` is the share of the last steps whose losses are compared. ``scale``: units per second.
    """

    title: str
    networks: tuple[Network, ...]
    data: str
    repeated: int = 1
    tail: float
    target: float
    unit: str = "s"
    scale: float = field(default=1.0)


_FCN = {"w_max": 0.6, "w_min": -0.6, "dw_min": 0.001, "dw_min_std": NOISE}


_SIZES = 784, 256, 128, 10


def _epoch(algorithm: str, target: float, taught: bool) -> Course:
    network = Network(name=algorithm, sizes=_SIZES, algorithm=algorithm, device=_FCN, lr=0.05, taught=taught)
    return Course(
        title=f"MNIST epoch, {algorithm}, {'once it learns' if taught else 'at its start'}",
        networks=(network,),
        data="images",
        tail=0.5,
        target=target,
    )


def sized(course: Course, batches: int) -> Course:
    """The course with an epoch's time for that of ``batches`` of it."""
    return replace(course, scale=EPOCH / batches) if course.data == "images" else course


def _figure(algorithm: str, c: float) -> Network:
    device = {"w_max": 3.5, "w_min": -3.5, "dw_min": 1e-4, "up_down": c}
    name = f"{algorithm}, c = {c:g}"
    return Network(
        name=name, sizes=(50, 1), algorithm=f"{algorithm}, figure 2", device=device, lr=0.8, classes=False, io="range"
    )


_EPOCHS = {
    "sgd": ("Analog SGD", 15.0),
    "tiki-taka": ("Tiki-Taka", 15.0),
    "ttv2": ("TTv2", 30.0),
    "c-ttv2": ("c-TTv2", 30.0),
    "agad": ("AGAD", 30.0),
}

# The network begins on a plateau of chance, where errors and pulses are few: an epoch is between the two kinds.
COURSES = {
    **{f"epoch-{name}": _epoch(*settings, taught=False) for name, settings in _EPOCHS.items()},
    **{f"epoch-{name}-learning": _epoch(*settings, taught=True) for name, settings in _EPOCHS.items()},
    # Least squares with a shifted symmetric point, as in the published script (arXiv 2502.06309).
    "figure2": Course(
        title="figure 2 of arXiv 2502.06309, eight runs",
        networks=tuple(_figure(name, c) for name in ("Analog SGD", "Tiki-Taka") for c in (0.0, 0.1, 0.2, 0.3)),
        data="figure2",
        repeated=1000,
        tail=0.2,
        target=20,
    ),
}


Layers = list[tuple[Floats, Floats | None]]


def initial(network: Network, arrays: Arrays) -> Layers:
    """Weights and bias of each layer: uniform within 1/sqrt(inputs), or the taught ones; ones for the figure."""
    rng, layers = np.random.default_rng(618), []
    for i, (width, height) in enumerate(pairwise(network.sizes)):
        w, b = (((2 * rng.random(s) - 1) / width**0.5).astype(np.float32) for s in ((height, width), height))
        if network.taught:
            w, b = arrays[f"taught.w{i}"], arrays[f"taught.b{i}"]
        layers.append((w, b) if network.classes else (np.ones_like(w), None))
    return layers


def write(path: Path, names: Sequence[str], mnist: str | None, batches: int) -> str:
    """Inputs of the rows ``names`` that both sides read, ``<name>.<array>``; says where the images are from.

    ``batches`` of these are trained on.
    """
    arrays: Arrays = {}
    kinds = {COURSES[name].data for name in names if name in COURSES}
    trained = [name for name in names if name in ROWS and ROWS[name].trained]
    source = "none needed"
    if trained or "images" in kinds:
        x, y, source = _images(mnist)
        taught, first_x, first_d = _teach(x, y)
        arrays |= taught
        for name in trained:
            arrays |= {f"{name}.x": first_x, f"{name}.d": first_d}
        chosen = np.random.default_rng(42).permutation(len(x))
        chosen = np.resize(chosen, (batches, BATCH))
        arrays |= {"images.x": x[chosen], "images.y": y[chosen]}
    if "figure2" in kinds:
        rng = np.random.default_rng(42)
        a, w = rng.standard_normal((100, 50)), 0.5 * rng.standard_normal((1, 50))
        arrays |= {"figure2.x": a.astype(np.float32)[None], "figure2.y": (a @ w.T).astype(np.float32)[None]}
    for name in names:
        if name in ROWS and name not in trained:
            arrays[f"{name}.x"], arrays[f"{name}.d"] = inputs(ROWS[name])
    np.savez(path, allow_pickle=False, **arrays)
    return source


def _images(mnist: str | None) -> tuple[Floats, NDArray[np.int64], str]:
    """MNIST's training images, or the bundled digits enlarged to their size."""
    import ohmgrad as og

    if mnist is not None:
        train, _ = og.data.mnist(mnist)
        return train.x, train.y, "MNIST"
    train, _ = og.data.digits()
    near = np.arange(28) * 8 // 28
    return train.x.reshape(-1, 8, 8)[:, near][:, :, near].reshape(-1, 784), train.y, "bundled digits enlarged to 28x28"


def _teach(x: Floats, y: NDArray[np.int64]) -> tuple[Arrays, Floats, Floats]:
    """1,000 batches of exact SGD: weights and biases, and inputs and errors of a mini-batch at the first layer."""
    import ohmgrad as og

    linear = [og.nn.Linear(width, height, digital=True) for width, height in pairwise(_SIZES)]
    layers: list[Any] = [layer for one in linear for layer in (one, og.nn.Sigmoid())]
    model = og.nn.Sequential(*layers[:-1], og.nn.LogSoftmax()).on(seed=0)
    loss, rng = og.nn.NLL(), np.random.default_rng(7)
    for _ in range(1000):
        batch = rng.integers(len(x), size=BATCH)
        model.train_step(x[batch], y[batch], loss, 0.5)
    batch = rng.integers(len(x), size=BATCH)
    _, d = loss(model.forward(x[batch]), y[batch])
    for layer in reversed(model.layers[1:]):
        d = layer.backward(d)
    built = [layer for layer in model if isinstance(layer, og.nn.Linear)]
    arrays: Arrays = {f"taught.w{i}": layer.weight for i, layer in enumerate(built)}
    arrays |= {f"taught.b{i}": np.asarray(layer.bias) for i, layer in enumerate(built)}
    return arrays, x[batch], d

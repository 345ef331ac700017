"""The other side: IBM's aihwkit on the CPU. Tiles are the compiled ones, without the layers around them."""

from __future__ import annotations

from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aihwkit.nn import AnalogLinear, AnalogSequential
from aihwkit.optim import AnalogSGD
from aihwkit.simulator.configs import SingleRPUConfig, UnitCellRPUConfig, build_config, devices
from aihwkit.simulator.configs.compounds import TransferCompound
from aihwkit.simulator.parameters import (
    BoundManagementType,
    IOParameters,
    MappingParameter,
    NoiseManagementType,
    UpdateParameters,
)
from aihwkit.simulator.tiles.analog import AnalogTile
from courses import Layers, Network
from numpy.typing import NDArray
from rows import Floats, Row
from sides import Learner, Side, Tile

ALGORITHMS = {"Analog SGD": "sgd", "Tiki-Taka": "ttv1", "TTv2": "ttv2", "c-TTv2": "c-ttv2", "AGAD": "agad"}
_NO_SPREAD = dict.fromkeys(("dw_min_dtod", "up_down_dtod", "w_max_dtod", "w_min_dtod"), 0.0)


class Peer(Side):
    """See the head of this file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("aihwkit", "torch", "numpy")}

    def threads(self, n: int) -> None:
        torch.set_num_threads(n)

    def native(self, values: NDArray[Any]) -> Any:
        return torch.from_numpy(np.ascontiguousarray(values))

    def tile(self, row: Row, seed: int) -> Tile:
        fields: dict[str, Any] = _NO_SPREAD | {"w_max": 1.0, "w_min": -1.0, "construction_seed": seed + 1} | row.device
        model = fields.pop("model")
        if model == "Tabulated":
            # Its nodes are equally spaced over the range.
            del fields["w"]
            fields |= {"piecewise_up": fields.pop("q_up"), "piecewise_down": fields.pop("q_down")}
        make = getattr(devices, {"Tabulated": "PiecewiseStepDevice"}.get(model, f"{model}Device"))
        update = UpdateParameters(desired_bl=31, update_management=True, update_bl_management=True)
        around: dict[str, Any] = {"forward": IOParameters(), "backward": IOParameters(), "update": update}
        if row.tiki_taka:
            seconds = fields | {"construction_seed": seed + 1001}
            cell = TransferCompound(
                unit_cell_devices=[make(**fields), make(**seconds)],
                fast_lr=0.01,
                transfer_forward=_readout(),
                transfer_update=UpdateParameters(),
                construction_seed=seed + 1,
            )
            config = UnitCellRPUConfig(device=cell, **around)
        else:
            config = SingleRPUConfig(device=make(**fields), **around)
        tile = AnalogTile(row.d_out, row.d_in, config).tile
        tile.set_learning_rate(row.lr)
        return _Tile(tile, self.native)

    def learner(self, network: Network, seed: int, start: Layers) -> Learner:
        return _Learner(network, seed, start)


def _readout() -> IOParameters:
    return IOParameters(noise_management=NoiseManagementType.NONE, bound_management=BoundManagementType.NONE)


class _Tile(Tile):
    def __init__(self, tile: Any, native: Any) -> None:
        self._tile, self._native = tile, native

    def set(self, w: Floats) -> None:
        self._tile.set_weights(self._native(w))

    def weights(self) -> Floats:
        return np.array(self._tile.get_weights(), dtype=np.float32)

    def fast(self) -> Floats:
        return _fast(self._tile)[0]

    def update(self, x: Any, d: Any) -> None:
        self._tile.update(x, d, False)

    def forward(self, x: Any) -> Any:
        return self._tile.forward(x)

    def backward(self, d: Any) -> Any:
        return self._tile.backward(d)


class _Learner(Learner):
    """A network and its loop as users write them. One tile for each layer: by default 784 inputs are two tiles."""

    def __init__(self, network: Network, seed: int, start: Layers) -> None:
        torch.manual_seed(seed)
        mapping = MappingParameter(learn_out_scaling=network.classes, max_input_size=0, max_output_size=0)
        device = devices.SoftBoundsReferenceDevice(
            **_NO_SPREAD | {"dw_min_std": 0.0, "construction_seed": seed + 1} | network.device
        )
        config = _config(network, device, mapping)
        layers: list[Any] = []
        for width, height in pairwise(network.sizes):
            layers += [AnalogLinear(width, height, bias=network.classes, rpu_config=config), torch.nn.Sigmoid()]
        layers[-1:] = [torch.nn.LogSoftmax(dim=1)] if network.classes else []
        self._linear = layers[::2][: len(network.sizes) - 1]
        for layer, (w, b) in zip(self._linear, start, strict=True):
            layer.set_weights(torch.from_numpy(w), None if b is None else torch.from_numpy(b))
        self._model = AnalogSequential(*layers)
        self._loss = torch.nn.NLLLoss() if network.classes else _half_mean_square
        self._optimizer = AnalogSGD(self._model.parameters(), lr=network.lr)
        self._optimizer.regroup_param_groups(self._model)

    def step(self, x: Any, y: Any) -> float:
        self._optimizer.zero_grad()
        loss = self._loss(self._model(x), y)
        loss.backward()
        self._optimizer.step()
        return float(loss.item())

    def weights(self) -> list[Floats]:
        return [np.array(tile.get_weights(), dtype=np.float32) for tile in self._tiles()]

    def fast(self) -> list[Floats]:
        return [fast for tile in self._tiles() for fast in _fast(tile)]

    def _tiles(self) -> list[Any]:
        return [tile.tile for layer in self._linear for tile in layer.analog_tiles()]


def _fast(tile: Any) -> list[Floats]:
    """The fast array of a compiled tile, if it has one."""
    names = tile.get_hidden_parameter_names()
    at = [i for i, name in enumerate(names) if name == "hidden_weights_0"]
    return [np.array(tile.get_hidden_parameters()[i], dtype=np.float32) for i in at]


def _half_mean_square(y: Any, target: Any) -> Any:
    return 0.5 * torch.nn.functional.mse_loss(y, target)


def _config(network: Network, device: Any, mapping: MappingParameter) -> Any:
    if network.algorithm in ALGORITHMS:
        config = build_config(ALGORITHMS[network.algorithm], device, mapping=mapping)
        if network.algorithm == "Tiki-Taka":
            config.device.fast_lr = 0.01
        return config
    io = IOParameters(
        inp_bound=10.0,
        out_bound=10.0,
        inp_res=-1,
        out_res=-1,
        out_noise=0.0,
        noise_management=NoiseManagementType.NONE,
    )
    around = {"forward": io, "backward": io, "update": UpdateParameters(desired_bl=8), "mapping": mapping}
    if network.algorithm == "Analog SGD, figure 2":
        return SingleRPUConfig(device=device, **around)
    cell = TransferCompound(
        unit_cell_devices=[device, device],
        gamma=0.4,
        fast_lr=0.8,
        n_reads_per_transfer=50,
        transfer_forward=_readout(),
        transfer_update=UpdateParameters(),
    )
    return UnitCellRPUConfig(device=cell, **around)

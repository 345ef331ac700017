"""An algorithm that is not built in: Tiki-Taka whose reads pass a low-pass filter before they are written."""

from dataclasses import dataclass
from tempfile import TemporaryDirectory

import ohmgrad as og
from ohmgrad.algorithms import Accumulate, Every, Gradient, Plan, Rate, Term, Transfer, Write, algorithms


@algorithms.register
@dataclass(frozen=True, kw_only=True)
class LowPassTikiTaka:
    """fast <- fast - fast_lr d x^T;  mean <- keep mean + (1 - keep) fast[:, k];  slow[:, k] <- slow[:, k] + lr mean."""

    fast_lr: float = 0.01
    keep: float = 0.5

    def plan(self, tile):
        mean = Accumulate(into="mean", source=(Term("fast"),), gain=Rate(1 - self.keep), keep=self.keep)
        write = Write(target="slow", source=(Term("mean"),), rate=Rate(1.0, scaled=True))
        return Plan(
            arrays=("fast", "slow"),
            digital=("mean",),
            weight=(Term("slow"),),
            gradient=Gradient(target="fast", rate=Rate(self.fast_lr)),
            transfers=(Transfer(every=Every(1, unit="batches"), steps=(mean, write)),),
        )


if __name__ == "__main__":
    train, test = og.data.digits()
    device = og.devices.SoftBounds(dw_min=0.005, dw_min_std=0.3, w_max=0.6, w_min=-0.6)
    network = og.nn.Sequential(og.nn.Linear(64, 32), og.nn.Tanh(), og.nn.Linear(32, 10))
    model = network.on(device, algorithm=LowPassTikiTaka(), io=og.IO.kit(), learn_out_scaling=True)
    how = {"batch_size": 10, "lr": 0.1, "progress": False}
    with TemporaryDirectory() as folder:
        og.fit(model, train, test, epochs=5, **how, checkpoint=f"{folder}/run.safetensors")
        history = og.fit(model, train, test, epochs=10, **how, resume=f"{folder}/run.safetensors")
        og.save(f"{folder}/model.safetensors", model)
        print(f"{og.load(f'{folder}/model.safetensors')[0].tile.algorithm}: {history['test_accuracy'][-1]:.1%}")

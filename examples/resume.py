"""A run that is interrupted and goes on later, with the same bits as one that never stopped."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import ohmgrad as og

train, test = og.data.digits()
device = og.devices.SoftBounds(dw_min=0.005, dw_min_std=0.3, w_max=0.6, w_min=-0.6)


def fresh() -> og.nn.Sequential:
    network = og.nn.Sequential(og.nn.Linear(64, 32), og.nn.Tanh(), og.nn.Linear(32, 10))
    return network.on(device, algorithm=og.TikiTaka(gamma=0.4), io=og.IO.kit(), seed=0)


class PowerCut:
    """What goes wrong in the second epoch."""

    def on_epoch_end(self, epoch: int, history: og.History, model: og.nn.Sequential) -> None:
        if epoch == 1:
            raise RuntimeError("the power is gone")


how = {"batch_size": 10, "lr": 0.1, "seed": 0, "progress": False}
whole = fresh()
og.fit(whole, train, test, epochs=4, **how)

with TemporaryDirectory() as folder:
    run = Path(folder) / "run.safetensors"
    try:
        og.fit(fresh(), train, test, epochs=4, **how, checkpoint=run, checkpoint_every=20, callbacks=[PowerCut()])
    except RuntimeError as error:
        print(f"stopped: {error}")
    # Days later, in another process: the same network, the same data, and the file.
    resumed = fresh()
    history = og.fit(resumed, train, test, epochs=4, **how, resume=run, checkpoint=run)

print(f"epochs in the history: {history.epochs}")
same = all(np.array_equal(resumed.state_dict()[name], values) for name, values in whole.state_dict().items())
print(f"same bits: {same}")

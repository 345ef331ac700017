"""A device from a measured table: steps at a few weights are enough to see its states and to train on it."""

import numpy as np

import ohmgrad as og

# Mean step at a weight, as a pulse measurement gives it: weight, step up, step down (both in units of the weight).
measured = np.array(
    [
        (-0.6, 0.0088, 0.0000),
        (-0.4, 0.0077, 0.0021),
        (-0.2, 0.0064, 0.0038),
        (0.0, 0.0050, 0.0056),
        (0.2, 0.0035, 0.0071),
        (0.4, 0.0018, 0.0083),
        (0.6, 0.0000, 0.0094),
    ]
)
w, up, down = measured.T
dw_min = up[w == 0][0]  # the unit of the table; spread and noise are those of the measurement
device = og.devices.Tabulated(
    w=w, q_up=up / dw_min, q_down=down / dw_min, dw_min=dw_min, dw_min_std=0.3, dw_min_dtod=0.2
)
print(f"{device.n_states:.0f} states, symmetric point {device.symmetric_point:.3f}")

train, test = og.data.digits()
network = og.nn.Sequential(og.nn.Linear(64, 32), og.nn.Tanh(), og.nn.Linear(32, 10))
algorithm = og.ResidualLearning(fast_lr=0.01)
model = network.on(device, algorithm=algorithm, io=og.IO.kit(), seed=0, learn_out_scaling=True)
og.fit(model, train, test, epochs=5, batch_size=10, lr=0.1, progress=False)
print(f"test accuracy {og.evaluate(model, test)['accuracy']:.1%}")

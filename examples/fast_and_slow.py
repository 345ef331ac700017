"""Two devices in one tile: which of the two arrays of Residual Learning needs the better cells?"""

import ohmgrad as og

train, test = og.data.digits()
coarse = og.devices.SoftBounds(w_max=0.6, w_min=-0.6, dw_min=0.06, dw_min_std=0.5, dw_min_dtod=0.3)
fine = og.devices.SoftBounds(w_max=0.6, w_min=-0.6, dw_min=0.002, dw_min_std=0.3, dw_min_dtod=0.1)
network = og.nn.Sequential(og.nn.Linear(64, 32), og.nn.Tanh(), og.nn.Linear(32, 10))
algorithm = og.ResidualLearning(fast_lr=0.01)

for name, cells in {
    "all coarse": coarse,
    "fine slow array": {"fast": coarse, "slow": fine},
    "fine fast array": {"fast": fine, "slow": coarse},
    "all fine": fine,
}.items():
    model = network.on(cells, algorithm=algorithm, io=og.IO.kit(), seed=0, learn_out_scaling=True)
    history = og.fit(model, train, test, epochs=5, batch_size=10, lr=0.1, progress=False)
    arrays = model[0].tile.arrays
    steps = ", ".join(f"{array} {arrays[array].granularity:g}" for array in arrays)
    print(f"{name:<16} {history['test_accuracy'][-1]:.1%}   (steps: {steps})")

"""One device, several algorithms: what an asymmetric response costs, and what brings it back."""

import ohmgrad as og

train, test = og.data.digits()
# The response is so asymmetric that plain SGD is dragged to the symmetric point.
device = og.devices.SoftBounds(w_max=0.6, w_min=-0.6, dw_min=0.005, dw_min_std=0.3, dw_min_dtod=0.3)
network = og.nn.Sequential(og.nn.Linear(64, 32), og.nn.Tanh(), og.nn.Linear(32, 10))

algorithms = {
    "exact SGD": og.DigitalSGD(),
    "Analog SGD": og.AnalogSGD(),
    "Tiki-Taka": og.TikiTaka(fast_lr=0.01),
    "Residual Learning": og.ResidualLearning(fast_lr=0.01),
}
for name, algorithm in algorithms.items():
    model = network.on(device, algorithm=algorithm, io=og.IO.kit(), seed=0, learn_out_scaling=True)
    history = og.fit(model, train, test, epochs=6, batch_size=10, lr=0.05, progress=False)
    print(f"{name:<18} {history['test_accuracy'][-1]:.1%}")

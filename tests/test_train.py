"""Training, evaluation, and models in files."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from test_nn import same

import ohmgrad as og
from ohmgrad import checkpoint
from ohmgrad.nn import MSE, CrossEntropy, Linear, Sequential
from ohmgrad.train import StepLR


def twin(model: Sequential) -> Sequential:
    made = Sequential.from_config(model.config())
    made.load_state_dict(model.state_dict())
    return made


class Each:
    """A callback that does something at the end of an epoch."""

    def __init__(self, act):
        self.act, self.seen = act, []

    def on_epoch_end(self, epoch, history, model):
        self.seen.append((epoch, history.epochs))
        return self.act(epoch)


def test_fit_learns_real_digits_on_a_real_device():
    """Chance is 10 %; a linear classifier on these images reaches about 95 %."""
    train, test = og.data.digits()
    device = og.devices.SoftBounds(dw_min=0.002, dw_min_dtod=0.3, dw_min_std=0.3, w_max_dtod=0.1, w_min_dtod=0.1)
    model = Sequential(Linear(64, 10)).on(device, algorithm=og.AnalogSGD(), io=og.IO.kit(), seed=0)
    history = og.fit(model, train, test, epochs=5, batch_size=10, lr=0.1)
    assert history["test_accuracy"][-1] > 0.88
    assert history["train_loss"][-1] < history["train_loss"][0]


def test_history_has_one_number_per_epoch_of_what_was_measured(noisy, task):
    history = og.fit(noisy, task, task, validation=task, epochs=3, batch_size=20, lr=StepLR(lr=0.1, step_size=2))
    kinds = {f"{part}_{what}" for part in ("train", "validation", "test") for what in ("loss", "accuracy")}
    assert set(history) == kinds | {"lr"}
    assert {len(history[key]) for key in history} == {3}
    assert history["lr"] == [0.1, 0.1, pytest.approx(0.01)]
    assert json.loads(json.dumps(history.to_dict())) == {key: history[key] for key in history}
    assert repr(history).startswith("History(3 epochs, lr=0.01")
    with pytest.raises(KeyError, match="no 'x' in this history"):
        history["x"]


def test_training_numbers_are_means_over_the_vectors_of_the_epoch(task):
    """With a rate of zero nothing changes, so they equal an evaluation; the last batch is shorter than the others."""
    model = Sequential(Linear(6, 3, digital=True)).on(seed=0)
    history = og.fit(model, task, epochs=1, batch_size=10, lr=0.0)
    y = task.x @ model[0].weight.T.astype(float) + model[0].bias
    loss = np.mean(np.log(np.exp(y).sum(1)) - y[np.arange(103), task.y])
    measured = og.evaluate(model, task, batch_size=7)
    assert measured["accuracy"] == history["train_accuracy"][0] == np.mean(y.argmax(1) == task.y)
    assert measured["loss"] == pytest.approx(loss, rel=1e-5)
    assert history["train_loss"][0] == pytest.approx(loss, rel=1e-5)


def test_the_same_seeds_give_the_same_bits(noisy, task):
    same_seed, other_order = twin(noisy), twin(noisy)
    first = og.fit(noisy, task, task, epochs=2, batch_size=10, lr=0.1, seed=1)
    assert og.fit(same_seed, task, task, epochs=2, batch_size=10, lr=0.1, seed=1).to_dict() == first.to_dict()
    assert same(noisy.state_dict(), same_seed.state_dict())
    og.fit(other_order, task, task, epochs=2, batch_size=10, lr=0.1, seed=2)
    assert not same(noisy.state_dict(), other_order.state_dict())


def test_what_is_measured_changes_no_training(noisy, task):
    alone = twin(noisy)
    og.fit(noisy, task, task, validation=task, epochs=2, batch_size=10, lr=0.1)
    og.fit(alone, task, epochs=2, batch_size=10, lr=0.1)
    for path in (0, 2):
        np.testing.assert_array_equal(noisy[path].weight, alone[path].weight)


def test_every_vector_is_trained_once_per_epoch_in_an_order_of_its_own():
    """A layer that records what it is fed."""
    seen = []

    class Spy(Linear):
        def forward(self, x, training=True):
            seen.extend(x[:, 0].tolist())
            return super().forward(x, training)

    data = og.data.arrays(np.arange(11.0)[:, None], np.zeros(11, int))
    for shuffle in (True, False):
        seen.clear()
        og.fit(Sequential(Spy(1, 2, digital=True)).on(), data, epochs=2, batch_size=4, lr=0.0, shuffle=shuffle)
        epochs = [seen[:11], seen[11:]]
        assert [sorted(epoch) for epoch in epochs] == [list(range(11))] * 2
        assert (epochs[0] != epochs[1]) == shuffle
        assert (epochs[0] != list(range(11))) == shuffle


def test_values_can_be_fitted():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    data = og.data.arrays(x, x @ [[1.0], [-2.0], [0.5]] + 0.25)
    model = Sequential(Linear(3, 1, digital=True)).on(seed=0)
    history = og.fit(model, data, data, epochs=20, batch_size=10, lr=0.1, loss=MSE())
    assert set(history) == {"lr", "train_loss", "test_loss"}
    assert history["test_loss"][-1] < 1e-6
    np.testing.assert_allclose(model[0].weight, [[1.0, -2.0, 0.5]], atol=1e-3)
    np.testing.assert_allclose(model[0].bias, [0.25], atol=1e-3)


def test_callbacks_see_every_epoch_and_can_stop(noisy, task):
    first, second = Each(lambda epoch: epoch == 1), Each(lambda epoch: None)
    history = og.fit(noisy, task, epochs=5, batch_size=50, lr=0.1, callbacks=[first, second])
    assert first.seen == second.seen == [(0, 1), (1, 2)]
    assert history.epochs == 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be >= 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size must be >= 1, got 0"),
        ({"batch_size": 104}, ValueError, "batch_size must be at most .* 103, got 104"),
        ({"lr": float("nan")}, ValueError, "lr must be >= 0 and finite in float32, got nan"),
        ({"lr": -0.1}, ValueError, "lr must be"),
        ({"lr": "fast"}, TypeError, "lr"),
        ({"lr": lambda epoch: 0.1 / (epoch - 1) if epoch != 1 else float("inf")}, ValueError, "lr must be"),
        ({"seed": -1}, ValueError, "seed"),
        ({"train": ([[0.0] * 6], [0.5])}, TypeError, "y: class numbers"),
        ({"train": (np.zeros((0, 6)), np.zeros(0, int))}, ValueError, "empty"),
        ({"test": ([[np.nan] * 6], [0])}, ValueError, "finite"),
        ({"test": ([[0.0] * 5], [0])}, ValueError, "test must look like .* got Dataset\\(1 vectors of 5 features"),
        ({"validation": ([[0.0] * 6], [[0.5]])}, ValueError, "validation must look like"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_trained(noisy, task, change, error, message):
    before = noisy.state_dict()
    arguments = {"train": task, "epochs": 2, "batch_size": 10, "lr": 0.1} | change
    with pytest.raises(error, match=message):
        og.fit(noisy, **arguments)
    assert same(noisy.state_dict(), before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepLR(lr=-1.0, step_size=1), "lr must be"),
        (lambda: StepLR(lr=1.0, step_size=0), "step_size must be >= 1, got 0"),
        (lambda: StepLR(lr=1.0, step_size=1, gamma=float("inf")), "gamma must be"),
    ],
)
def test_wrong_schedules_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_ctrl_c_finishes_the_running_batch_and_leaves_the_model_usable(noisy, task):
    shorter = twin(noisy)
    press = Each(lambda epoch: signal.raise_signal(signal.SIGINT) if epoch == 1 else None)
    with pytest.raises(KeyboardInterrupt):
        og.fit(noisy, task, epochs=4, batch_size=10, lr=0.1, callbacks=[press])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    og.fit(shorter, task, epochs=2, batch_size=10, lr=0.1)
    assert same(noisy.state_dict(), shorter.state_dict())


def test_ctrl_c_in_the_last_epoch_is_not_lost(noisy, task):
    press = Each(lambda epoch: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        og.fit(noisy, task, epochs=1, batch_size=10, lr=0.1, callbacks=[press])


def test_a_progress_bar_shows_loss_accuracy_and_epoch(noisy, task, capsys):
    og.fit(noisy, task, epochs=2, batch_size=10, lr=0.1, progress=True)
    shown = capsys.readouterr()
    assert "2/2" in shown.err
    assert "loss" in shown.err
    assert "accuracy" in shown.err
    assert shown.out == ""
    og.fit(noisy, task, epochs=1, batch_size=10, lr=0.1)
    assert capsys.readouterr().err == "", "stderr is no terminal here"


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, ohmgrad; print([m for m in ('click', 'rich', 'safetensors', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_saved_model_goes_on_bit_for_bit(noisy, task, tmp_path):
    og.fit(noisy, task, epochs=1, batch_size=10, lr=0.1)
    og.save(tmp_path / "model.safetensors", noisy)
    loaded = og.load(tmp_path / "model.safetensors")
    assert same(loaded.state_dict(), noisy.state_dict())
    assert repr(loaded) == repr(noisy)
    for model in (noisy, loaded):
        og.fit(model, task, task, epochs=2, batch_size=10, lr=0.1)
    assert same(loaded.state_dict(), noisy.state_dict())


def test_every_kind_of_layer_can_be_saved(tmp_path):
    nn = og.nn
    network = Sequential(
        Linear(4, 3, name="in", bias=False),
        nn.Sigmoid(),
        Linear(3, 3, digital=True),
        nn.ReLU(),
        nn.Tanh(),
        nn.LogSoftmax(),
    )
    model = network.on({"fast": og.devices.ConstantStep(), "slow": og.devices.SoftBounds()}, algorithm=og.TikiTaka())
    og.save(tmp_path / "m", model)
    loaded = og.load(tmp_path / "m")
    assert repr(loaded) == repr(model)
    assert same(loaded.state_dict(), model.state_dict())


def rewrite(path, change):
    """Change what a model file says of itself, and sign it anew."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    said = json.loads(header["__metadata__"].pop("ohmgrad-model"))
    del said["sha256"]
    said = change(said)
    if said is not None:
        said["sha256"] = checkpoint._checksum(said, safetensors.numpy.load(content))
        header["__metadata__"]["ohmgrad-model"] = json.dumps(said)
    changed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + size :])


def unknown(kind, name):
    return lambda said: json.loads(json.dumps(said).replace(f'"{kind}"', f'"{name}"'))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: None, "no model of ohmgrad"),
        (lambda said: said | {"format_version": 2}, "format 2, written by .* up to 1"),
        (unknown("SoftBounds", "Imaginary"), "unknown device 'Imaginary'; known: .*SoftBounds"),
        (unknown("ResidualLearning", "Imaginary"), "unknown algorithm 'Imaginary'; known: .*ResidualLearning"),
        (unknown("Tanh", "Imaginary"), "unknown layer 'Imaginary'; known: .*Tanh"),
        (unknown("up_down", "sideways"), "no field 'sideways'"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(noisy, tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    og.save(path, noisy)
    rewrite(path, change)
    with pytest.raises(ValueError, match=rf"(?s)model\.safetensors: .*{message}"):
        og.load(path)


def test_a_changed_file_is_refused(noisy, tmp_path):
    path = tmp_path / "model"
    og.save(path, noisy)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="do not match its checksum"):
        og.load(path)


def test_the_same_model_gives_the_same_bytes(noisy, tmp_path):
    for name in "ab":
        og.save(tmp_path / name, noisy)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_says_so(noisy, tmp_path, keep):
    path = tmp_path / "model"
    og.save(path, noisy)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="damaged, or no safetensors file"):
        og.load(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        og.load(tmp_path / "absent")


def test_another_stream_version_warns(noisy, tmp_path):
    path = tmp_path / "model"
    og.save(path, noisy)
    rewrite(path, lambda said: said | {"stream_version": 0})
    with pytest.warns(UserWarning, match="another layout of random streams"):
        loaded = og.load(path)
    assert same(loaded.state_dict(), noisy.state_dict())


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(noisy, tmp_path, monkeypatch, step):
    path = tmp_path / "model"
    og.save(path, noisy)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        og.save(path, noisy)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


def test_a_model_without_weights_cannot_be_saved(tmp_path):
    with pytest.raises(RuntimeError, match="no weights yet"):
        og.save(tmp_path / "model", Sequential(Linear(2, 2)))
    assert os.listdir(tmp_path) == []


def test_evaluate_checks_its_arguments(noisy, task):
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        og.evaluate(noisy, task, batch_size=0)
    assert og.evaluate(noisy, task, loss=CrossEntropy()).keys() == {"loss", "accuracy"}

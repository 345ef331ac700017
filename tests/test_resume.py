"""Checkpoints of runs: a run that was interrupted, killed or refused ends with the bits of one that never was."""

from __future__ import annotations

import errno
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as pack
from tables import ALGORITHMS, ROWS, Row, named

import ohmgrad as og
from ohmgrad import _core, checkpoint
from ohmgrad.nn import Linear, Sequential, Tanh
from ohmgrad.train import EarlyStop, JsonLines, StepLR

# Cells with spread bounds cannot hold every initial weight.
pytestmark = pytest.mark.filterwarnings("ignore:layer .* initial weights are beyond the bounds:UserWarning")

NOISY_IO = og.IO.kit(inp_noise=0.02)
EPOCHS, BATCHES = 3, 6  # of 20 vectors each, the last of 3


def bits(model: Sequential) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.state_dict().items()}


class Counting:
    """Cross-entropy that presses Ctrl-C in the mini-batch of a number (from 1)."""

    def __init__(self, press: int | None = None) -> None:
        self.press, self.inner, self.seen = press, og.nn.CrossEntropy(), 0

    def __call__(self, y: Any, target: Any) -> Any:
        # Evaluations have other sizes than mini-batches.
        if len(y) in (20, 3):
            self.seen += 1
            if self.seen == self.press:
                signal.raise_signal(signal.SIGINT)
        return self.inner(y, target)


class Remembering:
    """A callback that acts on all that it has seen, and adds to the history."""

    def __init__(self) -> None:
        self.total = 0.0

    def on_epoch_end(self, epoch: int, history: og.History, model: Sequential) -> bool:
        self.total += history["train_loss"][-1]
        history.append({"total": self.total})
        model["2"].set_bias(model["2"].bias + np.float32(self.total / 8))
        return False

    def state_dict(self) -> dict[str, float]:
        return {"total": self.total}

    def load_state_dict(self, state: dict[str, float]) -> None:
        if not state["total"] >= 0:
            raise ValueError(f"total must be >= 0, got {state['total']}")
        self.total = state["total"]


def network(
    device: og.devices.Device | None = None, algorithm: og.algorithms.Algorithm | None = None, **more: Any
) -> Sequential:
    layers = Linear(6, 5), Tanh(), Linear(5, 3)
    settings: dict[str, Any] = {"io": NOISY_IO, "seed": 4, "learn_out_scaling": True} | more
    return Sequential(*layers).on(device or ROWS[1].noisy, algorithm=algorithm or ALGORITHMS[2], **settings)


def arguments(task: og.data.Dataset, **change: Any) -> dict[str, Any]:
    """What the runs of this file are called with; validation and test are other vectors."""
    return {
        "train": task,
        "test": og.data.arrays(task.x[:31], task.y[:31]),
        "validation": og.data.arrays(task.x[31:71], task.y[31:71]),
        "epochs": EPOCHS,
        "batch_size": 20,
        "lr": StepLR(lr=0.1, step_size=1, gamma=0.5),
        "loss": Counting(),
        "seed": 9,
        "callbacks": [Remembering(), EarlyStop(metric="validation_loss", patience=50)],
    } | change


def interrupt(model: Sequential, path: Path, task: og.data.Dataset, at: int, **change: Any) -> None:
    """Train until Ctrl-C in the mini-batch `at`, with a checkpoint."""
    with pytest.raises(KeyboardInterrupt):
        og.fit(model, **arguments(task, loss=Counting(at), checkpoint=path, **change))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.safetensors"


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets a number of threads that also small calls use; puts it back as it was."""
    before = og.threads()

    def use(n: int) -> None:
        og.threads(n)
        _core.set_split_threshold(0)

    yield use
    og.threads(before)


# ---- the same bits


def matrix() -> list[Any]:
    """All pairs of device and algorithm; those outside a sample in which each of them occurs are slow."""
    sample = {(k % len(ROWS), k % len(ALGORITHMS)) for k in range(max(len(ROWS), len(ALGORITHMS)))}
    return [
        pytest.param(
            row, algorithm, id=f"{named(row)}-{named(algorithm)}", marks=[] if (i, j) in sample else pytest.mark.slow
        )
        for i, row in enumerate(ROWS)
        for j, algorithm in enumerate(ALGORITHMS)
    ]


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(("row", "algorithm"), matrix())
def test_a_resumed_run_gives_the_bits_of_one_without_interruption(
    row: Row,
    algorithm: og.algorithms.Algorithm,
    n: int,
    task: og.data.Dataset,
    path: Path,
    threads: Callable[[int], None],
) -> None:
    threads(1)
    straight = network(row.noisy, algorithm)
    expected = og.fit(straight, **arguments(task))
    threads(n)
    interrupt(network(row.noisy, algorithm), path, task, BATCHES + 3)
    threads(3 - n)
    resumed = network(row.noisy, algorithm)
    history = og.fit(resumed, **arguments(task, resume=path))
    assert history.to_dict() == expected.to_dict()
    assert bits(resumed) == bits(straight)


@pytest.mark.parametrize("shuffle", [True, False])
def test_it_does_not_matter_where_a_run_is_interrupted(shuffle: bool, task: og.data.Dataset, path: Path) -> None:
    straight = network()
    expected = og.fit(straight, **arguments(task, shuffle=shuffle))
    ends = []
    for at in range(1, EPOCHS * BATCHES + 1):
        interrupt(network(), path, task, at, shuffle=shuffle)
        resumed, loss = network(), Counting()
        history = og.fit(resumed, **arguments(task, resume=path, loss=loss, shuffle=shuffle))
        assert loss.seen == EPOCHS * BATCHES - at
        ends.append(history.to_dict() == expected.to_dict() and bits(resumed) == bits(straight))
    assert all(ends)


def test_a_run_may_be_interrupted_many_times(task: og.data.Dataset, path: Path) -> None:
    straight = network()
    expected = og.fit(straight, **arguments(task))
    interrupt(network(), path, task, 4)
    for _ in range(4):
        interrupt(network(), path, task, 3, resume=path)
    resumed = network()
    assert og.fit(resumed, **arguments(task, resume=path)).to_dict() == expected.to_dict()
    assert bits(resumed) == bits(straight)


def test_checkpoints_change_no_bit_and_come_when_they_are_asked_for(
    task: og.data.Dataset, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, kept = network(), network()
    expected = og.fit(straight, **arguments(task))
    places = []
    write = checkpoint.save_as
    monkeypatch.setattr(
        checkpoint,
        "save_as",
        lambda kind, path, model, run: (
            places.append((run["epoch"], run["position"])) or write(kind, path, model, run=run)
        ),
    )
    assert og.fit(kept, **arguments(task, checkpoint=path, checkpoint_every=4)).to_dict() == expected.to_dict()
    assert bits(kept) == bits(straight)
    # mini-batches 4, 8, 12 (the end of an epoch, saved anyway) and 16 of six an epoch
    assert places == [(0, 0), (0, 80), (1, 0), (1, 40), (2, 0), (2, 80), (3, 0)]
    assert bits(og.load(path)) == bits(straight)
    assert os.listdir(path.parent) == [path.name]


def test_the_same_run_writes_the_same_bytes(task: og.data.Dataset, path: Path) -> None:
    contents = []
    for _ in range(2):
        og.fit(network(), **arguments(task, checkpoint=path))
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_ctrl_c_leaves_the_model_as_it_is_in_the_checkpoint(task: og.data.Dataset, path: Path) -> None:
    model = network()
    interrupt(model, path, task, 8)
    assert bits(og.load(path)) == bits(model)


def test_more_epochs_and_a_longer_schedule_go_on_with_the_run(task: og.data.Dataset, path: Path) -> None:
    straight, short = network(), network()
    expected = og.fit(straight, **arguments(task, epochs=5))
    og.fit(short, **arguments(task, epochs=2, checkpoint=path))
    resumed = network()
    assert og.fit(resumed, **arguments(task, epochs=5, resume=path)).to_dict() == expected.to_dict()
    assert bits(resumed) == bits(straight)


def test_a_finished_run_has_nothing_left_to_do(task: og.data.Dataset, path: Path) -> None:
    model, loss = network(), Counting()
    expected = og.fit(model, **arguments(task, checkpoint=path))
    resumed = network()
    assert og.fit(resumed, **arguments(task, loss=loss, resume=path)).to_dict() == expected.to_dict()
    assert bits(resumed) == bits(model)
    assert loss.seen == 0


def test_what_diverged_is_resumed_too(task: og.data.Dataset, path: Path) -> None:
    """Losses that are no numbers are in the history and in the sums of the running epoch."""

    class Diverging(Counting):
        def __call__(self, y: Any, target: Any) -> Any:
            value, d = super().__call__(y, target)
            return (float("inf") if self.seen == 3 else float("nan") if self.seen > 7 else np.float32(value)), d

    straight, resumed = network(), network()
    call = arguments(task, callbacks=[], test=None, validation=None)
    expected = og.fit(straight, **call | {"loss": Diverging()})
    with pytest.raises(KeyboardInterrupt):
        og.fit(network(), **call | {"loss": Diverging(9), "checkpoint": path})
    later = Diverging()
    later.seen = 9
    history = og.fit(resumed, **call | {"loss": later, "resume": path})
    assert repr(history.to_dict()) == repr(expected.to_dict())
    assert history["train_loss"][0] == float("inf")
    assert np.isnan(history["train_loss"][1:]).all()
    assert bits(resumed) == bits(straight)


def test_the_bar_of_a_resumed_run_begins_where_it_stands(
    task: og.data.Dataset, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(network(), path, task, 2 * BATCHES + 2)
    capsys.readouterr()
    og.fit(network(), **arguments(task, resume=path, progress=True))
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert "1/3" not in shown
    og.fit(network(), **arguments(task, checkpoint=path))
    og.fit(network(), **arguments(task, resume=path, progress=True))
    assert "3/3" in capsys.readouterr().err


# ---- callbacks


def test_an_epoch_of_a_history_that_is_not_there_is_an_error() -> None:
    with pytest.raises(IndexError, match=r"epoch must be 0 to 0 in History\(1 epochs.*, got 1"):
        og.History.from_dict({"lr": [0.1]}).epoch(1)


@pytest.mark.parametrize(
    ("settings", "numbers", "stops"),
    [
        ({"metric": "test_loss", "patience": 2}, [3, 2, 2, 2], 3),
        ({"metric": "test_loss", "patience": 1}, [3, 2, 1, 2], 3),
        ({"metric": "test_loss", "patience": 2, "min_delta": 0.5}, [3, 2.75, 2.5, 2.25, 1, 1], 2),
        ({"metric": "test_loss", "patience": 2, "min_delta": 0.5}, [3, 2.75, 2.25, 1.5, 1.5], None),
        ({"metric": "train_accuracy", "patience": 2}, [0.1, 0.2, 0.1, 0.15], 3),
        ({"metric": "train_accuracy", "patience": 2}, [0.1, 0.2, 0.1, 0.3], None),
        ({"metric": "test_loss", "patience": 2}, [3, float("nan"), 1, float("inf"), float("nan")], 4),
        ({"metric": "test_loss", "patience": 2}, [float("nan"), float("nan")], 1),
    ],
)
def test_an_early_stop_waits_for_improvements(
    settings: dict[str, Any], numbers: list[float], stops: int | None
) -> None:
    stop, history = EarlyStop(**settings), og.History()
    asked = []
    for epoch, value in enumerate(numbers):
        history.append({settings["metric"]: value})
        asked.append(stop.on_epoch_end(epoch, history, None))
    assert (asked.index(True) if True in asked else None) == stops


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "lr"}, "metric must end in '_loss' or '_accuracy', got 'lr'"),
        ({"metric": 5}, "metric must be a string"),
        ({"patience": 0}, "patience must be >= 1, got 0"),
        ({"patience": 1.5}, "patience must be an integer"),
        ({"min_delta": -1.0}, "min_delta must be finite and >= 0, got -1"),
    ],
)
def test_wrong_early_stops_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        EarlyStop(**{"metric": "test_loss", "patience": 3} | change)


def test_a_stopped_run_stays_stopped_and_a_resumed_one_stops_in_the_same_epoch(
    task: og.data.Dataset, path: Path
) -> None:
    def call(**change: Any) -> dict[str, Any]:
        # A rate of zero: nothing improves beyond 1 after the first epoch.
        stop = EarlyStop(metric="test_loss", patience=2, min_delta=1.0)
        return arguments(task, lr=0.0, epochs=10, callbacks=[stop], checkpoint=path) | change

    expected = og.fit(network(), **call())
    assert expected.epochs == 3
    loss = Counting()
    assert og.fit(network(), **call(loss=loss, resume=path)).to_dict() == expected.to_dict()
    assert loss.seen == 0
    with pytest.raises(KeyboardInterrupt):
        og.fit(network(), **call(loss=Counting(BATCHES + 1)))
    assert og.fit(network(), **call(resume=path)).to_dict() == expected.to_dict()


def test_the_lines_of_a_run_are_its_history(task: og.data.Dataset, path: Path) -> None:
    lines = JsonLines(path.with_name("history.jsonl"))
    lines.path.write_text("of another run\n")
    seen = []

    class Looking:
        def on_epoch_end(self, epoch: int, history: og.History, model: Sequential) -> None:
            seen.append(lines.path.read_text().count("\n"))

    call = {"callbacks": [lines, Looking()], "checkpoint": path}
    expected = og.fit(network(), **arguments(task, **call))
    whole = lines.path.read_bytes()
    assert seen == [1, 2, 3]
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row.pop("epoch") for row in rows] == [0, 1, 2]
    assert {key: [row[key] for row in rows] for key in rows[0]} == expected.to_dict()

    # what was written after the checkpoint, and lines cut in the middle, go
    interrupt(network(), path, task, BATCHES + 2, callbacks=[lines])
    first = lines.path.read_bytes()
    assert first == whole.splitlines(keepends=True)[0]
    for left in whole, first[:-9], b"":
        lines.path.write_bytes(left)
        og.fit(network(), **arguments(task, callbacks=[lines], resume=path))
        assert lines.path.read_bytes() == whole
    lines.path.unlink()
    og.fit(network(), **arguments(task, callbacks=[lines], resume=path))
    assert lines.path.read_bytes() == whole


def test_numbers_that_are_not_finite_are_null_in_the_lines(tmp_path: Path) -> None:
    history = og.History.from_dict({"train_loss": [float("nan"), float("inf"), 1.0]})
    JsonLines(tmp_path / "lines").on_start(history)
    rows = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert [row["train_loss"] for row in rows] == [None, None, 1.0]


# ---- what is refused


def refused(call: dict[str, Any], model: Sequential, error: Any = ValueError) -> str:
    """The message of a call that is refused and changes neither model nor callbacks nor files."""
    folder = Path(call["resume"]).parent if "resume" in call else Path(call["checkpoint"]).parent
    files = {file: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}
    states = [c.state_dict() for c in call["callbacks"] if hasattr(c, "state_dict")]
    before, loss = bits(model), Counting()
    with pytest.raises(error) as caught:
        og.fit(model, **{"loss": loss} | call if isinstance(call.get("loss"), Counting) else call)
    assert bits(model) == before
    assert loss.seen == 0
    assert [c.state_dict() for c in call["callbacks"] if hasattr(c, "state_dict")] == states
    assert {file: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()} == files
    return str(caught.value)


def other(task: og.data.Dataset) -> og.data.Dataset:
    x = task.x.copy()
    x[5, 3] = np.nextafter(x[5, 3], np.float32(9))
    return og.data.arrays(x, task.y)


OTHER_CALLS: dict[str, tuple[Callable[[og.data.Dataset], dict[str, Any]], str]] = {
    "batch size": (lambda t: {"batch_size": 10}, "batch_size is 20 there and 10 here"),
    "seed": (lambda t: {"seed": 10}, "seed is 9 there and 10 here"),
    "shuffle": (lambda t: {"shuffle": False}, "shuffle is True there and False here"),
    "loss": (lambda t: {"loss": og.nn.CrossEntropy()}, "loss is 'Counting' there and 'CrossEntropy' here"),
    "one bit of the data": (lambda t: {"train": other(t)}, "train is 'x .*sha256 .*' there and 'x .*sha256 .*' here"),
    "fewer data": (
        lambda t: {"train": (t.x[:30], t.y[:30])},
        r"train is 'x \[103, 6\] float32, y \[103\] int64, .* and 'x \[30, 6\]",
    ),
    "labels": (lambda t: {"train": (t.x, t.y[::-1])}, "train is"),
    "no test": (lambda t: {"test": None}, "test is 'x .*' there and None here"),
    "validation": (lambda t: {"validation": t}, "validation is"),
    "rates": (lambda t: {"lr": StepLR(lr=0.1, step_size=1, gamma=0.25)}, "lr.epoch 1 is 0.05 there and 0.025 here"),
    "constant rate": (lambda t: {"lr": 0.2}, "lr.epoch 0 is 0.1 there and 0.2 here"),
    "too few epochs": (lambda t: {"epochs": 1}, "epochs must be >= 2, which the run has begun, got 1"),
    "no callbacks": (lambda t: {"callbacks": []}, "callbacks with a state has 2 members there and 0 here"),
    "order of callbacks": (
        lambda t: {"callbacks": [EarlyStop(metric="validation_loss", patience=50), Remembering()]},
        "callbacks with a state.0 is 'Remembering' there and 'EarlyStop' here",
    ),
    "patience": (
        lambda t: {"callbacks": [Remembering(), EarlyStop(metric="validation_loss", patience=5)]},
        "patience of EarlyStop is 5 here, the run has 50",
    ),
}


@pytest.mark.parametrize("what", OTHER_CALLS)
def test_another_run_is_refused_by_name(what: str, task: og.data.Dataset, path: Path) -> None:
    interrupt(network(), path, task, BATCHES + 2)
    change, message = OTHER_CALLS[what]
    said = refused(arguments(task, resume=path, checkpoint=path) | change(task), network())
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    with pytest.raises(ValueError, match=message):
        raise ValueError(said)


OTHER_MODELS: dict[str, tuple[Callable[[], Sequential], str]] = {
    "device": (
        lambda: network(ROWS[0].noisy),
        "model.layers.0.tile.device.type is 'SoftBounds' there and 'ConstantStep' here",
    ),
    "setting of the device": (
        lambda: network(replace(ROWS[1].noisy, dw_min=0.03)),
        "model.layers.0.tile.device.dw_min is 0.02 there and 0.03 here",
    ),
    "algorithm": (lambda: network(algorithm=og.AnalogSGD()), "model.layers.0.tile.algorithm"),
    "periphery": (lambda: network(io=og.IO()), "model.layers.0.tile.io"),
    "pulses": (
        lambda: network(pulses=og.PulseTrain(desired_bl=7)),
        "model.layers.0.tile.pulses.desired_bl is 31 there and 7 here",
    ),
    "seed of the noise": (
        lambda: network(seed=og.Seeds(device=4, init=4, noise=5)),
        "model.layers.0.tile.seed.noise is 4 there and 5 here",
    ),
    "scaling": (
        lambda: network(learn_out_scaling=False),
        "model.layers.0.learn_out_scaling is True there and False here",
    ),
    "layers": (
        lambda: Sequential(Linear(6, 3)).on(ROWS[1].noisy, algorithm=ALGORITHMS[2], io=NOISY_IO, seed=4),
        "model.layers has 3 members there and 1 here",
    ),
}


@pytest.mark.parametrize("what", OTHER_MODELS)
def test_the_run_of_another_model_is_refused_by_name(what: str, task: og.data.Dataset, path: Path) -> None:
    interrupt(network(), path, task, BATCHES + 2)
    make, message = OTHER_MODELS[what]
    said = refused(arguments(task, resume=path, checkpoint=path), make())
    assert said.startswith(f"{path}: another run: {message}")


def edit(path: Path, change: Callable[..., object], kind: str = checkpoint.RUN) -> None:
    """Write a checkpoint again, signed anew, with its header, what it says of the run, or its arrays changed."""
    with safe_open(path, framework="numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        said = json.loads(file.metadata()[checkpoint.RUN])
    del said["sha256"]
    change(said, said["run"], arrays)
    said["sha256"] = checkpoint._checksum(said, arrays)
    path.write_bytes(pack(arrays, {kind: json.dumps(said)}))


WRONG: dict[str, tuple[Callable[..., object], str]] = {
    "newer": (lambda h, r, a: h.update(format_version=2), "format 2, written by .* up to 1"),
    "other streams": (lambda h, r, a: h.update(stream_version=0), "written with random streams 0, .* ohmgrad.load"),
    "unknown device": (
        lambda h, r, a: h["config"]["layers"][0]["tile"]["device"].update(type="Magic"),
        "unknown device 'Magic'; known: .*SoftBounds",
    ),
    "unknown algorithm": (
        lambda h, r, a: h["config"]["layers"][0]["tile"]["algorithm"].update(type="Magic"),
        "unknown algorithm 'Magic'; known: .*TikiTaka",
    ),
    "no run": (lambda h, r, a: h.pop("run"), "no 'run'"),
    "run is a number": (lambda h, r, a: h.update(run=5), "not subscriptable"),
    "no history": (lambda h, r, a: r.pop("history"), "no 'history'"),
    "no settings": (lambda h, r, a: r.pop("settings"), "no 'settings'"),
    "no rates": (lambda h, r, a: r.update(lr=[]), "0 rates"),
    "fewer epochs": (lambda h, r, a: r.update(epoch=0), "2 rates and History.* after 0 epochs"),
    "negative epoch": (lambda h, r, a: r.update(epoch=-1), "epoch -1"),
    "beyond the data": (lambda h, r, a: r.update(position=103), "position 103"),
    "words": (lambda h, r, a: r.update(loss="much"), "'much'"),
    "history of words": (lambda h, r, a: r["history"].update(lr=["much"]), "'much'"),
    "stopped by a number": (lambda h, r, a: r.update(stopped=3), "stopped must be True or False"),
    "callback says no": (lambda h, r, a: r["callbacks"][0][1].update(total=-1), "total must be >= 0, got -1"),
    "lost array": (lambda h, r, a: a.pop("0.tile.fast.values"), "fast.values"),
    "array of no layer": (lambda h, r, a: a.update({"9.bias": np.zeros(3, np.float32)}), "belongs to no layer"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_checkpoint_that_cannot_be_resumed_says_why(what: str, task: og.data.Dataset, path: Path) -> None:
    interrupt(network(), path, task, BATCHES + 2)
    edit(path, lambda *_: None)
    og.fit(network(), **arguments(task, resume=path))
    change, message = WRONG[what]
    edit(path, change)
    said = refused(arguments(task, resume=path, checkpoint=path), network())
    with pytest.raises(ValueError, match=rf"^.*run\.safetensors: .*{message}"):
        raise ValueError(said)


def test_a_model_is_no_run(task: og.data.Dataset, path: Path) -> None:
    model = network()
    og.save(path, model)
    assert refused(arguments(task, resume=path), model) == f"{path}: a model and no run; ohmgrad.load reads it"
    path.write_bytes(pack({}, {"format": "np"}))
    assert "no model of ohmgrad" in refused(arguments(task, resume=path), model)


def test_a_setting_that_the_writer_did_not_have_has_its_default(task: og.data.Dataset, path: Path) -> None:
    straight, resumed = network(), network()
    og.fit(straight, **arguments(task))
    interrupt(network(), path, task, 3)
    edit(path, lambda h, r, a: h["config"]["layers"][0]["tile"]["pulses"].pop("desired_bl"))
    og.fit(resumed, **arguments(task, resume=path))
    assert bits(resumed) == bits(straight)


def test_damage_anywhere_is_refused(task: og.data.Dataset, path: Path) -> None:
    interrupt(network(), path, task, BATCHES + 2)
    content, model = path.read_bytes(), network()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    damaged = [content[:size] for size in (0, 7, 8, 100, start, start + 9, len(content) - 1)] + [content + b"\0"]
    for at in [*range(0, start, 41), *range(start, len(content), 53)]:
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        # The E of a number may be of either case.
        if not (content[at : at + 1] == b"e" and flipped[at : at + 1] == b"E"):
            damaged.append(bytes(flipped))
    assert len(damaged) > 200
    before = bits(model)
    for one in damaged:
        path.write_bytes(one)
        with pytest.raises(ValueError, match=r"run\.safetensors: "):
            og.fit(model, **arguments(task, resume=path))
        with pytest.raises(ValueError, match=r"run\.safetensors: "):
            og.load(path)
    assert bits(model) == before


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"checkpoint": 5}, TypeError, "checkpoint must be a path, got 5"),
        ({"resume": ["run"]}, TypeError, "resume must be a path, got"),
        ({"checkpoint_every": 3}, ValueError, "checkpoint_every is 3, and there is no checkpoint"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be >= 1, got 0"),
        ({"checkpoint_every": 1.5}, TypeError, "checkpoint_every must be an integer"),
        ({"resume": "absent"}, FileNotFoundError, "absent: there is no such file"),
        ({"resume": "/dev/null"}, FileNotFoundError, "/dev/null: there is no such file"),
    ],
)
def test_wrong_arguments_are_named(
    change: dict[str, Any], error: type[Exception], message: str, task: og.data.Dataset
) -> None:
    model = network()
    before = bits(model)
    with pytest.raises(error, match=message):
        og.fit(model, **arguments(task, **change))
    assert bits(model) == before


def test_what_cannot_be_written_is_refused_before_anything_is_trained(
    task: og.data.Dataset, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("words")
    places = [tmp_path / "absent" / "run", tmp_path / "taken", tmp_path / "file" / "run"]
    places += [Path("/proc/run")] if Path("/proc").is_dir() else []
    model, loss = network(), Counting()
    before = bits(model)
    for place in places:
        with pytest.raises(OSError, match=r"\w"):
            og.fit(model, **arguments(task, loss=loss, checkpoint=place))
        with pytest.raises(OSError, match=r"\w"):
            og.fit(model, **arguments(task, loss=loss, callbacks=[JsonLines(place)]))

    unsaved = Remembering()
    unsaved.total = float("nan")
    with pytest.raises(ValueError, match="callbacks: the state of Remembering cannot be written as JSON"):
        og.fit(model, **arguments(task, loss=loss, callbacks=[unsaved], checkpoint=path))
    assert loss.seen == 0
    assert bits(model) == before
    assert sorted(os.listdir(tmp_path)) == ["file", "taken"]


def test_a_disk_that_fills_up_leaves_the_last_checkpoint_and_whole_lines(
    task: og.data.Dataset, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = network()
    lines = JsonLines(path.with_name("lines"))
    expected = og.fit(straight, **arguments(task, callbacks=[lines]))
    whole = lines.path.read_bytes()
    fsync, left = os.fsync, 4

    def fill(file: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill)
        with pytest.raises(OSError, match="No space left"):
            og.fit(network(), **arguments(task, callbacks=[lines], checkpoint=path))
    assert sorted(os.listdir(path.parent)) == ["lines", path.name]
    resumed = network()
    assert og.fit(resumed, **arguments(task, callbacks=[lines], resume=path)).to_dict() == expected.to_dict()
    assert bits(resumed) == bits(straight)
    assert lines.path.read_bytes() == whole


LIMITED = """
import os, resource, signal, sys
import ohmgrad as og
lines, history = og.train.JsonLines(sys.argv[1]), og.History()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
lines.on_start(history)
try:
    for epoch in range(100):
        history.append({"train_loss": epoch + 0.125})
        lines.on_epoch_end(epoch, history, None)
except OSError as error:
    print("refused", error)
"""


def test_a_line_that_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "lines")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("refused")
    content = (tmp_path / "lines").read_text()
    assert 100 < len(content) <= 200
    assert [json.loads(line)["epoch"] for line in content.splitlines()] == list(range(content.count("\n")))
    assert content.endswith("}\n")


# ---- killed

KILLED = """
import json, os, random, signal, sys, time, warnings
from pathlib import Path
import ohmgrad as og
from ohmgrad import checkpoint
import test_resume
warnings.simplefilter("ignore", DeprecationWarning)  # of forks
og.threads(1)
path, kills, order = Path(sys.argv[1]), int(sys.argv[2]), random.Random(7)
data = og.data.digits()[0]
task = og.data.arrays(data.x[:103, 20:26], data.y[:103] % 3)

def train(**more):
    model = test_resume.network()
    history = og.fit(model, **test_resume.arguments(task, checkpoint_every=1 if "checkpoint" in more else None, **more))
    return test_resume.bits(model), history.to_dict()

def place():
    run = checkpoint.read(path)[1]["run"]
    return run["epoch"], run["position"]

expected = train()
seen, finished, last, killed = set(), 0, (0, 0), 0
started = time.monotonic()
train(checkpoint=path)
longest = (time.monotonic() - started) / 2
path.unlink()
while killed < kills:
    pid = os.fork()
    if pid == 0:
        train(checkpoint=path, **({"resume": path} if path.exists() else {}))
        os._exit(0)
    time.sleep(order.uniform(0, longest))
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    killed += os.WIFSIGNALED(status)
    if path.exists():
        assert place() >= last, "a checkpoint went back"
        if place() == last:
            longest *= 1.05  # a machine that has become slower
        last = place()
        seen.add(last)
        assert train(resume=path) == expected, f"other bits after {last}"
    if not os.WIFSIGNALED(status) or last == (test_resume.EPOCHS, 0):
        finished, last = finished + 1, (0, 0)
        path.unlink()
rest = {name for name in os.listdir(path.parent) if not name.startswith(f".{path.name}.")}
assert rest <= {path.name}, rest
print(json.dumps({"killed": killed, "places": len(seen), "finished": finished}))
"""


def test_a_run_that_is_killed_at_any_moment_can_be_resumed(path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(path), "100"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    print(result)
    assert result["killed"] == 100
    assert result["places"] > 5

"""The command line, and the demo behind one of its commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import ohmgrad as og
from ohmgrad import _bench, _core, curves, demo
from ohmgrad.cli import main
from ohmgrad.config import device_of

SMALL = ["--algorithms", "digital,residual", "--lr", "0.1,0.05", "--seeds", "2", "--epochs", "2"]


def run(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


def made(algorithm: str, lr: float, seed: int, validation: float, test: float) -> demo.Run:
    return demo.Run(algorithm=algorithm, lr=lr, seed=seed, seconds=1.0, validation=[0.0, validation], test=[0.0, test])


def test_info_names_version_instruction_set_and_threads():
    result = run("info")
    facts = _core.info()
    assert result.exit_code == 0
    for word in (og.__version__, facts["isa"], f"{facts['threads']} of {facts['cpus']} cores"):
        assert word in result.output


@pytest.mark.parametrize(
    ("spec", "device"),
    [
        ("SoftBounds", og.devices.SoftBounds()),
        (" SoftBounds(dw_min=2e-3, w_min=-0.5) ", og.devices.SoftBounds(dw_min=0.002, w_min=-0.5)),
        (
            "Tabulated(w=[-1, 0, 1], q_up=[2, 1, 0], q_down=(0, 1, 2))",
            og.devices.Tabulated(w=[-1, 0, 1], q_up=[2, 1, 0], q_down=[0, 1, 2]),
        ),
        ("SoftBoundsReference(mult_noise=True)", og.devices.SoftBoundsReference(mult_noise=True)),
    ],
)
def test_a_device_is_read_from_text(spec, device):
    assert device_of(spec) == device


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "is written like"),
        ("soft-bounds", "unknown device 'soft-bounds'; .*did you mean 'SoftBounds'"),
        ("SoftBounds(", "is written like"),
        ("SoftBounds(1)", "is written like"),
        ("(lambda: 1)()", "is written like"),
        ("os.system('false')", "is written like"),
        ("SoftBounds(dw_min=__import__('os'))", "plain numbers"),
        ("SoftBounds(**{'dw_min': 1})", "plain numbers"),
        ("Imaginary(dw_min=1)", "unknown device 'Imaginary'; known: .*SoftBounds"),
        ("SoftBounds(dwmin=1)", "no field 'dwmin'"),
        ("SoftBounds(dw_min=-1)", "dw_min"),
        ("(" * 5000, "is written like"),
    ],
)
def test_other_text_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        device_of(spec)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "SoftBounds(dw_min='a')"], "dw_min"),
        (["--algorithms", "digital,magic"], "unknown algorithm 'magic'"),
        (["--lr", "0.1,-1"], "must be finite and > 0, got -1"),
        (["--lr", "fast"], "fast"),
        (["--seeds", "0"], "0 is not in the range"),
    ],
)
def test_wrong_options_are_named(arguments, message, tmp_path):
    result = run("demo", *arguments, "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_the_rate_is_chosen_by_validation_and_ties_go_to_the_smaller():
    settings = demo.Settings(algorithms=("digital", "analog"), rates=(0.3, 0.1, 0.2), seeds=2, epochs=2)
    done = [
        *(made("digital", 0.1, seed, 0.90, test) for seed, test in ((0, 0.8), (1, 0.7))),
        *(made("digital", 0.2, seed, 0.90, 0.99) for seed in (0, 1)),
        *(made("digital", 0.3, seed, 0.89, 0.99) for seed in (0, 1)),
        *(made("analog", 0.1, seed, 0.50, 0.99) for seed in (0, 1)),
        *(made("analog", 0.2, seed, 0.53, 0.52) for seed in (0, 1)),
        *(made("analog", 0.3, seed, 0.40, 0.99) for seed in (0, 1)),
    ]
    digital, analog = demo.summary(settings, done)
    assert (digital.lr, digital.near, digital.worst, digital.worst_seed) == (0.1, [0.1, 0.2, 0.3], 0.7, 1)
    assert digital.test == pytest.approx(0.75)
    assert digital.test_std == pytest.approx(0.05 * 2**0.5)
    assert (analog.lr, analog.near, analog.test_std) == (0.2, [0.2], 0.0)


def test_one_seed_has_no_spread():
    settings = demo.Settings(algorithms=("digital",), rates=(0.1,), seeds=1)
    assert demo.summary(settings, [made("digital", 0.1, 0, 0.9, 0.8)])[0].test_std is None


def test_the_demo_writes_every_number_and_a_picture(tmp_path):
    result = run("demo", *SMALL, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir(tmp_path)) == ["demo.json", "demo.png"]
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads((tmp_path / "demo.json").read_text())
    assert written["settings"]["device"] == demo.DEVICE.describe()
    assert written["ohmgrad"]["version"] == og.__version__
    runs = [(run["algorithm"], run["lr"], run["seed"]) for run in written["runs"]]
    assert runs == [(a, lr, seed) for a in ("digital", "residual") for lr in (0.05, 0.1) for seed in (0, 1)]
    for each in written["summary"]:
        chosen = [
            run["test"][-1]
            for run in written["runs"]
            if (run["algorithm"], run["lr"]) == (each["algorithm"], each["lr"])
        ]
        assert each["test"] == pytest.approx(sum(chosen) / 2)
        assert f"{each['test']:.1%}" in result.output
    # A worker gives what the same run gives here, so neither processes nor their number change a result.
    settings = demo.Settings(algorithms=("residual",), rates=(0.1,), seeds=2, epochs=2)
    here = demo.train("residual", 0.1, 1, settings)
    assert here.test == written["runs"][-1]["test"]
    assert here.validation == written["runs"][-1]["validation"]


def test_the_demo_takes_a_device(tmp_path):
    spec = "PowerResponse(tau=0.6, gamma=0.5, dw_min=0.005)"
    options = ["--device", spec, "--algorithms", "analog", "--lr", "0.1", "--seeds", "1", "--epochs", "1"]
    result = run("demo", *options, "--out", str(tmp_path / "a" / "b"))
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "a" / "b" / "demo.json").read_text())
    assert written["settings"]["device"]["model"] == "PowerResponse"


def test_without_matplotlib_there_is_no_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("ohmgrad.cli._demo.find_spec", lambda name: None)
    options = ["--algorithms", "digital", "--lr", "0.1", "--seeds", "1", "--epochs", "1"]
    result = run("demo", *options, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "pip install 'ohmgrad[plot]'" in result.output
    assert os.listdir(tmp_path) == ["demo.json"]


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")
@pytest.mark.parametrize("wait", [0.0, 3.0])
def test_ctrl_c_stops_the_demo_and_its_workers(tmp_path, wait):
    """Whether the workers are just being started or train already."""
    with demo_process(tmp_path) as process:
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 130, rest
        assert rest.endswith("Stopped.\n")
        assert "Traceback" not in rest
        assert os.listdir(tmp_path / "out") == []
        assert ends(process.pid)


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")
def test_workers_end_when_the_demo_is_killed(tmp_path):
    with demo_process(tmp_path) as process:
        time.sleep(3.0)
        process.kill()
        process.wait()
        assert ends(process.pid)


@contextmanager
def demo_process(folder):
    """A demo that takes very long, in a process group of its own, from its first line of output on."""
    script = folder / "script.py"
    script.write_text("from ohmgrad.cli import main\nif __name__ == '__main__':\n    main()\n")
    command = [sys.executable, script, "demo", "--epochs", "10000", "--out", folder / "out"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Device")
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def ends(group: int) -> bool:
    """Whether all processes of a group end within ten seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


# ---- train

RUN = """
device = "SoftBounds(dw_min=0.005, dw_min_std=0.3, w_max=0.6, w_min=-0.6)"
io = "kit"

[model]
layers = ["linear 10"]

[train]
epochs = 2
lr = 0.2
"""
RESULTS = ["checkpoint.safetensors", "history.jsonl", "model.safetensors", "run.toml"]


@pytest.fixture
def described(tmp_path, monkeypatch):
    """A description of a run in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(RUN)
    return tmp_path


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_train_leaves_a_model_and_all_that_made_it(described):
    result = run("train", "run.toml", "--out", "a/b")
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir("a/b")) == RESULTS
    lines = [json.loads(line) for line in Path("a/b/history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    assert f"test accuracy {lines[1]['test_accuracy']:.2%}" in result.output
    assert "epoch 2/2" in result.output
    assert tomllib.loads(Path("a/b/run.toml").read_text())["train"]["lr"] == 0.2
    # what it was made with makes it again, and so does Python
    again = run("train", "a/b/run.toml", "--threads", "1")
    assert again.exit_code == 0, again.output
    assert contents("run") == contents("a/b")
    model = og.nn.Sequential(og.nn.Linear(64, 10)).on(
        og.devices.SoftBounds(dw_min=0.005, dw_min_std=0.3, w_max=0.6, w_min=-0.6), io=og.IO.kit()
    )
    og.fit(model, *og.data.digits(), epochs=2, batch_size=10, lr=0.2)
    np.testing.assert_array_equal(og.load("run/model.safetensors")[0].weight, model[0].weight)
    og.threads(_core.info()["cpus"])


def test_a_run_is_resumed_or_started_over_only_if_told(described):
    assert run("train", "run.toml", "--epochs", "3", "--out", "whole").exit_code == 0
    assert run("train", "run.toml", "--epochs", "1", "--out", "parts").exit_code == 0
    before = contents("parts")
    for arguments, state in (([], "a finished run"), (["--epochs", "3"], "a finished run")):
        result = run("train", "run.toml", *arguments, "--out", "parts")
        assert (result.exit_code, contents("parts")) == (1, before)
        assert result.output.startswith(f"Error: parts holds {state}: --resume goes on, --force starts over")
    Path("parts/model.safetensors").unlink()
    assert "an unfinished run" in run("train", "run.toml", "--out", "parts").output
    result = run("train", "run.toml", "--epochs", "3", "--out", "parts", "--resume")
    assert (result.exit_code, "resumed in epoch 2" in result.output) == (0, True)
    assert contents("parts") == contents("whole")
    # another run is not gone on with, and nothing is lost
    result = run("train", "run.toml", "--lr", "0.1", "--epochs", "4", "--out", "parts", "--resume")
    assert (result.exit_code, contents("parts")) == (1, contents("whole"))
    assert result.output.splitlines()[-1].startswith("Error: parts/checkpoint.safetensors: another run: lr")
    result = run("train", "run.toml", "--set", "train.batch_size=2000", "--out", "parts", "--force")
    assert (result.exit_code, contents("parts")) == (1, contents("whole"))
    assert run("train", "run.toml", "--epochs", "3", "--seed", "1", "--out", "parts", "--force").exit_code == 0
    assert contents("parts")["model.safetensors"] != contents("whole")["model.safetensors"]
    # there is nothing to go on from: it begins
    assert run("train", "run.toml", "--epochs", "3", "--out", "new", "--resume").exit_code == 0
    assert contents("new") == contents("whole")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing.toml"], 2, "'nothing.toml' does not exist"),
        (["run.toml", "--set", "train.epoch=3"], 2, "run.toml: [train] unknown key 'epoch'; known: epochs"),
        (["run.toml", "--set", "device={type='Softbound'}"], 2, "did you mean 'SoftBounds'?"),
        (["run.toml", "--set", "lr"], 2, "a change is written like train.lr=0.1, got 'lr'"),
        (["run.toml", "--epochs", "0"], 2, "0 is not in the range x>=1"),
        (["run.toml", "--seed", "-1"], 2, "-1 is not in the range"),
        (["run.toml", "--lr", "fast"], 2, "'fast' is not a valid float"),
        (["run.toml", "--lr", "inf"], 2, "[train] lr must be"),
        (["run.toml", "--resume", "--force"], 2, "give one of them"),
        (["run.toml", "--set", "data={name='mnist', folder='x'}"], 1, "x: there is no train-images-idx3-ubyte"),
        (["run.toml", "--set", "train.batch_size=2000"], 1, "batch_size must be at most the number of training vec"),
        (["run.toml", "--set", 'model.layers=["linear 9"]'], 1, "there is a label 9, allowed: 0 to 8"),
        (["run.toml", "--set", "train.loss=mse"], 1, ""),
        (["run.toml", "--out", "run.toml/x"], 1, "run.toml"),
        (["run.toml", "--out", "run.toml"], 2, "is a file"),
    ],
)
def test_what_train_cannot_do_is_one_line(arguments, code, message, described):
    result = run("train", *arguments)
    assert (result.exit_code, result.output.count("Error: "), message in result.output) == (code, 1, True), (
        result.output
    )
    assert result.output.splitlines()[-1].startswith("Error: ")
    assert not list(Path().rglob("model.safetensors"))


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_ctrl_c_keeps_a_checkpoint_that_training_goes_on_from(described):
    code = "from ohmgrad.cli import main; main()"
    command = [sys.executable, "-u", "-c", code, "train", "run.toml", "--out", "out"]
    process = subprocess.Popen(
        [*command, "--epochs", "100000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("epoch 1/"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert rest.endswith("Stopped. --resume goes on from out/checkpoint.safetensors.\n")
    assert "Traceback" not in rest
    assert sorted(os.listdir("out")) == sorted(set(RESULTS) - {"model.safetensors"})
    epochs = str(len(Path("out/history.jsonl").read_text().splitlines()) + 1)
    for folder in ("out", "whole"):
        result = run("train", "run.toml", "--epochs", epochs, "--out", folder, "--resume")
        assert result.exit_code == 0, result.output
    assert contents("out") == contents("whole")


# ---- device


def test_device_shows_facts_and_response():
    result = run("device", "SoftBounds(dw_min=0.01, w_min=-0.5)", "--at=-0.5,0.25")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[:5] == [
        "SoftBounds(dw_min=0.01, w_min=-0.5)",
        "granularity      0.01",
        "states           150",
        "bounds           -0.5 to 1",
        "symmetric point  0",
    ]
    assert [line.split() for line in lines[6:]] == [
        ["w", "q_up", "q_down", "F", "G"],
        ["-0.5", "1.5", "0", "0.75", "-0.75"],
        ["0.25", "0.75", "1.5", "1.125", "0.375"],
    ]


def test_device_measures_the_cell_that_a_tile_has():
    spec = "SoftBounds(dw_min=0.01, dw_min_dtod=0.3, w_max_dtod=0.2, w_min_dtod=0.2, dw_min_std=5, reference_std=0.1)"
    result = run("device", spec, "--cell", "2,1", "--shape", "4,3", "--seed", "5", "--at=-0.2,0,0.3", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["settings"] == device_of(spec).describe()
    tile = og.Tile(4, 3, device=device_of(spec), seed=5)
    own = {name: float(values[2, 1]) for name, values in tile.arrays["weight"].parameters.items()}
    assert told["cell"]["parameters"] == own
    for row in told["cell"]["response"]:
        v = row["w"] + own["reference"]
        # differences of float32 weights below 1: rounded to 2^-24 each
        assert row["up"] == pytest.approx(own["dw_up"] * (1 - v / own["w_max"]), abs=2**-22)
        assert row["down"] == pytest.approx(own["dw_down"] * (1 - v / own["w_min"]), abs=2**-22)


def test_device_draws_a_picture(tmp_path):
    result = run("device", "PowStep(dw_min=0.05, dw_min_std=1)", "--picture", str(tmp_path / "device.png"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "device.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["SoftBound"], 2, "did you mean 'SoftBounds'?"),
        (["SoftBounds(dw_mim=1)"], 2, "did you mean 'dw_min'?"),
        (["SoftBounds", "--cell", "1"], 2, "invalid literal"),
        (
            ["SoftBounds", "--cell", "2,0", "--shape", "2,2"],
            1,
            "cell must be within the 2 x 2 cells, from 0,0 on, got 2,0",
        ),
        (["SoftBounds", "--cell=-1,0"], 1, "cell must be within"),
        (["SoftBounds", "--at", "nan"], 2, "weights must be finite"),
        (["SoftBounds", "--picture", "no/folder/x.png"], 1, "no/folder"),
    ],
)
def test_what_device_cannot_do_is_one_line(arguments, code, message):
    result = run("device", *arguments)
    assert (result.exit_code, message in result.output, result.output.count("\n")) == (code, True, 1), result.output


def test_a_picture_needs_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setattr("ohmgrad.cli._device.find_spec", lambda name: None)
    result = run("device", "SoftBounds", "--picture", str(tmp_path / "x.png"))
    assert (result.exit_code, "pip install 'ohmgrad[plot]'" in result.output) == (1, True)


def test_one_pulse_is_one_pulse():
    """The measured response of the mean cell is the response function, for every model and at every weight."""
    models = og.devices.models
    for name in models.names():
        if name == "Tabulated" or not issubclass(models[name], og.devices.Device):
            continue
        device = models.decode({"type": name})
        low, high = device.bounds
        w = [low + (high - low) * i / 8 for i in range(1, 8)]
        tile, at = curves.cell(curves.mean(device))
        taken, up, down = curves.drawn_response(tile, at, w)
        np.testing.assert_allclose(taken, w, atol=2**-23 * max(-low, high))
        scale = (device.q_up(w), device.q_down(w))
        for measured, q in zip((up, down), scale, strict=True):
            step = device.granularity if "dw_min" not in device.describe() else device.dw_min
            # float32: the weights before and after are rounded, and so is the step
            np.testing.assert_allclose(measured, step * q, rtol=1e-5, atol=2**-22 * max(-low, high), err_msg=name)


# ---- all commands


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_what_the_shell_takes(shell):
    result = run("completion", shell)
    assert result.exit_code == 0, result.output
    assert "_OHMGRAD_COMPLETE" in result.output
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=result.output, text=True, check=True, timeout=60)


def test_completion_finds_commands():
    environment = os.environ | {"_OHMGRAD_COMPLETE": "bash_complete", "COMP_WORDS": "ohmgrad t", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", "from ohmgrad.cli import main; main(prog_name='ohmgrad')"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "plain,train\n"


@pytest.mark.parametrize("command", [[], ["train"], ["bench"]], ids=str)
def test_help_loads_neither_numpy_nor_rich(command):
    code = f"""
import sys
from ohmgrad.cli import main
try:
    main([*{command!r}, "--help"])
except SystemExit:
    print(*sorted({{"numpy", "rich", "matplotlib", "safetensors"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.endswith("\n\n") or done.stdout.splitlines()[-1] == ""


def test_every_command_has_help():
    assert sorted(main.commands) == ["bench", "completion", "demo", "device", "info", "reproduce", "train"]
    for name in main.commands:
        result = run(name, "--help")
        assert (result.exit_code, result.output.startswith("Usage: ")) == (0, True)


# ---- reproduce


def test_an_experiment_writes_its_tables(tmp_path):
    result = run("reproduce", "multi-tile-toy", "--seeds", "1", "--out", str(tmp_path / "results"))
    assert result.exit_code == 0, result.output
    path = tmp_path / "results" / "multi-tile-toy.md"
    assert "10 runs in" in result.output
    assert path.name in result.output
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# multi-tile-toy\n")
    assert "`ohmgrad reproduce multi-tile-toy --seeds 1`" in text
    row = next(line for line in text.splitlines() if line.startswith("| published |"))
    errors = [float(cell) for cell in row.split("|")[2:-1]]
    # one seed; the last three are less than a spread apart
    assert errors[0] < errors[1] < min(errors[2:])
    assert len(errors) == 5


def test_what_can_be_reproduced_is_named(tmp_path):
    names = run("reproduce", "--help").output
    assert all(name in names for name in ("mnist-fcn", "symmetric-point", "rasch2024-column", "rasch2024-programming"))
    wrong = run("reproduce", "mnist")
    assert wrong.exit_code == 2
    assert "'mnist-fcn'" in wrong.output
    without = run("reproduce", "mnist-fcn", "--out", str(tmp_path / "results"))
    assert without.exit_code == 2
    assert "mnist-fcn needs --mnist, the folder with MNIST's files" in without.output
    empty = run("reproduce", "mnist-fcn", "--mnist", str(tmp_path), "--out", str(tmp_path / "results"))
    assert empty.exit_code != 0
    assert "no train-images-idx3-ubyte" in f"{empty.output} {empty.exception}"
    assert not (tmp_path / "results" / "mnist-fcn.md").exists()


# ---- bench

MEASURED = {"threads", "seconds", "lowest", "highest"}
SHAPE = {"d_out", "d_in", "batch"}


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """One round of everything."""
    before = og.threads()
    result = run("bench", "--seconds", "0.01", "--threads", "3", "--runs", "7", "--epochs", "3", "--json")
    assert result.exit_code == 0, result.output
    assert og.threads() == before
    told = json.loads(result.output)
    assert isinstance(told, dict)
    return told


def test_bench_tells_what_it_documents(measured: dict[str, Any]) -> None:
    keys = ["machine", "updates", "products", "layer", "scaling", "training", "seconds", "rounds", "runs", "epochs"]
    assert list(measured) == keys
    assert (measured["rounds"], measured["runs"], measured["epochs"]) == (1, 7, 3)
    assert ", ".join(keys) in " ".join(run("bench", "--help").output.split())
    facts = _core.info()
    assert measured["machine"].keys() == facts.keys() | {"processor", "system", "python", "numpy"}
    assert {key: measured["machine"][key] for key in facts} == facts | {"threads": 3}
    updates = SHAPE | MEASURED | {"name", "pulses_per_visit", "visits_per_second", "pulses_per_second"}
    assert {one["name"]: one.keys() for one in measured["updates"]} == dict.fromkeys(
        ("light", "heavy", "sparse"), updates
    )
    products = SHAPE | MEASURED | {"name", "visits_per_second"}
    assert {one["name"]: one.keys() for one in measured["products"]} == dict.fromkeys(("forward", "backward"), products)
    assert measured["layer"].keys() == SHAPE | MEASURED | {"steps_per_second"}
    assert [one["threads"] for one in measured["scaling"]] == [1, 2, 3]
    assert all(one.keys() == MEASURED | {"speedup"} for one in measured["scaling"])
    training = {"network", "algorithm", "evaluation_seconds", "run_seconds", "processes", "sweep_seconds"}
    assert [(one["network"], one["algorithm"]) for one in measured["training"]] == [
        (network, algorithm)
        for network in ("digits, 64-32-10", "MNIST, 784-256-128-10")
        for algorithm in ("analog", "tiki-taka")
    ]
    assert all(one.keys() == MEASURED | training for one in measured["training"])


def test_bench_measures_everything(measured: dict[str, Any]) -> None:
    rows = [row for value in measured.values() for row in (value if isinstance(value, list) else [value])]
    numbers = [
        number
        for row in rows
        for number in (row.values() if isinstance(row, dict) else [row])
        if isinstance(number, int | float)
    ]
    assert len(numbers) > 80
    assert all(0 < number < float("inf") for number in numbers)
    assert measured["scaling"][0]["speedup"] == 1


def test_the_workloads_of_bench_are_as_heavy_as_they_say(measured: dict[str, Any]) -> None:
    """Coincidences per cell and vector as in benches/RESULTS.md; a fixed seed, so any window will do."""
    windows = {"light": (0.18, 0.20), "heavy": (2.9, 3.2), "sparse": (0.007, 0.009)}
    for one in measured["updates"]:
        low, high = windows[one["name"]]
        assert low < one["pulses_per_visit"] < high
        visits = one["d_out"] * one["d_in"] * one["batch"]
        assert one["visits_per_second"] == pytest.approx(visits / one["seconds"])
        assert one["pulses_per_second"] == pytest.approx(one["pulses_per_visit"] * one["visits_per_second"])


def test_bench_estimates_runs_and_sweeps(measured: dict[str, Any]) -> None:
    steps = {"digits": -(-len(og.data.digits(validation=True)[0]) // 10), "MNIST": 6000}
    processes = min(7, _core.info()["cpus"])
    for one in measured["training"]:
        epoch = steps[one["network"].partition(",")[0]] * one["seconds"] + one["evaluation_seconds"]
        assert one["run_seconds"] == pytest.approx(3 * epoch)
        assert one["processes"] == processes
        assert one["sweep_seconds"] == pytest.approx(-(-7 // processes) * one["run_seconds"])


def test_bench_shows_tables() -> None:
    result = run("bench", "--seconds", "0.01", "--threads", "1", "--runs", "2")
    assert result.exit_code == 0, result.output
    facts = _core.info()
    for word in (facts["isa"], *facts["isas"], "light", "heavy", "sparse", "forward", "backward", "layer", "tiki-taka"):
        assert word in result.output
    assert "runs: 2, epochs: 10" in result.output
    assert "Medians of 1 round (fastest-slowest)" in result.output
    # nothing is cut off at the width of an ordinary terminal
    assert "…" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *((["--seconds", text], "'--seconds': seconds must be > 0 and <= 3600") for text in ("0", "-1", "nan", "inf")),
        (["--seconds", "soon"], "'--seconds': could not convert"),
        (["--threads", "0"], "'--threads': 0 is not in the range"),
        (["--threads", "1025"], "'--threads': 1025 is not in the range"),
        (["--runs", "0"], "'--runs': 0 is not in the range"),
        (["--epochs", "-3"], "'--epochs': -3 is not in the range"),
    ],
)
def test_what_bench_cannot_do_is_one_line(arguments: list[str], message: str) -> None:
    result = run("bench", *arguments)
    assert (result.exit_code, message in result.output, result.output.count("\n")) == (2, True, 1), result.output


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_ctrl_c_ends_bench_at_once() -> None:
    code = "from ohmgrad.cli import main; print('begun', flush=True); main()"
    command = [sys.executable, "-c", code, "bench", "--seconds", "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (130, "", "Stopped.\n")


def test_rounds_take_turns_until_the_time_is_over() -> None:
    """Everything has its turn in every round; the single calls of the first one are not kept."""
    called: list[str] = []

    def task(name: str, seconds: float) -> _bench._Task:
        def call() -> None:
            called.append(name)
            time.sleep(seconds)

        return _bench._Task(name=name, threads=og.threads(), start=lambda: call, most=50)

    tasks = [task("long", 0.02), task("short", 0.0005)]
    told: list[tuple[str, float]] = []
    begun = time.perf_counter()
    rounds = _bench._rounds(tasks, begun, 1.0, lambda name, share: told.append((name, share)))
    assert 1 <= rounds <= _bench.ROUNDS
    assert [len(each.samples) for each in tasks] == [rounds, rounds]
    # warmed up, then timed, by turns
    assert called[:4] == ["long", "long", "short", "short"]
    assert tasks[1].calls > tasks[0].calls >= 1
    assert tasks[1].calls <= 50
    assert [name for name, _ in told] == ["long", "short"] * (rounds + 1) + ["done"]
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1

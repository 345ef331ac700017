"""The command line and the demo behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest
from click.testing import CliRunner

import ohmgrad as og
from ohmgrad import _core, cli, demo
from ohmgrad.cli import device_of, main

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
        ("", "a device is written like"),
        ("SoftBounds(", "a device is written like"),
        ("SoftBounds(1)", "a device is written like"),
        ("(lambda: 1)()", "a device is written like"),
        ("os.system('false')", "a device is written like"),
        ("SoftBounds(dw_min=__import__('os'))", "plain numbers"),
        ("SoftBounds(**{'dw_min': 1})", "plain numbers"),
        ("Imaginary(dw_min=1)", "unknown device 'Imaginary'; known: .*SoftBounds"),
        ("SoftBounds(dwmin=1)", "no field 'dwmin'"),
        ("SoftBounds(dw_min=-1)", "dw_min"),
        ("(" * 5000, "a device is written like"),
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
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
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

"""One environment on one machine: what the target's Python says, what is pretended, what is kept when it does not start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from archfit.arch import ComputeCapability, CudaVersion
from archfit.errors import UsageError
from archfit.model import Driver, DriverRelease, Gpu, Interpreter, Known, Unknown
from archfit.probe import Wish, observe
from archfit.probe import observe as probe_observe
from archfit.probe.choose import Choice
from archfit.probe.gpus import Machine
from archfit.probe.observe import observe_interpreter, parse_driver, parse_gpus
from worlds import CATALOG, TORCH_2_4_1, build_environment, site_packages

NOTHING = Unknown("no driver", ("NVML",))
observing = sys.modules["archfit.probe.observe"]


@pytest.fixture(autouse=True)
def no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_has(monkeypatch, Machine(NOTHING, NOTHING))


def machine_has(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    monkeypatch.setattr(observing, "query_machine", lambda: machine)


def python_that(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


# --- wishes ----------------------------------------------------------------------------------------------------------

RTX_5090 = Gpu("GeForce RTX 5090", ComputeCapability(12, 0), '--gpu "RTX 5090"', DriverRelease.parse("570.86.16"))
SM_120 = Gpu("sm_120", ComputeCapability(12, 0), "--gpu sm_120")


@pytest.mark.parametrize(
    ("spec", "gpus"),
    [
        ("RTX 5090", (RTX_5090,)),
        ("  RTX 5090  ", (RTX_5090,)),
        ("RTX 5090:2", (RTX_5090, RTX_5090)),
        ("sm_120", (SM_120,)),
        ("sm_120:3", (SM_120, SM_120, SM_120)),
        ("12.0", (Gpu("sm_120", ComputeCapability(12, 0), "--gpu 12.0"),)),
        ("10.1", (Gpu("sm_110", ComputeCapability(11, 0), "--gpu 10.1"),)),
    ],
)
def test_gpus_to_pretend(spec: str, gpus: tuple[Gpu, ...]) -> None:
    assert parse_gpus(spec, CATALOG) == gpus


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ("RTX 9999", "gpu-unknown-name"),
        ("", "gpu-unknown-name"),
        (":2", "gpu-unknown-name"),
        ("sm_120:0", "gpu-unknown-name"),
        ("sm_120:9999", "gpu-unknown-name"),
        ("sm_120:-1", "gpu-unknown-name"),
        ("12.9", "gpu-unknown-capability"),
        ("sm_999", "gpu-unknown-capability"),
        ("RTX 4000", "gpu-ambiguous"),
    ],
)
def test_no_gpu(spec: str, key: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_gpus(spec, CATALOG)
    assert error.value.key == key


@pytest.mark.parametrize(("text", "cuda"), [("570.86.16", (12, 8)), ("550.54.14", (12, 4)), ("450.36", (11, 0))])
def test_a_driver_to_pretend(text: str, cuda: tuple[int, int]) -> None:
    expected = Driver(DriverRelease.parse(text), CudaVersion(*cuda), None, f"--driver {text}")
    assert parse_driver(text, CATALOG) == expected


@pytest.mark.parametrize("text", ["12.4", "580", "", "newest", "570.86.16.1"])
def test_what_is_no_driver_release(text: str) -> None:
    """A CUDA version is none; a branch alone does not say whether it is new enough."""
    with pytest.raises(UsageError) as error:
        parse_driver(text, CATALOG)
    assert error.value.key == "driver-unknown"


@pytest.mark.parametrize("text", ["new", "12.8.x", "570.86.16.1", "5", "570,86", "570.", "-570"])
def test_no_driver(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_driver(text, CATALOG)
    assert (error.value.key, error.value.values) == ("driver-unknown", {"spec": text})


# --- the target's Python ---------------------------------------------------------------------------------------------


def test_what_the_python_of_a_venv_says(old_env: Path) -> None:
    seen = observe(Wish(str(old_env)), CATALOG)
    assert isinstance(seen.interpreter, Known)
    told = seen.interpreter.value
    assert told == Interpreter(
        executable=old_env / "bin" / "python",
        prefix=old_env,
        version=".".join(map(str, sys.version_info[:3])),
        tag=f"cp{sys.version_info[0]}{sys.version_info[1]}",
        platform="linux_x86_64",
        is_virtual=True,
        purelib=site_packages(old_env),
        site_dirs=told.site_dirs,
        libc=told.libc,
    )
    assert told.site_dirs[-1] == site_packages(old_env)
    assert str(told.libc).startswith("glibc 2.")


WAYS_NOT_TO_START = {
    "exit 3": "exit code 3",
    "echo oh no >&2; exit 3": "exit code 3: oh no",
    "echo garbage": "its answer is not JSON",
    "echo 7": "its answer is no record",
    "true": "it answered nothing",
    "echo '{}'": "its answer lacks 'executable'",
    "kill -SEGV $$": "ended by SIGSEGV",
    "sleep 20": "no answer within 0.3 s",
}


@pytest.mark.parametrize("script", WAYS_NOT_TO_START)
def test_a_python_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(observing, "_DESCRIBE_SECONDS", 0.3)
    python = python_that(tmp_path / "bin" / "python", script)
    seen = observe_interpreter(Choice(tmp_path, python, "named"))
    assert seen == Unknown(WAYS_NOT_TO_START[script], (str(python),))


def test_a_python_whose_base_is_gone(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(tmp_path / "gone")
    expected = Unknown("No such file or directory", (str(python),))
    assert observe_interpreter(Choice(tmp_path, python, "named")) == expected


def test_a_python_for_another_machine(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_bytes(b"\x7fELF\2\1\1\0" + bytes(56))
    python.chmod(0o755)
    expected = Unknown("Exec format error", (str(python),))
    assert observe_interpreter(Choice(tmp_path, python, "named")) == expected


def test_only_the_last_words_of_a_long_lament_are_kept(tmp_path: Path) -> None:
    python = python_that(tmp_path / "bin" / "python", "echo first >&2; head -c 4000 /dev/zero | tr '\\0' x >&2; exit 1")
    seen = observe_interpreter(Choice(tmp_path, python, "named"))
    assert seen == Unknown("exit code 1: " + "x" * 600, (str(python),))


def test_what_a_start_file_prints_is_passed_over(tmp_path: Path) -> None:
    root = build_environment(tmp_path / "env")
    (site_packages(root) / "sitecustomize.py").write_text("print('hello from the target')\n")
    assert isinstance(observe(Wish(str(root)), CATALOG).interpreter, Known)


def test_packages_are_found_without_the_interpreter(tmp_path: Path) -> None:
    root = build_environment(tmp_path / "env", TORCH_2_4_1)
    (root / "bin" / "python").unlink()
    python_that(root / "bin" / "python", "exit 1")
    seen = observe(Wish(str(root)), CATALOG)
    assert seen.interpreter == Unknown("exit code 1", (str(root / "bin" / "python"),))
    assert [d.name for d in seen.distributions] == ["torch"]
    assert seen.torch_cuda == Known(CudaVersion(12, 1), str(site_packages(root) / "torch" / "version.py"))


def test_a_shim_is_followed_to_where_the_python_lives(old_env: Path, tmp_path: Path) -> None:
    shim = python_that(tmp_path / "shims" / "python", f'exec {old_env}/bin/python "$@"')
    seen = observe(Wish(str(shim)), CATALOG)
    assert (seen.root, seen.python, seen.chosen) == (old_env, old_env / "bin" / "python", "named")


# --- torch's CUDA ----------------------------------------------------------------------------------------------------

BUILT_WITHOUT = "built without CUDA"


@pytest.mark.parametrize(
    ("text", "cuda"),
    [
        ("cuda = '12.1'\n", CudaVersion(12, 1)),
        ("cuda: Optional[str] = '13.0'\n", CudaVersion(13, 0)),
        ('cuda: str | None = "12.8"\n', CudaVersion(12, 8)),
        ("__version__ = '2.4.1+cu121'\ndebug = False\ncuda = '11.8'\ngit_version = 'x'\n", CudaVersion(11, 8)),
        ("cuda = None\n", BUILT_WITHOUT),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.2'\n", BUILT_WITHOUT),
        ("", BUILT_WITHOUT),
    ],
)
def test_the_cuda_of_torch(tmp_path: Path, text: str, cuda: CudaVersion | str) -> None:
    root = build_environment(tmp_path / "env", TORCH_2_4_1)
    page = site_packages(root) / "torch" / "version.py"
    page.write_text(text)
    expected = Known(cuda, str(page)) if isinstance(cuda, CudaVersion) else Unknown(cuda, (str(page),))
    assert observe(Wish(str(root)), CATALOG).torch_cuda == expected


def test_no_torch(tmp_path: Path) -> None:
    root = build_environment(tmp_path / "env")
    seen = observe(Wish(str(root)), CATALOG)
    assert seen.torch_cuda == Unknown("torch is not installed", (str(site_packages(root)),))
    assert seen.distributions == ()


# --- the machine -----------------------------------------------------------------------------------------------------

H200 = Gpu("NVIDIA H200", ComputeCapability(9, 0), "nvml")
SMI_DRIVER = Driver(DriverRelease.parse("580.65.06"), None, True, "nvidia-smi")


def test_what_the_machine_says_is_completed_from_the_catalog(old_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_has(monkeypatch, Machine(Known((H200,), "nvidia-smi"), Known(SMI_DRIVER, "nvidia-smi")))
    seen = observe(Wish(str(old_env)), CATALOG)
    row = Gpu("NVIDIA H200", ComputeCapability(9, 0), "nvml", DriverRelease.parse("550.40.65"))
    assert seen.gpus == Known((row,), "nvidia-smi")
    known = Driver(SMI_DRIVER.release, CudaVersion(13, 0), True, "nvidia-smi")
    assert seen.driver == Known(known, "nvidia-smi")


def test_a_pretended_gpu_replaces_the_real_ones_and_the_driver_stays(
    old_env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_has(monkeypatch, Machine(Known((H200,), "nvml"), Known(SMI_DRIVER, "nvidia-smi")))
    seen = observe(Wish(str(old_env), ("RTX 5090", "sm_90:2")), CATALOG)
    assert isinstance(seen.gpus, Known)
    assert [(g.name, g.pretended) for g in seen.gpus.value] == [
        ("GeForce RTX 5090", True),
        ("sm_90", True),
        ("sm_90", True),
    ]
    assert [str(g.capability) for g in seen.devices] == ["9.0", "12.0"]
    assert isinstance(seen.driver, Known)
    assert seen.driver.source == "nvidia-smi"


def test_what_is_not_there_stays_unknown(old_env: Path) -> None:
    seen = observe(Wish(str(old_env)), CATALOG)
    assert (seen.gpus, seen.driver, seen.devices) == (NOTHING, NOTHING, ())


def test_nonsense_is_refused_before_anything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "choose_target", lambda *_: pytest.fail("looked"))
    for wish in (Wish(None, ("RTX 9999",)), Wish(None, (), "new")):
        with pytest.raises(UsageError):
            probe_observe(wish, CATALOG)

"""What the machine must bring: a C++ compiler, headers of Python, memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from archfit.arch import CudaVersion
from archfit.rebuild import BuildError, find_toolkits
from archfit.rebuild.host import available_bytes, count_jobs, refuse_without_headers, try_compiler

TOO_NEW = """/opt/cuda/include/crt/host_config.h:143:2: error: #error -- unsupported GNU version! gcc versions later than 14
are not supported! The nvcc flag '-allow-unsupported-compiler' can be used to override this version check; however, using an
unsupported host compiler may cause compilation failure or incorrect run time execution. Use at your own risk."""


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)


def compile_with(tmp_path: Path, nvcc: str, path: str | None = None) -> BuildError | None:
    script(tmp_path / "cuda/bin/nvcc", nvcc)
    script(tmp_path / "tools/c++", "exit 0")
    environ = {"PATH": path if path is not None else f"{tmp_path / 'tools'}:/usr/bin:/bin"}
    try:
        try_compiler(tmp_path / "cuda", 17, "sm_120", tmp_path, environ)
    except BuildError as error:
        return error
    return None


def test_a_compiler_that_compiles_is_fine_and_is_told_the_target(tmp_path: Path) -> None:
    assert compile_with(tmp_path, 'echo "$@" > ' + str(tmp_path / "told")) is None
    assert "-std=c++17 -arch=sm_120" in (tmp_path / "told").read_text("utf-8")


def test_a_machine_without_a_c_compiler(tmp_path: Path) -> None:
    error = compile_with(tmp_path, "exit 0", path=str(tmp_path / "nothing"))
    assert error is not None
    assert error.key == "rebuild-no-host-compiler"


def test_a_gcc_that_nvcc_does_not_take(tmp_path: Path) -> None:
    error = compile_with(tmp_path, f'echo "{TOO_NEW}" >&2; exit 1')
    assert error is not None
    assert (error.key, error.values["newest"]) == ("rebuild-host-too-new", "14")


def test_anything_else_is_said_in_the_words_of_the_compiler(tmp_path: Path) -> None:
    error = compile_with(tmp_path, "echo \"nvcc fatal   : Unsupported gpu architecture 'compute_120'\" >&2; exit 1")
    assert error is not None
    assert error.key == "rebuild-compiler-fails"
    assert "Unsupported gpu architecture 'compute_120'" in str(error.values["cause"])


def test_python_without_headers(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        refuse_without_headers(tmp_path, "3.11.2")
    assert (caught.value.key, caught.value.values["version"]) == ("rebuild-no-python-headers", "3.11")
    (tmp_path / "Python.h").touch()
    refuse_without_headers(tmp_path, "3.11.2")


def machine(root: Path, free_kib: int, limit: str = "", used: str = "0") -> Path:
    (root / "proc").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {free_kib} kB\n", "ascii")
    if limit:
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "sys/fs/cgroup/memory.max").write_text(limit + "\n", "ascii")
        (root / "sys/fs/cgroup/memory.current").write_text(used + "\n", "ascii")
    return root


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [("", "0", 8 << 30), ("max", "0", 8 << 30), (str(6 << 30), str(2 << 30), 4 << 30), (str(1 << 30), str(2 << 30), 0)],
)
def test_memory_is_what_the_machine_and_the_container_have(
    tmp_path: Path, limit: str, used: str, expected: int
) -> None:
    assert available_bytes(machine(tmp_path, 8 << 20, limit, used)) == expected


def test_memory_that_nobody_tells(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None


def test_jobs_are_limited_by_memory_and_cores_and_by_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr("archfit.rebuild.host.available_bytes", lambda: 10 << 30)
    assert count_jobs(3.0, {}) == 3
    assert count_jobs(0.1, {}) == 16
    assert count_jobs(99.0, {}) == 1
    assert count_jobs(3.0, {"MAX_JOBS": "7"}) == 7
    assert count_jobs(3.0, {"MAX_JOBS": "many"}) == 3


TOOLKITS = [t for t in find_toolkits(os.environ) if t.cuda >= CudaVersion(12, 8)]


@pytest.mark.skipif(
    not TOOLKITS or not shutil.which("c++"), reason="no CUDA toolkit that knows sm_120, or no C++ compiler"
)
def test_a_real_nvcc_compiles_for_what_it_knows_and_says_what_it_does_not(tmp_path: Path) -> None:
    try_compiler(TOOLKITS[0].home, 17, "sm_120", tmp_path, os.environ)
    with pytest.raises(BuildError) as caught:
        try_compiler(TOOLKITS[0].home, 17, "sm_20", tmp_path, os.environ)
    assert caught.value.key == "rebuild-compiler-fails"
    assert "sm_20" in str(caught.value.values["cause"])

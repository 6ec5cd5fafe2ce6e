"""Which environment is meant, and what is said about a path that is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from archfit.errors import ArchfitError, ExitCode, ObserveError, UsageError
from archfit.probe.choose import Choice, choose_target


def make_python(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def refused(spec: str | None, environ: dict[str, str]) -> tuple[type[ArchfitError], str, ExitCode]:
    with pytest.raises(ArchfitError) as error:
        choose_target(spec, environ)
    return type(error.value), error.value.key, error.value.exit_code


# --- what was named --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["bin/python", "bin/python3", "Scripts/python.exe", "python.exe"])
def test_a_folder_stands_for_its_python(tmp_path: Path, inside: str) -> None:
    python = make_python(tmp_path / "env" / inside)
    assert choose_target(str(tmp_path / "env"), {}) == Choice(tmp_path / "env", python, "named")


@pytest.mark.parametrize("inside", ["env/bin/python3.11", "env/Scripts/python.exe", "env/python.exe"])
def test_an_interpreter_stands_for_its_folder(tmp_path: Path, inside: str) -> None:
    python = make_python(tmp_path / inside)
    assert choose_target(str(python), {}) == Choice(tmp_path / "env", python, "named")


def test_the_symbolic_link_of_a_venv_is_kept(tmp_path: Path) -> None:
    base = make_python(tmp_path / "base" / "bin" / "python3.11")
    link = tmp_path / "env" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(base)
    assert choose_target(str(link), {}) == Choice(tmp_path / "env", link, "named")


def test_a_dangling_python_is_still_the_one_that_is_meant(tmp_path: Path) -> None:
    """Its base Python was removed: the environment is there, and the doctor will say that it does not start."""
    link = tmp_path / "env" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "gone")
    assert choose_target(str(tmp_path / "env"), {}) == Choice(tmp_path / "env", link, "named")


def test_a_relative_path_and_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = make_python(tmp_path / "env" / "bin" / "python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = Choice(tmp_path / "env", python, "named")
    assert [choose_target(spec, {}) for spec in ("env", "./env/", "env/bin/..", "~/env")] == [expected] * 4


def test_what_is_named_beats_what_is_active(tmp_path: Path) -> None:
    python = make_python(tmp_path / "env" / "bin" / "python")
    assert choose_target(str(tmp_path / "env"), {"VIRTUAL_ENV": "/gone"}) == Choice(tmp_path / "env", python, "named")


def nothing(path: Path) -> Path:
    return path / "nothing"


def below_a_file(path: Path) -> Path:
    (path / "file").touch()
    return path / "file" / "python"


def empty_folder(path: Path) -> Path:
    return path


def folder_with_empty_bin(path: Path) -> Path:
    (path / "bin").mkdir()
    return path


def plain_file(path: Path) -> Path:
    return make_python(path / "notes.txt", 0o644)


def empty_name(path: Path) -> Path:
    return path / ("x" * 300)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (nothing, "target-missing"),
        (below_a_file, "target-missing"),
        (empty_name, "target-missing"),
        (empty_folder, "target-no-python"),
        (folder_with_empty_bin, "target-no-python"),
        (plain_file, "target-not-python"),
    ],
)
def test_what_is_no_environment_is_refused(tmp_path: Path, make: Callable[[Path], Path], key: str) -> None:
    assert refused(str(make(tmp_path)), {}) == (UsageError, key, ExitCode.USAGE)


@pytest.mark.parametrize("call", ["listdir", "stat"])
def test_what_may_not_be_looked_at_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """As another user would see it; root may look at everything."""

    def forbid(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    if call == "listdir":
        monkeypatch.setattr(os, "listdir", forbid)
        spec = tmp_path
    else:
        spec = tmp_path / "closed" / "env"
        monkeypatch.setattr(Path, "stat", forbid)
    assert refused(str(spec), {}) == (ObserveError, "target-forbidden", ExitCode.UNDECIDED)


# --- what is active --------------------------------------------------------------------------------------------------

ORDER = ("VIRTUAL_ENV", "CONDA_PREFIX", "PATH")


def everything_set(root: Path) -> dict[str, str]:
    for name in ORDER:
        make_python(root / name / "bin" / "python")
    return {"VIRTUAL_ENV": f"{root}/VIRTUAL_ENV", "CONDA_PREFIX": f"{root}/CONDA_PREFIX", "PATH": f"{root}/PATH/bin"}


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_the_order_is_venv_conda_path(tmp_path: Path, first: int) -> None:
    environ = everything_set(tmp_path)
    for name in ORDER[:first]:
        del environ[name]
    taken = ORDER[first]
    assert choose_target(None, environ) == Choice(tmp_path / taken, tmp_path / taken / "bin" / "python", taken)


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    environ = everything_set(tmp_path) | {"VIRTUAL_ENV": "", "CONDA_PREFIX": ""}
    assert choose_target(None, environ).reason == "PATH"


def test_python3_serves_where_there_is_no_python(tmp_path: Path) -> None:
    python = make_python(tmp_path / "usr" / "bin" / "python3")
    assert choose_target(None, {"PATH": f"{tmp_path}/usr/bin"}) == Choice(tmp_path / "usr", python, "PATH")


def test_python_is_taken_before_python3(tmp_path: Path) -> None:
    make_python(tmp_path / "first" / "python3")
    python = make_python(tmp_path / "second" / "bin" / "python")
    environ = {"PATH": f"{tmp_path}/first{os.pathsep}{tmp_path}/second/bin"}
    assert choose_target(None, environ) == Choice(tmp_path / "second", python, "PATH")


def test_an_active_environment_that_is_gone_is_said(tmp_path: Path) -> None:
    environ = everything_set(tmp_path) | {"VIRTUAL_ENV": f"{tmp_path}/gone"}
    assert refused(None, environ) == (UsageError, "target-missing", ExitCode.USAGE)


def test_nothing_anywhere(tmp_path: Path) -> None:
    assert refused(None, {"PATH": str(tmp_path)}) == (UsageError, "target-none", ExitCode.USAGE)


def test_the_home_of_nobody_is_not_there() -> None:
    with pytest.raises(UsageError, match="target-missing"):
        choose_target("~no-such-user-here/env", {})


def test_a_program_that_is_no_python_is_never_run(tmp_path: Path) -> None:
    script = tmp_path / "train.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    with pytest.raises(UsageError, match="target-not-python"):
        choose_target(str(script), {})

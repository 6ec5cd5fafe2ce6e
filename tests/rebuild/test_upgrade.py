"""What an upgrade compiles, what it leaves to people, and what it says when a build fails."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from archfit import api, extensions
from archfit.compiling import compile_extensions
from archfit.errors import ArchfitError
from archfit.model import Known, LockedPackage, Option, Step, Text, TorchBuild
from archfit.rebuild import BuildError, BuildProgress, Built, Ground, Wanted, install_built
from archfit.rebuild.source import hash_file
from archfit.session import Session
from archfit.transaction.installer import Lock
from archfit.uv import run_uv
from worlds import diagnosis_of, extension, torch, world

ENV = world(torch(), extension(), release="580.65.06")
STEP = Step("rebuild", "mmcv", "2.2.0", "2.2.0", None, ())
OPTION = Option("upgrade", Text("none"), (STEP,))


def prepared(**changes: object) -> api.Prepared:
    made = api.Prepared(diagnosis_of(ENV), OPTION, Lock("", None, ()), (), to_compile=(Wanted("mmcv", "2.2.0"),))
    return replace(made, **changes)  # type: ignore[arg-type]


def test_rebuild_steps_are_what_is_compiled() -> None:
    leave = Step("leave", "other", "1.0", None, None, ())
    assert extensions.to_compile(ENV, replace(OPTION, steps=(STEP, leave))) == ((Wanted("mmcv", "2.2.0"),), ())


def test_a_package_without_a_version_belongs_to_nobody() -> None:
    assert extensions.to_compile(ENV, replace(OPTION, steps=(replace(STEP, current=None, wanted=None),))) == ((), ())


def test_a_package_that_only_git_has_comes_from_its_repository() -> None:
    wanted, _ = extensions.to_compile(ENV, replace(OPTION, steps=(replace(STEP, package="detectron2"),)))
    assert wanted[0].origin == "git+https://github.com/facebookresearch/detectron2"


def test_a_package_used_in_place_is_left_to_its_author(tmp_path: Path) -> None:
    info = tmp_path / "mmcv-2.2.0.dist-info"
    info.mkdir()
    url = {"url": "file:///home/me/mmcv", "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(url), "utf-8")
    assert isinstance(ENV.interpreter, Known)
    env = replace(ENV, interpreter=Known(replace(ENV.interpreter.value, site_dirs=(tmp_path,)), ""))
    wanted, left = extensions.to_compile(env, OPTION)
    assert wanted == ()
    assert left[0].text == Text("rebuild-in-place", {"package": "mmcv 2.2.0", "folder": "/home/me/mmcv"})


def built(folder: Path, name: str = "mmcv", *, cached: bool = False) -> Built:
    wheel = folder / f"{name}-2.2.0-py3-none-any.whl"
    page = f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.2.0\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", "new = True\n")
        archive.writestr(f"{name}-2.2.0.dist-info/METADATA", page)
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{name}-2.2.0.dist-info/WHEEL", tags)
        archive.writestr(f"{name}-2.2.0.dist-info/RECORD", f"{name}.py,,\n{name}-2.2.0.dist-info/RECORD,,\n")
    log = folder / "build.log"
    return Built(name, "2.2.0", wheel, hash_file(wheel), log, "nvcc 13.0, PyPI", ("sm_120",), 61.0, cached)


def test_what_was_compiled_is_among_the_changes_and_no_longer_excused(tmp_path: Path) -> None:
    before, after = prepared(), prepared(built=(built(tmp_path),))
    assert before.to_rebuild == {"mmcv"}
    assert after.to_rebuild == frozenset()
    change = after.changes[-1]
    assert (change.name, change.current, change.wanted, change.sha256) == (
        "mmcv", "2.2.0", "2.2.0", after.built[0].sha256,
    )  # fmt: skip


def test_torch_is_that_of_the_lock_or_the_one_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    grounds: list[Ground] = []
    monkeypatch.setattr(extensions, "rebuild", lambda wanted, ground, catalog, tell: grounds.append(ground))
    option = replace(OPTION, torch=TorchBuild("2.11.0", "13.0", "PyPI"))
    changes = (LockedPackage("torch", "2.4.1", "2.11.0", 1, "00"), LockedPackage("numpy", None, "2.1.0", 1, "00"))
    lock = Lock("torch==2.11.0 --hash=sha256:00\nnumpy==2.1.0 --hash=sha256:00\n", None, changes)
    installed: list[object] = []
    monkeypatch.setattr(extensions, "install", lambda python, lock, talk: installed.append((python, lock)))
    extensions.compile_all(ENV, option, lock, (Wanted("mmcv", "2.2.0"),), lambda _: None)
    extensions.compile_all(ENV, OPTION, Lock("", None, ()), (Wanted("mmcv", "2.2.0"),), lambda _: None)
    moving, staying = grounds
    assert (moving.torch, str(moving.cuda)) == ("2.11.0", "13.0")
    assert (staying.torch, str(staying.cuda), staying.bring) == ("2.4.1", "12.1", None)
    assert moving.bring is not None
    moving.bring(Path("python"))
    assert installed == [(Path("python"), lock)]
    assert [str(device) for device in moving.devices] == ["12.0"]


FATAL = "[3/9] /cuda/bin/nvcc -c a.cu -o a.o\nnvcc fatal   : Unsupported gpu architecture 'compute_120'\n"


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build that fails with a log."""
    log = tmp_path / "mmcv.log"
    log.write_text(FATAL, "utf-8")

    def fail(wanted: Wanted, *_: object) -> Built:
        raise BuildError("rebuild-failed", package=wanted, cuda="13.0", torch="2.11.0").with_log(log)

    monkeypatch.setattr(extensions, "rebuild", fail)
    return log


def test_a_build_that_fails_is_explained_with_the_place_of_its_log(
    failing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session("en", color=False, as_json=False)
    with pytest.raises(api.CompileFailed) as caught:
        compile_extensions(session, prepared())
    assert caught.value.log == failing
    assert caught.value.explanation is not None
    assert caught.value.explanation.first.evidence[0].line == 2
    said = capsys.readouterr().err
    assert "Unsupported gpu architecture 'compute_120'" in said
    assert str(failing) in session.messages.error(caught.value)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("language", ["en", "zh"])
def test_progress_and_the_end_are_told_on_the_talking_side(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = iter(float(30 * n) for n in range(100))
    monkeypatch.setattr("archfit.compiling.monotonic", lambda: next(ticks))

    def work(wanted: Wanted, ground: Ground, catalog: object, tell: object) -> Built:
        for number in range(1, 7):
            tell(BuildProgress(str(wanted), "compile", number, 6, f"part{number}.cu"))  # type: ignore[operator]
        return built(tmp_path)

    monkeypatch.setattr(extensions, "rebuild", work)
    session = Session(language, color=False, as_json=False)
    done = compile_extensions(session, prepared())
    assert len(done.built) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "mmcv 2.2.0" in captured.err
    assert "sm_120" in captured.err
    assert str(tmp_path / "build.log") in captured.err.replace("\n", "")


def test_a_built_wheel_takes_the_place_of_what_was_there_and_its_hash_is_checked(tmp_path: Path) -> None:
    env, wheels = tmp_path / "env", tmp_path / "wheels"
    wheels.mkdir()
    assert run_uv(["venv", "--quiet", str(env)]).returncode == 0
    python = env / "bin/python"
    old = built(wheels)
    install_built(python, [old])
    site = next((env / "lib").glob("python*/site-packages"))
    (site / "mmcv.py").unlink()
    (site / "mmcv.py").write_text("old = True\n", "utf-8")
    install_built(python, [old])
    assert (site / "mmcv.py").read_text("utf-8") == "new = True\n"
    assert not list(site.glob("mmcv-*.dist-info/direct_url.json"))
    with pytest.raises(ArchfitError) as caught:
        install_built(python, [replace(old, sha256="0" * 64)])
    assert caught.value.key == "install-failed"
    install_built(python, [])

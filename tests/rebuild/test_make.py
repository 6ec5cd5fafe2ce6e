"""The whole way of a build, with a stand-in for the build backend: what is refused, kept, ended and told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from yard import HAS_HEADERS, RECIPE, World

from archfit.arch import ComputeCapability
from archfit.rebuild import BuildError, BuildProgress, make

pytestmark = pytest.mark.skipif(not HAS_HEADERS, reason="this Python has no headers")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(make, "find_recipe", lambda _: RECIPE)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "world/index"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return World(tmp_path / "world")


def refused(world: World, **wanted: str) -> BuildError:
    with pytest.raises(BuildError) as caught:
        world.build(**wanted)
    assert world.left_behind == []
    return caught.value


def test_a_wheel_with_the_code_of_the_gpu_is_kept_with_its_log(world: World) -> None:
    world.offer()
    built = world.build()
    assert (built.package, built.version, built.targets, built.cached) == ("demoext", "1.0", ("sm_120",), False)
    assert built.wheel.is_file()
    assert "nvcc 13.0.88" in built.compiler
    log = built.log.read_text("utf-8")
    assert "TORCH_CUDA_ARCH_LIST=12.0" in log
    assert "[2/2] nvcc -c part2.cu" in log
    assert world.left_behind == []


def test_it_tells_how_far_it_is(world: World) -> None:
    world.offer()
    world.build()
    stages = list(dict.fromkeys(progress.stage for progress in world.seen))
    assert stages == ["environment", "source", "compile", "check"]
    assert BuildProgress("demoext 1.0", "compile", 1, 2, "part1.cu") in world.seen
    assert BuildProgress("demoext 1.0", "compile", 2, 2, "part2.cu") in world.seen


def test_the_same_is_built_once(world: World) -> None:
    world.offer()
    first, second = world.build(), world.build()
    assert len(world.trace) == 1
    assert second == replace(first, cached=True)
    assert world.seen[-1].stage == "cached"


def test_another_gpu_another_torch_another_source_are_other_wheels(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.offer(library="libserver.so")
    first = world.build()
    monkeypatch.setattr(
        World, "ground", replace(world.ground, devices=(ComputeCapability(9, 0), ComputeCapability(12, 0)))
    )
    second = world.build()
    world.offer(library="libserver.so", ending="pass")
    third = world.build()
    assert len({first.wheel, second.wheel, third.wheel}) == 3
    assert [line.split()[0] for line in world.trace] == ["12.0", "9.0;12.0", "9.0;12.0"]


def test_a_wheel_that_somebody_changed_is_built_again(world: World) -> None:
    world.offer()
    first = world.build()
    with first.wheel.open("ab") as file:
        file.write(b"more")
    assert not world.build().cached
    assert len(world.trace) == 2


def test_a_wheel_without_its_extension_is_refused(world: World) -> None:
    world.offer(library=None)
    error = refused(world)
    assert error.key == "rebuild-no-extension"
    assert error.log is not None
    assert "[1/2]" in error.log.read_text("utf-8")


def test_a_wheel_without_what_the_recipe_says_it_must_hold_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "find_recipe", lambda _: replace(RECIPE, holds=("demoext/_ops*",)))
    world.offer()
    error = refused(world)
    assert (error.key, error.values["missing"]) == ("rebuild-no-extension", "demoext/_ops*")


@pytest.mark.parametrize("library", ["libsm_90.so", "libcompute_90.so", "libno_gpu.so", "libsm_120a.so"])
def test_a_wheel_without_the_code_of_the_gpu_is_refused(world: World, library: str) -> None:
    """PTX of another GPU neither: what is compiled for a GPU has that GPU's code. sm_120a runs on 12.0."""
    world.offer(library=library)
    if library == "libsm_120a.so":
        assert world.build().targets == ("sm_120a",)
        return
    error = refused(world)
    assert error.key == "rebuild-lacks-code"
    assert str(error.values["capability"]) == "12.0"


def test_an_extension_without_kernels_needs_no_code_for_a_gpu(world: World) -> None:
    world.offer(library="libno_gpu.so", kernels=False)
    assert world.build().targets == ()


def test_an_extension_with_the_code_of_another_gpu_is_refused_though_its_sources_show_no_kernel(world: World) -> None:
    world.offer(library="libsm_90.so", kernels=False)
    assert refused(world).key == "rebuild-lacks-code"


def test_a_source_that_builds_another_package_is_refused(world: World) -> None:
    world.offer(built_name="other", file="other/_ext.so")
    assert refused(world).key in ("rebuild-other-package", "rebuild-failed", "rebuild-no-source")


def test_a_build_that_fails_leaves_its_log(world: World) -> None:
    world.offer(ending="print('nvcc fatal   : Unsupported gpu architecture compute_120', flush=True); sys.exit(1)")
    error = refused(world)
    assert error.key == "rebuild-failed"
    assert error.log is not None
    assert error.values["log"] == error.log
    assert "Unsupported gpu architecture" in error.log.read_text("utf-8")


def test_no_such_release(world: World) -> None:
    world.offer()
    error = refused(world, version="9.9")
    assert error.key == "rebuild-no-source"
    assert error.log is None


def test_an_interruption_ends_the_whole_group_and_cleans_up(world: World) -> None:
    """The backend has a child of its own that would go on for ever."""
    pid = world.root / "pid"
    child = f"p = subprocess.Popen(['sleep', '1000']); open({str(pid)!r}, 'w').write(str(p.pid))"
    world.offer(ending=f"{child}; print('[2/2] c++ -c last.cpp', flush=True); p.wait()")

    def stop(progress: BuildProgress) -> None:
        if progress.file == "last.cpp":
            raise KeyboardInterrupt

    world.seen = type("Stop", (list,), {"append": lambda _, progress: stop(progress)})()
    with pytest.raises(KeyboardInterrupt):
        world.build()
    assert world.left_behind == []
    assert not alive(int(pid.read_text("utf-8")))


def alive(pid: int) -> bool:
    """Is this process there, and more than a name in a table?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_what_a_killed_build_left_is_removed_by_the_next_and_a_living_one_is_not(world: World) -> None:
    world.offer()
    dead = world.root / "store/work/dead"
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    with world.store.workplace() as living:
        world.build()
        assert world.left_behind == [living.name]


def test_a_folder_that_a_package_was_installed_from_is_built_in_a_copy(world: World) -> None:
    folder = world.root / "mine"
    world.offer(into=folder)
    before = sorted(path.name for path in folder.iterdir())
    assert world.build(origin=str(folder)).targets == ("sm_120",)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_another_torch_than_was_planned_is_refused(world: World) -> None:
    world.offer()
    (world.root / "site/torch/__init__.py").write_text(
        "__version__ = '2.4.1'\nclass version:\n    cuda = '12.1'\n", "utf-8"
    )
    error = refused(world)
    assert error.key == "rebuild-other-torch"


def test_a_torch_that_does_not_start_is_refused_before_a_wheel_without_extension_is_built(world: World) -> None:
    world.offer()
    (world.root / "site/torch/__init__.py").write_text("raise ImportError('libcudart.so.13')\n", "utf-8")
    error = refused(world)
    assert error.key == "rebuild-torch-fails"
    assert world.trace == []


HARD_CODED = """
from torch.utils.cpp_extension import CUDAExtension
CUDAExtension("demoext._ext", ["a.cu"], extra_compile_args={"nvcc": ["-gencode", "arch=compute_80,code=sm_80"]})
"""


def test_a_list_of_gpus_in_the_sources_gets_the_gpu_added(world: World) -> None:
    world.offer(setup=HARD_CODED)
    world.build()
    assert world.trace == ["12.0 -gencode arch=compute_120,code=sm_120"]


def test_what_the_person_set_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "find_recipe", lambda _: replace(RECIPE, env={**RECIPE.env, "CFLAGS": "-g0"}))
    world.offer(ending="print('flags', os.environ['CFLAGS'], os.environ['CC'], os.environ.get('PYTHONPATH'))")
    base = {"PATH": "/usr/bin:/bin", "CUDA_HOME": str(world.root / "cuda"), "HOME": str(world.root)}
    mine = base | {"CFLAGS": "-O1", "CC": "gcc-12", "PYTHONPATH": "/elsewhere"}
    built = make.rebuild(
        make.Wanted("demoext", "1.0"), world.ground, make.Catalog(), lambda _: None, store=world.store, environ=mine
    )
    assert "flags -O1 -g0 gcc-12 None" in built.log.read_text("utf-8")
    assert os.environ.get("CC") != "gcc-12"

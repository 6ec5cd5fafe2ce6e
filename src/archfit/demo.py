"""The whole story on a scratch environment that really is broken."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from platformdirs import user_cache_path, user_state_path

from archfit import api
from archfit.catalog import Build, load_catalog
from archfit.errors import ApplyError, ArchfitError, ObserveError, UsageError
from archfit.flow import announce, diagnose, perform_upgrade, say_done
from archfit.model import Gpu, Interpreter
from archfit.report.doctor_screen import show_diagnosis
from archfit.report.history_screen import show_history
from archfit.report.plan_screen import show_plan
from archfit.report.proof_screen import show_verification
from archfit.report.screen import size
from archfit.session import Session

_STORY_TORCH = "2.4.1"  # what the person has whom archfit was written for
_OTHER_PYTHONS = ("3.12", "3.11", "3.10", "3.9", "3.13")


@dataclass(frozen=True, slots=True)
class Scene:
    """What the demo plays with: an interpreter, an old build of torch that lacks the GPU, and its torchvision."""

    python: Interpreter
    build: Build
    torchvision: str
    gpu: Gpu

    @property
    def specs(self) -> tuple[str, ...]:
        """What to install to have the broken environment."""
        return f"torch=={self.build.torch}", f"torchvision=={self.torchvision}"


def run_demo(session: Session, *, gpu: str, driver: str, python: str | None, keep: Path | None) -> None:
    """Make a broken environment, then doctor, plan, upgrade, verify, rollback and forth, history.

    Raises:
        UsageError: `keep` is not empty, or `gpu` is no GPU.
        ObserveError: this machine has no Python or platform to play the story on.
        ApplyError: no room on the disk, or a step failed.
    """
    scene = set_scene(gpu, python)
    with _stage(keep) as folder:
        _announce(session, scene, folder, driver)
        target = _make_broken(session, scene, folder)
        record = _play(session, scene, target, driver)
        _say_end(session, scene, target, record, keep)


def set_scene(gpu_spec: str, python: str | None) -> Scene:
    """Find a Python on this machine for which PyPI has a CUDA build of torch that lacks the GPU."""
    catalog = load_catalog()
    gpu = api.parse_gpus(gpu_spec, catalog)[0]
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    platforms = set()
    for request in [python] if python else [own, *_OTHER_PYTHONS]:
        interpreter = api.find_interpreter(request)
        if interpreter is None:
            continue
        platforms.add(interpreter.platform)
        builds = [
            b
            for b in catalog.builds
            if b.on_pypi and b.cuda and b.platform == interpreter.platform and interpreter.tag in b.python_tags
        ]
        lacking = [b for b in builds if not b.verdict(gpu.capability).runs]
        if lacking:
            build = next((b for b in lacking if b.torch == _STORY_TORCH), lacking[-1])
            return Scene(interpreter, build, catalog.releases[build.torch].torchvision[-1], gpu)
    if platforms and "linux_x86_64" not in platforms:
        raise ObserveError("demo-platform", platform=", ".join(sorted(platforms)))
    raise ObserveError("demo-no-python", gpu=gpu.name)


@contextmanager
def _stage(keep: Path | None) -> Iterator[Path]:
    """The folder to play in; removed afterwards, also after Ctrl-C, unless it is to be kept."""
    if keep is not None:
        if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
            raise UsageError("demo-not-empty", path=keep)
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    base = user_cache_path("archfit", ensure_exists=True)  # near uv's own cache: hard links instead of copies
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _announce(session: Session, scene: Scene, folder: Path, driver: str) -> None:
    """Say what will be loaded, and make sure that there is room for it."""
    messages, talk = session.messages, session.screen.out
    talk.print(messages.ui("demo-title", gpu=scene.gpu.name), style="bold")
    with session.counting("asking"):
        download, disk = _price(scene, driver)
    free = shutil.disk_usage(folder).free
    words = {"torch": scene.build.torch, "gpu": scene.gpu.name, "folder": folder, "cache": api.cache_folder()}
    sizes = {"download": size(download), "disk": size(disk), "free": size(free)}
    talk.print(messages.ui("demo-will", **words, **sizes))
    if disk is not None and free < disk:
        raise ApplyError("disk-full", needed=size(disk), free=size(free), path=folder)


def _price(scene: Scene, driver: str) -> tuple[int | None, int | None]:
    """Bytes to load and bytes on the disk of the broken environment and of the upgrade together."""
    versions = {"torch": scene.build.torch, "torchvision": scene.torchvision}
    first = api.cost_of(scene.python.executable, scene.specs)
    ahead = api.imagine(scene.python, versions, (scene.gpu.capability.sm,), driver)
    second = api.make_plan(ahead, api.PlanWish(), ask=True).options[0].requires
    if first.download_bytes is None or second.download_bytes is None:
        return None, None
    return first.download_bytes + second.download_bytes, (first.disk_bytes or 0) + (second.disk_bytes or 0)


def _make_broken(session: Session, scene: Scene, folder: Path) -> Path:
    messages = session.messages
    _headline(session, "demo-make", torch=scene.build.torch, sm=scene.gpu.capability.sm)
    target = folder / "env"
    began = monotonic()
    api.create_environment(target, str(scene.python.executable), scene.specs, talk=True)
    session.screen.out.print(messages.ui("made", seconds=f"{monotonic() - began:.1f}"), style="dim")
    return target


def _play(session: Session, scene: Scene, target: Path, driver: str) -> Path:
    """Doctor, plan, upgrade, verify, rollback and forth, history; returns the record."""
    screen, gpus = session.screen, [scene.gpu.name if " " in scene.gpu.name else scene.gpu.capability.sm]
    _headline(session, "demo-doctor")
    broken = diagnose(session, str(target), gpus, driver)
    show_diagnosis(screen, broken)
    if broken.primary is None or not broken.primary.id.startswith("arch-"):
        raise ArchfitError("demo-not-broken", gpu=scene.gpu.name)
    _headline(session, "demo-plan")
    with session.counting("asking"):
        plan = api.make_plan(broken, api.PlanWish(), ask=True)
    show_plan(screen, plan)
    _headline(session, "demo-upgrade")
    prepared = api.prepare_upgrade(broken, plan)
    if prepared is None:
        raise ArchfitError("demo-not-broken", gpu=scene.gpu.name)
    announce(session, prepared)
    receipt = perform_upgrade(session, prepared, "import")
    say_done(session, receipt)
    _headline(session, "demo-verify")
    whole = diagnose(session, str(target), gpus, driver)
    with session.steps() as (on_step, on_probe):
        on_step("prove")
        proof = api.prove(whole, "import", on_probe)
    show_verification(screen, proof)
    if not proof.passed:
        raise ApplyError("not-verified", failed="import")
    _back_and_forth(session, target)
    _headline(session, "demo-history")
    show_history(screen, api.history(str(target)))
    if receipt.record is None:
        raise ApplyError("disk-full", needed="?", free="0", path=target.parent)
    return receipt.record


def _back_and_forth(session: Session, target: Path) -> None:
    _headline(session, "demo-back")
    began = monotonic()
    first = api.rollback(str(target)).live
    between = monotonic()
    api.rollback(str(target))
    ended = monotonic()
    words = {"id": first.id if first else "?", "ms": f"{(between - began) * 1e3:.0f}"}
    session.screen.out.print(session.messages.ui("back-in", **words, ms_forth=f"{(ended - between) * 1e3:.0f}"))


def _say_end(session: Session, scene: Scene, target: Path, record: Path, keep: Path | None) -> None:
    messages, out = session.messages, session.screen.out
    if keep is None:
        kept = user_state_path("archfit", ensure_exists=True) / "demo-record.md"
        shutil.copyfile(record, kept)
        record = kept
    out.print()
    out.print(messages.ui("demo-end", gpu=scene.gpu.name, record=record), style="green", soft_wrap=True)
    if keep is None:
        out.print(messages.ui("demo-removed"), soft_wrap=True)
    else:
        words = {"folder": keep, "target": os.path.relpath(target), "gpu": scene.gpu.name}
        out.print(messages.ui("demo-kept", **words), soft_wrap=True)


def _headline(session: Session, key: str, **values: object) -> None:
    session.screen.out.print()
    session.screen.out.rule(
        session.messages.ui(key, **values), align="left", characters="─" if session.screen.unicode else "-"
    )
    session.screen.out.print()

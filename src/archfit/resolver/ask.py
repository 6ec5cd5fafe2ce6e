"""Ask uv, without changing anything, what installing something beside all that is installed comes to.

First with everything else left alone: the requirements of all installed packages are bounds. If that has no solution, the
packages whose requirements are in the way may move, too; if that has none either, they are named.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packaging.version import InvalidVersion, Version

from archfit.model import LockedPackage, Pin, Question, Resolution, ResolutionState
from archfit.requirements import bounds_of, pins_against
from archfit.resolver.ground import Ground
from archfit.resolver.kept import Kept
from archfit.resolver.lock import changes_in, preferences
from archfit.together import start
from archfit.uv import last_words, run_uv, uv_path

_WORKERS = 3
_TIMEOUT_S = 60.0
_TIMEOUT = {"UV_HTTP_TIMEOUT": "15"}  # a plan shall not wait for a network that is not there
_ROUNDS = 3
"""So often may packages that nobody asked for drag others along."""

_UNREACHABLE = re.compile(
    r"failed to fetch|request failed|error sending request|dns error|timed out|connection refused|network was disabled"
    r"|status code 5\d\d|tls|certificate",
    re.IGNORECASE,
)
_NO_SOLUTION = "No solution found"
_OFFLINE = "network was disabled"


def ask_all(ground: Ground, questions: Sequence[Question]) -> dict[Question, Resolution]:
    """Ask all of them, some side by side; nothing is written but uv's own cache."""
    uv_path()
    kept = Kept(ground)
    known = {question: answer for question in questions if (answer := kept.load(question))}
    rest = [question for question in questions if question not in known]
    if not rest:
        return known
    with ground.named() as there:
        futures = start([lambda q=question: ask(there, q) for question in rest], _WORKERS)  # type: ignore[misc]
        fresh = {question: future.result() for question, future in zip(rest, futures, strict=True)}
    for question, answer in fresh.items():
        kept.keep(question, answer)
    return known | fresh


def ask(ground: Ground, question: Question) -> Resolution:
    """What the resolver says about one question."""
    wanted = dict(spec.split("==", 1) for spec in question.specs if "==" in spec)
    moving = {pin.package: pin for pin in _pins(ground, question, wanted)}
    bounds = bounds_of(ground.installed, ground.markers, (*question.names, *moving))
    found = _compile(ground, question, moving, bounds)
    if found.state == "conflict":
        if stuck := _stuck(ground, question, moving):
            return Resolution("conflict", broken=stuck, detail=found.detail)
        found = _compile(ground, question, moving, [])
    for _ in range(_ROUNDS):
        if found.state != "resolved":
            return replace(found, broken=tuple(moving.values())) if found.state == "conflict" else found
        pins = _pins(ground, question, {package.name: package.wanted for package in found.locked})
        fresh = {pin.package: pin for pin in pins if pin.package not in moving}
        if not fresh:
            return replace(found, moved=tuple(moving.values()))
        moving |= fresh
        found = _compile(ground, question, moving, [])
    return Resolution("conflict", broken=tuple(moving.values()), detail=found.detail)


def _stuck(ground: Ground, question: Question, moving: Mapping[str, Pin]) -> tuple[Pin, ...]:
    """Of the packages in the way, those that have no fitting version even on their own."""
    return tuple(pin for name, pin in moving.items() if _compile(ground, question, {name: pin}, []).state == "conflict")


def _pins(ground: Ground, question: Question, versions: Mapping[str, str]) -> tuple[Pin, ...]:
    return pins_against(ground.installed, versions, ground.markers, question.names)


def _freed(ground: Ground, question: Question, moving: Iterable[str]) -> list[str]:
    """Packages that may move: onwards where torch goes on, anywhere where it goes back."""
    known = {d.name: d.version for d in ground.installed}
    back = any(_goes_back(spec, known) for spec in question.specs)
    return [name if back or not _version(known[name]) else f"{name}>={known[name]}" for name in moving]


def _goes_back(spec: str, known: dict[str, str]) -> bool:
    name, _, version = spec.partition("==")
    now, then = _version(known.get(name, "")), _version(version)
    return now is not None and then is not None and then < now


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _compile(ground: Ground, question: Question, moving: Iterable[str], bounds: Sequence[str]) -> Resolution:
    """One run of the resolver: what is asked for, and the packages that may move for it, within `bounds`."""
    specs = [*question.specs, *_freed(ground, question, moving)]
    with tempfile.TemporaryDirectory(prefix="archfit-") as scratch:
        wishes, limits, lock = (Path(scratch, name) for name in ("wishes.in", "limits.txt", "pylock.toml"))
        wishes.write_text("".join(f"{spec}\n" for spec in specs), "utf-8")
        limits.write_text("".join(f"{bound}\n" for bound in bounds), "utf-8")
        if kept := preferences(ground.installed, (*question.names, *question.reinstall)):
            lock.write_text(kept, "utf-8")  # uv reads what it is about to overwrite as preferences
        command = ["pip", "compile", str(wishes), "-c", str(limits), *ground.words, "--format", "pylock.toml"]
        command += ["-o", str(lock), "--quiet", "--no-header", "--no-build"]
        command += ["--index", question.index] if question.index else []
        command += ["--prerelease", "allow", "--upgrade"] if question.prerelease else []
        try:
            retries = {
                "UV_HTTP_RETRIES": "0" if question.index else "1"
            }  # a further index is often not in reach at all
            done = run_uv(command, settings=_TIMEOUT | retries, timeout_s=_TIMEOUT_S, named_only=True)
        except subprocess.TimeoutExpired:
            return Resolution("unreachable", detail=f"{_TIMEOUT_S:.0f} s")
        if done.returncode != 0:
            return _refused(question, done.stderr)
        locked = changes_in(lock.read_text("utf-8"), ground.installed, question)
    return _checked(question, locked)


def _refused(question: Question, stderr: str) -> Resolution:
    words = last_words(stderr)
    no_solution = _NO_SOLUTION in stderr and _OFFLINE not in stderr
    state: ResolutionState = "conflict"
    if not no_solution and _UNREACHABLE.search(stderr):
        state = "unreachable"
    elif any(_says_absent(spec, words) for spec in question.specs):
        state = "absent"
    if state == "unreachable":
        causes = re.findall(r"cause:\s*(.+)", stderr)
        return Resolution(state, detail=causes[-1].strip() if causes else words)
    return Resolution(state, detail=words.removeprefix(f"{_NO_SOLUTION} when resolving dependencies cause: "))


def _says_absent(spec: str, words: str) -> bool:
    """No such package, no such version, or no file of it for this Python and platform."""
    name, exact = re.escape(spec.partition("==")[0]), re.escape(spec)
    return bool(
        re.search(rf"{name} was not found in|no versions? of {exact}\b|{exact} has no (?:wheels?|usable)", words)
    )


def _checked(question: Question, locked: tuple[LockedPackage, ...]) -> Resolution:
    """Did it keep to the build that was asked for? ``torch==2.8.0`` is met by 2.8.0+cpu, too."""
    variant = (question.index or "").rstrip("/").rpartition("/")[2]
    for package in locked:
        local = package.wanted.partition("+")[2]
        asked = any(spec.startswith(f"{package.name}==") for spec in question.specs)
        if asked and local and local != variant:
            return Resolution("swapped", detail=f"{package.name} {package.wanted}")
    return Resolution("resolved", locked)

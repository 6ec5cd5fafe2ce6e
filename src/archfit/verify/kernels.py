"""The kernels level: probes run in forks of warm processes of the target, side by side; speed is measured last, alone.

First one probe asks whether torch sees the GPU and can launch anything. If not, that one has failed and the rest could not be
asked. A probe that gave no answer is tried once more in a fresh process, so that forking itself is never what fails.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from archfit.catalog.probes import ProbeRow, find_health, load_probes
from archfit.child import stream_child
from archfit.model import Distribution, Environment, Evidence, Known, Proof, Text, Unknown
from archfit.verify.judge import Told, judge, judge_health
from archfit.verify.lanes import lanes, side_by_side

_IMPORT_SECONDS = 120.0  # what importing torch may take from a cold disk
_FREE_BYTES_PER_LANE = 2_000_000_000  # a CUDA context and what a probe allocates
_PLUGIN_SECONDS = 120.0
_FORK_TROUBLE = ("fork", "initialization error")

Work = Callable[[], Sequence[Evidence]]
OnProbe = Callable[[str, int, int], None]
"""Told the probe that begins, how many are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Place:
    """One GPU as torch counts them, or the CPU: `suffix` marks the probes of all but the first."""

    device: str
    name: str
    capability: str
    free_bytes: int
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One probe to run on one place; `package` is the distribution it is about."""

    row: ProbeRow
    place: Place
    package: str = ""

    @property
    def key(self) -> str:
        """Tells this probe from the same on another GPU."""
        return self.row.id + self.place.suffix


def prove_kernels(
    env: Environment,
    device: str,
    on_probe: OnProbe | None = None,
    only: Sequence[str] = (),
    alongside: Sequence[Work] = (),
) -> list[Evidence]:
    """What `alongside` gives, then all evidence of this level: kernels, extensions and plug-ins, then speed.

    `device` is ``cuda`` or ``cpu``; `only` are patterns of probes, of which the first, ``kernel:device``, always runs.
    `alongside` is other work for the lanes of this machine; speed is measured when all of it is done.
    """
    rows = [(row, package) for row, package in rows_for(env) if row.name == "device" or chosen(row.id, only)]
    if reason := _no_gpu(env, device):
        skipped = [Evidence(row.id, Proof.SKIPPED, reason=reason, package=package) for row, package in rows]
        return [*_all(alongside, lanes()), *skipped]
    progress = _Progress(on_probe, len(rows))
    first = next(row for row, _ in rows if row.name == "device")
    told = run_fresh(env, first, _start(device))
    seen = judge(first, told, "")
    if env.distribution("torch") is None:
        seen = replace(seen, status=Proof.SKIPPED, reason=Text("no-torch"))
    progress.next(first.id)
    places = _places(told, device) if seen.status is Proof.PASSED else ()
    seen = replace(seen, device=", ".join(place.name for place in places))
    rest = [(row, package) for row, package in rows if row is not first]
    if not places:
        return [*_all(alongside, lanes()), seen, *_without_device(env, rest, seen, device, progress)]
    others, measured = _measure(env, rest, places, progress, alongside)
    return [*others, seen, *measured]


def _all(alongside: Sequence[Work], lane_count: int) -> list[Evidence]:
    return [e for done in side_by_side(lambda work: work(), alongside, lane_count) for e in done]


def rows_for(env: Environment) -> list[tuple[ProbeRow, str]]:
    """The probes that concern this environment, with the distribution each is about."""
    rows: list[tuple[ProbeRow, str]] = []
    for row in load_probes():
        if not row.packages:
            rows.append((row, ""))
        elif owner := next((d for d in env.distributions if row.belongs_to(d.name)), None):
            rows.append((row, owner.name))
    return [*(pair for pair in rows if pair[0].kind != "health"), *_plugins(env), *_of_kind(rows, "health")]


def run_fresh(env: Environment, row: ProbeRow, place: Place) -> Told:
    """One probe in a process of its own; whatever happens comes back as an answer."""
    order = _order([Asked(row, place)], fork=False)
    told = _collect(env, order, row.seconds + _IMPORT_SECONDS)
    return told.get(row.id + place.suffix) or _no_answer(told)


def chosen(probe: str, only: Sequence[str]) -> bool:
    """Was this probe asked for? Without patterns all are."""
    return not only or any(fnmatchcase(probe, pattern) for pattern in only)


# --- who is asked ----------------------------------------------------------------------------------------------------


def _of_kind(rows: Iterable[tuple[ProbeRow, str]], kind: str) -> list[tuple[ProbeRow, str]]:
    return [pair for pair in rows if pair[0].kind == kind]


def _plugins(env: Environment) -> list[tuple[ProbeRow, str]]:
    """Probes of the projects themselves: the entry points ``archfit.probes`` of what is installed."""
    return [
        (ProbeRow("plugin", name, entry, _PLUGIN_SECONDS), distribution.name)
        for distribution in env.distributions
        for name, entry in distribution.probes
    ]


def _no_gpu(env: Environment, device: str) -> Text | None:
    """Why no GPU can be asked; None where one can."""
    if device == "cpu":
        return None
    if isinstance(env.gpus, Unknown):
        return Text("skip-no-gpu", {"cause": env.gpus.reason})
    if not env.gpus.value:
        return Text("skip-no-gpu", {"cause": env.gpus.source})
    if all(gpu.pretended for gpu in env.gpus.value):
        return Text("skip-pretended", {"gpu": env.gpus.value[0].name})
    return None


def _start(device: str) -> Place:
    return Place("cuda:0" if device == "cuda" else "cpu", "", "", 0)


def _places(told: Told, device: str) -> tuple[Place, ...]:
    """One place per kind of GPU: two of the same name and capability would say the same."""
    if device == "cpu":
        return (Place("cpu", "CPU", "", 0),)
    found: dict[tuple[str, str], Place] = {}
    for row in told["facts"]["devices"]:
        kind = (str(row["name"]), str(row["capability"]))
        where = f"cuda:{row['index']}"
        suffix = f"@{where}" if found else ""
        found.setdefault(kind, Place(where, kind[0], kind[1], int(row["free_bytes"]), suffix))
    return tuple(found.values())


def _without_device(
    env: Environment, rest: Sequence[tuple[ProbeRow, str]], seen: Evidence, device: str, progress: _Progress
) -> list[Evidence]:
    """Torch cannot use the GPU: what does not need torch is asked all the same, the rest is not judged."""
    reason = Text("skip-device", {"cause": seen.reason or Text("no-torch")})
    evidence = []
    for row, package in rest:
        progress.next(row.id)
        if row.alone:
            evidence.append(judge(row, run_fresh(env, row, _start(device)), "", package))
        else:
            evidence.append(Evidence(row.id, Proof.SKIPPED, reason=reason, package=package))
    return evidence


# --- how they are run ------------------------------------------------------------------------------------------------


class _Progress:
    """Counts probes as they begin, from whichever lane."""

    def __init__(self, on_probe: OnProbe | None, total: int) -> None:
        self._on_probe, self._total, self._done, self._guard = on_probe, total, 0, threading.Lock()

    def next(self, name: str) -> None:
        with self._guard:
            if self._on_probe:
                self._on_probe(name, min(self._done, self._total), self._total)
            self._done += 1


def _measure(
    env: Environment,
    rest: Sequence[tuple[ProbeRow, str]],
    places: Sequence[Place],
    progress: _Progress,
    alongside: Sequence[Work],
) -> tuple[list[Evidence], list[Evidence]]:
    """What `alongside` gave, and what was measured; first all that may share the machine, then speed."""
    every = [Asked(row, place, package) for place in places for row, package in rest if _fits(row, place, places)]
    right = [asked for asked in every if asked.row.kind != "health"]
    answers: dict[str, Told] = {}
    tasks: list[Work] = [
        *(_answering(env, batches, progress, answers) for batches in _batches(env, right, places)),
        *alongside,
    ]
    others = _all(tasks, lanes())
    for asked in right:
        if not asked.row.alone and _forking_may_be_to_blame(answers.get(asked.key)):
            answers[asked.key] = run_fresh(env, asked.row, asked.place)
    for place in places:
        speed = [asked for asked in every if asked.row.kind == "health" and asked.place is place]
        answers.update(_run(env, speed, progress))
    return others, [_judged(env, asked, answers.get(asked.key) or _no_answer({})) for asked in every]


def _answering(
    env: Environment, batches: Sequence[Sequence[Asked]], progress: _Progress, answers: dict[str, Told]
) -> Work:
    """Work that runs these batches one after the other and puts what they tell into `answers`."""

    def work() -> Sequence[Evidence]:
        for batch in batches:
            answers.update(_run(env, batch, progress))
        return ()

    return work


def _batches(env: Environment, right: Sequence[Asked], places: Sequence[Place]) -> list[list[list[Asked]]]:
    """One list per lane, of one or more children that follow each other."""
    lane_count = _lane_count(env, places)
    batches = [*_dealt([a for a in right if not a.row.alone], lane_count), *([a] for a in right if a.row.alone)]
    return [[batch] for batch in batches] if lane_count > 1 else [batches]


def _fits(row: ProbeRow, place: Place, places: Sequence[Place]) -> bool:
    return not row.once or place is places[0]


def _lane_count(env: Environment, places: Sequence[Place]) -> int:
    """As many as the machine bears; one where the GPU admits one process, or has little memory left."""
    on_gpu = [place for place in places if place.device != "cpu"]
    if not on_gpu:
        return lanes()
    if any(gpu.exclusive for gpu in env.gpu_states):
        return 1
    room = min(place.free_bytes for place in on_gpu) // _FREE_BYTES_PER_LANE
    return max(1, min(lanes(), room))


def _dealt(probes: Sequence[Asked], lane_count: int) -> list[list[Asked]]:
    """Into lanes of about equal length, the slow ones first; each lane pays for one import of torch."""
    dealt: list[list[Asked]] = [[] for _ in range(min(lane_count, len(probes)))]
    for asked in sorted(probes, key=lambda a: -a.row.seconds):
        min(dealt, key=lambda lane: sum(a.row.seconds for a in lane)).append(asked)
    return dealt


def _run(env: Environment, batch: Sequence[Asked], progress: _Progress) -> dict[str, Told]:
    """One child for a batch: forks, or the one probe that wants to be alone."""
    if not batch:
        return {}
    alone = batch[0].row.alone
    names = [asked.key for asked in batch]
    progress.next(names[0])
    idle = max(asked.row.seconds for asked in batch) + _IMPORT_SECONDS
    following = iter(names[1:])

    def heard() -> None:
        if name := next(following, None):
            progress.next(name)

    told = _collect(env, _order(batch, fork=not alone), idle, heard)
    return {names[0]: told.get(names[0]) or _no_answer(told)} if alone else dict(told)


def _order(batch: Sequence[Asked], *, fork: bool) -> str:
    probes = [{"name": a.key, "entry": a.row.entry, "seconds": a.row.seconds, "device": a.place.device} for a in batch]
    return json.dumps({"device": batch[0].place.device, "fork": fork, "probes": probes})


_CHILD = ""


def _collect(
    env: Environment, order: str, idle_s: float, heard: Callable[[], None] | None = None
) -> dict[str, dict[str, Any]]:
    """The answers of one child by name; under an empty name how the child itself ended, if badly."""
    told: dict[str, dict[str, Any]] = {}
    for answer in stream_child(env.python, "run_probes.py", [order], idle_s=idle_s):
        if isinstance(answer, Unknown):
            told[_CHILD] = {"ended": {"reason": answer.reason}}
        else:
            told[str(answer.value.get("name"))] = answer.value
            if heard:
                heard()
    return told


def _no_answer(told: dict[str, dict[str, Any]]) -> Told:
    return told.get(_CHILD) or {"ended": {"reason": "it answered nothing"}}


def _forking_may_be_to_blame(told: Told | None) -> bool:
    if told is None or told.get("ended"):
        return True
    error = str(told.get("error") or "")
    return any(word in error for word in _FORK_TROUBLE)


# --- what came out ---------------------------------------------------------------------------------------------------


def _judged(env: Environment, asked: Asked, told: Told) -> Evidence:
    row, place = asked.row, asked.place
    if row.gpu_package and place.device != "cpu" and not _installed(env, row.gpu_package):
        skip = Text("skip-cpu-build", {"what": asked.package})
        return Evidence(asked.key, Proof.SKIPPED, reason=skip, package=asked.package)
    if row.kind == "health":
        evidence = judge_health(row, told, place.name, find_health(place.name), _busy(env, place))
    else:
        evidence = judge(row, told, place.name, asked.package)
    return replace(evidence, probe=asked.key)


def _installed(env: Environment, pattern: str) -> Distribution | None:
    return next((d for d in env.distributions if fnmatchcase(d.name, pattern)), None)


def _busy(env: Environment, place: Place) -> Text | None:
    """Why slow is no verdict now: somebody else computes on this GPU, or it is a slice of one."""
    state = next((gpu for gpu in env.gpu_states if gpu.name == place.name), None)
    if state and state.busy_percent >= 10:
        return Text("skip-busy", {"gpu": place.name, "percent": str(state.busy_percent)})
    if "MIG" in place.name or (state and state.mig):
        return Text("skip-mig", {"gpu": place.name})
    return None


def seen_devices(env: Environment) -> bool:
    """Does the driver list a GPU that is really here?"""
    return isinstance(env.gpus, Known) and any(not gpu.pretended for gpu in env.gpus.value)

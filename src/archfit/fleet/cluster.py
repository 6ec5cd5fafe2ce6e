"""A Ray cluster that is there: its nodes, and one task pinned to each. Ray is imported here and nowhere else."""

from __future__ import annotations

import json
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from archfit.errors import ObserveError, UsageError
from archfit.fleet.carry import node_script, pack

GPU_LABEL, DRIVER_LABEL = "archfit-gpu", "archfit-driver"
"""Labels of a Ray node that is to be judged as if it had this GPU, this driver: planned machines, and tests."""
_KNOCK_SECONDS = 5.0
_POLL_SECONDS = 0.5
_LOST_SECONDS = 20.0
"""How long a task may go on waiting once Ray says that its node is gone."""
_RESERVE_SECONDS = 10.0
_END_SECONDS = 15.0
"""What archfit's end, and that of what it started, may take on a node beyond its limit."""
_START_SECONDS = 30.0
"""What Ray may take to start a process there."""


@dataclass(frozen=True, slots=True)
class RayNode:
    """A node: its `name` is its own, `gpus` counts what Ray hands out there, `pretend` are options of the doctor."""

    id: str
    name: str
    alive: bool
    gpus: float
    pretend: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended: its `answer`, or why there is none: ``dead``, ``silent``, ``failed`` with `why`."""

    answer: Mapping[str, Any] | None
    state: str = ""
    why: str = ""


OnEnd = Callable[[RayNode, Ended], None]


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """A connection to a running cluster; one that the program already has is used and stays.

    Raises:
        UsageError: Ray is not installed.
        ObserveError: there is no such cluster, or it runs another Ray or Python.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError("fleet-no-ray") from error
    own = not ray.is_initialized()
    if own:
        _knock(address)
        try:
            ray.init(address=address, namespace="archfit", log_to_driver=False, logging_level=logging.ERROR)
        except (Exception, SystemExit) as error:  # Ray raises whatever its layers raise
            cause = str(error).strip().splitlines() or [type(error).__name__]
            raise ObserveError("fleet-ray-failed", address=address, cause=cause[0]) from error
    try:
        yield Cluster(ray)
    finally:
        if own:
            ray.shutdown()


def _knock(address: str) -> None:
    """Is anybody there? Ray itself would try for minutes, and end the process."""
    match = re.fullmatch(r"(?:ray://)?(\[[^\]]+\]|[^:/]+):(\d{1,5})", address)
    if match is None:
        return
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), timeout=_KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ObserveError("fleet-ray-failed", address=address, cause=str(error)) from error


class Cluster:
    """What archfit asks of Ray."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def nodes(self) -> tuple[RayNode, ...]:
        """All nodes, also those that have left; a host that came back is named once."""
        rows = self._ray.nodes()
        alive = {row["NodeManagerAddress"] for row in rows if row["Alive"]}
        rows = [row for row in rows if row["Alive"] or row["NodeManagerAddress"] not in alive]
        hosts = [row["NodeManagerHostname"] for row in rows]
        return tuple(_node(row, unique=hosts.count(row["NodeManagerHostname"]) == 1) for row in rows)

    def ask(
        self, nodes: Sequence[RayNode], requests: Sequence[Mapping[str, Any]], limit_s: float, on_end: OnEnd
    ) -> None:
        """Run archfit on each node side by side; every node ends once, within `limit_s` and three quarters of a minute."""
        bundle = self._ray.put(pack())
        task = self._ray.remote(max_calls=1)(_make_task())  # its process ends with it
        waiting = {}
        for node, request in zip(nodes, requests, strict=True):
            pinned = task.options(**_pinned(node, self._ray), max_retries=0)
            waiting[pinned.remote(node_script(), json.dumps(request), bundle, limit_s + _END_SECONDS)] = node
        self._gather(waiting, limit_s + _END_SECONDS + _START_SECONDS, on_end)

    def verify(
        self, nodes: Sequence[RayNode], requests: Sequence[Mapping[str, Any]], limit_s: float, on_end: OnEnd
    ) -> None:
        """The same while Ray holds all GPUs of a node for us; where they are not free at once the node is ``busy``."""
        bundle = self._ray.put(pack())
        actors = {}
        for node in nodes:
            kind = self._ray.remote(_make_holder(_make_task()))
            actors[node] = kind.options(**_pinned(node, self._ray), num_gpus=node.gpus, max_restarts=0).remote()
        try:
            free: dict[RayNode, Ended] = {}
            self._gather(
                {actor.ready.remote(): node for node, actor in actors.items()}, _RESERVE_SECONDS, free.__setitem__
            )
            waiting = {}
            for node, request in zip(nodes, requests, strict=True):
                if free[node].answer is None:
                    on_end(
                        node, Ended(None, "busy" if free[node].state == "silent" else free[node].state, free[node].why)
                    )
                else:
                    waiting[
                        actors[node].run.remote(node_script(), json.dumps(request), bundle, limit_s + _END_SECONDS)
                    ] = node
            self._gather(waiting, limit_s + _END_SECONDS + _START_SECONDS, on_end)
        finally:
            for actor in actors.values():
                with suppress(Exception):
                    self._ray.kill(actor)

    def _gather(self, waiting: dict[Any, RayNode], limit_s: float, on_end: OnEnd) -> None:
        """Wait for all; a node that Ray declares dead, or that is silent at the end, ends without an answer."""
        deadline = time.monotonic() + limit_s
        lost: dict[Any, float] = {}
        while waiting and time.monotonic() < deadline:
            done, _ = self._ray.wait(list(waiting), num_returns=1, timeout=_POLL_SECONDS)
            for ref in done:
                node = waiting.pop(ref)
                on_end(node, self._result(ref, node))
            alive = self._alive()
            for ref, node in list(waiting.items()):
                if alive is not None and node.id not in alive:
                    since = lost.setdefault(ref, time.monotonic())
                    if time.monotonic() - since > _LOST_SECONDS:
                        on_end(waiting.pop(ref), Ended(None, "dead"))
        for ref, node in waiting.items():
            with suppress(Exception):
                self._ray.cancel(ref, force=True)
            on_end(node, Ended(None, "dead" if ref in lost else "silent"))

    def _result(self, ref: Any, node: RayNode) -> Ended:
        try:
            return Ended(self._ray.get(ref, timeout=_LOST_SECONDS))
        except Exception as error:  # RayTaskError, WorkerCrashedError, NodeDiedError and many more
            alive = self._alive()
            dead = alive is not None and node.id not in alive
            text = str(error).strip().splitlines()
            return Ended(None, "dead" if dead or _names_death(error) else "failed", text[0] if text else repr(error))

    def _alive(self) -> set[str] | None:
        try:
            return {row["NodeID"] for row in self._ray.nodes() if row["Alive"]}
        except Exception:
            return None  # the head is busy or gone: then our own limit of time decides


def _names_death(error: Exception) -> bool:
    """Errors that Ray raises before its list of nodes knows."""
    return type(error).__name__ in ("NodeDiedError", "TaskUnschedulableError", "ActorUnschedulableError")


def _node(row: Mapping[str, Any], *, unique: bool) -> RayNode:
    labels = row.get("Labels") or {}
    host, address, given = row["NodeManagerHostname"], row["NodeManagerAddress"], row.get("NodeName") or ""
    name = given if given and given != address else host if unique else f"{host}-{row['NodeID'][:8]}"
    pretend = []
    for label, option in ((GPU_LABEL, "--gpu"), (DRIVER_LABEL, "--driver")):
        pretend += [option, labels[label]] if label in labels else []
    return RayNode(row["NodeID"], name, row["Alive"], float(row["Resources"].get("GPU", 0)), tuple(pretend))


def _pinned(node: RayNode, ray: Any) -> dict[str, Any]:
    """On this node and no other, taking nothing from it."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)
    return {"scheduling_strategy": strategy, "num_cpus": 0}


def _make_task() -> Callable[..., dict[str, Any]]:
    """The function that runs on a node: made here so that it travels by value, since the node need not have archfit."""

    def archfit_fleet(script: str, request: str, bundle: bytes, limit_s: float) -> dict[str, Any]:
        import json
        import subprocess
        import sys

        child = subprocess.Popen(
            [sys.executable, "-I", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = child.communicate(request.encode() + b"\n" + bundle, timeout=limit_s)
        except subprocess.TimeoutExpired:
            return {"state": "silent"}
        finally:
            child.terminate()  # it ends its own children and takes its folder away
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
        try:
            answer: dict[str, Any] = json.loads(out)
        except ValueError:
            return {"state": "failed", "why": (err or out).decode("utf-8", "replace")[-600:]}
        return answer

    return archfit_fleet


def _make_holder(task: Callable[..., dict[str, Any]]) -> type:
    """An actor that holds GPUs while the task runs; ready as soon as it has them."""

    class Holder:
        def ready(self) -> dict[str, Any]:
            return {}

        def run(self, *arguments: Any) -> dict[str, Any]:
            return task(*arguments)

    return Holder

"""Ask every node of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from archfit.fleet.cluster import Cluster, Ended, RayNode, connected
from archfit.fleet.documents import Reader, clean
from archfit.model import Node, NodeProof, Text

OnNode = Callable[[Node, int, int], None]

DOCTOR_SECONDS = 120.0
"""What a doctor may take on a cold network file system; a warm one takes seconds."""
VERIFY_SECONDS = 1800.0
_RAYS_OWN = ("CUDA_VISIBLE_DEVICES",)
"""What Ray sets for a task that asked for no GPU; the node's own users do not see it."""


def check(
    ray: str = "auto",
    *,
    target: str | None = None,
    level: str | None = None,
    busy_gpus: bool = False,
    timeout_s: float | None = None,
    on_node: OnNode | None = None,
) -> tuple[Node, ...]:
    """Run ``archfit doctor`` on every node of a running Ray cluster, and ``archfit verify`` if a `level` is named.

    archfit travels to nodes that do not have it; nothing is left behind there. A node that is dead, hangs or is too slow is
    a node in that state, not an error.

    Args:
        ray: the cluster's address: ``auto``, ``10.0.0.1:6379``, ``ray://10.0.0.1:10001``.
        target: the environment to look at on each node; default: the one that Ray runs in.
        level: static, import or kernels. Kernels run on GPUs only that nobody uses: neither Ray nor the driver
            knows of anyone.
        busy_gpus: use GPUs that are in use, too.
        timeout_s: how long a node may take, for each of the two.
        on_node: told of each node as it answers, with how many have and how many there are.

    Returns:
        One record for each node, by name.

    Raises:
        UsageError: Ray is not installed.
        ObserveError: the cluster cannot be reached.
    """
    limit = timeout_s or (VERIFY_SECONDS if level else DOCTOR_SECONDS)
    with connected(ray) as cluster:
        everyone = cluster.nodes()
        round_ = _Round(cluster, target, limit, on_node, len(everyone))
        for node in everyone:
            if not node.alive:
                round_.end(node, Ended(None, "dead"))
        alive = [node for node in everyone if node.alive]
        if level is None or level != "kernels" or busy_gpus:
            round_.ask(alive, level, busy_gpus=busy_gpus)
        else:
            round_.ask_quietly(alive, level)
    return tuple(sorted(round_.found.values(), key=lambda node: node.name))


class _Round:
    """One turn through the cluster, and what has come of it so far."""

    def __init__(
        self, cluster: Cluster, target: str | None, limit_s: float, on_node: OnNode | None, total: int
    ) -> None:
        self.found: dict[RayNode, Node] = {}
        self._cluster = cluster
        self._target = target
        self._limit_s = limit_s
        self._on_node = on_node
        self._total = total
        self._reader = Reader()

    def ask(self, nodes: Sequence[RayNode], level: str | None, *, busy_gpus: bool) -> None:
        """The doctor, and what can be verified without a GPU of one's own, in one task."""
        requests = [self._request(node, level, busy_gpus=busy_gpus) for node in nodes]
        self._cluster.ask(nodes, requests, self._limit_s, self.end)

    def ask_quietly(self, nodes: Sequence[RayNode], level: str) -> None:
        """Kernels only where Ray can hand us the GPUs, and the driver says that nobody is on them."""
        held = [node for node in nodes if node.gpus]
        busy: list[RayNode] = []

        def end(node: RayNode, ended: Ended) -> None:
            busy.append(node) if ended.state == "busy" else self.end(node, ended)

        self._cluster.verify(held, [self._request(node, level) for node in held], self._limit_s, end)
        free = [node for node in nodes if not node.gpus]
        self._cluster.ask(
            [*free, *busy],
            [self._request(node, level if node.gpus == 0 else None) for node in (*free, *busy)],
            self._limit_s,
            lambda node, ended: self.end(node, ended, held_by_ray=node in busy, level=level),
        )

    def end(self, node: RayNode, ended: Ended, *, held_by_ray: bool = False, level: str = "") -> None:
        """Turn what came of a node into its record."""
        found = self._record(node, ended)
        if held_by_ray and found.state == "reported":
            found = replace(found, proof=NodeProof(level, "undecided", (), Text("fleet-busy-ray")))
        self.found[node] = found
        if self._on_node:
            self._on_node(found, len(self.found), self._total)

    def _request(self, node: RayNode, level: str | None, *, busy_gpus: bool = False) -> dict[str, Any]:
        return {
            "target": self._target,
            "host": node.name,
            "pretend": list(node.pretend),
            "level": level,
            "busy_gpus": busy_gpus,
            "limit_s": self._limit_s,
            "drop": list(_RAYS_OWN),
            "environ": {},
        }

    def _record(self, node: RayNode, ended: Ended) -> Node:
        if ended.answer is None:
            return self._without(node, ended.state, ended.why)
        answer = ended.answer
        if answer["state"] == "unfit":
            return Node(node.name, "unfit", "ray", Text("fleet-old-python", {"python": clean(str(answer["python"]))}))
        if answer["state"] != "done":
            return self._without(
                node, "silent" if answer["state"] == "silent" else "failed", str(answer.get("why", ""))
            )
        doctor = answer["doctor"]
        if doctor["code"] not in (0, 3, 4) or not doctor["out"]:
            return self._without(node, "silent" if doctor["code"] is None else "failed", _last_words(doctor["err"]))
        found = self._reader.read(doctor["out"].encode(), "ray", node.name)
        return replace(found, name=node.name, proof=self._proof(answer.get("verify")))

    def _proof(self, answer: dict[str, Any] | None) -> NodeProof | None:
        if answer is None:
            return None
        if answer["err"] == "busy" and answer["code"] is None:
            return NodeProof("kernels", "undecided", (), Text("fleet-busy"))
        found = self._reader.read(answer["out"].encode(), "ray", "-") if answer["out"] else None
        if found and found.proof:
            return found.proof
        why = Text("fleet-slow") if answer["code"] is None else Text("plain", {"text": _last_words(answer["err"])})
        return NodeProof("-", "undecided", (), why)

    def _without(self, node: RayNode, state: str, why: str) -> Node:
        if state == "dead":
            return Node(node.name, "dead", "ray", Text("fleet-dead"))
        if state == "silent":
            return Node(node.name, "silent", "ray", Text("fleet-silent", {"seconds": f"{self._limit_s:g}"}))
        return Node(node.name, "failed", "ray", Text("plain", {"text": clean(why) or "?"}))


def _last_words(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return clean(lines[-1]) if lines else ""

"""The part of ``archfit.doctor/1`` and ``archfit.verify/1`` that tells one machine from another: `host` and `environment`.

Host names are data here, as what joins the reports of many machines; nothing is taken out of these documents.
"""

from __future__ import annotations

from typing import Any

from archfit.model import Environment, GpuState, Host, Interpreter, Known, Place, Storage, Surroundings


def where_document(env: Environment) -> dict[str, Any]:
    """Which machine was looked at, what is installed there, and where its folders lie."""
    around = env.surroundings.value if isinstance(env.surroundings, Known) else Surroundings({})
    python = env.interpreter.value if isinstance(env.interpreter, Known) else None
    return {"host": _host(around.host), "environment": _environment(env, python, around)}


def _host(host: Host | None) -> dict[str, Any] | None:
    return {"name": host.name, "boot": host.boot or None, "observed": host.observed} if host else None


def _environment(env: Environment, python: Interpreter | None, around: Surroundings) -> dict[str, Any]:
    return {
        "prefix": str(env.root),
        "virtual": python.is_virtual if python else None,
        "libc": python.libc if python else None,
        "packages": {d.name: d.version for d in env.distributions if d.version},
        "places": [place_document(place) for place in around.places],
        "gpu_states": [_state(state) for state in around.gpu_states],
    }


def place_document(place: Place) -> dict[str, Any]:
    """A folder that several machines may share."""
    return {
        "kind": place.kind,
        "path": place.path,
        "storage": _storage(place.storage) if place.storage else None,
        "fingerprint": place.mark or None,
        "targets": [capability.sm for capability in place.targets],
        "count": place.count,
    }


def _storage(storage: Storage) -> dict[str, Any]:
    return {
        "filesystem": storage.filesystem,
        "source": storage.source,
        "device": storage.device,
        "inode": storage.inode,
        "remote": storage.remote,
    }


def _state(state: GpuState) -> dict[str, Any]:
    return {
        "name": state.name,
        "free_bytes": state.free_bytes,
        "total_bytes": state.total_bytes,
        "busy_percent": state.busy_percent,
        "processes": len(state.processes),
    }

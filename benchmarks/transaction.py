#!/usr/bin/env python3
"""What a change of a big environment costs with archfit, beside the same change by hand.

usage: python benchmarks/transaction.py ENVIRONMENT [--gpu "RTX 5090"] [--change NAME==VERSION …] [--folder FOLDER]
                                         [--turns 3] [--cold] [--cache FOLDER]

What is changed is what `archfit plan` puts first for the GPU, or the packages named with --change.
ENVIRONMENT is never changed, a copy made of hard links is. *Clone* and *rollback* are the calls; `archfit rollback`
is the whole command with the start of Python. *Extra disk* is what the file system has less after an upgrade, beside
the size of the packages that changed. *By hand* is ``pip uninstall`` and ``pip install`` of the same
versions: in the first turn they are downloaded, later they lie in a folder, so that pip needs no network at all. With
--cold uv begins with an empty cache. By hand nothing is verified; archfit runs with bytes alone and with all imports.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from uv import find_uv_bin

from archfit import api
from archfit.transaction import read_history, remove_states, roll_back
from archfit.transaction.installer import resolve
from archfit.transaction.tree import clone_tree, fingerprint, remove_tree

DRIVER = "580.65.06"


def timed(action: Callable[[], object]) -> float:
    """Seconds of wall time."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def told(name: str, seconds: list[float]) -> None:
    """A row: median, least and most."""
    print(f"{name:44s} {statistics.median(seconds):8.3f} s   ({min(seconds):.3f} to {max(seconds):.3f})", flush=True)


def run(*command: str | Path, exits: tuple[int, ...] = (0,), **variables: str) -> subprocess.CompletedProcess[str]:
    """A command that has to end with one of these exit codes."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **variables})
    if done.returncode not in exits:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done


def used(folder: Path) -> int:
    """Bytes in use on the file system of a folder."""
    os.sync()
    return shutil.disk_usage(folder).used


def linked_copy(source: Path, target: Path) -> Path:
    """A copy made of hard links, with a pyvenv.cfg of its own."""
    clone_tree(source, target)
    return target


def plan_for(env: Path, gpu: str, path: Path) -> list[str]:
    """Write the plan that archfit makes for this GPU; returns what its first option installs, as NAME==VERSION."""
    run(sys.executable, "-m", "archfit", "plan", env, "--gpu", gpu, "--driver", DRIVER, "--output", path, exits=(0, 1))
    option = json.loads(path.read_text("utf-8"))["options"][0]
    print(option["summary"], flush=True)
    return tell_changes([(row["name"], row["from"], row["version"], row["bytes"]) for row in option["locked"]])


def tell_changes(rows: list[tuple[str, str | None, str, int | None]]) -> list[str]:
    """Print package, from, to and bytes of each change; returns them as NAME==VERSION."""
    loaded = sum(size or 0 for *_, size in rows)
    listed = ", ".join(f"{name} {old} -> {new}" if old else f"{name} {new}" for name, old, new, _ in rows)
    print(f"changes: {listed}; {loaded / 1e6:.0f} MB of wheels", flush=True)
    return [f"{name}=={new}" for name, _, new, _ in rows]


def pin(env: Path, gpu: str, changes: list[str], path: Path) -> list[str]:
    """Write a plan that makes these changes; returns them, as NAME==VERSION."""
    diagnosis = api.doctor(api.Wish(str(env), (gpu,), DRIVER))
    environment = diagnosis.environment
    installed = {d.name: d.version for d in environment.distributions}
    lock = resolve(environment.python, changes, installed)
    wanted = {change.partition("==")[0] for change in changes}
    locked = [c for c in lock.changes if c.name in wanted]
    torch = environment.distribution("torch")
    option = {
        "kind": "upgrade",
        "summary": "what was asked for",
        "steps": [
            {
                "action": "install",
                "package": c.name,
                "from": c.current,
                "to": c.wanted,
                "index": "PyPI",
                "why": [],
                "unsafe": False,
            }
            for c in locked
        ],
        "torch": None,
        "requires": {"driver": None, "python": None, "disk_bytes": None, "download_bytes": None},
        "risks": [],
        "locked": [
            {
                "name": c.name,
                "from": c.current,
                "version": c.wanted,
                "index": "PyPI",
                "bytes": c.wheel_bytes,
                "sha256": c.hashes,
            }
            for c in locked
        ],
        "commands": {"pip": [], "uv": []},
    }
    document = {
        "schema": "archfit.plan/1",
        "torch": {"version": torch.version if torch else None},
        "environment_fingerprint": environment.fingerprint,
        "options": [option],
    }
    path.write_text(json.dumps(document), "utf-8")
    return tell_changes([(c.name, c.current, c.wanted, c.wheel_bytes) for c in locked])


def measure_clone(env: Path, folder: Path, turns: int) -> None:
    """The clone, and the look whether anything changes meanwhile."""
    copy = folder / "clone"
    seconds = []
    for _ in range(turns):
        seconds.append(timed(lambda: clone_tree(env, copy)))
        remove_tree(copy)
    told("clone", seconds)
    told("fingerprint (twice per upgrade)", [timed(lambda: fingerprint(env)) for _ in range(turns)])


def measure_rollback(env: Path, turns: int) -> None:
    """There and back, as a call and as a command."""
    told("rollback, the call", [timed(lambda: roll_back(env, None)) for _ in range(2 * turns)])
    command = (sys.executable, "-m", "archfit", "rollback", env)
    told("archfit rollback, the whole command", [timed(lambda: run(*command)) for _ in range(2 * turns)])


def by_archfit(env: Path, gpu: str, plan: Path, level: str, cache: dict[str, str]) -> float:
    """One upgrade, the whole command."""
    command = (
        sys.executable,
        "-m",
        "archfit",
        "upgrade",
        env,
        "--gpu",
        gpu,
        "--driver",
        DRIVER,
        "--plan",
        plan,
        "--yes",
        "--level",
        level,
        "--json",
    )
    return timed(lambda: run(*command, **cache))


def by_hand(env: Path, changes: list[str], wheels: Path) -> float:
    """The same change with pip, both commands; from a folder of wheels once it is filled, without any network."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    there = (*pip, "--python", env / "bin/python")
    names = [change.partition("==")[0] for change in changes]
    warm = wheels.is_dir()

    def both() -> None:
        run(*there, "uninstall", "--yes", *names)
        if not warm:
            run(*pip, "download", "--no-deps", "--no-cache-dir", "--dest", wheels, *changes)
        run(*there, "install", "--no-deps", "--no-index", "--find-links", wheels, *changes)

    return timed(both)


def measure_disk(env: Path, gpu: str, plan: Path, changes: list[str], cache: dict[str, str]) -> None:
    """What an upgrade takes, beside the size of what changed."""
    before = used(env)
    by_archfit(env, gpu, plan, "static", cache)
    taken = used(env) - before
    kept = api.kept_bytes(read_history(env))
    names = {change.partition("==")[0] for change in changes}
    where = "linked to uv's cache" if env.stat().st_dev == cache_of(cache).stat().st_dev else "uv's cache is elsewhere"
    print(f"extra disk of an upgrade ({where}): {taken / 1e6:.0f} MB", flush=True)
    print(f"  the packages that changed have {installed_bytes(env, names) / 1e6:.0f} MB now", flush=True)
    print(f"  the old state alone takes {max(kept.values(), default=0) / 1e6:.0f} MB", flush=True)


def cache_of(variables: dict[str, str]) -> Path:
    """The folder of uv's cache with these variables."""
    return Path(run(find_uv_bin(), "cache", "dir", **variables).stdout.strip())


def installed_bytes(env: Path, names: set[str]) -> int:
    """The size of all files that the records of these packages list."""
    code = (
        "import importlib.metadata as m, json, os, sys\n"
        "print(sum(os.path.getsize(p) for n in json.loads(sys.argv[1]) for f in m.files(n) or () "
        "if os.path.isfile(p := f.locate())))"
    )
    return int(run(env / "bin/python", "-c", code, json.dumps(sorted(names))).stdout)


def compare(options: argparse.Namespace, folder: Path) -> None:
    """The same change both ways, in turns."""
    uv_cache = {"UV_CACHE_DIR": str(options.cache or folder / "uv")} if options.cold or options.cache else {}
    env, plan = linked_copy(options.environment, folder / "env"), folder / "plan.json"
    gpu = options.gpu
    changes = pin(env, gpu, options.change, plan) if options.change else plan_for(env, gpu, plan)
    times: dict[str, list[float]] = {"by hand": [], "archfit, bytes": [], "archfit, imports": []}
    cold: dict[str, float] = {}
    for turn in range(options.turns + 1):
        hand = linked_copy(options.environment, folder / "hand")
        took = by_hand(hand, changes, folder / "wheels")
        remove_tree(hand)
        levels = [("import", "archfit, imports"), *([("static", "archfit, bytes")] if turn else [])]
        if turn == 0:
            cold["by hand"] = took
        else:
            times["by hand"].append(took)
        for level, name in levels:
            took = by_archfit(env, gpu, plan, level, uv_cache)
            if turn == 0:
                cold[name] = took
            else:
                times[name].append(took)
            roll_back(env, 1)
            remove_states(env, [s.id for s in read_history(env).states if s.id != 1])
    for name, took in cold.items():
        print(f"first turn{', cold' if options.cold else ''}: {name:24s} {took:8.2f} s", flush=True)
    for name, seconds in times.items():
        told(f"warm: {name}", seconds)
    for name in ("archfit, bytes", "archfit, imports"):
        ratios = [hand / ours for hand, ours in zip(times["by hand"], times[name], strict=True)]
        print(
            f"by hand takes {statistics.median(ratios):.1f} times ({min(ratios):.1f} to {max(ratios):.1f}) of {name}",
            flush=True,
        )
    measure_disk(env, gpu, plan, changes, uv_cache)
    measure_rollback(env, options.turns)


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=Path)
    parser.add_argument("--gpu", default="RTX 5090")
    parser.add_argument("--change", action="append", help="NAME==VERSION; repeatable")
    parser.add_argument("--folder", type=Path, help="where to work: on the file system of the environment")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--cold", action="store_true", help="with a new cache of uv's own: the first turn loads everything"
    )
    parser.add_argument("--cache", type=Path, help="uv's cache; on another file system nothing can be linked to it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="transaction-", dir=options.folder) as folder:
        files = sum(len(names) for _, _, names in os.walk(options.environment))
        size = sum(p.lstat().st_size for p in options.environment.rglob("*"))
        print(f"{size / 1e9:.2f} GB in {files} files; load {os.getloadavg()[0]:.1f}", flush=True)
        measure_clone(options.environment, Path(folder), 2 * options.turns + 1)
        compare(options, Path(folder))


if __name__ == "__main__":
    main()

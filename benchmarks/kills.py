#!/usr/bin/env python3
"""Kill archfit at random moments and look whether the environment is whole.

usage: python benchmarks/kills.py [--kills 1000] [--folder FOLDER] [--seed N]

A real virtual environment is changed forth and back between two releases of a package by uv, from a folder of wheels;
rollbacks, removals of old states and the settling of earlier cuts are killed, too. Each change runs in a process of its own
that gets SIGKILL after a random time; every other one is killed around the exchange, which would be hit too rarely otherwise.

After each kill the environment in place must be, file by file with mode and SHA-256, one that an undisturbed run leaves
behind, its console script must run, and one command must settle what was cut off: no folder of a clone may be left, each kept
state must be whole. Anything else counts as broken. The exit code is 1 if anything was broken.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from archfit.model import Evidence, Proof, Verification
from archfit.transaction import Change, Journal, apply, read_history, recover, remove_states, roll_back
from archfit.transaction.installer import Lock, create_environment, install

FILES, BYTES = 120, 4096
"""So many modules of this size has a release: as many as a mid-sized package."""
AROUND_EXCHANGE_S = 0.03
EXCHANGE: ModuleType = importlib.import_module("archfit.transaction.exchange")

Action = Callable[[], object]


# --- what is changed -------------------------------------------------------------------------------------------------


def write_wheels(folder: Path) -> None:
    """Releases 1 and 2 of ``demo``: all its modules differ; one more in each that the other lacks."""
    for version in ("1", "2"):
        modules = {f"demo/part_{n}.py": f"version = {version}\n" + "#" * BYTES for n in range(FILES)}
        modules |= {f"demo/only_{version}.py": "", "demo/__init__.py": f"def main(): print({version})\n"}
        info = f"demo-{version}.dist-info"
        files = modules | {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: demo\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: kills\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": "[console_scripts]\ndemo = demo:main\n",
        }
        rows = [f"{name},sha256={_hash(text.encode())},{len(text)}\n" for name, text in files.items()]
        files[f"{info}/RECORD"] = "".join(rows) + f"{info}/RECORD,,\n"
        with zipfile.ZipFile(folder / f"demo-{version}-py3-none-any.whl", "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def upgrade(root: Path, wheels: Path, version: str, on_step: Callable[[str], None] = lambda _: None) -> None:
    """Move the environment to a release of ``demo`` with real uv."""
    digest = hashlib.sha256((wheels / f"demo-{version}-py3-none-any.whl").read_bytes()).hexdigest()
    lock = Lock(f"demo=={version} --hash=sha256:{digest}\n", None, ())
    proof = Verification("static", (Evidence("static:demo", Proof.PASSED),))
    change = Change("before", f"demo {version}", "", lambda clone: install(clone / "bin/python", lock), lambda _: proof)
    apply(root, change, on_step)


def tree(root: Path) -> str:
    """One hash over path, mode and bytes of everything in an environment but what Python makes anew."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if "__pycache__" in path.parts or path == root / ".lock":
            continue
        mode = path.lstat().st_mode
        bytes_ = b"" if path.is_dir() else os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        digest.update(f"{path.relative_to(root)} {mode:o} {len(bytes_)}\0".encode() + bytes_)
    return digest.hexdigest()


# --- killing ---------------------------------------------------------------------------------------------------------


def killed_after(action: Action, seconds: float) -> bool:
    """Run `action` in a child that gets SIGKILL after so long; False if it had ended before."""
    child = os.fork()
    if child == 0:
        _be(action)
    time.sleep(seconds)
    return _kill(child)


def killed_around_exchange(action: Action, seconds: float) -> bool:
    """The same, counted from the moment at which the child begins to exchange; False if it never does."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        rename = getattr(EXCHANGE, "rename_exchange")  # noqa: B009

        def told(first: Path, second: Path) -> None:
            os.write(writer, b".")
            rename(first, second)

        setattr(EXCHANGE, "rename_exchange", told)  # noqa: B010 - the module has it
        _be(action)
    os.close(writer)
    begun = os.read(reader, 1)
    os.close(reader)
    if begun:
        time.sleep(seconds)
    return _kill(child)


def _be(action: Action) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    try:
        action()
    finally:
        os._exit(0)


def _kill(child: int) -> bool:
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


# --- looking ---------------------------------------------------------------------------------------------------------


def faults(root: Path, whole: set[str]) -> list[str]:
    """What is wrong with the environment in place; it may have been cut off a moment ago."""
    if tree(root) not in whole:
        return ["the environment in place is neither an old one nor a new one"]
    said = subprocess.run([root / "bin/demo"], capture_output=True, text=True, check=False)
    return [] if said.stdout.strip() in ("1", "2") else [f"its script does not run: {said.stderr}"]


def faults_settled(root: Path, whole: set[str]) -> list[str]:
    """What is wrong after one command has settled everything."""
    story = read_history(root)
    found = [] if story.live else ["no state is live"]
    found += [f"state {s.id} is damaged" for s in story.states if s.path and tree(s.path) not in whole]
    if Journal(root).unfinished():
        found.append("a change is still open")
    known = {root, Journal(root).folder, *(s.path for s in story.states)}
    found += [f"{path.name} is left over" for path in root.parent.glob(f"{root.name}*") if path not in known]
    return found


def last_event(root: Path) -> str:
    """Where the journal stood when the process died."""
    opened = Journal(root).unfinished()
    return f"{opened['kind']}: after {Journal(root).entries()[-1]['event']}" if opened else "nothing open"


# --- the run ---------------------------------------------------------------------------------------------------------


class Ground:
    """An environment, the trees that are whole, and the tally."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.root, self.wheels = folder / "env", folder / "wheels"
        self.wheels.mkdir()
        write_wheels(self.wheels)
        os.environ |= {
            "UV_NO_INDEX": "1",
            "UV_OFFLINE": "1",
            "UV_FIND_LINKS": str(self.wheels),
            "UV_LINK_MODE": "hardlink",
        }
        os.environ["UV_CACHE_DIR"] = str(folder / "cache")
        create_environment(self.root, sys.executable, ["demo==1"])
        self.whole = {tree(self.root)}
        began = time.perf_counter()
        for version in ("2", "1", "2"):
            upgrade(self.root, self.wheels, version)
            self.whole.add(tree(self.root))
        self.takes_s = (time.perf_counter() - began) / 3
        self.kills, self.broken = 0, 0
        self.where: Counter[str] = Counter()
        self.settled_by: Counter[str] = Counter()

    def cycle(self) -> None:
        """One change that is killed, a look, one command that settles it (which may be killed too), and a look."""
        action = self._upgrade if self.chance.random() < 0.7 else self._roll_back
        self._kill(action)
        if self.chance.random() < 0.2:
            self._kill(lambda: recover(self.root))
        settle = self.chance.choice([self._upgrade, self._roll_back, self._recover])
        name = settle.__name__.strip("_")
        self.settled_by[name] += 1
        settle()
        self._judge(faults(self.root, self.whole) + faults_settled(self.root, self.whole))
        old = [s.id for s in read_history(self.root).states if s.path and not s.live][:-2]
        if old:
            if self.chance.random() < 0.2:
                self._kill(lambda: remove_states(self.root, old))
            remove_states(self.root, old)
            self._judge(faults_settled(self.root, self.whole))

    def _kill(self, action: Action) -> None:
        if self.chance.random() < 0.5:
            landed = killed_after(action, self.chance.uniform(0, self.takes_s * 1.2))
        else:
            landed = killed_around_exchange(action, self.chance.uniform(0, AROUND_EXCHANGE_S))
        if landed:
            self.kills += 1
            self.where[last_event(self.root)] += 1
        self._judge(faults(self.root, self.whole))

    def _judge(self, found: list[str]) -> None:
        self.broken += bool(found)
        for fault in found:
            print(f"BROKEN after {self.kills} kills: {fault}", flush=True)

    def _upgrade(self) -> None:
        upgrade(self.root, self.wheels, self.chance.choice("12"))

    def _roll_back(self) -> None:
        roll_back(self.root, None)

    def _recover(self) -> None:
        recover(self.root)


def main() -> int:
    """Run until enough kills have landed, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where to work: another file system, for instance")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kills-", dir=options.folder) as folder:
        ground = Ground(Path(folder), options.seed)
        print(
            f"seed {options.seed}; a change takes {ground.takes_s:.2f} s undisturbed; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        while ground.kills < options.kills:
            ground.cycle()
            if sys.stderr.isatty():
                print(f"\r{ground.kills} kills, {ground.broken} broken", end="", file=sys.stderr)
    took = f"{time.perf_counter() - began:.0f} s on {platform.platform()}"
    print(f"{ground.kills} kills in {took}: {ground.broken} environments broken")
    for place, count in ground.where.most_common():
        print(f"  {count:5d}  {place}")
    print("settled by: " + ", ".join(f"{name} {count}" for name, count in ground.settled_by.most_common()))
    return 1 if ground.broken else 0


if __name__ == "__main__":
    sys.exit(main())

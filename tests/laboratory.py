"""What the transaction tests share: small environments, tiny wheels, seams to fail or be killed at, laws to end on."""

from __future__ import annotations

import base64
import errno
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from platform import machine
from types import ModuleType

from archfit.model import Evidence, Proof, Verification
from archfit.transaction import Change, read_history, unfinished

APPLY: ModuleType = importlib.import_module("archfit.transaction.apply")  # the package's own `apply` is the function
EXCHANGE: ModuleType = importlib.import_module("archfit.transaction.exchange")
FITNESS: ModuleType = importlib.import_module("archfit.transaction.fitness")
STATES: ModuleType = importlib.import_module("archfit.transaction.states")
RELOCATE: ModuleType = importlib.import_module("archfit.transaction.relocate")
TREE: ModuleType = importlib.import_module("archfit.transaction.tree")
JOURNAL: ModuleType = importlib.import_module("archfit.transaction.journal")

DATA = Path(__file__).parent / "data"
SITE = "lib/python3.11/site-packages"
PASSED = Verification("static", (Evidence("static:demo", Proof.PASSED),))

# --- a folder with the layout of a virtual environment, made in a millisecond ----------------------------------------

_LONG_AGO = 1_700_000_000
OLD = {"demo.py": "version = 1\n", "only_old.py": "gone = True\n"}
NEW = {"demo.py": "version = 2\n", "only_new.py": "come = True\n"}


def make_plain(root: Path) -> Path:
    """An environment that no installer has to fill: pyvenv.cfg, a Python, a script, two modules, a library."""
    site = root / SITE
    site.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin/python").symlink_to(sys.executable)
    (root / "bin/tool").write_text("#!/bin/sh\necho tool\n", "utf-8")
    (root / "bin/tool").chmod(0o755)
    (root / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.11\n", "utf-8")
    (site / "lib").mkdir()
    (site / "lib/libdemo.so").write_bytes((DATA / "libno_gpu.so").read_bytes())
    write_modules(root, OLD)
    for path in (*root.rglob("*"), root):
        os.utime(path, (_LONG_AGO, _LONG_AGO), follow_symlinks=False)  # clocks of file systems may tick in 4 ms
    return root


def write_modules(root: Path, modules: dict[str, str]) -> None:
    """Put modules in place as installers do: the old file is unlinked, the new one is another."""
    site = root / SITE
    for name in OLD | NEW:
        (site / name).unlink(missing_ok=True)
    for name, text in modules.items():
        (site / name).write_text(text, "utf-8")


def modules(root: Path) -> dict[str, str]:
    """What is installed in a plain environment."""
    return {path.name: path.read_text("utf-8") for path in sorted((root / SITE).glob("*.py"))}


def change_to(
    new: dict[str, str],
    *,
    before: str = "demo 1",
    after: str = "demo 2",
    proof: Verification = PASSED,
    needs_bytes: int | None = None,
) -> Change:
    """A change of a plain environment."""
    return Change(before, after, "a reason", lambda clone: write_modules(clone, new), lambda _: proof, needs_bytes)


UPGRADE = change_to(NEW)


def quiet(_step: str) -> None:
    """Nobody waits."""


# --- laws ------------------------------------------------------------------------------------------------------------

Snapshot = dict[str, tuple[object, ...]]


def snapshot(root: Path) -> Snapshot:
    """Everything there is to know about a folder: kind, mode, time, bytes or link text of each path in it."""
    return {os.fsdecode(path.relative_to(root)): _describe(path) for path in sorted(root.rglob("*"))}


def _describe(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    if path.is_symlink():
        return ("link", status.st_mtime_ns, str(path.readlink()))
    if path.is_dir():
        return ("folder", status.st_mode, status.st_mtime_ns)
    return ("file", status.st_mode, status.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())


def around(root: Path) -> set[str]:
    """What stands beside an environment, without its name: ``""`` is the environment, ``.archfit`` its journal."""
    return {p.name.removeprefix(root.name) for p in root.parent.iterdir() if p.name.startswith(root.name)}


def assert_settled(root: Path) -> None:
    """Nothing is open; one state is live; each other one stands under its own number, and nothing else is there."""
    story = read_history(root)
    assert unfinished(root) is None
    assert len([s for s in story.states if s.live]) == (1 if story.states else 0)
    others = {s.id: s.path for s in story.states if not s.live}
    assert others == {number: root.with_name(f"{root.name}.archfit-{number}") for number in others}
    assert around(root) == {"", ".archfit", *(f".archfit-{number}" for number in others)}


# --- seams -----------------------------------------------------------------------------------------------------------

SetAttr = Callable[[object, str, object], None]
Event = Callable[[], object]


class At:
    """A place in the code: `call` number of ``owner.name``, before it begins or after it has ended."""

    def __init__(self, owner: object, name: str, call: int = 1, *, after: bool = False) -> None:
        self.owner, self.name, self.call, self.after = owner, name, call, after

    def __repr__(self) -> str:
        kind = "after" if self.after else "before"
        place = getattr(self.owner, "__name__", "").rpartition(".")[2]
        return f"{kind}-{place}.{self.name.strip('_')}-{self.call}"

    def arm(self, event: Event, setattr_: SetAttr = setattr) -> None:
        """Let `event` happen at this place."""
        original = getattr(self.owner, self.name)
        calls = 0

        def watched(*arguments: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == self.call and not self.after:
                event()
            result = original(*arguments, **named)
            if calls == self.call and self.after:
                event()
            return result

        setattr_(self.owner, self.name, watched)


def without_exchange(setattr_: SetAttr = setattr) -> None:
    """Make `exchange` fall back to three renames."""

    def refuse(first: Path, second: Path) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(first), None, str(second))

    setattr_(EXCHANGE, "rename_exchange", refuse)


def die() -> None:
    """What a power cut does to a process."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed(arm: Event, action: Event) -> None:
    """Run `action` in a child that is killed where `arm` says; fails if the child lives to its end."""
    child = os.fork()
    if child == 0:
        try:
            arm()
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the place was never reached"
    assert os.WTERMSIG(status) == signal.SIGKILL


# --- wheels ----------------------------------------------------------------------------------------------------------

PLATFORMS = ("macosx_11_0_arm64", f"manylinux_2_17_{machine()}", "win_amd64")

_MODULE = """import sys

version = {version!r}


def main():
    print("demo", version, sys.prefix)
"""


def write_wheel(
    folder: Path, name: str, version: str, files: dict[str, bytes], *, scripts: str = "", requires: str = "", tag: str
) -> Path:
    """A real wheel, with RECORD and hashes."""
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    if scripts:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{scripts}\n".encode()
    record = "".join(f"{path},sha256={_record_hash(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    return path


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write_wheels(folder: Path) -> Path:
    """Three releases of ``demo``; ``owner``, which holds a file and a script that demo 2 brings too; ``needy``, which wants
    demo 1; and ``wide``, which has a wheel for each platform.
    """
    libraries = {"1": "libsm_75.so", "2": "libsm_120.so", "3": "libserver.so"}
    for version, library in libraries.items():
        files = {
            "demo/__init__.py": _MODULE.format(version=version).encode(),
            "demo/libdemo.so": (DATA / library).read_bytes(),
            f"demo-{version}.data/scripts/demo-raw": b"#!python\nimport demo\n\ndemo.main()\n",
        }
        scripts = "demo = demo:main"
        if version != "1":
            files |= {"shared/common.py": b"whose = 'demo'\n", "demo/extra.py": b"extra = True\n"}
            scripts += "\nother = demo:main"
        write_wheel(folder, "demo", version, files, scripts=scripts, tag="py3-none-any")
    common = {"shared/common.py": b"whose = 'owner'\n"}
    write_wheel(folder, "owner", "1", common, scripts="other = demo:main", tag="py3-none-any")
    write_wheel(folder, "owner", "2", common, scripts="other = demo:main", tag="py3-none-any")
    for platform in PLATFORMS:
        data = {"wide/data.py": platform.encode()}
        write_wheel(folder, "wide", "1", data, tag=f"py3-none-{platform}")
    write_wheel(folder, "needy", "1", {"needy.py": b""}, requires="demo<2", tag="py3-none-any")
    return folder


def sha256(path: Path) -> str:
    """The hash that a lock must carry."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def output_of(*command: str | Path) -> str:
    """What a program of an environment prints; its errors are ours."""
    arguments = [str(word) for word in command]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=30, cwd="/")
    assert done.stderr == ""
    return done.stdout.strip()


def index_handler(wheels: Path) -> type[BaseHTTPRequestHandler]:
    """A package index for a folder of wheels: hashes, sizes and metadata, as the real ones give."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, name = self.path.strip("/").split("/")
            body = _project(wheels, name) if kind == "simple" else _file(wheels, name)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            json_type = "application/vnd.pypi.simple.v1+json"
            self.send_header("Content-Type", json_type if kind == "simple" else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _project(wheels: Path, name: str) -> bytes | None:
    files = [
        {
            "filename": wheel.name,
            "url": f"/files/{wheel.name}",
            "size": wheel.stat().st_size,
            "hashes": {"sha256": sha256(wheel)},
            "core-metadata": True,
        }
        for wheel in sorted(wheels.glob(f"{name}-*.whl"))
    ]
    return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode() if files else None


def _file(wheels: Path, name: str) -> bytes:
    path = wheels / name.removesuffix(".metadata")
    if path.name == name:
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        info = next(member for member in archive.namelist() if member.endswith(".dist-info/METADATA"))
        return archive.read(info)

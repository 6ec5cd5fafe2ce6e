"""Where packages come from: what the plan pins, from the indexes that it names, and no password is told to anybody."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from archfit.errors import ApplyError, ArchfitError, UsageError
from archfit.indexes import default_index, told_index, uv_environment, with_credentials
from archfit.model import LockedPackage
from archfit.report.messages import Messages
from archfit.transaction import Change, Journal, apply
from archfit.transaction.bundle import check_bundle, pinned, wheel_folder
from archfit.transaction.installer import install, lock_of, resolve
from archfit.uv import run_uv
from laboratory import PASSED, index_handler, quiet, sha256, snapshot, write_wheel

USER, PASSWORD = "ada", "lovelace-1815"


def package(wheels: Path, version: str = "2", index: str | None = "PyPI") -> LockedPackage:
    digest = sha256(wheels / f"demo-{version}-py3-none-any.whl")
    return LockedPackage("demo", "1", version, None, digest, (digest,), index)


def version_of(root: Path) -> str:
    return next(root.glob("lib/python3*/site-packages/demo-*")).name


# --- what uv sees ----------------------------------------------------------------------------------------------------

ADDED = {
    "UV_EXTRA_INDEX_URL": "https://evil.example/simple",
    "UV_INDEX": "https://evil.example/simple",
    "UV_FIND_LINKS": "/tmp/evil",
    "UV_CONSTRAINT": "/tmp/evil.txt",
    "UV_OVERRIDE": "/tmp/evil.txt",
    "UV_NO_VERIFY_HASHES": "1",
    "UV_TORCH_BACKEND": "cpu",
    "UV_BREAK_SYSTEM_PACKAGES": "1",
}


@pytest.mark.parametrize("name", ADDED)
def test_what_adds_a_source_never_reaches_uv(name: str) -> None:
    told = uv_environment(
        {name: ADDED[name], "UV_CACHE_DIR": "/cache", "HTTPS_PROXY": "http://proxy", "HOME": "/nowhere"}
    )
    assert told == {"UV_CACHE_DIR": "/cache", "HTTPS_PROXY": "http://proxy", "HOME": "/nowhere", "UV_NO_CONFIG": "1"}


def test_a_folder_of_wheels_that_replaces_the_index_stays() -> None:
    told = uv_environment({"UV_NO_INDEX": "1", "UV_FIND_LINKS": "/wheels", "HOME": "/nowhere"})
    assert (told["UV_NO_INDEX"], told["UV_FIND_LINKS"]) == ("1", "/wheels")


SETTINGS = {
    "a row": '[[index]]\nname = "mine"\nurl = "https://mirror.example/simple"\ndefault = true\n',
    "index-url": 'index-url = "https://mirror.example/simple"\n',
    "for pip": '[pip]\nindex-url = "https://mirror.example/simple"\n',
}


@pytest.mark.parametrize("case", SETTINGS)
def test_the_mirror_of_the_persons_own_settings_counts(tmp_path: Path, case: str) -> None:
    (tmp_path / "uv").mkdir()
    more = 'extra-index-url = ["https://evil.example/simple"]\nnative-tls = true\nallow-insecure-host = ["a", "b"]\n'
    (tmp_path / "uv/uv.toml").write_text(more + SETTINGS[case], "utf-8")
    told = uv_environment({"XDG_CONFIG_HOME": str(tmp_path)})
    assert told["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert (told["UV_NATIVE_TLS"], told["UV_INSECURE_HOST"]) == ("true", "a b")
    assert "evil" not in str(told)


def test_a_variable_is_stronger_than_a_file(tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text(SETTINGS["index-url"], "utf-8")
    environ = {"UV_CONFIG_FILE": str(tmp_path / "uv.toml"), "UV_INDEX_URL": "https://other.example/simple"}
    assert default_index(environ) == "https://other.example/simple"
    assert default_index({"UV_DEFAULT_INDEX": "mine=https://a.example/simple"}) == "https://a.example/simple"
    assert default_index({"UV_CONFIG_FILE": str(tmp_path / "uv.toml")}) == "https://mirror.example/simple"
    assert default_index({"UV_CONFIG_FILE": str(tmp_path / "uv.toml"), "UV_NO_CONFIG": "1"}) is None


@pytest.mark.parametrize("text", ["", "index = 3", "[[index]]\ndefault = true", "= broken", "[pip]\nindex-url = 4"])
def test_settings_without_an_index_name_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "uv.toml").write_text(text, "utf-8")
    assert default_index({"UV_CONFIG_FILE": str(tmp_path / "uv.toml")}) is None


# --- credentials -----------------------------------------------------------------------------------------------------

SECRET = f"https://{USER}:{PASSWORD}@mirror.example/simple"


def test_an_index_is_told_without_its_password() -> None:
    assert told_index("PyPI", {"UV_INDEX_URL": SECRET}) == "https://<user>@mirror.example/simple"
    assert told_index(None, {"HOME": "/nowhere"}) == "PyPI"
    assert told_index(SECRET, {}) == "https://<user>@mirror.example/simple"


def test_a_plan_that_names_the_persons_mirror_uses_their_password() -> None:
    environ = {"UV_INDEX_URL": SECRET}
    assert with_credentials("https://mirror.example/simple/", environ) == SECRET
    assert with_credentials("https://other.example/simple", environ) == "https://other.example/simple"


@pytest.fixture
def guarded(live: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An index that wants a password; the address carries it."""
    for name in ("UV_OFFLINE", "UV_NO_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    good = index_handler(wheels)

    class Handler(good):  # type: ignore[misc, valid-type]
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                super().do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    thread.join()
    server.server_close()


def told_by(root: Path) -> str:
    """Everything that is written down beside an environment."""
    return "".join(p.read_text("utf-8") for p in Journal(root).folder.iterdir() if p.is_file())


def test_a_guarded_index_serves_and_its_password_is_written_nowhere(
    live: Path, wheels: Path, guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_INDEX_URL", f"http://{USER}:{PASSWORD}@{guarded}")
    found = resolve(live / "bin/python", ["demo==2"], {"demo": "1"})
    lock = lock_of([package(wheels, index="PyPI")])
    assert PASSWORD not in repr(found) + repr(lock)
    assert found.changes[0].index == f"http://<user>@{guarded}"
    apply(live, Change("a", "b", "", lambda c: install(c / "bin/python", lock), lambda _: PASSED), quiet)
    assert version_of(live) == "demo-2.dist-info"
    assert PASSWORD not in told_by(live)


FAILING: dict[str, Callable[[Path, Path, str], object]] = {
    "resolve": lambda live, _, index: resolve(live / "bin/python", ["demo==99"], {}, index=index),
    "install": lambda live, wheels, index: install(live / "bin/python", lock_of([package(wheels, index=index)])),
}


@pytest.mark.parametrize("action", FAILING)
def test_an_error_carries_no_password(live: Path, wheels: Path, guarded: str, action: str) -> None:
    index = f"http://{USER}:wrong-{PASSWORD}@{guarded}"
    with pytest.raises(ArchfitError) as caught:
        FAILING[action](live, wheels, index)
    told = Messages("en").error(caught.value) + str(caught.value) + repr(caught.value)
    assert PASSWORD not in told
    assert "127.0.0.1" in told


def test_a_password_stands_in_no_command_line(live: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody on a machine may read the words of a command."""
    commands: list[object] = []
    popen = subprocess.Popen

    def watched(command: list[str], **options: object) -> object:
        commands.append(command)
        return popen(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", watched)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    for name in ("UV_OFFLINE", "UV_NO_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name)
    with pytest.raises(ApplyError):
        install(live / "bin/python", lock_of([package(wheels, index=f"http://{USER}:{PASSWORD}@127.0.0.1:9/simple")]))
    assert commands
    assert PASSWORD not in str(commands)


# --- only what is named ----------------------------------------------------------------------------------------------


def test_an_index_that_was_added_is_never_asked(
    live: Path, wheels: Path, index: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The version of the plan is only there; the plan does not name it."""
    (tmp_path / "other").mkdir()
    write_wheel(tmp_path / "other", "demo", "7", {"demo/__init__.py": b""}, tag="py3-none-any")
    digest = sha256(tmp_path / "other/demo-7-py3-none-any.whl")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "other"))
    lock = lock_of([LockedPackage("demo", "1", "7", None, digest, (digest,), index)])
    with pytest.raises(ApplyError, match="install-failed"):
        install(live / "bin/python", lock)


def test_a_file_of_the_folder_one_stands_in_adds_nothing(
    live: Path, wheels: Path, index: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "uv.toml").write_text('index-url = "http://127.0.0.1:9/evil"\n', "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UV_NO_CONFIG", raising=False)
    install(live / "bin/python", lock_of([package(wheels, index=index)]))
    assert version_of(live) == "demo-2.dist-info"


def test_two_indexes_that_a_plan_names(live: Path, wheels: Path, index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index)
    owner = sha256(wheels / "owner-2-py3-none-any.whl")
    further = LockedPackage("owner", "1", "2", None, owner, (owner,), index + "/")
    install(live / "bin/python", lock_of([package(wheels), further]))
    assert version_of(live) == "demo-2.dist-info"


def test_an_installer_does_not_outlive_archfit(tmp_path: Path) -> None:
    """It is told to the kernel, so SIGKILL is no exception."""
    tether = Path(run_uv.__code__.co_filename).with_name("tether.py")
    program = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-I', '-S', {str(tether)!r}, str(os.getpid()), '/bin/sleep', '60'])\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        state = Path(f"/proc/{child}/stat")
        for _ in range(1000):
            if not state.exists() or ") Z" in state.read_text("utf-8"):
                return
            threading.Event().wait(0.01)
    pytest.fail("it is still there")


# --- a bundle --------------------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path, wheels: Path) -> Path:
    """A plan and its wheel, as a machine with a network makes them."""
    folder = tmp_path / "bundle"
    wheel_folder(folder).mkdir(parents=True)
    wheel = wheels / "demo-2-py3-none-any.whl"
    (wheel_folder(folder) / wheel.name).write_bytes(wheel.read_bytes())
    row = {"file": wheel.name, "sha256": sha256(wheel), "size_bytes": wheel.stat().st_size}
    (folder / "plan.json").write_text(json.dumps({"schema": "archfit.plan/1", "bundle": {"wheels": [row]}}), "utf-8")
    return folder


def test_a_bundle_upgrades_without_any_index(
    live: Path, wheels: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("UV_OFFLINE", "UV_NO_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")
    told: list[tuple[int, int]] = []
    held = check_bundle(bundle, lambda done, total: told.append((done, total)))
    lock = lock_of(pinned([package(wheels)], held, bundle), wheel_folder(bundle))
    assert told[-1][0] == told[-1][1] == lock.download_bytes
    apply(live, Change("a", "b", "", lambda c: install(c / "bin/python", lock), lambda _: PASSED), quiet)
    assert version_of(live) == "demo-2.dist-info"


def damage_by_a_bit(bundle: Path) -> None:
    path = next(wheel_folder(bundle).iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def cut_short(bundle: Path) -> None:
    path = next(wheel_folder(bundle).iterdir())
    path.write_bytes(path.read_bytes()[:100])


def lose(bundle: Path) -> None:
    next(wheel_folder(bundle).iterdir()).unlink()


def lead_out(bundle: Path) -> None:
    plan = bundle / "plan.json"
    plan.write_text(plan.read_text("utf-8").replace("demo-2", "../wheels/demo-2"), "utf-8")


def no_list(bundle: Path) -> None:
    (bundle / "plan.json").write_text('{"schema": "archfit.plan/1"}', "utf-8")


def no_plan(bundle: Path) -> None:
    (bundle / "plan.json").unlink()


@pytest.mark.parametrize(
    "damage", [damage_by_a_bit, cut_short, lose, lead_out, no_list, no_plan], ids=lambda f: f.__name__
)
def test_a_damaged_bundle_is_refused_before_anything_is_begun(bundle: Path, damage: Callable[[Path], None]) -> None:
    damage(bundle)
    with pytest.raises(UsageError) as caught:
        check_bundle(bundle)
    assert caught.value.key in ("bundle-damaged", "bundle-unreadable")


@pytest.mark.parametrize("wanted", ["3", "2+cu128"])
def test_a_bundle_that_lacks_what_the_plan_wants_is_refused(bundle: Path, wheels: Path, wanted: str) -> None:
    held = check_bundle(bundle)
    with pytest.raises(UsageError, match="bundle-lacks"):
        pinned([LockedPackage("demo", "1", wanted, None, None, (), "PyPI")], held, bundle)


def test_another_file_of_the_same_version_is_refused(bundle: Path) -> None:
    other = LockedPackage("demo", "1", "2", None, "0" * 64, ("0" * 64,), "PyPI")
    with pytest.raises(UsageError, match="bundle-lacks"):
        pinned([other], check_bundle(bundle), bundle)


def test_a_wrong_hash_in_a_plan_is_refused_by_the_installer(live: Path, wheels: Path) -> None:
    before = snapshot(live)
    with pytest.raises(ApplyError, match="Hash mismatch"):
        install(live / "bin/python", lock_of([LockedPackage("demo", "1", "2", None, None, ("0" * 64,), "PyPI")]))
    assert snapshot(live) == before

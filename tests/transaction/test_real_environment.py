"""A real virtual environment, real wheels and uv: scripts work after the exchange, nothing writes into what is shared."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import pytest

from archfit.errors import ApplyError
from archfit.model import Verification
from archfit.transaction import Change, apply, read_history, roll_back
from archfit.transaction.installer import Lock, install
from laboratory import PASSED, STATES, around, assert_settled, output_of, quiet, sha256, snapshot


def site(root: Path) -> Path:
    return next(root.glob("lib/python3*/site-packages"))


def installed(root: Path) -> dict[str, str]:
    """Names and versions, as their metadata say."""
    return {d.name: d.version for d in distributions(path=[str(site(root))])}


def lock_of(wheels: Path, *pins: str) -> Lock:
    """A lock of these releases, with the true hashes."""
    rows = (pin.split("==") for pin in pins)
    lines = (f"{n}=={v} --hash=sha256:{sha256(wheels / f'{n}-{v}-py3-none-any.whl')}\n" for n, v in rows)
    return Lock("".join(lines), None, ())


def upgrade_to(version: str, wheels: Path, verify: Callable[[Path], Verification] = lambda _: PASSED) -> Change:
    lock = lock_of(wheels, f"demo=={version}")
    return Change(f"before {version}", f"demo {version}", "", lambda clone: install(clone / "bin/python", lock), verify)


def test_forth_and_back_and_forth(live: Path, wheels: Path) -> None:
    old = snapshot(live)
    assert installed(live) == {"demo": "1", "owner": "1"}
    apply(live, upgrade_to("2", wheels), quiet)
    new = snapshot(live)
    assert installed(live) == {"demo": "2", "owner": "1"}
    roll_back(live, None)
    assert snapshot(live) == old
    roll_back(live, None)
    assert snapshot(live) == new
    assert_settled(live)


def test_the_library_is_the_one_of_the_wheel(live: Path, wheels: Path) -> None:
    data = Path(__file__).parents[1] / "data"
    assert sha256(site(live) / "demo/libdemo.so") == sha256(data / "libsm_75.so")
    apply(live, upgrade_to("2", wheels), quiet)
    assert sha256(site(live) / "demo/libdemo.so") == sha256(data / "libsm_120.so")


@pytest.mark.parametrize("script", ["demo", "demo-raw", "other"])
def test_scripts_run_the_python_of_the_live_environment(live: Path, wheels: Path, script: str) -> None:
    assert output_of(live / "bin" / script) == f"demo 1 {live}"
    apply(live, upgrade_to("2", wheels), quiet)
    assert output_of(live / "bin" / script) == f"demo 2 {live}"
    roll_back(live, None)
    assert output_of(live / "bin" / script) == f"demo 1 {live}"
    apply(live, upgrade_to("3", wheels), quiet)
    assert output_of(live / "bin" / script) == f"demo 3 {live}"


def test_no_file_of_the_new_environment_names_the_clone(live: Path, wheels: Path) -> None:
    apply(live, upgrade_to("2", wheels), quiet)
    needle = os.fsencode(f"{live}.archfit")
    files = (p for p in live.rglob("*") if p.is_file() and not p.is_symlink())
    assert [p for p in files if needle in p.read_bytes()] == []


def test_scripts_work_through_a_link_on_the_path(live: Path, wheels: Path, tmp_path: Path) -> None:
    apply(live, upgrade_to("2", wheels), quiet)
    (tmp_path / "demo").symlink_to(live / "bin/demo")
    assert output_of(tmp_path / "demo") == f"demo 2 {live}"


def test_several_upgrades_and_back_to_any(live: Path, wheels: Path) -> None:
    seen = {1: snapshot(live)}
    for number, version in ((2, "2"), (3, "3"), (4, "1")):
        apply(live, upgrade_to(version, wheels), quiet)
        seen[number] = snapshot(live)
    for number in (2, 1, 4, 3, 1):
        roll_back(live, number)
        assert snapshot(live) == seen[number]
        assert_settled(live)
    assert [(s.id, s.label, s.live) for s in read_history(live).states] == [
        (1, "before 2", True),
        (2, "demo 2", False),
        (3, "demo 3", False),
        (4, "demo 1", False),
    ]


def test_the_clone_is_verified_with_its_own_python(live: Path, wheels: Path) -> None:
    seen: list[str] = []

    def verify(clone: Path) -> Verification:
        seen.append(output_of(clone / "bin/python", "-Bc", "import demo; demo.main()"))
        return PASSED

    apply(live, upgrade_to("2", wheels, verify), quiet)
    assert seen == [f"demo 2 {live}.archfit-2"]


MODES = {
    "hard links": {"UV_LINK_MODE": "hardlink"},
    "copies": {"UV_LINK_MODE": "copy"},  # what uv does where its cache is on another disk
    "clones": {"UV_LINK_MODE": "clone"},
    "compiled": {"UV_COMPILE_BYTECODE": "1"},
    "compiled copies": {"UV_COMPILE_BYTECODE": "1", "UV_LINK_MODE": "copy"},
}


@pytest.fixture
def crowded(live: Path) -> Path:
    """With everything in place that uv could be tempted to write into: stale bytecode, files and scripts of others."""
    subprocess.run([live / "bin/python", "-m", "compileall", "-q", site(live)], check=True)
    os.utime(site(live) / "shared/common.py", (1, 1))  # its bytecode is stale now
    (site(live) / "demo/extra.py").write_text("mine = True\n", "utf-8")  # demo 2 brings one of the same name
    (live / "bin/other").chmod(0o700)
    return live


@pytest.mark.parametrize("mode", MODES)
def test_installing_never_writes_into_what_the_live_environment_shares(
    crowded: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    for name, value in MODES[mode].items():
        monkeypatch.setenv(name, value)
    old = snapshot(crowded)
    apply(crowded, upgrade_to("2", wheels), quiet)
    assert snapshot(crowded.with_name("live.archfit-1")) == old
    assert (site(crowded) / "shared/common.py").read_text("utf-8") == "whose = 'demo'\n"
    assert (site(crowded) / "demo/extra.py").read_text("utf-8") == "extra = True\n"


def test_running_the_new_environment_leaves_the_kept_one_alone(live: Path, wheels: Path) -> None:
    """Python writes bytecode while it runs; that too replaces files."""
    output_of(live / "bin/demo")
    old = snapshot(live)
    apply(live, upgrade_to("2", wheels), quiet)
    output_of(live / "bin/demo")
    output_of(live / "bin/python", "-c", "import shared.common, demo.extra")
    assert snapshot(live.with_name("live.archfit-1")) == old


def test_a_wrong_hash_is_refused_and_nothing_changed(live: Path) -> None:
    before = snapshot(live)
    lock = Lock(f"demo==2 --hash=sha256:{'0' * 64}\n", None, ())
    change = Change("demo 1", "demo 2", "", lambda clone: install(clone / "bin/python", lock), lambda _: PASSED)
    with pytest.raises(ApplyError) as caught:
        apply(live, change, quiet)
    assert caught.value.key == "install-failed"
    assert "Hash mismatch" in str(caught.value.values["cause"])
    assert snapshot(live) == before
    assert_settled(live)


def test_where_the_exchange_is_refused_the_environment_still_works(
    live: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    before = snapshot(live)
    monkeypatch.setattr(STATES, "exchange", refuse)
    with pytest.raises(ApplyError, match="apply-os-error"):
        apply(live, upgrade_to("2", wheels), quiet)
    assert snapshot(live) == before
    assert around(live) == {"", ".archfit"}
    assert output_of(live / "bin/demo") == f"demo 1 {live}"


def test_an_environment_that_was_relocatable_before_stays_so(live: Path, wheels: Path) -> None:
    with (live / "pyvenv.cfg").open("a") as file:
        file.write("relocatable = true\n")
    text = (live / "pyvenv.cfg").read_text("utf-8")
    apply(live, upgrade_to("2", wheels), quiet)
    assert (live / "pyvenv.cfg").read_text("utf-8") == text
    assert output_of(live / "bin/demo") == f"demo 2 {live}"


def test_an_editable_install_survives(live: Path, wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/mine.py").write_text("import demo; print(demo.version)", "utf-8")
    (site(live) / "mine.pth").write_text(f"{tmp_path / 'src'}\n", "utf-8")
    apply(live, upgrade_to("2", wheels), quiet)
    assert output_of(live / "bin/python", "-m", "mine") == "2"
    roll_back(live, None)
    assert output_of(live / "bin/python", "-m", "mine") == "1"

"""uv: resolved to pins with hashes, what can stay stays, and every way of failing has its error."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfit.errors import ApplyError, ExitCode, ObserveError
from archfit.model import LockedPackage
from archfit.report.messages import Messages
from archfit.transaction.installer import (
    Lock,
    cache_folder,
    create_environment,
    find_python,
    install,
    resolve,
)
from archfit.uv import uv_path
from laboratory import PLATFORMS, sha256, snapshot


def python_of(root: Path) -> Path:
    return root / "bin/python"


def whole(name: str, version: str) -> str:
    return f"{name}-{version}-py3-none-any.whl"


# --- resolve ---------------------------------------------------------------------------------------------------------


def test_a_lock_has_pins_with_hashes(live: Path, wheels: Path) -> None:
    digest = sha256(wheels / whole("demo", "2"))
    lock = resolve(python_of(live), ["demo==2"], {"demo": "1", "owner": "1"})
    assert lock == Lock(
        requirements=f"demo==2 --hash=sha256:{digest}\n",
        index=None,
        changes=(LockedPackage("demo", "1", "2", None, digest, (digest,), "PyPI"),),
    )


def test_a_folder_of_wheels_tells_no_sizes(live: Path) -> None:
    assert resolve(python_of(live), ["demo==2"], {}).download_bytes is None


def test_an_index_tells_sizes_and_is_kept_in_the_lock(live: Path, wheels: Path, index: str) -> None:
    wheel = wheels / whole("demo", "2")
    lock = resolve(python_of(live), ["demo==2"], {"demo": "1"}, index=index)
    assert lock.index == index
    assert lock.changes == (
        LockedPackage("demo", "1", "2", wheel.stat().st_size, sha256(wheel), (sha256(wheel),), index),
    )
    assert lock.download_bytes == wheel.stat().st_size


def test_an_index_is_installed_from(live: Path, index: str) -> None:
    install(python_of(live), resolve(python_of(live), ["demo==3"], {"demo": "1"}, index=index))
    assert list(live.glob("lib/python3*/site-packages/demo-*")) == [
        next(live.glob("lib/python3*/site-packages")) / "demo-3.dist-info"
    ]


def test_the_file_that_counts_is_the_one_for_this_machine(live: Path, wheels: Path, index: str) -> None:
    """A release has a wheel for each platform; only ours is loaded."""
    ours = wheels / f"wide-1-py3-none-{PLATFORMS[1]}.whl"
    lock = resolve(python_of(live), ["wide==1"], {"demo": "1"}, index=index)
    assert lock.changes == (
        LockedPackage("wide", None, "1", ours.stat().st_size, sha256(ours), (sha256(ours),), index),
    )


def test_what_can_stay_stays(live: Path) -> None:
    assert resolve(python_of(live), ["demo", "owner"], {"demo": "1", "owner": "1"}).changes == ()
    changes = resolve(python_of(live), ["demo==2", "owner"], {"demo": "1", "owner": "1"}).changes
    assert [(c.name, c.current, c.wanted) for c in changes] == [("demo", "1", "2")]


def test_versions_that_no_standard_knows_are_no_preference(live: Path) -> None:
    """Debian installs distro-info 1.1build1; uv would refuse the whole list for it."""
    assert [c.wanted for c in resolve(python_of(live), ["demo==2"], {"distro-info": "1.1build1"}).changes] == ["2"]


def test_without_a_preference_the_newest_is_taken(live: Path) -> None:
    changes = resolve(python_of(live), ["demo", "owner"], {}).changes
    assert [(c.name, c.current, c.wanted) for c in changes] == [("demo", None, "3"), ("owner", None, "2")]


def test_what_must_move_moves(live: Path) -> None:
    changes = resolve(python_of(live), ["needy==1"], {"demo": "3"}).changes
    assert [(c.name, c.current, c.wanted) for c in changes] == [("demo", "3", "1"), ("needy", None, "1")]


def test_another_build_of_the_same_version_is_a_change(live: Path) -> None:
    lock = resolve(python_of(live), ["demo==1"], {"demo": "1"}, reinstall=["demo"])
    assert [(c.name, c.current, c.wanted) for c in lock.changes] == [("demo", "1", "1")]


def test_resolving_writes_nothing_into_the_environment(live: Path) -> None:
    before = snapshot(live)
    resolve(python_of(live), ["demo==2"], {"demo": "1"})
    assert snapshot(live) == before


IMPOSSIBLE = {
    "no such version": ["demo==99"],
    "no such package": ["nothing-of-this-name"],
    "contradiction": ["demo==2", "needy==1"],
    "no requirement": ["demo === 2 ==="],
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_resolved_is_said_in_uvs_words(live: Path, case: str) -> None:
    specs = IMPOSSIBLE[case]
    with pytest.raises(ObserveError) as caught:
        resolve(python_of(live), specs, {"demo": "1"})
    error = caught.value
    assert (error.key, error.exit_code, error.values["specs"]) == (
        "resolve-failed",
        ExitCode.UNDECIDED,
        " ".join(specs),
    )
    assert specs[0].split("=")[0].strip() in str(error.values["cause"])


def test_without_network_the_next_step_is_said(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_OFFLINE", "UV_NO_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(ObserveError) as caught:
        resolve(python_of(live), ["demo==2"], {}, index="http://127.0.0.1:9/simple")
    assert caught.value.key == "resolve-failed"
    assert "http://127.0.0.1:9/simple" in str(caught.value.values["cause"])
    assert Messages("en").hint(caught.value) == (
        "check the network and the package index; uv's own settings apply (UV_INDEX_URL, HTTPS_PROXY)"
    )


# --- install ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requirements", "words"),
    [
        (f"demo==2 --hash=sha256:{'0' * 64}\n", "Hash mismatch"),
        ("demo==2\n", "must have a hash"),
        (f"demo==99 --hash=sha256:{'0' * 64}\n", "no version of demo==99"),
    ],
    ids=["wrong hash", "no hash", "no such version"],
)
def test_what_is_not_the_locked_file_is_not_installed(live: Path, requirements: str, words: str) -> None:
    before = snapshot(live)
    with pytest.raises(ApplyError) as caught:
        install(python_of(live), Lock(requirements, None, ()))
    assert (caught.value.key, caught.value.exit_code) == ("install-failed", ExitCode.APPLY_REVERTED)
    assert words in str(caught.value.values["cause"])
    assert snapshot(live) == before


def test_reinstalling_puts_damaged_files_right(live: Path) -> None:
    module = next(live.glob("lib/python3*/site-packages/demo/__init__.py"))
    original = module.read_bytes()
    module.unlink()
    module.write_text("broken", "utf-8")
    lock = resolve(python_of(live), ["demo==1"], {"demo": "1"}, reinstall=["demo"])
    install(python_of(live), lock)
    assert module.read_text("utf-8") == "broken"
    install(python_of(live), lock, reinstall=["demo"])
    assert module.read_bytes() == original


def test_dependencies_that_the_lock_does_not_name_are_not_installed(live: Path, wheels: Path) -> None:
    digest = sha256(wheels / whole("needy", "1"))
    install(python_of(live), Lock(f"needy==1 --hash=sha256:{digest}\n", None, ()))
    names = {p.name for p in live.glob("lib/python3*/site-packages/*.dist-info")}
    assert names == {"demo-1.dist-info", "owner-1.dist-info", "needy-1.dist-info"}


def test_a_python_that_is_gone_is_an_error_of_uv(tmp_path: Path, offline: Path) -> None:
    with pytest.raises(ApplyError, match="install-failed"):
        install(tmp_path / "bin/python", Lock("", None, ()))
    with pytest.raises(ObserveError, match="resolve-failed"):
        resolve(tmp_path / "bin/python", ["demo"], {})


# --- the rest of uv --------------------------------------------------------------------------------------------------


def test_an_environment_that_cannot_be_made_is_an_error(tmp_path: Path, offline: Path) -> None:
    with pytest.raises(ApplyError, match="install-failed"):
        create_environment(tmp_path / "env", str(tmp_path / "no python"), ["demo"])


def test_a_python_is_found_or_not(offline: Path, live: Path) -> None:
    found = find_python(str(python_of(live)))
    assert found is not None
    assert found.samefile(python_of(live))
    assert find_python("3.99") is None


def test_the_cache_is_where_uv_says(offline: Path, uv_cache: Path) -> None:
    assert cache_folder() == uv_cache


def test_uv_is_the_one_that_came_with_archfit() -> None:
    assert Path(uv_path()).name == "uv"

"""A requirement is read from the package index by ranges: good servers, bad servers, and what is never shown."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from index import Index, Manners, make_wheel, serve

from archfit import api
from archfit.cli import run
from archfit.errors import ArchfitError, ObserveError, UsageError
from archfit.model import Subject
from archfit.scan import index as reader
from worlds import DATA, library

Serving = Callable[[Manners], AbstractContextManager[Index]]
HERE = {"platform": "linux-x86_64", "python": "3.11"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the index that whoever runs the tests has set, and no waiting between tries."""
    for name in [name for name in os.environ if name.startswith("UV_") and name != "UV_CACHE_DIR"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setattr(reader, "_PAUSE_S", 0)


@pytest.fixture
def serving(wheelhouse: Path, monkeypatch: pytest.MonkeyPatch) -> Serving:
    @contextmanager
    def start(manners: Manners) -> Iterator[Index]:
        with serve(wheelhouse, manners) as index:
            monkeypatch.setenv(
                "UV_DEFAULT_INDEX", index.url.replace("://", f"://{manners.login}@" if manners.login else "://")
            )
            yield index

    return start


def scanned(requirement: str = "kernels", **wish: object) -> Subject:
    return api.scan(api.ScanWish(requirement, **{**HERE, **wish}))  # type: ignore[arg-type]


def fails(kind: type[ArchfitError] = ObserveError, requirement: str = "kernels", **wish: object) -> ArchfitError:
    with pytest.raises(kind) as caught:
        scanned(requirement, **wish)
    return caught.value


# --- good servers ----------------------------------------------------------------------------------------------------


def test_a_requirement_is_read_like_the_wheel_on_disk(serving: Serving, wheelhouse: Path) -> None:
    path = wheelhouse / "kernels-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    with serving(Manners()):
        remote = scanned(use_cache=False)
    local = api.scan(api.ScanWish(str(path), use_cache=False))
    assert (remote.kind, remote.file, remote.name) == ("requirement", path.name, "kernels")
    assert (remote.distributions, remote.sha256, remote.size_bytes) == (
        local.distributions,
        local.sha256,
        local.size_bytes,
    )


@pytest.mark.parametrize(
    ("platform", "python", "fixture"),
    [
        ("linux-x86_64", "3.11", "libserver.so"),
        ("linux-x86_64", "3.12", "libpartial.so"),
        ("linux-aarch64", "3.12", "libaarch64.so"),
        ("windows-x86_64", "3.12", "code.dll"),
    ],
)
def test_platform_and_python_choose_the_wheel(serving: Serving, platform: str, python: str, fixture: str) -> None:
    with serving(Manners()):
        assert scanned(platform=platform, python=python).libraries == (library("kernels/_C.so", fixture),)


def test_a_free_threaded_python_gets_its_own_wheel(serving: Serving, wheelhouse: Path) -> None:
    for abi, fixture in (("cp313", "libserver.so"), ("cp313t", "libpartial.so")):
        make_wheel(wheelhouse, f"kernels-1.0-cp313-{abi}-manylinux_2_28_x86_64.whl", {"kernels/_C.so": fixture})
    with serving(Manners()):
        for python, fixture in (("3.13", "libserver.so"), ("3.13t", "libpartial.so")):
            found = scanned(platform="linux-x86_64", python=python)
            assert found.libraries == (library("kernels/_C.so", fixture),)


def test_no_wheel_for_a_platform(serving: Serving) -> None:
    with serving(Manners()):
        assert fails(platform="windows-x86_64", python="3.11").key == "wheel-not-found"


def test_only_parts_of_the_file_are_asked_for(serving: Serving, wheelhouse: Path) -> None:
    make_wheel(
        wheelhouse, "large-1.0-py3-none-any.whl", {"large/a.txt": os.urandom(2_000_000), "large/_C.so": "libserver.so"}
    )
    manners = Manners()
    with serving(manners):
        scanned("large")
    sizes = [int(end) - int(start) + 1 for _, asked in manners.asked for start, end in [asked[6:].split("-")]]
    assert sum(sizes) < 200_000


def test_a_redirect_is_followed(serving: Serving) -> None:
    with serving(Manners(redirect=True)):
        assert len(scanned().libraries) == 1


def test_a_connection_that_breaks_is_taken_up_where_it_broke(serving: Serving, wheelhouse: Path) -> None:
    """More often than would be tried again without getting on."""
    code = (DATA / "libserver.so").read_bytes() + os.urandom(1_000_000)
    make_wheel(wheelhouse, "large-1.0-py3-none-any.whl", {"large/_C.so": code})
    manners = Manners(breaks=reader._TRIES + 1)
    with serving(manners):
        found = scanned("large").libraries
    assert found[0].containers == library("large/_C.so", "libserver.so").containers
    assert manners.breaks == 0


def test_credentials_of_the_index_are_used_for_the_file(serving: Serving) -> None:
    with serving(Manners(login="me:hush")):
        assert len(scanned().libraries) == 1


def test_a_wheel_in_a_folder_that_uv_looks_in(wheelhouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_FIND_LINKS", str(wheelhouse))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    assert scanned().libraries == (library("kernels/_C.so", "libserver.so"),)


# --- bad servers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manners", "key", "cause"),
    [
        (Manners(ranges=False), "index-no-ranges", None),
        (Manners(status=404), "index-unreachable", "HTTP 404"),
        (Manners(status=500), "index-unreachable", "HTTP 500"),
        (Manners(status=429), "index-unreachable", "HTTP 429"),
        (Manners(breaks=1000, silent=True), "index-unreachable", None),
    ],
    ids=["no ranges", "404", "500", "429", "always breaks"],
)
def test_a_server_that_does_not_send(serving: Serving, manners: Manners, key: str, cause: str | None) -> None:
    with serving(manners):
        error = fails()
    assert error.key == key
    assert cause in (None, error.values.get("cause"))


def test_a_server_that_is_busy_is_asked_again(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    manners = Manners(status=503)
    monkeypatch.setattr(reader.time, "sleep", lambda _: setattr(manners, "status", 0))
    with serving(manners):
        assert len(scanned().libraries) == 1


def test_no_server_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple/")
    assert fails().key == "index-silent"


def test_no_network_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert fails().key == "index-silent"


def test_no_network_wanted_though_uv_still_knows_the_wheel(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    manners = Manners()
    with serving(manners):
        scanned(use_cache=False)
        asked = len(manners.asked)
        monkeypatch.setenv("UV_OFFLINE", "true")
        assert fails(use_cache=False).key in ("index-unreachable", "index-silent")
        assert len(manners.asked) == asked
        assert scanned().cached


def test_no_such_package(serving: Serving) -> None:
    with serving(Manners()):
        assert fails(requirement="no-such-package").key == "wheel-not-found"


def test_a_marker_that_excludes_everything() -> None:
    assert fails(UsageError, 'kernels; python_version < "3"').key == "requirement-excluded"


# --- what is never shown ---------------------------------------------------------------------------------------------


Outputs = Callable[..., str]


@pytest.fixture
def outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Outputs:
    """All that a person or a log gets to see of a requirement, one after the other."""

    def call(requirement: str) -> str:
        files = [tmp_path / "answer.json", tmp_path / "answer.sarif"]
        for words in (
            ["scan", "-o", files[0]],
            ["scan", "--json", "-v"],
            ["audit", "--require", "7.5", "-o", files[1]],
        ):
            run([*map(str, words), requirement, "--python", "3.11", "--platform", "linux-x86_64"])
        out, err = capsys.readouterr()
        return out + err + "".join(file.read_text("utf-8") for file in files if file.exists())

    return call


@pytest.mark.parametrize("manners", [Manners(login="me:hush"), Manners(login="me:hush", status=404)], ids=["ok", "404"])
def test_credentials_of_the_index_are_in_no_output(serving: Serving, outputs: Outputs, manners: Manners) -> None:
    manners.redirect = True
    with serving(manners):
        told = outputs("kernels")
    assert "kernels" in told
    assert "hush" not in told


def test_wrong_credentials_are_in_no_output_either(
    outputs: Outputs, wheelhouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(wheelhouse, Manners(login="me:right")) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url.replace("://", "://me:hush@"))
        told = outputs("kernels")
    assert "credentials" in told
    assert "hush" not in told


def test_credentials_in_a_requirement_are_in_no_output(wheelhouse: Path, outputs: Outputs) -> None:
    with serve(wheelhouse, Manners(login="me:hush")) as index:
        file = "kernels-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
        told = outputs(f"kernels @ http://me:hush@127.0.0.1:{index.port}/files/{file}")
    assert "kernels" in told
    assert "hush" not in told


def test_an_address_without_its_secrets() -> None:
    text = "could not read https://me:hush@host:8080/a/b.whl?sig=hush&x=1 (see http://host/)"
    assert reader.without_secrets(text) == "could not read https://host:8080/a/b.whl (see http://host/)"


def test_json_of_a_requirement_names_the_wheel(serving: Serving, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Manners()):
        assert run(["scan", "kernels==1.0", "--json", "--python", "3.12", "--platform", "windows-x86_64"]) == 0
    subject = json.loads(capsys.readouterr().out)["subjects"][0]
    assert (subject["subject"], subject["kind"], subject["file"], subject["package"], subject["version"]) == (
        "kernels==1.0",
        "requirement",
        "kernels-1.0-cp312-cp312-win_amd64.whl",
        "kernels",
        "1.0",
    )

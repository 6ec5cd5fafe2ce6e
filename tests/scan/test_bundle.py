"""A bundle is filled from an index, taken up where it was cut, and held against its hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from index import Manners, make_wheel, serve
from packaging.tags import Tag

from archfit.bundle import Target, fill, find_wheels
from archfit.cli import run
from archfit.errors import ApplyError, ObserveError
from archfit.model import LockedPackage
from archfit.scan.index import RemoteWheel
from archfit.scan.tags import best_fit, tags_for
from archfit.transaction.bundle import check_bundle
from worlds import TORCH_2_4_1, build_environment

HERE = Target("cp311", "linux_x86_64", "glibc 2.36")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def locked(wheelhouse: Path, *files: str) -> list[LockedPackage]:
    """As the resolver pins a package: every file of the version."""
    by_name: dict[tuple[str, str], list[str]] = {}
    for file in files:
        name, version = file.split("-")[:2]
        by_name.setdefault((name, version), []).append(sha256(wheelhouse / file))
    return [LockedPackage(n, None, v, None, h[0], tuple(h), "PyPI") for (n, v), h in by_name.items()]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    for file in (
        "kernels-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "kernels-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "kernels-1.0-cp311-cp311-manylinux_2_39_x86_64.whl",
        "kernels-1.0-cp311-cp311-win_amd64.whl",
        "plain-2.0-py3-none-any.whl",
    ):
        make_wheel(folder, file, {f"{file}/payload": file.encode() * 500})
    return folder


class TestChoice:
    @pytest.mark.parametrize(
        ("target", "file"),
        [
            (HERE, "kernels-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"),
            (Target("cp311", "linux_x86_64", "glibc 2.41"), "kernels-1.0-cp311-cp311-manylinux_2_39_x86_64.whl"),
            (Target("cp311", "linux_x86_64", None), "kernels-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"),
            (Target("cp312", "linux_x86_64", None), "kernels-1.0-cp312-cp312-manylinux_2_28_x86_64.whl"),
            (Target("cp311", "win_amd64", None), "kernels-1.0-cp311-cp311-win_amd64.whl"),
        ],
    )
    def test_the_file_is_that_of_the_target(
        self, wheels: Path, target: Target, file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serve(wheels) as index:
            monkeypatch.setenv("UV_INDEX_URL", index.url)
            files = sorted(p.name for p in wheels.iterdir())
            found = find_wheels(locked(wheels, *files), target)
        assert sorted(f.file for f in found) == sorted([file, "plain-2.0-py3-none-any.whl"])

    def test_only_files_that_the_plan_allows(self, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package = LockedPackage("kernels", None, "1.0", None, "0" * 64, ("0" * 64,), "PyPI")
        with serve(wheels) as index:
            monkeypatch.setenv("UV_INDEX_URL", index.url)
            with pytest.raises(ObserveError, match="bundle-no-wheel"):
                find_wheels([package], HERE)

    def test_an_older_python_and_a_free_threaded_one(self) -> None:
        assert Tag("cp38", "cp38", "manylinux2014_x86_64") in tags_for("cp38", "linux_x86_64", "glibc 2.17")
        assert Tag("cp313", "cp313t", "win_amd64") in tags_for("cp313t", "win_amd64", None)
        assert best_fit(
            ["x-1.0-cp39-abi3-manylinux_2_17_aarch64.whl", "no wheel"], tags_for("cp312", "linux_aarch64", None)
        )


class TestFill:
    def remote(self, wheels: Path, url: str, file: str = "plain-2.0-py3-none-any.whl") -> RemoteWheel:
        path = wheels / file
        return RemoteWheel(file, f"{url.removesuffix('simple/')}files/{file}", path.stat().st_size, sha256(path))

    def test_what_is_loaded_is_what_the_index_promised(self, wheels: Path, tmp_path: Path) -> None:
        told: list[int] = []
        totals: list[int] = []
        with serve(wheels) as index:
            files = [self.remote(wheels, index.url, p.name) for p in sorted(wheels.iterdir())]
            loaded = fill(tmp_path / "bundle", files, told.append, totals.append)
        assert {w.file: w.sha256 for w in loaded} == {p.name: sha256(p) for p in wheels.iterdir()}
        assert sum(told) == totals[0] == sum(p.stat().st_size for p in wheels.iterdir())
        assert sorted(p.name for p in (tmp_path / "bundle/wheels").iterdir()) == sorted(
            p.name for p in wheels.iterdir()
        )

    def test_a_file_that_was_cut_is_taken_up_where_it_ended(self, wheels: Path, tmp_path: Path) -> None:
        part = tmp_path / "bundle/wheels/plain-2.0-py3-none-any.whl.part"
        part.parent.mkdir(parents=True)
        part.write_bytes((wheels / "plain-2.0-py3-none-any.whl").read_bytes()[:300])
        with serve(wheels) as index:
            fill(tmp_path / "bundle", [self.remote(wheels, index.url)])
            ranges = [asked for _, asked in index.manners.asked]
        assert ranges[0].startswith("bytes=300-")
        assert sha256(tmp_path / "bundle/wheels/plain-2.0-py3-none-any.whl") == sha256(
            wheels / "plain-2.0-py3-none-any.whl"
        )

    def test_what_lies_there_is_not_loaded_again(self, wheels: Path, tmp_path: Path) -> None:
        with serve(wheels) as index:
            file = self.remote(wheels, index.url)
            first = fill(tmp_path / "bundle", [file])
            asked = len(index.manners.asked)
            assert fill(tmp_path / "bundle", [file]) == first
            assert len(index.manners.asked) == asked

    def test_a_damaged_file_is_loaded_anew(self, wheels: Path, tmp_path: Path) -> None:
        with serve(wheels) as index:
            file = self.remote(wheels, index.url)
            fill(tmp_path / "bundle", [file])
            path = tmp_path / "bundle/wheels" / file.file
            path.write_bytes(b"damaged")
            fill(tmp_path / "bundle", [file])
        assert sha256(path) == file.sha256

    @pytest.mark.parametrize("rest", [b"", b"x" * 300])
    def test_other_bytes_than_promised_are_refused_and_leave_no_rest(
        self, wheels: Path, tmp_path: Path, rest: bytes
    ) -> None:
        folder = tmp_path / "bundle/wheels"
        folder.mkdir(parents=True)
        with serve(wheels) as index:
            file = self.remote(wheels, index.url)
            if rest:
                (folder / f"{file.file}.part").write_bytes(rest)
            else:
                file = RemoteWheel(file.file, file.url, file.size_bytes, "0" * 64)
            with pytest.raises(ApplyError, match="bundle-wrong-bytes"):
                fill(tmp_path / "bundle", [file])
        assert list(folder.iterdir()) == []

    def test_a_connection_that_breaks_is_taken_up_again(self, wheels: Path, tmp_path: Path) -> None:
        make_wheel(wheels, "large-1.0-py3-none-any.whl", {"large/data": bytes(range(256)) * 400})
        with serve(wheels, Manners(breaks=2)) as index:
            file = self.remote(wheels, index.url, "large-1.0-py3-none-any.whl")
            assert fill(tmp_path / "bundle", [file])[0].sha256 == file.sha256

    def test_a_server_that_is_gone_is_said_and_what_was_loaded_stays(self, wheels: Path, tmp_path: Path) -> None:
        with serve(wheels) as index:
            file = self.remote(wheels, index.url)
            fill(tmp_path / "bundle", [file])
            gone = self.remote(wheels, index.url, "kernels-1.0-cp311-cp311-win_amd64.whl")
        with pytest.raises(ObserveError, match="index-unreachable"):
            fill(tmp_path / "bundle", [file, gone])
        assert (tmp_path / "bundle/wheels" / file.file).is_file()

    def test_no_room_is_said_before_anything_is_loaded(self, wheels: Path, tmp_path: Path) -> None:
        huge = RemoteWheel("x-1.0-py3-none-any.whl", "http://127.0.0.1:9/x", 1 << 60, "0" * 64)
        with pytest.raises(ApplyError, match="bundle-no-room"):
            fill(tmp_path / "bundle", [huge])

    def test_a_folder_that_cannot_be_made(self, wheels: Path, tmp_path: Path) -> None:
        (tmp_path / "bundle").write_text("a file")
        with pytest.raises(ApplyError, match="bundle-unwritable"):
            fill(tmp_path / "bundle", [])


class TestCommand:
    WORDS = ("--gpu", "RTX 5090", "--driver", "580.65.06")

    @pytest.fixture
    def environment(self, tmp_path: Path) -> Path:
        return build_environment(tmp_path / "env", TORCH_2_4_1)

    def test_plan_and_wheels_lie_in_one_folder(
        self, environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        served = tmp_path / "served"
        served.mkdir()
        make_wheel(
            served, "torch-2.8.0-cp311-cp311-manylinux_2_28_x86_64.whl", {"torch/lib/libtorch_cuda.so": "libserver.so"}
        )
        bundle = tmp_path / "bundle"
        with serve(served) as index:
            monkeypatch.setenv("UV_INDEX_URL", index.url)
            code = run(["plan", str(environment), *self.WORDS, "--offline-bundle", str(bundle)])
        told = capsys.readouterr()
        assert code == 0, told.err
        document = json.loads((bundle / "plan.json").read_text("utf-8"))
        assert document["schema"] == "archfit.plan/1"
        assert document["options"][0]["torch"]["version"] == "2.8.0"
        (wheel,) = document["bundle"]["wheels"]
        assert (wheel["file"], wheel["sha256"]) == (next(served.iterdir()).name, sha256(next(served.iterdir())))
        assert [w.file for w in check_bundle(bundle)] == [wheel["file"]]
        assert f"--plan {bundle}" in " ".join(told.err.split())

    def test_an_upgrade_takes_it_without_a_network(
        self, environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        served = tmp_path / "served"
        served.mkdir()
        file = "torch-2.8.0-cp311-cp311-manylinux_2_28_x86_64.whl"
        make_wheel(served, file, {"torch/lib/libtorch_cuda.so": "libserver.so"})
        bundle = str(tmp_path / "bundle")
        with serve(served) as index:
            monkeypatch.setenv("UV_INDEX_URL", index.url)
            run(["plan", str(environment), *self.WORDS, "--offline-bundle", bundle])
        monkeypatch.setenv("UV_OFFLINE", "1")
        capsys.readouterr()
        assert run(["upgrade", str(environment), *self.WORDS, "--plan", bundle, "--dry-run", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert [(c["package"], c["to"]) for c in document["changes"]] == [("torch", "2.8.0")]
        assert document["changes"][0]["sha256"] == sha256(served / file)

    def test_where_nothing_was_resolved_there_is_nothing_to_bundle(
        self, environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple/")
        assert run(["plan", str(environment), *self.WORDS, "--offline-bundle", str(tmp_path / "b")]) == 4
        assert "nothing can be bundled" in capsys.readouterr().err
        assert not (tmp_path / "b").exists()

    def test_offline_and_a_bundle_contradict_each_other(
        self, environment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["plan", str(environment), *self.WORDS, "--offline", "--offline-bundle", str(tmp_path / "b")]) == 2
        assert "--offline" in capsys.readouterr().err

"""Source packages: read from a file or an index, whatever is in them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from index import serve

from archfit.cli import run
from archfit.errors import FormatError, ObserveError
from archfit.scan import ScanWish, scan
from archfit.scan.look import read_source
from archfit.scan.sdist import is_sdist, read_sdist

LISTED = b'flags = ["-gencode", "arch=compute_80,code=sm_80"]\n'
MEMBERS = {
    "x-1.0/setup.py": LISTED,
    "x-1.0/csrc/x.cu": b"",
    "x-1.0/third_party/cutlass/setup.py": b"flags = ['-arch=sm_35']",
}


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_the_packages_own_build_file_counts_not_those_of_what_it_bundles(tmp_path: Path, make: object) -> None:
    name = "x-1.0.tar.gz" if make is make_tar else "x-1.0.zip"
    build = read_sdist(make(tmp_path / name, MEMBERS))  # type: ignore[operator]
    assert (build.package, build.version, build.choice, build.sources) == ("x", "1.0", "hard-coded", 1)
    assert [str(t) for t in build.targets] == ["sm_80"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mmcv-2.2.0.tar.gz", True),
        ("a/b/flash_attn-2.8.3.post2.tar.gz", True),
        ("x-1.0.zip", True),
        ("x-1.0.tgz", True),
        ("x-1.0-cp311-cp311-linux_x86_64.whl", False),
        ("tar.gz", False),
        ("notes.zip", False),
    ],
)
def test_a_source_package_is_known_by_its_name(name: str, expected: bool) -> None:
    assert is_sdist(name) is expected


class TestHostile:
    @pytest.mark.parametrize(
        "name", ["/etc/setup.py", "../x-1.0/setup.py", "x-1.0/../../setup.py", "setup.py", "x-1.0/a/setup.py"]
    )
    def test_paths_outside_the_package_are_not_read(self, tmp_path: Path, name: str) -> None:
        assert read_sdist(make_tar(tmp_path / "x-1.0.tar.gz", {name: LISTED})).targets == ()

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        secret = tmp_path / "setup.py"
        secret.write_bytes(LISTED)
        path = tmp_path / "x-1.0.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            link = tarfile.TarInfo("x-1.0/setup.py")
            link.type, link.linkname = tarfile.SYMTYPE, str(secret)
            archive.addfile(link)
        assert read_sdist(path).targets == ()

    def test_a_build_file_of_many_megabytes_is_passed_over(self, tmp_path: Path) -> None:
        path = make_tar(tmp_path / "x-1.0.tar.gz", {"x-1.0/setup.py": LISTED + b"#" * (2 << 20)})
        assert read_sdist(path).targets == ()

    def test_more_members_than_any_package_has_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("archfit.scan.sdist._MOST_MEMBERS", 2)
        with pytest.raises(FormatError, match="sdist-too-large"):
            read_sdist(make_tar(tmp_path / "x-1.0.tar.gz", MEMBERS))

    def test_a_bomb_is_refused_by_its_header(self, tmp_path: Path) -> None:
        info = tarfile.TarInfo("x-1.0/zeros.bin")
        info.size = 1 << 50
        path = tmp_path / "x-1.0.tar"
        path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
        with pytest.raises(FormatError, match="sdist-too-large"):
            read_sdist(path)

    @pytest.mark.parametrize("size", [0, 10, 200])
    def test_cut_files_are_damaged(self, tmp_path: Path, size: int) -> None:
        path = make_tar(tmp_path / "x-1.0.tar.gz", MEMBERS)
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(FormatError, match="sdist-damaged"):
            read_sdist(path)

    @pytest.mark.parametrize("name", ["x-1.0.tar.gz", "x-1.0.zip"])
    def test_garbage_is_damaged(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"\x1f\x8b" + bytes(range(256)) * 4)
        with pytest.raises(FormatError, match="sdist-damaged"):
            read_sdist(tmp_path / name)


class TestScan:
    def test_of_a_file(self, tmp_path: Path) -> None:
        path = make_tar(tmp_path / "x-1.0.tar.gz", MEMBERS)
        read: list[int] = []
        subject = scan(ScanWish(str(path)), read.append)
        assert (subject.kind, subject.file, subject.size_bytes) == ("sdist", "x-1.0.tar.gz", path.stat().st_size)
        assert (sum(read), subject.build and subject.build.choice) == (path.stat().st_size, "hard-coded")

    def test_of_a_requirement_that_has_no_wheel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for version in ("1.0", "1.1", "2.0rc1"):
            make_tar(tmp_path / f"x-{version}.tar.gz", MEMBERS)
        with serve(tmp_path) as index:
            monkeypatch.setenv("UV_INDEX_URL", index.url)
            subject = scan(ScanWish("x"))
            pinned = scan(ScanWish("x==1.0"))
        assert (subject.kind, subject.file) == ("sdist", "x-1.1.tar.gz")
        assert (pinned.file, pinned.build and [str(t) for t in pinned.build.targets]) == ("x-1.0.tar.gz", ["sm_80"])

    def test_of_a_release_for_a_plan_once_and_then_from_what_was_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        make_tar(tmp_path / "x-1.0.tar.gz", MEMBERS)
        with serve(tmp_path) as index:
            monkeypatch.setenv("UV_INDEX_URL", index.url)
            first = read_source("x==1.0", 1 << 20)
            assert read_source("nobody==1.0", 1 << 20) is None
        assert first is not None
        assert (first.choice, [str(t) for t in first.targets]) == ("hard-coded", ["sm_80"])
        assert read_source("x==1.0", 1 << 20) == first  # the server is gone

    def test_a_source_package_that_is_too_large_for_a_plan(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        make_tar(tmp_path / "x-1.0.tar.gz", MEMBERS)
        with serve(tmp_path) as index:
            monkeypatch.setenv("UV_INDEX_URL", index.url)
            assert read_source("x==1.0", 10) is None

    def test_what_was_kept_and_is_damaged_is_read_anew(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        make_tar(tmp_path / "x-1.0.tar.gz", MEMBERS)
        with serve(tmp_path) as index:
            monkeypatch.setenv("UV_INDEX_URL", index.url)
            first = read_source("x==1.0", 1 << 20)
            [kept] = (tmp_path / "cache").rglob("sources/*.json")
            kept.write_bytes(kept.read_bytes()[:-9])
            assert read_source("x==1.0", 1 << 20) == first

    def test_of_a_requirement_that_nobody_has(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with serve(tmp_path) as index:
            monkeypatch.setenv("UV_INDEX_URL", index.url)
            with pytest.raises(ObserveError, match="wheel-not-found"):
                scan(ScanWish("x"))


class TestAnswers:
    """In every form: what the build files say, never a verdict about code that is not there yet."""

    @pytest.mark.parametrize("suffix", [".md", ".html", ".json"])
    def test_name_the_line(self, tmp_path: Path, suffix: str) -> None:
        path = make_tar(tmp_path / "x-1.0.tar.gz", MEMBERS)
        out = tmp_path / f"out{suffix}"
        assert run(["scan", str(path), "--gpu", "RTX 5090", "-o", str(out)]) == 0
        text = out.read_text("utf-8")
        text = text.rpartition("</style>")[2]  # the names of its styles are no answer
        assert "setup.py" in text
        assert "arch=compute_80,code=sm_80" in text
        assert "no-gpu-code" not in text

    def test_a_release_gate_refuses_them(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = make_tar(tmp_path / "x-1.0.tar.gz", MEMBERS)
        assert run(["audit", str(path), "--require", "12.0"]) == 2
        assert "is a source package" in " ".join(capsys.readouterr().err.split())

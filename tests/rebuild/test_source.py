"""Where source code comes from, and where an installed package came from."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from archfit.rebuild import BuildError, Wanted, find_origin
from archfit.rebuild.origin import Origin
from archfit.rebuild.records import Source
from archfit.rebuild.source import fetch_source, hash_file, unpack

NOWHERE = Path("/nowhere/python")


def installed(site: Path, name: str, table: object, version: str = "1.0") -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "direct_url.json").write_text(json.dumps(table) if not isinstance(table, str) else table, "utf-8")


@pytest.mark.parametrize(
    ("table", "origin"),
    [
        ({"url": "file:///src/my%20ext", "dir_info": {}}, Origin("/src/my ext")),
        ({"url": "file:///src/ext", "dir_info": {"editable": True}}, Origin("/src/ext", in_place=True)),
        (
            {"url": "https://example.org/a.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            Origin("git+https://example.org/a.git@abc"),
        ),
        ({"url": "https://example.org/a-1.0.whl", "archive_info": {}}, None),
        ({"url": "https://example.org/a", "vcs_info": {"vcs": "hg", "commit_id": "abc"}}, None),
        ("no json", None),
        ([], None),
    ],
)
def test_the_origin_of_a_package_is_what_its_installer_wrote_down(
    tmp_path: Path, table: object, origin: Origin | None
) -> None:
    installed(tmp_path, "My_Ext", table)
    assert find_origin([tmp_path], "my-ext", "1.0") == origin


def test_a_package_from_an_index_has_no_origin(tmp_path: Path) -> None:
    installed(tmp_path, "other", {"url": "file:///src", "dir_info": {}})
    assert find_origin([tmp_path, tmp_path / "missing"], "my-ext", "1.0") is None


def folder_with(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text, "utf-8")
    return root


def test_a_folder_is_copied_without_what_was_built_in_it_and_its_hash_is_that_of_its_files(tmp_path: Path) -> None:
    origin = folder_with(tmp_path / "ext", setup__py="1", a__so="old")
    (origin / "build").mkdir()
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    wanted = Wanted("ext", "1.0", str(origin))
    first = fetch_source(wanted, NOWHERE, tmp_path / "one")
    assert sorted(path.name for path in first.path.iterdir()) == ["setup.py"]
    folder_with(origin, setup__py="2")
    assert fetch_source(wanted, NOWHERE, tmp_path / "two").sha256 != first.sha256


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        fetch_source(Wanted("ext", "1.0", str(tmp_path / "gone")), NOWHERE, tmp_path)
    assert caught.value.key == "rebuild-no-source"


def git(folder: Path, *words: str) -> str:
    me = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    done = subprocess.run(
        ["git", "-C", folder, *words], check=True, capture_output=True, text=True, env={**os.environ, **me}
    )
    return done.stdout.strip()


def test_a_git_commit_is_checked_out_whatever_came_after_it(tmp_path: Path) -> None:
    repo = folder_with(tmp_path / "repo", setup__py="first")
    git(repo, "init", "--quiet")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "-m", "first")
    commit = git(repo, "rev-parse", "HEAD")
    folder_with(repo, setup__py="second")
    git(repo, "commit", "--quiet", "-am", "second")
    (tmp_path / "work").mkdir()
    source = fetch_source(Wanted("ext", "1.0", f"git+file://{repo}@{commit}"), NOWHERE, tmp_path / "work")
    assert (source.path / "setup.py").read_text("utf-8") == "first"
    assert not (unpack(source, tmp_path / "out") / ".git").exists()


def test_a_git_address_without_a_commit_means_the_newest(tmp_path: Path) -> None:
    repo = folder_with(tmp_path / "repo", setup__py="first")
    git(repo, "init", "--quiet")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "-m", "first")
    hashes = []
    for text in ("second", "third"):
        folder_with(repo, setup__py=text)
        git(repo, "commit", "--quiet", "-am", text)
        (tmp_path / text).mkdir()
        source = fetch_source(Wanted("ext", "1.0", f"git+file://{repo}"), NOWHERE, tmp_path / text)
        assert (source.path / "setup.py").read_text("utf-8") == text
        hashes.append(source.sha256)
    assert len(set(hashes)) == 2


@pytest.mark.parametrize("tag", ["v1.0", "1.0"])
def test_a_git_address_without_a_commit_means_the_tag_of_the_release_where_there_is_one(
    tmp_path: Path, tag: str
) -> None:
    repo = folder_with(tmp_path / "repo", setup__py="released")
    git(repo, "init", "--quiet")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "-m", "first")
    git(repo, "tag", tag)
    folder_with(repo, setup__py="later")
    git(repo, "commit", "--quiet", "-am", "later")
    (tmp_path / "work").mkdir()
    source = fetch_source(Wanted("ext", "1.0", f"git+file://{repo}"), NOWHERE, tmp_path / "work")
    assert (source.path / "setup.py").read_text("utf-8") == "released"


def test_a_folder_inside_a_repository(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    folder_with(repo / "bindings/torch", setup__py="inner")
    git(repo, "init", "--quiet")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "-m", "first")
    (tmp_path / "work").mkdir()
    origin = f"git+file://{repo}#subdirectory=bindings/torch"
    source = fetch_source(Wanted("ext", "1.0", origin), NOWHERE, tmp_path / "work")
    assert (source.path / "setup.py").read_text("utf-8") == "inner"


def test_a_repository_that_cannot_be_had_tells_no_password(tmp_path: Path) -> None:
    origin = "git+https://me:secret@127.0.0.1:9/no.git@abc"
    with pytest.raises(BuildError) as caught:
        fetch_source(Wanted("ext", "1.0", origin), NOWHERE, tmp_path)
    assert "secret" not in str(caught.value)


def archive(path: Path, *members: tuple[str, str]) -> Source:
    with tarfile.open(path, "w:gz") as file:
        for name, text in members:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            file.addfile(info, io.BytesIO(text.encode()))
    return Source(path, hash_file(path))


def test_an_archive_is_unpacked_to_the_folder_in_it(tmp_path: Path) -> None:
    source = archive(tmp_path / "a-1.0.tar.gz", ("a-1.0/setup.py", "x"), ("a-1.0/a/b.cu", "y"))
    assert unpack(source, tmp_path / "out") == tmp_path / "out/a-1.0"


def test_an_archive_that_wants_out_is_refused(tmp_path: Path) -> None:
    source = archive(tmp_path / "a-1.0.tar.gz", ("../outside.py", "x"))
    with pytest.raises(BuildError) as caught:
        unpack(source, tmp_path / "out")
    assert caught.value.key == "rebuild-source"
    assert not (tmp_path / "outside.py").exists()


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a-1.0.tar.gz"
    path.write_bytes(b"no archive")
    with pytest.raises(BuildError) as caught:
        unpack(Source(path, ""), tmp_path / "out")
    assert caught.value.key == "rebuild-source"

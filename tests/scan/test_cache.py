"""Answers kept by the hash of the wheel: the second scan reads nothing, and a damaged answer is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from index import make_wheel

from archfit import api
from archfit.arch import CudaVersion
from archfit.binary import wheel as reader
from archfit.model import Subject
from worlds import DATA

EVERYTHING = {
    **{f"kernels/{path.name}": path.name for path in (*DATA.glob("*.so"), *DATA.glob("*.dll"), *DATA.glob("scale_*"))},
    "kernels/ptxas": b"\0-arch=compute_90a\0-arch=compute_120f\0Cuda compilation tools, release 12.9, V12.9.86\0",
    "torch/version.py": b"cuda = '12.9'\n",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_wheel(tmp_path, "kernels-1.0-py3-none-any.whl", EVERYTHING)


def scanned(path: Path, *, use_cache: bool = True) -> Subject:
    return api.scan(api.ScanWish(str(path), use_cache=use_cache))


def test_a_kept_answer_is_the_same_to_the_last_code_object(path: Path) -> None:
    fresh = scanned(path)
    assert (fresh.cuda, len(fresh.compilers)) == (CudaVersion(12, 9), 1)
    assert scanned(path) == replace(fresh, cached=True)


def test_the_second_time_nothing_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned(path)
    monkeypatch.setattr(reader, "list_members", None)
    monkeypatch.setattr("archfit.scan.wheels.list_members", None)
    assert scanned(path).cached
    with pytest.raises(TypeError):
        scanned(path, use_cache=False)


def test_what_could_not_be_read_is_not_kept(tmp_path: Path, own_cache: Path) -> None:
    scanned(make_wheel(tmp_path, "kernels-1.0-py3-none-any.whl", {"kernels/_C.so": b"\x7fELF"}))
    assert not own_cache.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace('"edition":', '"edition":9'),
        lambda text: json.dumps({**json.loads(text), "distribution": None}),
        lambda text: json.dumps({**json.loads(text), "cuda": "12.8"}),
        lambda text: text.replace('"kind":', '"kin":'),
        lambda text: text.replace('"targets":[', '"targets":[1,'),
    ],
)
def test_a_damaged_answer_is_ignored_and_replaced(path: Path, own_cache: Path, damage) -> None:  # type: ignore[no-untyped-def]
    fresh = scanned(path)
    (kept,) = own_cache.iterdir()
    kept.write_text(damage(kept.read_text("utf-8")), "utf-8")
    assert scanned(path) == fresh
    assert scanned(path).cached


def test_bytes_that_are_no_text_are_ignored(path: Path, own_cache: Path) -> None:
    scanned(path)
    (kept,) = own_cache.iterdir()
    kept.write_bytes(b"\xff\xfe")
    assert not scanned(path).cached


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(path: Path, own_cache: Path) -> None:
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text("a file where a folder should be")
    assert len(scanned(path).libraries) == len(EVERYTHING) - 2


def test_nothing_but_whole_answers_is_left_behind(path: Path, own_cache: Path) -> None:
    sha256 = scanned(path).sha256
    assert [file.name for file in own_cache.iterdir()] == [f"{sha256}.json"]

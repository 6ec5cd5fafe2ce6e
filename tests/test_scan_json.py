"""``archfit.scan/1``: exactly the keys that others rely on, and what they say of real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archfit import api
from archfit.arch import ComputeCapability, CudaVersion, Target
from archfit.cli import run
from archfit.model import Compiler, Distribution, Subject, Text
from archfit.report.messages import Messages
from archfit.report.scan_v1 import scan_document
from worlds import DATA, library

SM_90, SM_120 = ComputeCapability(9, 0), ComputeCapability(12, 0)

SUBJECT_KEYS = {
    "subject", "kind", "file", "sha256", "package", "version", "cuda",
    "libraries", "compilers", "unreadable", "verdicts", "build",
}  # fmt: skip
LIBRARY_KEYS = {
    "package", "path", "format", "size_bytes", "containers", "code_objects", "kinds", "sections", "sass", "ptx", "lto",
    "containers_with", "containers_without_kernels", "compression", "debug", "obfuscated", "odd", "verdicts",
}  # fmt: skip

PTXAS = Compiler("bin/ptxas", "ptxas", CudaVersion(12, 4), (Target.parse("compute_90"),))
SUBJECT = Subject(
    "dist/mine-1.0-py3-none-any.whl",
    "wheel",
    (
        Distribution(
            "mine",
            "1.0",
            libraries=(library("mine/a.so", "libpartial.so"), library("mine/b.so", "liblz4.so")),
            compilers=(PTXAS,),
        ),
    ),
    (("mine/cut.so", Text("plain", {"text": "Permission denied"})),),
    "mine-1.0-py3-none-any.whl",
    "0" * 64,
    1000,
    CudaVersion(12, 4),
)


def document(subject: Subject = SUBJECT, *, verbose: bool = False, failures: Any = ()) -> Any:
    return scan_document([subject], [SM_90, SM_120], failures, Messages("en"), verbose=verbose)


def test_the_keys_are_exactly_these() -> None:
    made = document()
    assert set(made) == {"schema", "subjects", "failures"}
    assert set(made["subjects"][0]) == SUBJECT_KEYS
    assert [set(row) for row in made["subjects"][0]["libraries"]] == [LIBRARY_KEYS] * 2
    assert set(document(verbose=True)["subjects"][0]["libraries"][0]) == LIBRARY_KEYS | {"lacking"}


def test_a_subject_whole() -> None:
    subject = {key: value for key, value in document()["subjects"][0].items() if key != "libraries"}
    assert subject == {
        "subject": "dist/mine-1.0-py3-none-any.whl",
        "kind": "wheel",
        "file": "mine-1.0-py3-none-any.whl",
        "sha256": "0" * 64,
        "package": "mine",
        "version": "1.0",
        "cuda": "12.4",
        "compilers": [
            {
                "path": "bin/ptxas",
                "kind": "ptxas",
                "cuda": "12.4",
                "targets": ["compute_90"],
                "serves": {"sm_90": True, "sm_120": False},
            }
        ],
        "unreadable": [{"path": "mine/cut.so", "reason": "Permission denied"}],
        "verdicts": {
            "sm_90": {"verdict": "jit", "decided_by": ["mine/b.so"]},
            "sm_120": {"verdict": "partial", "decided_by": ["mine/a.so"]},
        },
        "build": None,
    }


def test_a_library_whole() -> None:
    row = document(verbose=True)["subjects"][0]["libraries"][0]
    assert row == {
        "package": "mine",
        "path": "mine/a.so",
        "format": "elf",
        "size_bytes": (DATA / "libpartial.so").stat().st_size,
        "containers": 2,
        "code_objects": 5,
        "kinds": {"sass": 5},
        "sections": {".nv_fatbin": 2},
        "sass": ["sm_80", "sm_90", "sm_120"],
        "ptx": [],
        "lto": [],
        "containers_with": {"sm_80": 2, "sm_90": 2, "sm_120": 1},
        "containers_without_kernels": 0,
        "compression": row["compression"],
        "debug": False,
        "obfuscated": [],
        "odd": [],
        "verdicts": {
            "sm_90": {
                "verdict": "native",
                "containers": {"native": 2, "compatible": 0, "jit": 0, "none": 0},
                "ptx_isa": None,
                "min_driver": None,
            },
            "sm_120": {
                "verdict": "partial",
                "containers": {"native": 1, "compatible": 0, "jit": 0, "none": 1},
                "ptx_isa": None,
                "min_driver": None,
            },
        },
        "lacking": {
            "sm_90": [],
            "sm_120": [{"containers": 1, "section": ".nv_fatbin", "targets": ["sm_80", "sm_90"]}],
        },
    }


def test_what_ptx_needs_of_the_driver() -> None:
    row = document()["subjects"][0]["libraries"][1]
    assert row["ptx"] == [{"target": "compute_80", "isa": "8.4"}]
    assert row["compression"] == ["lz4"]
    verdict = row["verdicts"]["sm_120"]
    assert (verdict["verdict"], verdict["ptx_isa"]) == ("jit", "8.4")
    assert verdict["min_driver"].startswith("550.")


def test_no_key_is_a_sentence_of_a_language() -> None:
    english, chinese = (scan_document([SUBJECT], [SM_90], [], Messages(language)) for language in ("en", "zh"))
    assert english == {**chinese, "subjects": english["subjects"]}
    assert english["subjects"][0]["verdicts"] == chinese["subjects"][0]["verdicts"]


def test_failures_are_told() -> None:
    assert document(failures=[("x.so", "x.so is not there")])["failures"] == [
        {"subject": "x.so", "reason": "x.so is not there"}
    ]


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["libserver.so"], 0),
        (["libno_gpu.so"], 0),
        (["libserver.so", "/dev/null"], 3),
        (["build.sh"], 3),
        (["nothing.so"], 2),
        (["nothing.so", "/dev/null", "libserver.so"], 2),
        ([], 2),
    ],
)
def test_exit_codes(names: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [name if name.startswith("/") else str(DATA / name) for name in names]
    assert run(["scan", *paths]) == code
    _, err = capsys.readouterr()
    assert bool(err) is bool(code)


@pytest.mark.parametrize(
    "words",
    [["--gpu", "RTX 9999"], ["--platform", "beos"], ["--python", "three"], ["-o", "answer.sarif"], ["--nonsense"]],
)
def test_options_that_cannot_be_meant(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scan", str(DATA / "libserver.so"), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err


def test_json_is_one_document_and_the_file_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "answer.json"
    assert run(["scan", str(DATA / "libserver.so"), str(DATA / "gone.so"), "--json", "-o", str(file)]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads(file.read_text("utf-8"))
    assert err.startswith(f"written: {file}") or "gone.so is not there" in err


def test_a_file_that_cannot_be_read_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    run(["scan", str(DATA / "build.sh")])
    assert capsys.readouterr().err.startswith(f"error: {DATA / 'build.sh'} could not be read: ")


def test_gpus_are_judged_in_their_order_whatever_the_order_of_words() -> None:
    wanted = (ComputeCapability(7, 0), SM_90, SM_120)
    assert api.devices_of(["RTX 5090", "V100", "sm_90", "12.0"]) == wanted
    assert list(api.devices_of([])) == sorted(api.devices_of([]))

"""The comparison with cuobjdump sees every difference, and explains only what it may."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[2] / "tools/compare_cuobjdump.py"
_SPEC = importlib.util.spec_from_file_location("compare_cuobjdump", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
tool = importlib.util.module_from_spec(_SPEC)
sys.modules["compare_cuobjdump"] = tool
_SPEC.loader.exec_module(tool)
Code = tool.Code

DUMP = """
Fatbin elf code:
================
arch = sm_90a
code version = [1,7]
host = linux
compile_size = 64bit
compressed

Fatbin elf code:
================
arch = sm_100f
code version = [1,8]
host = linux
compile_size = 64bit

Fatbin ptx code:
================
arch = sm_120
code version = [9,3]
host = linux
compile_size = 64bit
compressed
ptxasOptions = -O1

Fatbin nvvm code:
================
arch = sm_75
code version = [2,0]
host = linux
compressed
nvvmOptions = -ftz=0
"""
CODES = Counter(
    {
        Code("sass", "sm_90a", "", True): 1,
        Code("sass", "sm_100f", "", False): 1,
        Code("ptx", "sm_120", "9.3", True): 1,
        Code("lto", "sm_75", "", True): 1,
    }
)
LISTS = """ELF file    1: libnccl.so.1.sm_90a.cubin
ELF file    2: libnccl.so.2.sm_100.cubin
PTX file    1: libnccl.so.1.sm_120.ptx
"""


def answer(codes: Counter[object], lists: Counter[str], version: str = "13.5") -> object:
    return tool.Answer(version, codes, lists)


def test_the_dump_says_kind_target_isa_and_compression() -> None:
    assert tool.parse_dump(DUMP) == CODES
    assert tool.parse_dump("cuobjdump info    : File 'x' does not contain device code\n") == Counter()


def test_the_lists_say_targets() -> None:
    assert tool.parse_list(LISTS) == Counter({"sass sm_90a": 1, "sass sm_100": 1, "ptx sm_120": 1})
    assert tool.listed(CODES) == tool.parse_list(LISTS)


def test_the_same_is_the_same_and_a_dropped_f_is_explained() -> None:
    assert tool.judge(CODES, answer(CODES, tool.parse_list(LISTS)), "the file") == (["f: 1"], [])


@pytest.mark.parametrize("changed", list(CODES), ids=str)
@pytest.mark.parametrize("field", Code._fields)
def test_no_difference_of_one_code_object_is_explained_away(changed: tuple[object, ...], field: str) -> None:
    other = {"kind": "tile", "target": "sm_91", "isa": "1.0", "compressed": not changed[3]}[field]
    theirs = CODES - Counter([changed]) + Counter([changed._replace(**{field: other})])  # type: ignore[attr-defined]
    _, unexplained = tool.judge(CODES, answer(theirs, tool.parse_list(LISTS)), "the file")
    assert len(unexplained) == 2


@pytest.mark.parametrize("count", [0, 2, 100])
def test_another_number_in_the_lists_is_no_explained_difference(count: int) -> None:
    lists = tool.parse_list(LISTS)
    lists["sass sm_100"] = count
    assert tool.judge(CODES, answer(CODES, lists), "the file")[1] == [
        f"the file, lists: sass sm_100: we 1, cuobjdump {count}"
    ]


def test_an_a_is_only_impossible_where_no_target_has_one() -> None:
    old = Counter({Code("sass", "sm_50", "", True): 2})
    assert tool.judge(old, answer(old, Counter({"sass sm_50": 1, "sass sm_50a": 1}), "12.4"), "x") == (
        ["a: 1 in the lists of 12.4"],
        [],
    )
    hopper = Counter({Code("sass", "sm_90", "", True): 1})
    assert len(tool.judge(hopper, answer(hopper, Counter({"sass sm_90a": 1}), "12.4"), "x")[1]) == 2


@pytest.mark.parametrize(
    ("said", "exit_code", "expected"),
    [
        ("cuobjdump fatal   : Invalid ELF in '/tmp/x y/libfoo.so'\n", 1, "Invalid ELF"),
        (
            "cuobjdump fatal   : Support for 'sm_35' has been removed. Please use CUDA toolkit 11.8 or earlier.\n",
            1,
            "no sm_35",
        ),
        ("cuobjdump info    : File 'x' does not contain device code\n", 0, ""),
        ("ELF file    1: a.1.sm_50.cubin\n", 0, ""),
        ("", -11, "signal 11"),
        ("", 0, ""),
    ],
)
def test_a_refusal_is_told_from_an_answer(said: str, exit_code: int, expected: str) -> None:
    assert tool.refusal(said, exit_code) == expected


def test_every_wheel_of_the_list_is_complete() -> None:
    wheels = tool.tomllib.loads(tool.LIST.read_text())["wheel"]
    assert len({wheel["package"] for wheel in wheels}) >= 20
    for wheel in wheels:
        assert (
            {"package", "version", "platform"} <= set(wheel) <= {"package", "version", "platform", "members", "python"}
        )
        assert wheel["platform"] in tool._TAGS

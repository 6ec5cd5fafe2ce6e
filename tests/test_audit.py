"""The release gate: what a policy is, what meets it, and how the command answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archfit import api
from archfit.arch import ComputeCapability
from archfit.audit import (
    RULES,
    Audit,
    Exemption,
    Policy,
    Violation,
    override,
    parse_capabilities,
    parse_size,
    read_policy,
)
from archfit.cli import run
from archfit.errors import UsageError
from archfit.model import Distribution, Subject, Text
from worlds import DATA, library

SM_75, SM_90, SM_120 = (ComputeCapability.parse(text) for text in ("7.5", "9.0", "12.0"))
UNREADABLE = Text("plain", {"text": "Permission denied"})


def wheel(*fixtures: str, size_bytes: int = 1000, unreadable: tuple[str, ...] = (), name: str = "mine") -> Subject:
    """A wheel with these fixtures as its libraries."""
    libraries = tuple(library(f"mine/{fixture}", fixture) for fixture in fixtures)
    broken = tuple((path, UNREADABLE) for path in unreadable)
    return Subject("dist/mine-1.0-py3-none-any.whl", "wheel", (Distribution(name, "1.0", libraries=libraries),), broken,
                   "mine-1.0-py3-none-any.whl", size_bytes=size_bytes)  # fmt: skip


def rules(audit: Audit) -> list[tuple[str, str, str]]:
    return [(v.rule, v.library, v.device.sm if v.device else "") for v in audit.violations]


# --- what meets a policy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [ComputeCapability(8, 0), ComputeCapability(8, 9), SM_90, SM_120])
def test_native_and_compatible_code_is_enough(device: ComputeCapability) -> None:
    assert api.audit(wheel("libserver.so"), Policy((device,))).passed


@pytest.mark.parametrize(
    ("fixture", "policy", "found"),
    [
        ("libserver.so", Policy((SM_75, SM_120)), [("gpu-missing", "mine/libserver.so", "sm_75")]),
        ("libpartial.so", Policy((SM_90, SM_120)), [("gpu-partial", "mine/libpartial.so", "sm_120")]),
        ("libcompute_75.so", Policy((SM_120,)), [("gpu-jit", "mine/libcompute_75.so", "sm_120")]),
        ("libcompute_75.so", Policy((SM_120,), allow_jit=True), []),
        ("libpartial.so", Policy((SM_120,), allow_jit=True), [("gpu-partial", "mine/libpartial.so", "sm_120")]),
        ("libno_gpu.so", Policy((SM_120,)), [("no-gpu-code", "", "")]),
        ("libonly_empty.so", Policy((SM_120,)), [("no-gpu-code", "", "")]),
        ("libno_gpu.so", Policy(max_bytes=1000), []),
        ("libno_gpu.so", Policy(max_bytes=999), [("wheel-too-large", "", "")]),
    ],
)
def test_rules(fixture: str, policy: Policy, found: list[tuple[str, str, str]]) -> None:
    assert rules(api.audit(wheel(fixture), policy)) == found


def test_values_of_a_violation() -> None:
    (violation,) = api.audit(wheel("libpartial.so"), Policy((SM_120,))).violations
    values = {"library": "libpartial.so", "sm": "sm_120", "missing": "1", "total": "2", "isa": "-"}
    assert violation == Violation("gpu-partial", "mine/libpartial.so", SM_120, values)


def test_what_could_not_be_read_was_not_audited() -> None:
    answer = api.audit(wheel("libserver.so", unreadable=("mine/cut.so",)), Policy((SM_120,)))
    assert answer.violations == (
        Violation("file-unreadable", "mine/cut.so", None, {"file": "mine/cut.so", "why": UNREADABLE}),
    )


def test_the_library_that_decides_is_the_one_that_is_named() -> None:
    answer = api.audit(wheel("libserver.so", "libsm_90.so"), Policy((SM_90, SM_120)))
    assert rules(answer) == [("gpu-missing", "mine/libsm_90.so", "sm_120")]


def test_of_a_folder_each_file_has_a_size() -> None:
    libraries = (library("a.so", "libserver.so"), library("b.so", "libno_gpu.so"))
    folder = Subject("build", "folder", (Distribution("build", "", libraries=libraries),))
    limit = libraries[1].size_bytes
    assert rules(api.audit(folder, Policy(max_bytes=limit))) == [("wheel-too-large", "a.so", "")]


# --- exceptions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "lacks", "excused"),
    [
        ("libserver.so", (), True),
        ("lib*.so", (SM_75,), True),
        ("mine/*.so", (SM_75,), True),
        ("other/*.so", (), False),
        ("libserver.so", (SM_120,), False),
    ],
)
def test_an_exception_covers_a_library_and_gpus(
    pattern: str, lacks: tuple[ComputeCapability, ...], excused: bool
) -> None:
    policy = Policy((SM_75,), exemptions=(Exemption(pattern, lacks, "Hopper only"),))
    answer = api.audit(wheel("libserver.so"), policy)
    assert answer.passed is excused
    assert [reason for _, reason in answer.excused] == ["Hopper only"] * excused


def test_an_exception_never_covers_what_could_not_be_read() -> None:
    policy = Policy((SM_120,), exemptions=(Exemption("*", (), "anything"),))
    assert not api.audit(wheel("libserver.so", unreadable=("mine/cut.so",)), policy).passed


# --- what a policy says ----------------------------------------------------------------------------------------------

TABLE = """
[tool.archfit.audit]
require = ["7.5", "12.0"]
allow-jit = true
max-size = "900MB"

[[tool.archfit.audit.exceptions]]
library = "libserver.so"
lacks = ["7.5"]
reason = "uses TMA"
"""
POLICY = Policy((SM_75, SM_120), True, 900_000_000, (Exemption("libserver.so", (SM_75,), "uses TMA"),))


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        (tmp_path / "pyproject.toml").write_text(text, "utf-8")
        return tmp_path / "pyproject.toml"

    return write


def test_a_policy_in_a_file(written: Callable[[str], Path]) -> None:
    assert read_policy(written(TABLE)) == POLICY


@pytest.mark.parametrize(
    "text", ["", "[tool]\nother = 1\n", "[project]\nname = 'x'\n", "tool = 5\n", "[tool]\narchfit = 5\n"]
)
def test_a_file_without_a_policy(written: Callable[[str], Path], text: str) -> None:
    assert read_policy(written(text)) == Policy()


@pytest.mark.parametrize("line", ["require = 12.0", 'require = "12.0"', "require = [12.0]", 'require = ["sm_120"]'])
def test_ways_to_require(written: Callable[[str], Path], line: str) -> None:
    assert read_policy(written(f"[tool.archfit.audit]\n{line}\n")).require == (SM_120,)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("requires = []", "policy-key"),
        ("require = true", "policy-type"),
        ("require = { a = 1 }", "policy-type"),
        ('require = ["RTX 5090"]', "policy-capability"),
        ('allow-jit = "no"', "policy-type"),
        ("max-size = true", "policy-type"),
        ('max-size = "5i"', "policy-size"),
        ('max-size = "much"', "policy-size"),
        ("exceptions = 5", "policy-type"),
        ('exceptions = ["libserver.so"]', "policy-exception"),
        ('exceptions = [{ library = "libserver.so" }]', "policy-exception"),
        ('exceptions = [{ library = "libserver.so", reason = "r", lack = "7.5" }]', "policy-exception"),
        ('exceptions = [{ library = "libserver.so", reason = "r", lacks = "x" }]', "policy-capability"),
        ("[", "policy-unreadable"),
    ],
)
def test_a_policy_that_cannot_be_meant(written: Callable[[str], Path], line: str, key: str) -> None:
    with pytest.raises(UsageError, match=key):
        read_policy(written(f"[tool.archfit.audit]\n{line}\n"))


def test_a_policy_that_is_no_table(written: Callable[[str], Path]) -> None:
    with pytest.raises(UsageError, match="policy-type"):
        read_policy(written("[tool.archfit]\naudit = 5\n"))


def test_the_command_line_wins() -> None:
    assert override(POLICY, (SM_90,), 5, allow_jit=False) == Policy((SM_90,), True, 5, POLICY.exemptions)
    assert override(POLICY, (), None, allow_jit=False) == POLICY


@pytest.mark.parametrize("words", ["7.5,12.0", "7.5, 12.0", "7.5;12.0", ("7.5", "12.0"), "sm_75,120,7.5", " 7.5 12.0,"])
def test_capabilities(words: object) -> None:
    assert parse_capabilities(words) == (SM_75, SM_120)


@pytest.mark.parametrize(
    ("text", "size"),
    [("900", 900), ("900MB", 900_000_000), ("1.5 GiB", 1_610_612_736), ("2k", 2000), ("1TB", 10**12), ("7B", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "1,5GB", "-1", "5i", "5iB", "1e9", "900 XB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="policy-size"):
        parse_size(text)


# --- the command -----------------------------------------------------------------------------------------------------

SERVER, PARTIAL = str(DATA / "libserver.so"), str(DATA / "libpartial.so")


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run ``archfit audit`` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(*words: str) -> tuple[int, str, str]:
        code = run(["audit", *words])
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((SERVER, "--require", "8.0,12.0"), 0),
        ((SERVER, "--require", "7.5"), 4),
        ((SERVER, PARTIAL, "--require", "12.0"), 4),
        ((SERVER, "/dev/null", "--require", "12.0"), 3),
        ((PARTIAL, "/dev/null", "--require", "12.0"), 4),
        ((SERVER, "nothing.so", "--require", "12.0"), 2),
        ((SERVER,), 2),
        (("--require", "12.0"), 2),
        ((SERVER, "--require", "12.0", "-o", "answer.txt"), 2),
        ((SERVER, "--require", "12.0", "--config", "nothing.toml"), 2),
        ((SERVER, "--max-size", "1GB"), 0),
        ((SERVER, "--max-size", "1kB"), 4),
    ],
)
def test_exit_codes(called: Callable[..., Any], words: tuple[str, ...], code: int) -> None:
    assert called(*words)[0] == code


def test_the_policy_of_this_folder_is_taken(called: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(TABLE)
    code, out, err = called(SERVER)
    assert (code, err) == (0, "")
    assert "excepted: libserver.so has no code for sm_75: none of 1 containers (uses TMA)" in " ".join(out.split())


def test_what_could_not_be_read_is_never_called_served(called: Callable[..., Any]) -> None:
    code, out, err = called("/dev/null", "--require", "12.0")
    assert (code, out) == (3, "1 could not be read and was not audited\n")
    assert err.startswith("error: /dev/null could not be read")


def test_json(called: Callable[..., Any]) -> None:
    code, out, _ = called(PARTIAL, "nothing.so", "--require", "9.0,12.0", "--json")
    violation = {
        "rule": "gpu-partial",
        "library": "libpartial.so",
        "gpu": "sm_120",
        "text": "libpartial.so lacks sm_120 in 1 of 2 containers",
    }
    subject = {
        "subject": PARTIAL,
        "file": "libpartial.so",
        "sha256": None,
        "status": "failed",
        "verdicts": {"sm_90": "native", "sm_120": "partial"},
        "violations": [violation],
        "excused": [],
    }
    assert code == 4
    assert json.loads(out) == {
        "schema": "archfit.audit/1",
        "status": "failed",
        "policy": {"require": ["9.0", "12.0"], "allow_jit": False, "max_bytes": None},
        "subjects": [subject],
        "failures": [{"subject": "nothing.so", "reason": "nothing.so is not there"}],
    }


@pytest.mark.parametrize(
    ("words", "status"),
    [((SERVER,), "passed"), ((SERVER, "/dev/null"), "undecided"), ((PARTIAL, "/dev/null"), "failed")],
)
def test_status(called: Callable[..., Any], words: tuple[str, ...], status: str) -> None:
    assert json.loads(called(*words, "--require", "12.0", "--json")[1])["status"] == status


def test_every_rule_is_tried_here() -> None:
    assert set(RULES) <= {word for word in Path(__file__).read_text("utf-8").split('"') if "-" in word}

"""Does the ptxas that Triton would run know each GPU? In records, and from made files to the sentence in both languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archfit.arch import CudaVersion, Target
from archfit.cli import run
from archfit.model import Compiler, Distribution, Environment, Finding, Outcome, Severity, State
from archfit.report.messages import Messages
from forge import Part, elf
from worlds import NEW, TORCH_2_4_1, Package, build_environment, diagnosis_of, install, site_packages, torch, world

BIN = "triton/backends/nvidia/bin"


def ptxas(name: str, release: str, *targets: str) -> Compiler:
    return Compiler(
        f"{BIN}/{name}", "ptxas", CudaVersion.parse(release), tuple(Target.parse(f"compute_{t}") for t in targets)
    )


OLD = ptxas("ptxas", "12.4", "50", "75", "80", "90", "90a")
NEWER = ptxas("ptxas", "12.8", "75", "80", "90", "90a", "100", "100a", "120", "120a")
BLACKWELL = ptxas("ptxas-blackwell", "12.9", "80", "90", "90a", "100f", "120f", "121")


def with_triton(*compilers: Compiler, on: tuple[str, ...] = ("RTX 5090",), name: str = "triton") -> Environment:
    return world(torch("2.8.0", NEW), Distribution(name, "3.4.0", compilers=compilers), on=on, cuda="12.8")


def outcome(env: Environment) -> Outcome:
    return next(o for o in diagnosis_of(env).outcomes if o.check == "compilers")


@pytest.mark.parametrize(
    ("compilers", "gpu", "state"),
    [
        ((OLD,), "RTX 5090", State.FOUND),
        ((OLD,), "H200", State.PASSED),
        ((NEWER,), "RTX 5090", State.PASSED),
        ((OLD, BLACKWELL), "RTX 5090", State.PASSED),
        ((OLD, BLACKWELL), "H200", State.PASSED),
        ((OLD, BLACKWELL), "RTX 2080 Ti", State.PASSED),
        ((BLACKWELL, OLD), "RTX 2080 Ti", State.PASSED),
        ((BLACKWELL,), "RTX 2080 Ti", State.FOUND),
    ],
)
def test_the_copy_that_triton_would_run_is_asked(compilers: tuple[Compiler, ...], gpu: str, state: State) -> None:
    assert outcome(with_triton(*compilers, on=(gpu,))).state is state


@pytest.mark.parametrize("name", ["triton", "pytorch-triton", "triton-windows"])
def test_every_name_that_triton_has(name: str) -> None:
    assert outcome(with_triton(OLD, name=name)).state is State.FOUND


def test_a_finding_for_each_gpu_that_is_not_known() -> None:
    found = outcome(with_triton(OLD, on=("H200", "RTX 5090", "B200"))).findings
    assert {(f.id, f.severity, f.values["sm"]) for f in found} == {
        ("ptxas-arch", Severity.WARNING, "sm_120"),
        ("ptxas-arch", Severity.WARNING, "sm_100"),
    }


def test_other_compilers_are_not_asked() -> None:
    """What calls NVRTC falls back to PTX of an older target, which the driver compiles."""
    nvrtc = Compiler("nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "nvrtc", CudaVersion(12, 4), OLD.targets)
    assert outcome(with_triton(nvrtc)).state is State.NOT_APPLICABLE


def test_without_triton_or_without_a_gpu_there_is_nothing_to_ask() -> None:
    assert outcome(world(torch())).state is State.NOT_APPLICABLE
    assert outcome(with_triton(OLD, on=())).state is State.NOT_APPLICABLE


def test_it_is_never_the_primary_cause_nor_an_error() -> None:
    diagnosis = diagnosis_of(with_triton(OLD))
    assert diagnosis.primary is None
    assert "ptxas-arch" in [f.id for f in diagnosis.findings]


def finding() -> Finding:
    (found,) = outcome(with_triton(OLD)).findings
    return found


def test_in_english() -> None:
    messages = Messages("en")
    assert messages.title(finding()) == "triton 3.4.0 cannot compile for this GPU: its ptxas does not know sm_120"
    assert "CUDA 12.4" in messages.detail(finding())


def test_in_chinese() -> None:
    messages = Messages("zh")
    assert messages.title(finding()) == "triton 3.4.0 无法为这块 GPU 编译：自带的 ptxas 不认识 sm_120"
    assert "12.4" in messages.detail(finding())


@pytest.mark.parametrize(("targets", "found"), [(("90", "90a"), True), (("90", "120"), False)])
def test_from_the_bytes_of_an_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], targets: tuple[str, ...], found: bool
) -> None:
    root = build_environment(tmp_path / "env", TORCH_2_4_1)
    texts = b"\0" + b"".join(f"-arch=compute_{t}\0".encode() for t in targets)
    program = site_packages(root) / BIN / "ptxas"
    program.parent.mkdir(parents=True)
    program.write_bytes(elf(Part(".rodata", texts + b"Cuda compilation tools, release 12.4\0")))
    install_triton(site_packages(root))
    run(["doctor", str(root), "--gpu", "RTX 5090", "--json"])
    ids = [row["id"] for row in json.loads(capsys.readouterr().out)["findings"]]
    assert ("ptxas-arch" in ids) is found


def install_triton(site: Path) -> None:
    """The metadata of Triton around the program that lies there already."""
    install(site, Package("triton", "3.0.0", texts={"triton/__init__.py": ""}, top_level="triton\n"))

"""Fixed reports to make pages of."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from archfit.arch import ComputeCapability
from archfit.errors import ObserveError
from archfit.model import (
    Cause,
    Culprit,
    Diagnosis,
    Distribution,
    DriverRelease,
    Evidence,
    Explanation,
    LockedPackage,
    LogFacts,
    Option,
    Plan,
    Proof,
    Quote,
    Rejected,
    Requires,
    SourceChange,
    SourceHit,
    SourceSearch,
    Step,
    Subject,
    Text,
    TorchBuild,
    Unsolved,
    Verification,
    Way,
)
from archfit.report.html import Page
from worlds import NEW, diagnosis_of, extension, library, torch, vision, world

WHEN = datetime(2026, 11, 25, 11, 0, tzinfo=UTC)

SEED = world(
    torch("2.4.1+cu124"), vision("0.19.1+cu124", "torch==2.4.1"), extension(), release="580.65.06", cuda="12.4"
)
SEED_550 = world(torch("2.4.1+cu124"), vision("0.19.1+cu124", "torch==2.4.1"), release="550.54.14", cuda="12.4")
VALUES = {"torch": "2.8.0", "cuda": "12.8", "index": "PyPI", "capabilities": "12.0"}
UPGRADE = Option(
    "upgrade",
    Text("upgrade", VALUES),
    (
        Step("install", "torch", "2.4.1+cu124", "2.8.0", "PyPI", (Text("plain", {"text": "sm_120"}),), unsafe=False),
        Step("install", "torchvision", "0.19.1+cu124", "0.23.0", "PyPI", ()),
        Step("install", "triton", None, None, "PyPI", ()),
    ),
    TorchBuild("2.8.0", "12.8", "PyPI"),
    Requires(DriverRelease.parse("570.86.16"), ">=3.9.0", 6_700_000_000, 3_900_000_000),
    (Text("risk-weights-only"),),
    ("/env/bin/python -m pip install torch==2.8.0 torchvision==0.23.0",),
    ("uv pip install --python /env/bin/python torch==2.8.0 torchvision==0.23.0",),
    extensions=(
        Way("keep", "einops", "0.8.1", "einops", "0.8.1", None, ()),
        Way(
            "rebuild",
            "mmcv",
            "2.2.0",
            "mmcv",
            "2.2.0",
            None,
            (Text("plain", {"text": "_ext.so"}),),
            "12.8",
            pip=("pip install --no-deps mmcv==2.2.0",),
            uv=("uv pip install --no-deps mmcv==2.2.0",),
        ),
    ),
)
CPU = Option("cpu", Text("cpu"), risks=(Text("risk-cpu"),), pip=("CUDA_VISIBLE_DEVICES= python train.py",))
PLAN = Plan(
    SEED,
    (UPGRADE, CPU),
    (Unsolved(Text("plain", {"text": "mmcv"}), "pip install --no-deps mmcv==2.2.0"),),
    (Rejected(Text("plain", {"text": "cu124"}), Text("plain", {"text": "sm_90"})),),
    notices=(Text("plain", {"text": "notice"}),),
    changes=(
        SourceChange("weights-only", "torch", "2.6", "breaks", Text("plain", {"text": "torch.load"}), "release notes"),
        SourceChange("amp", "torch", "2.4", "warns", Text("plain", {"text": "torch.amp"}), "release notes"),
    ),
    search=SourceSearch(Path("/src"), 12, (SourceHit("weights-only", "train.py", 7, "torch.load(path)"),)),
)
CHANGES = (
    LockedPackage("torch", "2.4.1+cu124", "2.8.0", 888_100_000, "a" * 64),
    LockedPackage("nvidia-cusparselt-cu12", None, "0.7.1", None, None),
)
PROOF = Verification(
    "kernels",
    (
        Evidence("static:torch-arch", Proof.PASSED, reason=Text("plain", {"text": "12.0 (native)"})),
        Evidence("kernel:matmul", Proof.PASSED, "error 0.00078", "float64", "0.004", "cuda:0", 1.04),
        Evidence("kernel:nccl", Proof.SKIPPED, reason=Text("module-unseen")),
        Evidence("import:mmcv", Proof.FAILED, expected="mmcv", reason=Text("import-failed", {"cause": "no symbol"})),
    ),
)
SUBJECT = Subject(
    "mine-1.0",
    "wheel",
    (
        Distribution(
            "mine", "1.0", libraries=(library("mine/_C.so", "libpartial.so"), library("mine/p.so", "liblz4.so"))
        ),
    ),
    (("mine/cut.so", Text("plain", {"text": "Permission denied"})),),
)
DEVICES = tuple(ComputeCapability.parse(text) for text in ("7.5", "8.0", "8.6", "9.0", "12.0"))
EXPLANATION = Explanation(
    (
        Cause(
            "arch-missing-torch",
            0.95,
            (Quote(17, "RuntimeError: CUDA error: no kernel image is available for execution on the device"),),
            Culprit("torch", "libtorch_cuda.so"),
            ("archfit plan --gpu sm_120",),
            True,
            "no-kernel-image",
        ),
    ),
    LogFacts(),
    40,
)


def after_the_upgrade() -> Diagnosis:
    """The same environment with torch 2.8.0."""
    wants = "torch==2.8.0"
    return diagnosis_of(world(torch("2.8.0", NEW), vision("0.23.0", wants, NEW), release="580.65.06", cuda="12.8"))


def pages() -> dict[str, Page]:
    """One page of each kind."""
    seed = diagnosis_of(SEED)
    return {
        "doctor": Page("doctor", diagnosis=seed, plan=PLAN),
        "plan": Page("plan", diagnosis=seed, plan=PLAN),
        "verify": Page("verify", diagnosis=after_the_upgrade(), verification=PROOF),
        "upgrade": Page(
            "upgrade",
            diagnosis=seed,
            option=UPGRADE,
            changes=CHANGES,
            left_over=PLAN.unsolved,
            after=after_the_upgrade(),
            verification=PROOF,
        ),
        "dry": Page("upgrade", diagnosis=seed, option=UPGRADE, changes=CHANGES),
        "scan": Page(
            "scan", subjects=(SUBJECT,), devices=DEVICES, failures=(("gone.so", ObserveError("plan-needs-gpu")),)
        ),
        "explain": Page("explain", explanation=EXPLANATION),
    }

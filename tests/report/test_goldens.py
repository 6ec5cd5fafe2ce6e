"""What a person reads, whole, in both languages and at several widths. ``pytest --update-golden`` writes the files anew."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from archfit import api
from archfit.arch import ComputeCapability, CudaVersion, Target
from archfit.audit import Exemption, Policy
from archfit.errors import ApplyError, ArchfitError, ObserveError, UsageError
from archfit.model import (
    Compiler,
    Diagnosis,
    Distribution,
    Environment,
    Evidence,
    History,
    Interruption,
    LockedPackage,
    Plan,
    Proof,
    StateRecord,
    Subject,
    Text,
    Unknown,
    Verification,
)
from archfit.report import json_v1, record
from archfit.report.audit_v1 import show_audits
from archfit.report.doctor_screen import show_diagnosis
from archfit.report.history_screen import show_history
from archfit.report.markdown import (
    render_audits,
    render_diagnosis,
    render_history,
    render_scan,
    render_verification,
)
from archfit.report.messages import Language, Messages
from archfit.report.plan_screen import show_changes, show_plan
from archfit.report.proof_screen import show_verification
from archfit.report.scan_screen import show_subject
from archfit.report.screen import Screen, size
from worlds import (
    NEW,
    NO_DRIVER,
    audio,
    diagnosis_of,
    driver,
    extension,
    gpus,
    library,
    plan_of,
    torch,
    vision,
    world,
)

Golden = Callable[[str, str], None]
Draw = Callable[[Screen], None]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
WIDTHS = (60, 80, 200)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def drawn(draw: Callable[[Screen], None], language: Language, width: int = 80, encoding: str = "utf-8") -> str:
    """What `draw` prints, without colour and without the blanks at the end of lines."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="")
    console = Console(file=file, width=width, no_color=True, highlight=False, markup=False, emoji=False)
    draw(Screen(Messages(language), console, console))
    file.flush()
    return "".join(f"{line.rstrip()}\n" for line in raw.getvalue().decode(encoding).splitlines())


# --- the worlds ------------------------------------------------------------------------------------------------------

OLD_STORY = world(torch(), vision(), release="580.65.06")
HEALTHY = world(gpus=gpus("H200", seen=True), driver=driver("580.65.06", open_module=True, pretended=False))
EVERYTHING = world(
    torch(),
    vision("0.20.1", "torch==2.5.1"),
    audio(),
    extension(),
    extension("tensorflow", "2.21.0", linked=False),
    on=("V100", "RTX 5090"),
    release="550.54.14",
    interrupted=Interruption(3, "upgrade", "2026-11-23T05:06:07+00:00", "torch 2.4.1", "torch 2.8.0", made=False),
    unreadable=(("torch/lib/libtorch_cuda_linalg.so", Text("plain", {"text": "Permission denied"})),),
)
NOTHING_SEEN = world(on=(), chosen="VIRTUAL_ENV")
BROKEN = world(interpreter=Unknown("exit code 1: ModuleNotFoundError: No module named 'encodings'"), driver=NO_DRIVER)

DIAGNOSES: dict[str, Environment] = {
    "old-story": OLD_STORY,
    "healthy": HEALTHY,
    "everything": EVERYTHING,
    "nothing-seen": NOTHING_SEEN,
    "broken": BROKEN,
}
PLANS: dict[str, Plan] = {
    "old-story": plan_of(world(torch(), vision(), extension(), release="570.86.16")),
    "driver-first": plan_of(world(torch(), vision(), audio(), release="550.54.14")),
    "mixed": plan_of(world(on=("GTX 1080 Ti", "RTX 5090"), release="580.65.06")),
    "rebuild": plan_of(world(torch("2.9.0", NEW), extension(), release="580.65.06", cuda="12.8")),
    "nothing-to-do": plan_of(HEALTHY),
}

WHEN = "2026-11-23T05:06:07+00:00"
HISTORY = History(
    Path("/env"),
    (
        StateRecord(0, "torch 2.4.1", WHEN, "", None, False, "", None),
        StateRecord(1, "torch 2.8.0", WHEN, "no code", Path("/env.archfit-1"), False, "import", Path("/env.archfit/r")),
        StateRecord(2, "torch 2.15.0", WHEN, "latest", Path("/env"), True, "static", None, "torch 2.8.0"),
    ),
    (
        {"event": "begin", "id": 1, "kind": "rollback", "from": 2, "time": WHEN},
        {"event": "done", "id": 1, "from": 2, "time": WHEN},
    ),
)
NEVER = History(Path("/env"), (), ())

SERVED = Text("torch-arch", {"library": "libtorch_cuda.so", "verdicts": "12.0 (native)"})
UNDEFINED = (
    "mmcv: ImportError: /env/lib/python3.11/site-packages/mmcv/_ext.so: undefined symbol: _ZNK3c106SymInt6sym_neERKS0_"
)
PROOF = Verification(
    "import",
    (
        Evidence("static:torch-arch", Proof.PASSED, reason=SERVED),
        Evidence("static:kernel-module", Proof.SKIPPED, reason=Text("module-unseen")),
        Evidence("import:torch", Proof.PASSED, measured="2.8.0", expected="torch", seconds=3.2),
        Evidence(
            "import:mmcv",
            Proof.FAILED,
            expected="mmcv",
            seconds=0.4,
            reason=Text("import-failed", {"cause": UNDEFINED}),
        ),
        Evidence(
            "import:old", Proof.SKIPPED, reason=Text("failed-before", {"id": "import", "subject": "old: no module"})
        ),
    ),
)
PASSED = Verification("import", tuple(e for e in PROOF.evidence if e.status is not Proof.FAILED))
UNPROVEN = Verification("static", tuple(e for e in PROOF.evidence if e.status is Proof.SKIPPED))
PROOFS = {"failed": PROOF, "passed": PASSED, "nothing": UNPROVEN}

CHANGES = (
    LockedPackage("torch", "2.4.1", "2.8.0", 888_100_000, "a" * 64),
    LockedPackage("torchvision", "0.19.1", "0.23.0", 8_600_000, "b" * 64),
    LockedPackage("nvidia-cusparselt-cu12", None, "0.7.1", None, None),
)


def after_the_upgrade() -> Diagnosis:
    return diagnosis_of(
        world(torch("2.8.0", NEW), vision("0.23.0", "torch==2.8.0", NEW), release="580.65.06", cuda="12.8")
    )


# --- the screen ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", DIAGNOSES)
def test_doctor(golden: Golden, name: str, language: Language) -> None:
    diagnosis = diagnosis_of(DIAGNOSES[name])
    golden(f"doctor-{name}.{language}.txt", drawn(lambda s: show_diagnosis(s, diagnosis), language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_doctor_with_the_way_out(golden: Golden, width: int, language: Language) -> None:
    """The seed situation: a stranger reads from this page alone what is wrong, why, and what to do."""
    diagnosis, plan = diagnosis_of(OLD_STORY), plan_of(OLD_STORY)
    draw: Draw = lambda s: show_diagnosis(s, diagnosis, plan=plan)  # noqa: E731
    golden(f"doctor-way-out-{width}.{language}.txt", drawn(draw, language, width))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [60, 200])
def test_doctor_on_other_screens(golden: Golden, width: int, language: Language) -> None:
    diagnosis = diagnosis_of(OLD_STORY)
    golden(f"doctor-old-story-{width}.{language}.txt", drawn(lambda s: show_diagnosis(s, diagnosis), language, width))


@pytest.mark.parametrize("language", LANGUAGES)
def test_doctor_verbose(golden: Golden, language: Language) -> None:
    diagnosis = diagnosis_of(EVERYTHING)
    golden(f"doctor-verbose.{language}.txt", drawn(lambda s: show_diagnosis(s, diagnosis, verbose=True), language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PLANS)
def test_plan(golden: Golden, name: str, language: Language) -> None:
    golden(f"plan-{name}.{language}.txt", drawn(lambda s: show_plan(s, PLANS[name]), language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [60, 200])
def test_plan_on_other_screens(golden: Golden, width: int, language: Language) -> None:
    golden(f"plan-old-story-{width}.{language}.txt", drawn(lambda s: show_plan(s, PLANS["old-story"]), language, width))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_history(golden: Golden, width: int, language: Language) -> None:
    golden(
        f"history-{width}.{language}.txt",
        drawn(lambda s: show_history(s, HISTORY, {1: 3_100_000_000}), language, width),
    )


@pytest.mark.parametrize(
    ("language", "sentence"), [("en", "archfit never changed /env."), ("zh", "archfit 从未改动过 /env。")]
)
def test_no_history(language: Language, sentence: str) -> None:
    assert drawn(lambda s: show_history(s, NEVER), language) == f"{sentence}\n"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PROOFS)
def test_verification(golden: Golden, name: str, language: Language) -> None:
    golden(f"verify-{name}.{language}.txt", drawn(lambda s: show_verification(s, PROOFS[name]), language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [60, 80])
def test_changes(golden: Golden, width: int, language: Language) -> None:
    golden(f"changes-{width}.{language}.txt", drawn(lambda s: show_changes(s, CHANGES), language, width))


ERRORS: list[ArchfitError] = [
    UsageError("target-missing", path="/env"),
    UsageError("gpu-ambiguous", spec="RTX 4000", names='"Quadro RTX 4000" (7.5), "RTX 4000 Ada" (8.9)'),
    ObserveError("plan-needs-gpu"),
    ApplyError("not-verified", failed="import:mmcv"),
    ApplyError("refuse-mount", target="/env"),
]


@pytest.mark.parametrize("language", LANGUAGES)
def test_errors(golden: Golden, language: Language) -> None:
    golden(f"errors.{language}.txt", "".join(drawn(lambda s, e=error: s.error(e), language) for error in ERRORS))


# --- every screen fits -----------------------------------------------------------------------------------------------

DRAWINGS: dict[str, Callable[[Screen], None]] = {
    **{f"doctor-{name}": (lambda s, e=env: show_diagnosis(s, diagnosis_of(e))) for name, env in DIAGNOSES.items()},  # type: ignore[misc]
    "doctor-verbose": lambda s: show_diagnosis(s, diagnosis_of(EVERYTHING), verbose=True),
    **{f"plan-{name}": (lambda s, p=plan: show_plan(s, p)) for name, plan in PLANS.items()},  # type: ignore[misc]
    "history": lambda s: show_history(s, HISTORY),
    "verification": lambda s: show_verification(s, PROOF),
    "changes": lambda s: show_changes(s, CHANGES),
    "scan": lambda s: scan_screen("wheel", verbose=True)(s),
    "audit": lambda s: show_audits(s, AUDITS, 1),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_screen_that_knows_no_unicode_gets_ascii(name: str) -> None:
    text = drawn(DRAWINGS[name], "en", encoding="ascii")
    assert text.isascii()
    assert "?" not in text.replace("Go on?", "").replace(" ? ", "").replace("| ?", "")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["old-story", "everything"])
def test_the_command_that_comes_next_stands_on_one_line(name: str, language: Language) -> None:
    diagnosis = diagnosis_of(DIAGNOSES[name])
    assert diagnosis.primary is not None
    last = drawn(lambda s: show_diagnosis(s, diagnosis), language, 60).splitlines()[-1]
    assert last.endswith(diagnosis.primary.fix)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_command_of_a_plan_stands_on_one_line(language: Language) -> None:
    lines = drawn(lambda s: show_plan(s, PLANS["driver-first"]), language, 60).splitlines()
    commands = [c for o in PLANS["driver-first"].options for c in (*o.pip, *o.uv)]
    assert [c for c in commands if not any(line.startswith(f"   $ {c}") for line in lines)] == []


ODD = "/tmp/[red]a[/b] {x} :smile:"


def test_brackets_in_a_path_are_brackets() -> None:
    """rich reads [red] as a colour and [/b] as an end that has no beginning."""
    env = world(root=Path(ODD), python=Path(ODD, "bin/python"), release="580.65.06")
    plan = plan_of(env)
    states = tuple(StateRecord(0, "torch [2]", WHEN, "", Path(ODD), True, "", None) for _ in range(1))
    pages = {
        "doctor": drawn(lambda s: show_diagnosis(s, diagnosis_of(env)), "en", 200),
        "plan": drawn(lambda s: show_plan(s, plan), "en", 200),
        "history": drawn(lambda s: show_history(s, History(Path(ODD), states, ())), "en", 200),
    }
    assert {name for name, page in pages.items() if ODD not in page} == set()


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["old-story", "everything", "healthy"])
def test_doctor_as_json_and_markdown(golden: Golden, name: str, language: Language) -> None:
    diagnosis, messages = diagnosis_of(DIAGNOSES[name]), Messages(language)
    golden(f"doctor-{name}.{language}.json", json_v1.dump(json_v1.doctor_document(diagnosis, messages)))
    golden(
        f"doctor-{name}.{language}.md",
        render_diagnosis(messages, diagnosis, plan_of(DIAGNOSES[name]) if diagnosis.primary else None),
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_plan_as_json_and_markdown(golden: Golden, language: Language) -> None:
    plan, messages = PLANS["old-story"], Messages(language)
    golden(f"plan-old-story.{language}.json", json_v1.dump(json_v1.plan_document(plan, messages)))
    golden(f"plan-old-story.{language}.md", record.render_plan(messages, plan))


@pytest.mark.parametrize("language", LANGUAGES)
def test_history_and_verification_as_json(golden: Golden, language: Language) -> None:
    messages = Messages(language)
    golden(f"history.{language}.json", json_v1.dump(json_v1.history_document(HISTORY)))
    document = json_v1.verify_document(PROOF, OLD_STORY, "failed", messages)
    golden(f"verify-failed.{language}.json", json_v1.dump(document))


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_answers_as_markdown(golden: Golden, language: Language) -> None:
    messages = Messages(language)
    golden(f"scan.{language}.md", render_scan(messages, tuple(SUBJECTS.values()), GPUS))
    golden(f"audit.{language}.md", render_audits(messages, AUDITS, [("lost.whl", "gone")]))
    golden(f"verify-failed.{language}.md", render_verification(messages, PROOF, OLD_STORY))
    golden(f"history.{language}.md", render_history(messages, HISTORY))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_record_of_an_upgrade(golden: Golden, language: Language) -> None:
    before = diagnosis_of(OLD_STORY)
    option = plan_of(OLD_STORY).options[0]
    when = datetime(2026, 11, 23, 5, 6, 7, tzinfo=UTC)
    done = record.Upgrade(before, after_the_upgrade(), option, CHANGES, PASSED, when, 2, 1)
    golden(f"record.{language}.md", record.render_record(Messages(language), done))
    golden(f"record.{language}.json", json_v1.dump(json_v1.record_document(done, Messages(language))))


@pytest.mark.parametrize(
    ("count", "said"),
    [(None, "?"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (8_600_000, "8.6 MB"), (3_950_000_000, "4.0 GB")],
)
def test_sizes(count: int | None, said: str) -> None:
    assert size(count) == said


# --- scan and audit --------------------------------------------------------------------------------------------------

GPUS = api.devices_of(())
RTX_5090 = api.devices_of(["RTX 5090"])
MINE = (
    library("mine/_C.so", "libpartial.so"),
    library("mine/lib/libfast_attention_for_hopper.so", "libsm_90a.so"),
    library("mine/lib/libptx.so", "liblz4.so"),
    library("mine/lib/libhost.so", "libno_gpu.so"),
)
PTXAS = Compiler("mine/bin/ptxas", "ptxas", CudaVersion(12, 4), tuple(map(Target.parse, ("compute_75", "compute_90"))))
LIBDEVICE = Compiler("mine/lib/libdevice.10.bc", "libdevice", None, ())
CUT = ("mine/cut.so", Text("plain", {"text": "Permission denied"}))
SUBJECTS = {
    "file": Subject(
        "libserver.so", "library", (Distribution("libserver.so", "", libraries=(library("libserver.so", NEW),)),)
    ),
    "wheel": Subject(
        "mine-1.0",
        "requirement",
        (Distribution("mine", "1.0", libraries=MINE, compilers=(PTXAS, LIBDEVICE)),),
        (CUT,),
        "mine-1.0-cp311-cp311-linux_x86_64.whl",
        cached=True,
    ),
    "nothing": Subject("empty", "folder", (Distribution("empty", ""),)),
}
LACKING = {"mine/_C.so": ["scale_kernel", "shift_kernel"]}


def scan_screen(name: str, devices: Sequence[ComputeCapability] = GPUS, *, verbose: bool = False) -> Draw:
    return lambda s: show_subject(s, SUBJECTS[name], devices, verbose=verbose, kernels=LACKING if verbose else {})


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SUBJECTS)
def test_scan(golden: Golden, name: str, width: int, language: Language) -> None:
    golden(f"scan-{name}-{width}.{language}.txt", drawn(scan_screen(name), language, width))


@pytest.mark.parametrize("language", LANGUAGES)
def test_scan_for_one_gpu_and_verbose(golden: Golden, language: Language) -> None:
    golden(f"scan-one-gpu.{language}.txt", drawn(scan_screen("wheel", RTX_5090), language))
    golden(f"scan-verbose.{language}.txt", drawn(scan_screen("wheel", verbose=True), language))


STRICT = Policy(
    api.devices_of(["7.5", "9.0", "12.0"]),
    max_bytes=100,
    exemptions=(
        Exemption("*hopper.so", (), "TMA exists from Hopper on"),
        Exemption("_C.so", (ComputeCapability(7, 5),), "old"),
    ),
)
AUDITS = [api.audit(replace(subject, size_bytes=1000), STRICT) for subject in SUBJECTS.values()]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_audit(golden: Golden, width: int, language: Language) -> None:
    golden(f"audit-{width}.{language}.txt", drawn(lambda s: show_audits(s, AUDITS, 1), language, width))


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_audit_that_passes(golden: Golden, language: Language) -> None:
    passed = [api.audit(SUBJECTS["file"], Policy(RTX_5090))]
    golden(f"audit-passed.{language}.txt", drawn(lambda s: show_audits(s, passed, 0), language))


@pytest.mark.parametrize("width", range(48, 140, 4))
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_line_of_a_scan_is_wider_than_the_screen(language: Language, width: int) -> None:
    text = drawn(scan_screen("wheel"), language, width)
    assert [line for line in text.splitlines()[2:] if cell_len(line) > width] == []
    assert "…" not in text

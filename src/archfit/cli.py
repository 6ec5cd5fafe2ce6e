"""Parse, call one function of the api, print, exit."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from packaging.utils import canonicalize_name

from archfit import __version__, api
from archfit.audit import Policy, override, parse_capabilities, parse_size, read_policy
from archfit.errors import ExitCode, UsageError
from archfit.flow import announce, diagnose, perform_upgrade, say_done, upgrade_document
from archfit.model import Diagnosis, History, Proof, Status, Verification
from archfit.report import json_v1, record, scan_v1
from archfit.report.audit_v1 import audit_document, show_audits
from archfit.report.sarif import sarif_document
from archfit.report.scan_screen import show_subject
from archfit.scanning import code_of, kernels_lacking, scan_all, wishes_for
from archfit.session import Session, error_door

EXIT_CODES = (
    "Exit codes: 0 nothing is wrong · 1 archfit itself failed · 2 usage · 3 could not observe enough to decide · "
    "4 problems found · 5 apply failed, everything put back · 6 apply failed, putting back incomplete, copies kept · "
    "7 verification failed · 130 interrupted"
)

app = App(
    name="archfit",
    help="Make a PyTorch environment run on the GPU you actually have.\n\nStart with: `archfit doctor`",
    help_epilogue=EXIT_CODES,
    help_format="markdown",
    version=f"archfit {__version__}",
    default_parameter=Parameter(negative=()),
    result_action="return_value",
)


class Lang(StrEnum):
    """Languages of the output."""

    EN = "en"
    ZH = "zh"


class Device(StrEnum):
    """Where kernels run."""

    CUDA = "cuda"
    CPU = "cpu"


class Strategy(StrEnum):
    """How to choose among builds."""

    NEAREST = "nearest"
    LATEST = "latest"


Target = Annotated[
    str | None,
    Parameter(
        help="A Python interpreter, a virtual environment or a conda prefix. Default: the active environment, else the "
        "python on PATH."
    ),
]
Choice = Annotated[Strategy, Parameter(help="nearest: fewest changes; latest: the newest that fits.")]
Level = Annotated[
    str | None,
    Parameter(
        help="How far to go, each with all before it: static (bytes), import (each package in its own child), kernels "
        "(operations, their results and speed), train (ten steps of a bird's-eye-view model). Default: kernels where a GPU "
        "is really here, else import."
    ),
]


GpuSpecs = Annotated[
    tuple[str, ...], Parameter("--gpu", help='Only these GPUs: "RTX 5090", sm_120, 12.0. Repeatable. Default: all.')
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Pretend:
    """A machine that is not here."""

    gpu: Annotated[
        tuple[str, ...], Parameter("--gpu", help='Pretend a GPU: "RTX 5090", sm_120, 12.0, sm_120:2. Repeatable.')
    ] = ()
    driver: Annotated[str | None, Parameter(help="Pretend a driver: 570.86.16.")] = None


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Manner:
    """How to answer."""

    lang: Annotated[Lang | None, Parameter(help="Language of the output; default from the locale.")] = None
    as_json: Annotated[bool, Parameter("--json", help="Print one JSON document to stdout.")] = False
    output: Annotated[
        Path | None,
        Parameter(
            ["--output", "-o"],
            help="Also write to this file; its suffix says how: .json, .md for doctor and plan, .sarif for audit.",
        ),
    ] = None
    verbose: Annotated[bool, Parameter(["--verbose", "-v"], help="More detail.")] = False
    no_color: Annotated[bool, Parameter(help="No colour.")] = False

    def check_output(self, *suffixes: str) -> None:
        """Refuse a file that could not be written in the end, before the work is done."""
        if self.output and self.output.suffix.lower() not in suffixes:
            raise UsageError("output-suffix", path=self.output, known=", ".join(suffixes))

    def session(self) -> Session:
        """The session that speaks in this manner."""
        return Session(self.lang, color=not self.no_color, as_json=self.as_json)


HERE, PLAIN = Pretend(), Manner()


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    from rich.console import Console

    try:
        code = app(arguments, error_console=Console(stderr=True), exit_on_error=True)
    except SystemExit as end:
        code = end.code
    return int(code) if isinstance(code, int) else int(ExitCode.OK)


@app.command
def doctor(target: Target = None, /, *, pretend: Pretend = HERE, manner: Manner = PLAIN) -> int:
    """Say why this environment does or does not run on the GPU, from the bytes of its libraries.

    ```
    archfit doctor
    archfit doctor .venv --gpu 'RTX 5090'
    archfit doctor .venv --json
    ```
    """
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md")
        diagnosis = diagnose(session, target, pretend.gpu, pretend.driver)
        _answer(
            session,
            manner,
            show=lambda: session.screen.diagnosis(diagnosis, verbose=manner.verbose),
            document=lambda: json_v1.doctor_document(diagnosis, session.messages),
            markdown=lambda: record.render_diagnosis(session.messages, diagnosis),
        )
        return int(_EXIT_CODES[diagnosis.status])


@app.command
def scan(
    *subjects: Annotated[
        str,
        Parameter(
            help="A library, cubin, PTX, archive, wheel, folder or environment; or a requirement such as torch==2.8.0, "
            "read from the package index without installing it."
        ),
    ],
    gpu: GpuSpecs = (),
    python: Annotated[str | None, Parameter("--python", help="The Python that the wheel is for: 3.11.")] = None,
    platform: Annotated[
        str | None, Parameter(help="The platform that the wheel is for: linux-x86_64, linux-aarch64, windows-x86_64.")
    ] = None,
    deep: Annotated[bool, Parameter(help="Search every section of well-known libraries, too.")] = False,
    no_cache: Annotated[bool, Parameter(help="Read wheels anew that were scanned before.")] = False,
    manner: Manner = PLAIN,
) -> int:
    """Show what GPU code is inside, and what of it runs on which GPU.

    ```
    archfit scan libmine.so
    archfit scan dist/*.whl --gpu 'RTX 5090' -v
    archfit scan torch==2.8.0 --platform windows-x86_64 --python 3.12
    archfit scan .venv --json
    ```
    """
    session = manner.session()
    with error_door(session):
        manner.check_output(".json")
        if not subjects:
            raise UsageError("scan-nothing-named")
        _platform(platform)
        devices = api.devices_of(gpu)
        wishes = wishes_for(subjects, platform, _python_version(python), deep=deep, use_cache=not no_cache)
        found, failures = scan_all(session, wishes)
        told = [(name, session.messages.error(error)) for name, error in failures]
        verbose = manner.verbose

        def show() -> None:
            for number, subject in enumerate(found):
                session.screen.out.print() if number else None
                kernels = kernels_lacking(subject, devices) if verbose else {}
                show_subject(session.screen, subject, devices, verbose=verbose, kernels=kernels)

        _answer(
            session,
            manner,
            show=show,
            document=lambda: scan_v1.scan_document(found, devices, told, session.messages, verbose=verbose),
        )
        for _, error in failures:
            session.screen.error(error)
        return int(code_of(found, failures))


@app.command
def audit(
    *subjects: Annotated[str, Parameter(help="Wheels, libraries, folders, or requirements such as torch==2.8.0.")],
    require: Annotated[
        tuple[str, ...], Parameter(help="GPUs that must have code: 7.5,8.0,9.0,12.0. Repeatable.", negative=())
    ] = (),
    allow_jit: Annotated[bool, Parameter(help="PTX that the driver compiles at the first start is enough.")] = False,
    max_size: Annotated[str | None, Parameter(help="Largest size of a file: 900MB.")] = None,
    config: Annotated[
        Path | None,
        Parameter(help="A pyproject.toml with [tool.archfit.audit]. Default: the one in this folder, if there is one."),
    ] = None,
    python: Annotated[str | None, Parameter("--python", help="The Python that the wheel is for: 3.11.")] = None,
    platform: Annotated[
        str | None, Parameter(help="The platform that the wheel is for: linux-x86_64, linux-aarch64, windows-x86_64.")
    ] = None,
    manner: Manner = PLAIN,
) -> int:
    """Fail a release whose wheels lack code for a required GPU.

    ```
    archfit audit dist/*.whl --require 7.5,8.0,9.0,12.0
    archfit audit dist/*.whl -o audit.sarif
    archfit audit mypackage==1.2 --require 12.0 --allow-jit
    ```
    """
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".sarif")
        if not subjects:
            raise UsageError("scan-nothing-named")
        _platform(platform)
        policy = _policy(config, require, max_size, allow_jit=allow_jit)
        found, failures = scan_all(session, wishes_for(subjects, platform, _python_version(python), deep=True))
        audits = [api.audit(subject, policy) for subject in found]
        told = [(name, session.messages.error(error)) for name, error in failures]
        _answer(
            session,
            manner,
            show=lambda: show_audits(session.screen, audits, len(failures)),
            document=lambda: audit_document(audits, policy, told, session.messages),
            more={".sarif": lambda: json_v1.dump(sarif_document(audits, told, session.messages))},
        )
        for _, error in failures:
            session.screen.error(error)
        failed = any(not a.passed for a in audits)
        return int(ExitCode.PROBLEMS if failed else code_of(found, failures))


@app.command
def plan(
    target: Target = None,
    /,
    *,
    pretend: Pretend = HERE,
    python: Annotated[str | None, Parameter("--python", help="Pretend a Python: 3.11.")] = None,
    platform: Annotated[
        str | None, Parameter(help="Pretend a platform: linux-x86_64, linux-aarch64, windows-x86_64.")
    ] = None,
    strategy: Choice = Strategy.NEAREST,
    offline: Annotated[bool, Parameter(help="Do not ask the package index for sizes.")] = False,
    manner: Manner = PLAIN,
) -> int:
    """List every way out, best first, with cost, risk and commands; and what does not help, with the reason.

    ```
    archfit plan
    archfit plan .venv --gpu 'RTX 5090' --driver 570.86.16 -o plan.json
    ```
    """
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md")
        wish = api.PlanWish(strategy.value, _python_tag(python), _platform(platform))
        found = api.make_plan(diagnose(session, target, pretend.gpu, pretend.driver), wish)
        if not (offline or python or platform):
            with session.counting("asking"):
                found = api.price(found)
            if any(o.kind == "upgrade" for o in found.options) and not any(
                o.requires.download_bytes for o in found.options
            ):
                session.talk.print(session.messages.ui("no-sizes"), style="yellow")
        _answer(
            session,
            manner,
            show=lambda: session.screen.plan(found),
            document=lambda: json_v1.plan_document(found, session.messages),
            markdown=lambda: record.render_plan(session.messages, found),
        )
        unsolved = any(row.text.key == "no-build" for row in found.unsolved)
        return int(ExitCode.PROBLEMS if unsolved else ExitCode.OK)


@app.command
def upgrade(
    target: Target = None,
    /,
    *,
    pretend: Pretend = HERE,
    plan: Annotated[Path | None, Parameter("--plan", help="Apply the best option of this plan.")] = None,
    strategy: Choice = Strategy.NEAREST,
    level: Level = None,
    allow_broken: Annotated[
        tuple[str, ...], Parameter(help="Go on though this package no longer loads afterwards. Repeatable.")
    ] = (),
    dry_run: Annotated[bool, Parameter(help="Change nothing; print the same as pip and uv commands.")] = False,
    yes: Annotated[bool, Parameter(["--yes", "-y"], help="Do not ask.")] = False,
    manner: Manner = PLAIN,
) -> int:
    """Move the environment to a build that works: cloned, verified, then exchanged in one step; the old one is kept.

    ```
    archfit upgrade --dry-run
    archfit upgrade .venv --yes
    archfit upgrade --plan plan.json
    ```
    """
    session = manner.session()
    with error_door(session):
        manner.check_output(".json")
        wanted = _highest(level)
        diagnosis = diagnose(session, target, pretend.gpu, pretend.driver)
        height = wanted or api.default_level(diagnosis.environment)
        chosen = (
            api.load_plan(plan, diagnosis.environment)
            if plan
            else api.make_plan(diagnosis, api.PlanWish(strategy.value))
        )
        with session.counting("asking"):
            prepared = api.prepare_upgrade(diagnosis, chosen)
        if prepared is None:
            empty = json_v1.nothing_document(diagnosis.environment)
            _answer(session, manner, show=lambda: session.screen.plan(chosen), document=lambda: empty)
            return int(ExitCode.OK)
        if not manner.as_json:
            announce(session, prepared)
        if not (dry_run or yes or _confirmed(session)):
            session.talk.print(session.messages.ui("not-confirmed"))
            return int(ExitCode.INTERRUPTED)
        receipt = None if dry_run else perform_upgrade(session, prepared, height, _names(allow_broken))
        _answer(
            session,
            manner,
            show=lambda: say_done(session, receipt) if receipt else _say_dry(session, prepared),
            document=lambda: upgrade_document(session, prepared, receipt),
        )
    return int(ExitCode.OK)


@app.command
def rollback(
    target: Target = None,
    state: Annotated[int | None, Parameter(help="A state of `archfit history`; default: the one before.")] = None,
    /,
    *,
    manner: Manner = PLAIN,
) -> int:
    """Bring an earlier state of the environment back, in an instant; the present one is kept and can come back too.

    ```
    archfit rollback
    archfit rollback .venv
    archfit rollback .venv 1
    ```
    """
    session = manner.session()
    with error_door(session):
        manner.check_output(".json")
        if state is None and target and target.isdigit() and not Path(target).exists():
            story = api.rollback(None, int(target))  # `archfit rollback 1`: the active environment, state 1
        else:
            story = api.rollback(target, state)
        _answer(
            session,
            manner,
            show=lambda: _say_rolled_back(session, story),
            document=lambda: json_v1.history_document(story),
        )
    return int(ExitCode.OK)


@app.command
def history(target: Target = None, /, *, manner: Manner = PLAIN) -> int:
    """Show the states of an environment: what was installed when, how it was verified, where the old ones are kept.

    ```
    archfit history .venv
    ```
    """
    session = manner.session()
    with error_door(session):
        manner.check_output(".json")
        story = api.history(target)
        _answer(
            session,
            manner,
            show=lambda: session.screen.history(story),
            document=lambda: json_v1.history_document(story),
        )
    return int(ExitCode.OK)


@app.command
def verify(
    target: Target = None,
    /,
    *,
    level: Level = None,
    device: Annotated[
        Device,
        Parameter(help="cpu runs the kernel probes on the CPU: that checks the probes, and proves nothing of a GPU."),
    ] = Device.CUDA,
    only: Annotated[tuple[str, ...], Parameter(help="Run these probes only: 'kernel:matmul-*'. Repeatable.")] = (),
    pretend: Pretend = HERE,
    manner: Manner = PLAIN,
) -> int:
    """Prove that the environment can compute: what is proven, what failed, what could not be judged.

    ```
    archfit verify
    archfit verify .venv --level kernels,train
    archfit verify .venv --level static --gpu 'RTX 5090'
    archfit verify .venv --only 'extension:*' --only kernel:ptx-jit
    archfit verify .venv --level kernels --device cpu
    ```
    """
    session = manner.session()
    with error_door(session):
        manner.check_output(".json")
        wanted = _highest(level)
        diagnosis = diagnose(session, target, pretend.gpu, pretend.driver)
        height = wanted or api.default_level(diagnosis.environment)
        with session.steps() as (on_step, on_probe):
            on_step("prove")
            proof = api.prove(diagnosis, height, on_probe, device=device.value, only=only)
        code = _verify_code(diagnosis, proof, device)
        status = {ExitCode.OK: "passed", ExitCode.VERIFY_FAILED: "failed"}.get(code, "undecided")
        _answer(
            session,
            manner,
            show=lambda: _say_verified(session, proof, device),
            document=lambda: json_v1.verify_document(proof, diagnosis.environment, status, session.messages),
        )
        return int(code)


@app.command
def demo(
    *,
    gpu: Annotated[str, Parameter(help="The GPU to pretend.")] = "RTX 5090",
    driver: Annotated[str, Parameter(help="The driver to pretend.")] = "580.65.06",
    python: Annotated[str | None, Parameter("--python", help="The Python of the scratch environment: 3.11.")] = None,
    keep: Annotated[Path | None, Parameter(help="Keep the environment and the record in this folder.")] = None,
    lang: Annotated[Lang | None, Parameter(help="Language of the output; default from the locale.")] = None,
    no_color: Annotated[bool, Parameter(help="No colour.")] = False,
) -> int:
    """Show the whole story on a scratch environment that really is broken: doctor, plan, upgrade, verify, history.

    ```
    archfit demo
    archfit demo --keep /tmp/demo
    archfit demo --lang zh
    ```
    """
    from archfit.demo import run_demo

    session = Manner(lang, no_color=no_color).session()
    with error_door(session):
        run_demo(session, gpu=gpu, driver=driver, python=python, keep=keep)
    return int(ExitCode.OK)


@app.command
def explain(
    log: Annotated[
        Path | None, Parameter(help="A log; - or nothing: what comes in through the pipe or is pasted.")
    ] = None,
    target: Target = None,
    /,
    *,
    redact: Annotated[
        bool | None, Parameter(negative="--no-redact", help="Take out tokens, users, hosts. Default: only in files.")
    ] = None,
    manner: Manner = PLAIN,
) -> int:
    """Say what a pasted log means: cause, evidence, culprit and fix; root first, consequences after.

    ```
    archfit explain train.log
    python train.py 2>&1 | archfit explain -
    archfit explain train.log .venv
    ```
    """
    from archfit.logs_cli import explain_log

    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md")
        return explain_log(session, log, target, manner.output, redact=redact, verbose=manner.verbose)


@app.command(name="run")
def run_(
    *command: Annotated[str, Parameter(help="The command and its arguments, after --.", allow_leading_hyphen=True)],
    report: Annotated[Path | None, Parameter(help="Save the explanation to this file: .md or .json.")] = None,
    redact: Annotated[
        bool | None, Parameter(negative="--no-redact", help="Take out tokens, users, hosts. Default: only in files.")
    ] = None,
    lang: Annotated[Lang | None, Parameter(help="Language of the output; default from the locale.")] = None,
    no_color: Annotated[bool, Parameter(help="No colour.")] = False,
) -> int:
    """Run a command with the terminal untouched; if it dies of a GPU or environment problem, explain it.

    Passes on the command's own exit code.

    ```
    archfit run -- python train.py
    archfit run --report why.md -- torchrun --nproc-per-node 8 train.py
    ```
    """
    from archfit.logs_cli import run_and_explain

    session = Manner(lang, no_color=no_color).session()
    with error_door(session):
        Manner(output=report).check_output(".json", ".md")
        return run_and_explain(session, command, report, redact=redact)


# --- shared by commands ----------------------------------------------------------------------------------------------

_EXIT_CODES = {Status.OK: ExitCode.OK, Status.PROBLEMS: ExitCode.PROBLEMS, Status.UNDECIDED: ExitCode.UNDECIDED}


def _answer(
    session: Session,
    manner: Manner,
    *,
    show: Callable[[], None],
    document: Callable[[], json_v1.Document],
    markdown: Callable[[], str] | None = None,
    more: Mapping[str, Callable[[], str]] | None = None,
) -> None:
    """To the screen or as one document, and into a file if one was named."""
    try:
        if manner.as_json:
            session.print_text(json_v1.dump(document()))
        else:
            show()
            session.flush()
    except BrokenPipeError:
        session.let_go()  # whoever read us has left; the answer, and so the exit code, stands
    if manner.output:
        renderers = {".json": lambda: json_v1.dump(document()), **({".md": markdown} if markdown else {})}
        renderers |= more or {}
        session.write(manner.output, renderers)


def _verify_code(diagnosis: Diagnosis, proof: Verification, device: Device) -> ExitCode:
    if any(e.status is Proof.FAILED for e in proof.evidence):
        return ExitCode.VERIFY_FAILED
    seen = diagnosis.status is not Status.UNDECIDED or device is Device.CPU  # who asks for the CPU may have no GPU
    decided = proof.passed and proof.reached and seen
    return ExitCode.OK if decided else ExitCode.UNDECIDED


def _names(packages: tuple[str, ...]) -> frozenset[str]:
    return frozenset(canonicalize_name(name) for name in packages)


def _highest(levels: str | None) -> str | None:
    """The highest of the levels named, ``static,import``: each contains those below it. None where none is named."""
    if levels is None:
        return None
    named = [word.strip() for word in levels.split(",")]
    for word in named:
        if word not in api.LEVELS:
            raise UsageError("level-unknown", spec=word, known=", ".join(api.LEVELS))
    return max(named, key=api.LEVELS.index)


def _python_version(text: str | None) -> str | None:
    """``3.11`` or ``cp311`` as uv calls it."""
    tag = _python_tag(text)
    return f"{tag[2]}.{tag[3:].rstrip('t')}" if tag else None


def _policy(config: Path | None, require: tuple[str, ...], max_size: str | None, *, allow_jit: bool) -> Policy:
    """What the file and the command line ask for together; refuses a policy that asks for nothing."""
    here = Path("pyproject.toml")
    path = config or (here if here.is_file() else None)
    policy = override(
        read_policy(path) if path else Policy(),
        parse_capabilities(require) if require else (),
        parse_size(max_size) if max_size else None,
        allow_jit=allow_jit,
    )
    if not policy.require and policy.max_bytes is None:
        raise UsageError("policy-empty")
    return policy


def _python_tag(text: str | None) -> str | None:
    if text is None:
        return None
    match = re.fullmatch(r"(?:cp)?(\d)\.?(\d{1,2})(?:\.\d+)?(t?)", text)
    if not match:
        raise UsageError("python-unknown", spec=text)
    return f"cp{match[1]}{match[2]}{match[3]}"


def _platform(text: str | None) -> str | None:
    names = {"linux-x86_64": "linux_x86_64", "linux-aarch64": "linux_aarch64", "windows-x86_64": "win_amd64"}
    if text is not None and text not in names:
        raise UsageError("platform-unknown", spec=text)
    return names[text] if text else None


def _say_dry(session: Session, prepared: api.Prepared) -> None:
    session.screen.out.print(session.messages.ui("upgrade-dry"), style="bold")
    session.screen.commands(prepared.option)


def _say_verified(session: Session, proof: Verification, device: Device) -> None:
    session.screen.verification(proof)
    if device is Device.CPU:
        session.screen.out.print(session.messages.ui("on-cpu"), style="yellow")


def _say_rolled_back(session: Session, story: History) -> None:
    live = story.live
    words = {"id": live.id, "label": live.label} if live else {"id": "-", "label": "-"}
    key = "rollback-done" if story.entries[-1]["event"] == "done" else "rollback-undone"
    session.screen.out.print(session.messages.ui(key, target=story.root, **words), soft_wrap=True)


_YES, _NO = frozenset({"y", "yes", "是", "好"}), frozenset({"", "n", "no", "否", "不"})


def _confirmed(session: Session) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("needs-yes")
    question = session.messages.ui("upgrade-confirm")
    while (answer := session.talk.input(question + " [y/N] ", markup=False).strip().lower()) not in _YES | _NO:
        pass
    return answer in _YES

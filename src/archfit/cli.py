"""Parse, call one function of the api, print, exit."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.prompt import Confirm

from archfit import __version__, api
from archfit.errors import ExitCode, Interrupted, UsageError
from archfit.flow import announce, diagnose, perform_upgrade, upgrade_document
from archfit.model import Diagnosis, Plan, Proof, Status, Verification
from archfit.report import json_v1, record
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
Gpus = Annotated[
    list[str] | None,
    Parameter("--gpu", help='Pretend a GPU: "RTX 5090", sm_120, 12.0, sm_120:2. Repeatable.'),
]
DriverSpec = Annotated[str | None, Parameter(help="Pretend a driver: 570.86.16.")]
Language = Annotated[Lang | None, Parameter(help="Language of the output; default from the locale.")]
AsJson = Annotated[bool, Parameter("--json", help="Print one JSON document to stdout.")]
Output = Annotated[Path | None, Parameter(["--output", "-o"], help="Also write to this file: .json or .md.")]
Verbose = Annotated[bool, Parameter(["--verbose", "-v"], help="More detail.")]
NoColor = Annotated[bool, Parameter(help="No colour.")]
Yes = Annotated[bool, Parameter(["--yes", "-y"], help="Do not ask.")]
DryRun = Annotated[bool, Parameter(help="Change nothing; print the same as pip and uv commands.")]
PlanFile = Annotated[Path | None, Parameter("--plan", help="Apply the best option of this plan.")]
Offline = Annotated[bool, Parameter(help="Do not ask the package index for sizes.")]
Choice = Annotated[Strategy, Parameter(help="nearest: fewest changes; latest: the newest that fits.")]
Level = Annotated[str, Parameter(help="How far to go: static (bytes), import (each package in its own child).")]
PythonVersion = Annotated[str | None, Parameter("--python", help="Pretend a Python: 3.11.")]
Platform = Annotated[str | None, Parameter(help="Pretend a platform: linux-x86_64, linux-aarch64, windows-x86_64.")]


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    from rich.console import Console

    try:
        code = app(arguments, error_console=Console(stderr=True), exit_on_error=True)
    except SystemExit as end:
        code = end.code
    return int(code) if isinstance(code, int) else int(ExitCode.OK)


@app.command
def doctor(
    target: Target = None,
    /,
    *,
    gpu: Gpus = None,
    driver: DriverSpec = None,
    lang: Language = None,
    as_json: AsJson = False,
    output: Output = None,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> int:
    """Say why this environment does or does not run on the GPU, from the bytes of its libraries.

    ```
    archfit doctor
    archfit doctor .venv --gpu 'RTX 5090'
    archfit doctor .venv --json
    ```
    """
    session = Session(lang, color=not no_color, as_json=as_json)
    with error_door(session):
        diagnosis = diagnose(session, target, gpu, driver)
        if as_json:
            session.print_text(_doctor_json(session, diagnosis))
        else:
            session.screen.diagnosis(diagnosis, verbose=verbose)
        if output:
            md = lambda: record.render_diagnosis(session.messages, diagnosis)  # noqa: E731
            session.write(output, {".json": lambda: _doctor_json(session, diagnosis), ".md": md})
        return int(_exit_code(diagnosis.status))


@app.command
def plan(
    target: Target = None,
    /,
    *,
    gpu: Gpus = None,
    driver: DriverSpec = None,
    python: PythonVersion = None,
    platform: Platform = None,
    strategy: Choice = Strategy.NEAREST,
    offline: Offline = False,
    lang: Language = None,
    as_json: AsJson = False,
    output: Output = None,
    no_color: NoColor = False,
) -> int:
    """List every way out, best first, with cost, risk and commands; and what does not help, with the reason.

    ```
    archfit plan
    archfit plan .venv --gpu 'RTX 5090' --driver 570.86.16 -o plan.json
    ```
    """
    session = Session(lang, color=not no_color, as_json=as_json)
    with error_door(session):
        wish = api.PlanWish(strategy.value, _python_tag(python), _platform(platform))
        found = api.make_plan(diagnose(session, target, gpu, driver), wish)
        if not offline and not (python or platform):
            with session.counting("asking"):
                found = api.price(found)
        if as_json:
            session.print_text(_plan_json(session, found))
        else:
            session.screen.plan(found)
        if output:
            md = lambda: record.render_plan(session.messages, found)  # noqa: E731
            session.write(output, {".json": lambda: _plan_json(session, found), ".md": md})
        unsolved = any(text.key == "no-build" for text in found.unsolved)
        return int(ExitCode.PROBLEMS if unsolved else ExitCode.OK)


@app.command
def upgrade(
    target: Target = None,
    /,
    *,
    gpu: Gpus = None,
    driver: DriverSpec = None,
    plan: PlanFile = None,
    strategy: Choice = Strategy.NEAREST,
    level: Level = "import",
    dry_run: DryRun = False,
    yes: Yes = False,
    lang: Language = None,
    as_json: AsJson = False,
    no_color: NoColor = False,
) -> int:
    """Move the environment to a build that works: cloned, verified, then exchanged in one step; the old one is kept.

    ```
    archfit upgrade --dry-run
    archfit upgrade .venv --yes
    archfit upgrade --plan plan.json
    ```
    """
    session = Session(lang, color=not no_color, as_json=as_json)
    with error_door(session):
        _check_level(level)
        diagnosis = diagnose(session, target, gpu, driver)
        chosen = (
            api.load_plan(plan, diagnosis.environment)
            if plan
            else api.make_plan(diagnosis, api.PlanWish(strategy.value))
        )
        with session.counting("asking"):
            prepared = api.prepare_upgrade(diagnosis, chosen)
        if prepared is None:
            _say_nothing_to_do(session, chosen)
            return int(ExitCode.OK)
        announce(session, prepared)
        if dry_run:
            _say_dry(session, prepared)
            return int(ExitCode.OK)
        if not yes:
            _confirm(session)
        perform_upgrade(session, prepared, level)
    return int(ExitCode.OK)


@app.command
def rollback(
    target: Target = None,
    state: Annotated[int | None, Parameter(help="A state of `archfit history`; default: the one before.")] = None,
    /,
    *,
    lang: Language = None,
    no_color: NoColor = False,
) -> int:
    """Bring an earlier state of the environment back, in an instant; the present one is kept and can come back too.

    ```
    archfit rollback
    archfit rollback .venv
    archfit rollback .venv 1
    ```
    """
    session = Session(lang, color=not no_color, as_json=False)
    with error_door(session):
        story = api.rollback(target, state)
        live = story.live
        key = "rollback-done" if story.entries[-1]["event"] == "done" and live else "rollback-undone"
        words = {"id": live.id, "label": live.label} if live else {"id": "-", "label": "-"}
        session.screen.out.print(session.messages.ui(key, target=story.root, **words), soft_wrap=True)
    return int(ExitCode.OK)


@app.command
def history(
    target: Target = None, /, *, lang: Language = None, as_json: AsJson = False, no_color: NoColor = False
) -> int:
    """Show the states of an environment: what was installed when, how it was verified, where the old ones are kept.

    ```
    archfit history .venv
    ```
    """
    session = Session(lang, color=not no_color, as_json=as_json)
    with error_door(session):
        story = api.history(target)
        if as_json:
            session.print_text(json_v1.dump(json_v1.history_document(story)))
        else:
            session.screen.history(story)
    return int(ExitCode.OK)


@app.command
def verify(
    target: Target = None,
    /,
    *,
    level: Level = "import",
    gpu: Gpus = None,
    driver: DriverSpec = None,
    lang: Language = None,
    as_json: AsJson = False,
    output: Output = None,
    no_color: NoColor = False,
) -> int:
    """Prove that the environment can compute: what is proven, what failed, what could not be judged.

    ```
    archfit verify
    archfit verify .venv --level static --gpu 'RTX 5090'
    ```
    """
    session = Session(lang, color=not no_color, as_json=as_json)
    with error_door(session):
        _check_level(level)
        diagnosis = diagnose(session, target, gpu, driver)
        with session.steps() as (on_step, on_probe):
            on_step("prove")
            proof = api.prove(diagnosis, level, on_probe)
        code = _verify_code(diagnosis, proof)
        words = {ExitCode.OK: "passed", ExitCode.VERIFY_FAILED: "failed"}.get(code, "undecided")
        document = json_v1.verify_document(proof, diagnosis.environment, words, session.messages)
        if as_json:
            session.print_text(json_v1.dump(document))
        else:
            session.screen.verification(proof)
        if output:
            session.write(output, {".json": lambda: json_v1.dump(document)})
        return int(code)


@app.command
def demo(
    *,
    gpu: Annotated[str, Parameter(help="The GPU to pretend.")] = "RTX 5090",
    driver: Annotated[str, Parameter(help="The driver to pretend.")] = "580.65.06",
    python: Annotated[str | None, Parameter("--python", help="The Python of the scratch environment: 3.11.")] = None,
    keep: Annotated[Path | None, Parameter(help="Keep the environment and the record in this folder.")] = None,
    lang: Language = None,
    no_color: NoColor = False,
) -> int:
    """Show the whole story on a scratch environment that really is broken: doctor, plan, upgrade, verify, history.

    ```
    archfit demo
    archfit demo --keep /tmp/demo
    archfit demo --lang zh
    ```
    """
    from archfit.demo import run_demo

    session = Session(lang, color=not no_color, as_json=False)
    with error_door(session):
        run_demo(session, gpu=gpu, driver=driver, python=python, keep=keep)
    return int(ExitCode.OK)


# --- shared by commands ----------------------------------------------------------------------------------------------


def _doctor_json(session: Session, diagnosis: Diagnosis) -> str:
    return json_v1.dump(json_v1.doctor_document(diagnosis, session.messages))


def _plan_json(session: Session, plan: Plan) -> str:
    return json_v1.dump(json_v1.plan_document(plan, session.messages))


def _exit_code(status: Status) -> ExitCode:
    codes = {Status.OK: ExitCode.OK, Status.PROBLEMS: ExitCode.PROBLEMS, Status.UNDECIDED: ExitCode.UNDECIDED}
    return codes[status]


def _verify_code(diagnosis: Diagnosis, proof: Verification) -> ExitCode:
    if any(e.status is Proof.FAILED for e in proof.evidence):
        return ExitCode.VERIFY_FAILED
    decided = proof.passed and diagnosis.status is not Status.UNDECIDED
    return ExitCode.OK if decided else ExitCode.UNDECIDED


def _check_level(level: str) -> None:
    if level not in api.LEVELS:
        raise UsageError("level-unknown", spec=level, known=", ".join(api.LEVELS))


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


def _say_nothing_to_do(session: Session, plan: Plan) -> None:
    if session.as_json:
        session.print_text(json_v1.dump({"schema": "archfit.upgrade/1", "status": "nothing-to-do"}))
    else:
        session.screen.plan(plan)


def _say_dry(session: Session, prepared: api.Prepared) -> None:
    if session.as_json:
        document = upgrade_document(session, prepared, None)
        session.print_text(json_v1.dump(document))
        return
    session.screen.out.print(session.messages.ui("upgrade-dry"), style="bold")
    session.screen.commands(prepared.option)


def _confirm(session: Session) -> None:
    if not sys.stdin.isatty():
        raise UsageError("needs-yes")
    if not Confirm.ask(session.messages.ui("upgrade-confirm"), console=session.talk, default=False):
        raise Interrupted("not-confirmed")

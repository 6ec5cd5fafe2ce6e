"""archfit plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from archfit import api
from archfit.bundling import write_bundle
from archfit.cli.answer import answer, page
from archfit.cli.options import HERE, PLAIN, Choice, Manner, Pretend, Strategy, Target, platform_tag, python_tag
from archfit.errors import ExitCode, UsageError
from archfit.flow import diagnose
from archfit.model import Plan
from archfit.report import json_v1, record
from archfit.report.build_script import render_build_script
from archfit.report.plan_screen import show_plan
from archfit.session import Session, error_door


def plan(
    target: Target = None,
    /,
    *,
    pretend: Pretend = HERE,
    python: Annotated[str | None, Parameter("--python", help="option.python-pretended")] = None,
    platform: Annotated[str | None, Parameter(help="option.platform-pretended")] = None,
    strategy: Choice = Strategy.NEAREST,
    source: Annotated[Path | None, Parameter(help="option.source")] = None,
    offline: Annotated[bool, Parameter(help="option.offline")] = False,
    mirror: Annotated[str | None, Parameter(help="option.mirror")] = None,
    build_script: Annotated[Path | None, Parameter(help="option.build-script")] = None,
    offline_bundle: Annotated[Path | None, Parameter(help="option.offline-bundle")] = None,
    manner: Manner = PLAIN,
) -> int:
    """List every way out, best first, with cost, risk and commands; and what does not help, with the reason."""
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md", ".html")
        if offline and offline_bundle:
            raise UsageError("bundle-offline")
        wish = api.PlanWish(strategy.value, python_tag(python), platform_tag(platform))
        diagnosis = diagnose(session, target, pretend.gpu, pretend.driver, wish.platform)
        with session.counting("asking"):
            found = api.make_plan(diagnosis, wish, ask=not offline)
        found = _with_source(session, found, source)
        if build_script:
            _write_script(session, found, build_script)
        if mirror:
            found = api.through_mirror(found, mirror)
        if offline_bundle:
            found = write_bundle(session, found, wish, offline_bundle)
        answer(
            session,
            manner,
            show=lambda: show_plan(session.screen, found),
            document=lambda: json_v1.plan_document(found, session.messages),
            markdown=lambda: record.render_plan(session.messages, found),
            more={".html": lambda: page(session, "plan", diagnosis=diagnosis, plan=found)},
        )
        unsolved = any(row.text.key in ("no-build", "pinned") for row in found.unsolved)
        return int(ExitCode.PROBLEMS if unsolved else ExitCode.OK)


def _with_source(session: Session, plan: Plan, root: Path | None) -> Plan:
    """What the change asks of source code, and where below `root`."""
    plan = api.with_changes(plan)
    if root is None:
        return plan
    with session.counting("searching-source") as on_file:
        return api.search_source(plan, root, on_file)


def _write_script(session: Session, plan: Plan, path: Path) -> None:
    """The script that builds torch from source."""
    text = render_build_script(session.messages, api.source_build_of(plan), path.name)
    session.write(path, {path.suffix.lower(): lambda: text})
    path.chmod(0o755)

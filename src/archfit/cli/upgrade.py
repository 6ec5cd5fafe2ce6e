"""archfit upgrade."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from archfit import api
from archfit.cli.answer import answer, confirmed, page
from archfit.cli.options import (
    HERE,
    PLAIN,
    Choice,
    Force,
    Level,
    Manner,
    Pretend,
    Strategy,
    Target,
    Yes,
    highest_level,
    names_of,
)
from archfit.errors import ExitCode
from archfit.flow import announce, diagnose, perform_upgrade, say_done, upgrade_document, upgrade_page
from archfit.report import json_v1
from archfit.report.plan_screen import show_commands, show_plan
from archfit.session import Session, error_door


def upgrade(
    target: Target = None,
    /,
    *,
    pretend: Pretend = HERE,
    plan: Annotated[Path | None, Parameter("--plan", help="option.plan-file")] = None,
    strategy: Choice = Strategy.NEAREST,
    level: Level = None,
    allow_broken: Annotated[tuple[str, ...], Parameter(help="option.allow-broken")] = (),
    no_rebuild: Annotated[bool, Parameter(help="option.no-rebuild")] = False,
    dry_run: Annotated[bool, Parameter(help="option.dry-run")] = False,
    yes: Yes = False,
    force: Force = False,
    manner: Manner = PLAIN,
) -> int:
    """Move the environment to a build that works: cloned, verified, then exchanged in one step; the old one is kept."""
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".html")
        wanted = highest_level(level)
        diagnosis = diagnose(session, target, pretend.gpu, pretend.driver)
        height = wanted or api.default_level(diagnosis.environment)
        bundle = plan if plan and plan.is_dir() else None
        with session.counting("checking-bundle" if bundle else "asking", in_bytes=True) as on_bytes:
            chosen = (
                api.load_plan(plan, diagnosis.environment)
                if plan
                else api.make_plan(diagnosis, api.PlanWish(strategy.value), ask=True)
            )
            prepared = api.prepare_upgrade(diagnosis, chosen, bundle, on_bytes, rebuild=not no_rebuild)
        if prepared is None:
            empty = json_v1.nothing_document(diagnosis.environment)
            more = {".html": lambda: page(session, "plan", diagnosis=diagnosis, plan=chosen)}
            answer(session, manner, show=lambda: show_plan(session.screen, chosen), document=lambda: empty, more=more)
            return int(ExitCode.OK)
        if not manner.as_json:
            announce(session, prepared)
        if not (dry_run or yes or confirmed(session, session.messages.ui("upgrade-confirm"))):
            session.talk.print(session.messages.ui("not-confirmed"))
            return int(ExitCode.INTERRUPTED)
        receipt = None if dry_run else perform_upgrade(session, prepared, height, names_of(allow_broken), force=force)
        answer(
            session,
            manner,
            show=lambda: say_done(session, receipt) if receipt else _say_dry(session, prepared),
            document=lambda: upgrade_document(session, prepared, receipt),
            more={".html": lambda: upgrade_page(session, prepared, receipt)},
        )
    return int(ExitCode.OK)


def _say_dry(session: Session, prepared: api.Prepared) -> None:
    session.screen.say(session.messages.ui("upgrade-dry"), "bold")
    show_commands(session.screen, prepared.option)

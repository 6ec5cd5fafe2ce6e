"""Steps of ``archfit plan --offline-bundle``: choose, load with a bar, write the plan beside the wheels."""

from __future__ import annotations

from pathlib import Path

from archfit import api
from archfit.model import Plan
from archfit.report import json_v1
from archfit.report.screen import size
from archfit.session import Session


def write_bundle(session: Session, plan: Plan, wish: api.PlanWish, folder: Path) -> Plan:
    """Load every wheel of the best option that was resolved; returns the plan with that option first.

    Raises:
        ProblemError: no option was resolved.
        ObserveError, ApplyError: a wheel cannot be had, or there is no room for it.
    """
    plan = api.bundled_first(plan)
    option = plan.options[0]
    with session.counting("bundle-finding"):
        files = api.find_bundle(plan, wish)
    with session.reading() as bars:
        bar = bars.add(session.messages.ui("bundle-loading"))
        wheels = api.fill_bundle(folder, files, bar.advance, bar.begin)
    rows = [{"file": w.file, "sha256": w.sha256, "size_bytes": w.size_bytes} for w in wheels]
    document = {**json_v1.plan_document(plan, session.messages), "bundle": {"wheels": rows}}
    api.write_bundle_plan(folder, json_v1.dump(document))
    total = size(sum(wheel.size_bytes for wheel in wheels))
    summary = session.messages.text(option.summary)
    session.talk.print(
        session.messages.ui("bundle-done", count=len(wheels), size=total, path=folder, option=summary), soft_wrap=True
    )
    if compiled := [f"{w.package} {w.current}" for w in option.extensions if w.kind in ("rebuild", "replace")]:
        session.talk.print(session.messages.ui("bundle-lacks", packages=", ".join(compiled)), style="yellow")
    command = f"archfit upgrade {plan.environment.root} --plan {folder}"
    session.talk.print(session.messages.ui("bundle-use", command=session.messages.runnable(command)), soft_wrap=True)
    return plan

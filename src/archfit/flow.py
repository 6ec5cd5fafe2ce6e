"""Steps that several commands share: look, announce, apply with progress."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from archfit import api
from archfit.compiling import announce_compiling, compile_extensions
from archfit.errors import ArchfitError
from archfit.model import Diagnosis, Plan, Verification
from archfit.report import json_v1, record
from archfit.report.plan_screen import show_changes, show_needs
from archfit.report.proof_screen import show_verification
from archfit.session import Session


def diagnose(
    session: Session, target: str | None, gpus: Sequence[str], driver: str | None, platform: str | None = None
) -> Diagnosis:
    """Observe and check with a bar; `platform` as the catalog spells it, where another one is pretended."""
    with session.counting("reading", in_bytes=True) as on_read:
        return api.doctor(api.Wish(target, tuple(gpus), driver, platform), on_read)


def ways_out(diagnosis: Diagnosis) -> Plan | None:
    """The plan for what was found; None where nothing is wrong, or nobody can tell."""
    if diagnosis.primary is None:
        return None
    try:
        return api.make_plan(diagnosis, api.PlanWish())
    except ArchfitError:
        return None  # `archfit plan` says why there is none


def announce(session: Session, prepared: api.Prepared) -> None:
    """Say what an upgrade will change, before it is changed."""
    screen, messages = session.screen, session.messages
    root = prepared.before.environment.root
    screen.out.print(messages.ui("upgrade-will", target=root), style="bold", soft_wrap=True)
    show_changes(screen, prepared.changes)
    needs = prepared.option.requires
    if needs.download_bytes:
        show_needs(screen, prepared.option)
    announce_compiling(session, prepared)
    screen.left_over(prepared.left_over)
    screen.out.print(
        messages.ui("upgrade-safe", command=prepared.before.environment.command("rollback")), soft_wrap=True
    )


def upgrade_document(session: Session, prepared: api.Prepared, receipt: api.Receipt | None) -> json_v1.Document:
    """The document of an upgrade, done or only tried."""
    prepared = receipt.prepared if receipt else prepared  # with what was compiled
    return json_v1.upgrade_document(
        "done" if receipt else "dry-run",
        prepared.before,
        prepared.option,
        prepared.changes,
        receipt.verification if receipt else None,
        receipt.record if receipt else None,
        session.messages,
    )


def upgrade_page(session: Session, prepared: api.Prepared, receipt: api.Receipt | None) -> str:
    """Before and after as a page; of an upgrade that was only tried, what would change."""
    from archfit.report.html import Page, render_page

    made = Page(
        "upgrade",
        diagnosis=prepared.before,
        option=prepared.option,
        changes=prepared.changes,
        left_over=prepared.left_over,
        after=receipt.after if receipt else None,
        verification=receipt.verification if receipt else None,
    )
    return render_page(made, session.messages, datetime.now().astimezone())


def perform_upgrade(
    session: Session,
    prepared: api.Prepared,
    level: str,
    allow_broken: frozenset[str] = frozenset(),
    *,
    force: bool = False,
) -> api.Receipt:
    """Apply with progress; where verification fails, the failures are shown."""
    messages = session.messages
    primary = prepared.before.primary
    prepared = compile_extensions(session, prepared)

    def render(made: api.Prepared, after: Diagnosis, proof: Verification, states: tuple[int, int]) -> dict[str, str]:
        now = datetime.now().astimezone()
        done = record.Upgrade(made.before, after, made.option, made.changes, proof, now, *states, made.left_over)
        document = json_v1.record_document(done, messages)
        return {".md": record.render_record(messages, done), ".json": json_v1.dump(document)}

    try:
        with session.steps() as (on_step, on_probe):
            receipt = api.upgrade(
                prepared,
                level=level,
                allow_broken=allow_broken,
                force=force,
                why=messages.title(primary) if primary else messages.text(prepared.option.summary),
                render_records=render,
                on_step=on_step,
                on_probe=on_probe,
                talk=not session.as_json,
            )
    except ArchfitError as error:
        if (proof := getattr(error, "proof", None)) and not session.as_json:
            show_verification(session.screen, proof, only_failures=True)
        raise
    if receipt.record:
        with suppress(OSError):  # the change is live and its record is written; the page is the same to look at
            receipt.record.with_suffix(".html").write_text(upgrade_page(session, prepared, receipt), "utf-8")
    return receipt


def say_done(session: Session, receipt: api.Receipt) -> None:
    """What an upgrade did, in three lines."""
    messages, out = session.messages, session.screen.out
    show_verification(session.screen, receipt.verification, only_failures=True)
    root = receipt.prepared.before.environment.root
    after = receipt.history.live.label if receipt.history.live else "-"
    out.print(messages.ui("upgrade-done", target=root, after=after), style="green", soft_wrap=True)
    session.screen.left_over(receipt.prepared.left_over)
    said = messages.ui("upgrade-record", path=receipt.record) if receipt.record else messages.ui("no-record")
    out.print(said, soft_wrap=True)

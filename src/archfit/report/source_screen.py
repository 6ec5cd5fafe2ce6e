"""What a plan asks of the user's own source code: in the terminal, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text as Styled

from archfit.model import Plan, SourceChange
from archfit.report.messages import Messages
from archfit.report.screen import Screen

_SHOWN = 20


def show_source(screen: Screen, plan: Plan) -> None:
    """Each change, with the lines of the user's source that it touches where there was a look."""
    if not plan.changes:
        return
    screen.out.print()
    screen.out.print(_heading(screen.messages, plan), style="bold", soft_wrap=True)
    for change in plan.changes:
        hits = plan.search.of(change.id) if plan.search else ()
        mark = "none" if plan.search and not hits else "bad" if change.effect == "breaks" else "warn"
        screen.hanging(screen.mark(mark), change_sentence(screen.messages, change))
        for hit in hits[:_SHOWN]:
            screen.hanging(Styled(" "), Styled(f"{hit.file}:{hit.line}: {hit.code}", style="cyan"), indent=4)
        if len(hits) > _SHOWN:
            screen.hanging(Styled(" "), Styled(f"… (+{len(hits) - _SHOWN})", style="dim"), indent=4)
    for line in search_remarks(screen.messages, plan):
        screen.say(line, "dim")


def source_lines(messages: Messages, plan: Plan) -> list[str]:
    """The same as Markdown."""
    if not plan.changes:
        return []
    lines = ["", f"## {_heading(messages, plan)}", ""]
    for change in plan.changes:
        lines.append(f"- {change_sentence(messages, change)}")
        lines += [f"  - `{h.file}:{h.line}`: `{h.code}`" for h in (plan.search.of(change.id) if plan.search else ())]
    return [*lines, "", *search_remarks(messages, plan)]


def source_document(messages: Messages, plan: Plan) -> dict[str, Any]:
    """The keys ``source_changes`` and ``source`` of ``archfit.plan/1``."""
    search = plan.search
    return {
        "source_changes": [
            {
                "id": change.id,
                "package": change.package,
                "since": change.since,
                "effect": change.effect,
                "fix": messages.text(change.text),
                "source": change.source,
                "found": [
                    {"file": hit.file, "line": hit.line, "code": hit.code}
                    for hit in (search.of(change.id) if search else ())
                ],
            }
            for change in plan.changes
        ],
        "source": {
            "root": str(search.root),
            "files": search.files,
            "unreadable": list(search.unreadable),
            "cut": search.cut,
        }
        if search
        else None,
    }


def _heading(messages: Messages, plan: Plan) -> str:
    option = next((o for o in plan.options if o.kind in ("upgrade", "nightly")), plan.options[0])
    return messages.ui("source-changes", option=messages.text(option.summary))


def change_sentence(messages: Messages, change: SourceChange) -> str:
    """What is different, what to write instead, since when."""
    effect = messages.ui(f"source-effect-{change.effect}")
    return messages.ui(
        "source-change", effect=effect, text=messages.text(change.text), package=change.package, since=change.since
    )


def search_remarks(messages: Messages, plan: Plan) -> Iterator[str]:
    """Where was looked and what was found, or how to look."""
    search = plan.search
    if search is None:
        yield messages.runnable(messages.ui("source-how"))
        return
    touched = len({hit.file for hit in search.hits})
    values = {"files": f"{search.files:,}", "root": search.root, "hits": f"{len(search.hits):,}", "touched": touched}
    yield messages.ui("source-found" if search.hits else "source-found-none", **values)
    if search.unreadable:
        yield messages.ui("source-unreadable", count=len(search.unreadable), first=search.unreadable[0])
    if search.cut:
        yield messages.ui("source-cut")

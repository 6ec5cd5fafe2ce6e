"""Markdown: the upgrade record that stays with the environment, and the diagnosis and plan for an issue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from archfit.model import (
    Diagnosis,
    Environment,
    Fact,
    Known,
    LockedPackage,
    Option,
    Outcome,
    Plan,
    Unsolved,
    Verification,
)
from archfit.report.messages import Messages
from archfit.report.screen import size


def render_record(
    messages: Messages,
    before: Diagnosis,
    after: Diagnosis,
    option: Option,
    changes: Sequence[LockedPackage],
    verification: Verification,
    when: datetime,
    left_over: Sequence[Unsolved] = (),
) -> str:
    """The record of one upgrade: what was, what is, why, what was verified, how to go back."""
    env = before.environment
    ui = messages.ui
    lines = [
        f"# {ui('record-title', target=env.root)}",
        "",
        messages.labelled("record-date", when.isoformat(timespec="seconds")),
    ]
    lines += ["", f"## {ui('record-what')}", "", f"| | {ui('record-before')} | {ui('record-after')} |", "|---|---|---|"]
    lines += _row("torch", *(_torch(e) for e in (env, after.environment)))
    lines += _row("CUDA", *(_cuda(e, ui("record-unknown")) for e in (env, after.environment)))
    lines += _row(ui("record-gpu"), _gpus(env, ui("record-unknown")), _gpus(after.environment, ui("record-unknown")))
    lines += _row(ui("record-driver"), *[_driver(env, ui("record-unknown"))] * 2)
    lines += ["", f"## {ui('record-why')}", "", *_why(messages, before), messages.text(option.summary)]
    lines += ["", f"## {ui('record-packages')}", ""]
    lines += [
        f"| {ui('column-package')} | {ui('column-from')} | {ui('column-to')} | {ui('column-size')} | {ui('record-sha')} |",
        "|---|---|---|---|---|",
        *(
            f"| {c.name} | {c.current or '-'} | {c.wanted} | {size(c.wheel_bytes)} | `{c.sha256 or '-'}` |"
            for c in changes
        ),
    ]
    lines += ["", f"## {ui('record-verified')}", "", *_evidence(messages, verification)]
    if left_over:
        lines += ["", f"## {ui('unsolved')}", "", *(_unsolved(messages, row) for row in left_over)]
    lines += ["", f"## {ui('record-back')}", "", ui("record-back-text"), ""]
    lines += ["```", messages.runnable(env.command("rollback")), "```", ""]
    return "\n".join(lines)


def render_diagnosis(messages: Messages, diagnosis: Diagnosis) -> str:
    """A diagnosis to paste into an issue."""
    env = diagnosis.environment
    lines = [f"# archfit doctor: {env.root}", ""]
    lines += [
        f"- **{messages.check(o.check)}** ({messages.ui(o.state.value)}) {_said(messages, o)}"
        for o in diagnosis.outcomes
    ]
    for finding in diagnosis.findings:
        lines += ["", f"## {messages.title(finding)}", "", f"`{finding.id}` ({finding.severity.value})", ""]
        lines += [messages.detail(finding), "", *_facts(messages, finding.evidence)]
        if finding.fix:
            lines += ["", "```", messages.runnable(finding.fix), "```"]
    return "\n".join([*lines, ""])


def render_plan(messages: Messages, plan: Plan) -> str:
    """A plan to paste into an issue."""
    lines = [f"# {messages.ui('plan-title', target=plan.environment.root)}"]
    lines += ["", *(f"> {messages.text(notice)}" for notice in plan.notices)] if plan.notices else []
    for number, option in enumerate(plan.options, 1):
        lines += ["", f"## {number}. {option.kind}: {messages.text(option.summary)}", ""]
        lines += [f"- {text}" for text in dict.fromkeys(messages.text(t) for s in option.steps for t in s.why)]
        lines += ["- " + messages.labelled("risks", messages.text(risk)) for risk in option.risks]
        if option.uv:
            lines += ["", "```", *dict.fromkeys([*option.pip, *option.uv]), "```"]
    if plan.unsolved:
        lines += ["", f"## {messages.ui('unsolved')}", "", *(_unsolved(messages, u) for u in plan.unsolved)]
    if plan.rejected:
        lines += ["", f"## {messages.ui('rejected')}", ""]
        lines += [f"- {messages.rejected(r)}" for r in plan.rejected]
    return "\n".join([*lines, ""])


def _said(messages: Messages, outcome: Outcome) -> str:
    titles = [messages.title(finding) for finding in outcome.findings]
    return "; ".join(titles) or (messages.text(outcome.reason) if outcome.reason else "")


def _unsolved(messages: Messages, unsolved: Unsolved) -> str:
    command = f" `{messages.runnable(unsolved.command)}`" if unsolved.command else ""
    return f"- {messages.text(unsolved.text)}{command}"


def _row(*cells: str) -> list[str]:
    return [f"| {' | '.join(cells)} |"]


def _why(messages: Messages, before: Diagnosis) -> list[str]:
    if before.primary is None:
        return []
    facts = _facts(messages, before.primary.evidence)
    return [
        f"**{messages.title(before.primary)}** (`{before.primary.id}`)",
        "",
        messages.detail(before.primary),
        "",
        *facts,
        "",
    ]


def _facts(messages: Messages, facts: Iterable[Fact]) -> list[str]:
    return [f"- `{f.source}`: {messages.text(f.text)}" for f in facts]


def _evidence(messages: Messages, verification: Verification) -> list[str]:
    ui = messages.ui
    rows = [f"| {ui('column-probe')} | {ui('column-result')} | {ui('column-detail')} |", "|---|---|---|"]
    for evidence in verification.evidence:
        reason = messages.because(evidence) or evidence.measured
        detail = f"{reason} ({evidence.seconds:.1f} s)" if evidence.seconds else reason
        rows.append(f"| `{evidence.probe}` | {ui(evidence.status.value)} | {detail} |")
    return rows


def _torch(env: Environment) -> str:
    torch = env.distribution("torch")
    return torch.version if torch else "-"


def _cuda(env: Environment, unknown: str) -> str:
    return str(env.torch_cuda.value) if isinstance(env.torch_cuda, Known) else unknown


def _gpus(env: Environment, unknown: str) -> str:
    return ", ".join(f"{g.name} ({g.capability}; {g.source})" for g in env.devices) or unknown


def _driver(env: Environment, unknown: str) -> str:
    return f"{env.driver.value.release} ({env.driver.value.source})" if isinstance(env.driver, Known) else unknown

"""Answers as Markdown, to be pasted into an issue: a diagnosis, a scan, an audit, a verification, a history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archfit.arch import ComputeCapability
from archfit.audit import Audit
from archfit.catalog import load_catalog
from archfit.coverage import judge_subject
from archfit.model import (
    Diagnosis,
    Environment,
    Evidence,
    Finding,
    History,
    Known,
    Outcome,
    Plan,
    Subject,
    Verification,
)
from archfit.report.alternatives import alternatives_of, archfit_does, as_shell, remedy_of
from archfit.report.areas import first_with_targets
from archfit.report.build_screen import build_markdown
from archfit.report.heatmap import LOOKS, HeatMap, map_environment, map_subject
from archfit.report.history_screen import local_time
from archfit.report.messages import Messages
from archfit.report.ways_screen import compiled, rebuilt


def render_diagnosis(messages: Messages, diagnosis: Diagnosis, plan: Plan | None = None) -> str:
    """What is wrong and what helps first; then the machine, what runs where, the other findings and every check."""
    env, ui = diagnosis.environment, messages.ui
    explained = first_with_targets(diagnosis)
    errors = sum(f.severity.value == "error" for f in diagnosis.findings)
    lines = [f"# archfit doctor: {env.root}", "", ui(f"status-{diagnosis.status.value}", count=errors)]
    if diagnosis.primary:
        lines += [
            "",
            f"## {messages.labelled('primary', messages.title(diagnosis.primary))}",
            *_finding(messages, diagnosis.primary, explain=diagnosis.primary is explained),
            *_way_out(messages, diagnosis, plan),
        ]
    lines += ["", *_facts_of(messages, env)]
    heat = map_environment(env)
    if heat.rows:
        lines += ["", f"## {ui('coverage-title')}", "", *_heat(heat)]
    for finding in (f for f in diagnosis.findings if f is not diagnosis.primary):
        fix = diagnosis.fix_beside(finding)
        lines += ["", f"## {messages.title(finding)}", *_finding(messages, finding, explain=finding is explained)]
        lines += _code([messages.runnable(fix)] if fix else [])
    lines += ["", f"<details><summary>{ui('all-checks')}</summary>", ""]
    lines += [
        f"- **{messages.check(o.check)}** ({ui(o.state.value)}) {_said(messages, o)}".rstrip()
        for o in diagnosis.outcomes
    ]
    return "\n".join([*lines, "", "</details>", ""])


def render_scan(messages: Messages, subjects: Sequence[Subject], devices: Sequence[ComputeCapability]) -> str:
    """Of each thing what serves which GPU, as a whole and library by library."""
    lines: list[str] = []
    for subject in subjects:
        lines += ["", f"# {subject.file or subject.name}", "", messages.ui(f"scan-kind-{subject.kind}"), ""]
        if subject.build:
            lines += build_markdown(messages, subject.build, devices)
            continue
        judged = {d: judge_subject(subject, d, load_catalog().loading_of).verdict for d in devices}
        lines += ["| | | |", "|---|---|---|"]
        for verdict in dict.fromkeys(judged.values()):
            served = " ".join(d.sm for d, v in judged.items() if v is verdict)
            meaning = messages.ui(f"scan-{verdict.value}") if verdict.value != "no-gpu-code" else ""
            lines += table_row(f"{LOOKS[verdict].sign} {verdict.value}".strip(), served, meaning)
        heat = map_subject(subject, devices)
        if len(heat.rows) > 1:
            lines += ["", *_heat(heat)]
        if subject.unreadable:
            lines += ["", *(f"- `{name}`: {messages.text(why)}" for name, why in subject.unreadable)]
    return "\n".join([*lines[1:], ""])


def render_audits(messages: Messages, audits: Sequence[Audit], failures: Sequence[tuple[str, str]]) -> str:
    """Each subject with what it violates; what could not be read at all."""
    lines = ["# archfit audit", ""]
    for audit in audits:
        verdicts = ", ".join(f"{device.sm} {package.verdict.value}" for device, package in audit.judged.items())
        lines.append(f"- {'✓' if audit.passed else '✗'} **{audit.subject.name}** {verdicts}".rstrip())
        lines += [f"  - {messages.violation(v.rule, v.values)}" for v in audit.violations]
        for violation, reason in audit.excused:
            text = messages.violation(violation.rule, violation.values)
            lines.append(f"  - {messages.ui('audit-excused', text=text, reason=reason)}")
    lines += [f"- ! **{name}** {reason}" for name, reason in failures]
    return "\n".join([*lines, ""])


def render_verification(messages: Messages, verification: Verification, env: Environment) -> str:
    """The machine, the sum, and the evidence one by one."""
    counts = [sum(e.status.value == s for e in verification.evidence) for s in ("passed", "failed", "skipped")]
    key = "verify-passed" if verification.passed else "verify-failed" if counts[1] else "verify-nothing"
    words = {"passed": counts[0], "failed": counts[1], "skipped": counts[2], "total": len(verification.evidence)}
    lines = [f"# archfit verify: {env.root}", "", messages.ui(key, **words), "", *_facts_of(messages, env), ""]
    return "\n".join([*lines, *evidence_table(messages, verification.evidence), ""])


def render_history(messages: Messages, history: History) -> str:
    """The states of an environment, a line each."""
    ui = messages.ui
    if not history.states:
        return f"# {ui('history-none', target=history.root)}\n"
    lines = [f"# {ui('history-title', target=history.root)}", ""]
    lines += table_row(*(ui(f"column-{name}") for name in ("state", "what", "when", "verified", "where")))
    lines.append("|---|---|---|---|---|")
    for state in history.states:
        key = "history-live" if state.live else "history-kept" if state.path else "history-gone"
        where = messages.labelled(key, f"`{state.path}`") if state.path and not state.live else ui(key)
        lines += table_row(str(state.id), state.label, local_time(state.time), state.verified or "-", where)
    return "\n".join([*lines, ""])


def evidence_table(messages: Messages, judged: Sequence[Evidence]) -> list[str]:
    """A row for each probe."""
    ui = messages.ui
    rows = [*table_row(ui("column-probe"), ui("column-result"), ui("column-detail")), "|---|---|---|"]
    for evidence in judged:
        reason = messages.because(evidence) or evidence.measured
        detail = f"{reason} ({evidence.seconds:.1f} s)" if evidence.seconds else reason
        rows += table_row(f"`{evidence.probe}`", ui(evidence.status.value), detail)
    return rows


def _facts_of(messages: Messages, env: Environment) -> list[str]:
    """GPU, driver, Python and torch, which every helper asks for first."""
    ui, torch = messages.ui, env.distribution("torch")
    unknown = ui("record-unknown")
    python = env.interpreter.value if isinstance(env.interpreter, Known) else None
    driver = env.driver.value if isinstance(env.driver, Known) else None
    cuda = env.torch_cuda.value if isinstance(env.torch_cuda, Known) else None
    return [
        "| | |",
        "|---|---|",
        *table_row(
            ui("record-gpu"), "; ".join(f"{messages.text(g.called)}, {g.source}" for g in env.devices) or unknown
        ),
        *table_row(ui("record-driver"), f"{driver.release} ({driver.source})" if driver else unknown),
        *table_row("Python", f"{python.version} {python.platform} {python.libc or ''}".rstrip() if python else unknown),
        *table_row("torch", f"{torch.version}, CUDA {cuda or '-'}" if torch else "-"),
    ]


def _finding(messages: Messages, finding: Finding, *, explain: bool) -> Iterator[str]:
    yield from ("", f"`{finding.id}` ({finding.severity.value})", "", messages.detail(finding), "")
    yield from (f"- `{fact.source}`: {messages.text(fact.text)}" for fact in finding.evidence)
    if explain:
        yield from ("", messages.ui("code-words"))


def _way_out(messages: Messages, diagnosis: Diagnosis, plan: Plan | None) -> Iterator[str]:
    """What helps, with the command of the primary finding and whatever does the same."""
    fix = diagnosis.primary.fix if diagnosis.primary else ""
    remedy = remedy_of(plan)
    if plan is None or remedy is None:
        yield from _code([messages.runnable(fix)] if fix else [])
        return
    yield from ("", f"**{messages.labelled('remedy', messages.text(remedy.summary))}**", "")
    yield from (f"- {way.package}: {rebuilt(messages, plan.environment, way)}" for way in compiled(remedy))
    yield from _code([messages.runnable(line) for line in as_shell(alternatives_of(messages, remedy, plan))])
    if fix and not archfit_does(plan, remedy):
        yield from ("", f"**{messages.ui('next')}**", *_code([messages.runnable(fix)]))


def _code(commands: Sequence[str]) -> list[str]:
    return ["", "```", *commands, "```"] if commands else []


def _heat(heat: HeatMap) -> Iterator[str]:
    heat = heat.merged()
    yield from table_row(heat.corner, *(column.label for column in heat.columns))
    yield "|---|" + ":-:|" * len(heat.columns)
    for row in heat.rows:
        yield from table_row(f"`{row.label}`", *(LOOKS[cell].sign for cell in row.cells))
    yield ""
    yield ", ".join(f"{LOOKS[verdict].sign} {verdict.value}" for verdict in heat.verdicts)


def _said(messages: Messages, outcome: Outcome) -> str:
    titles = [messages.title(finding) for finding in outcome.findings]
    return "; ".join(titles) or (messages.text(outcome.reason) if outcome.reason else "")


def table_row(*cells: str) -> list[str]:
    """One row of a table; what would end a cell is escaped."""
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"]

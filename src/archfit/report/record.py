"""Markdown: the upgrade record that stays with the environment, and the plan for an issue."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from archfit import __version__
from archfit.model import (
    Diagnosis,
    Environment,
    Evidence,
    Fact,
    Known,
    LockedPackage,
    Option,
    Plan,
    Proof,
    Unsolved,
    Verification,
)
from archfit.report.alternatives import alternatives_of, as_shell
from archfit.report.markdown import evidence_table, table_row
from archfit.report.messages import Messages
from archfit.report.screen import size
from archfit.report.source_screen import source_lines
from archfit.report.ways_screen import compiled, for_whom, reasons, rebuilt, unsolved_of, wanted_of, way_lines


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What a record tells of one upgrade: `number` is the state that it made, `previous` the one that it left."""

    before: Diagnosis
    after: Diagnosis
    option: Option
    changes: Sequence[LockedPackage]
    verification: Verification
    when: datetime
    number: int
    previous: int
    left_over: Sequence[Unsolved] = ()

    @property
    def rollback(self) -> str:
        """The command that leads back."""
        return f"{self.before.environment.command('rollback')} {self.previous}"


def render_record(messages: Messages, done: Upgrade) -> str:
    """The record of one upgrade: what was, what is, why, what was verified and what not, how to go back."""
    env, after = done.before.environment, done.after.environment
    ui = messages.ui
    unknown = ui("record-unknown")
    lines = [
        f"# {ui('record-title', target=env.root)}",
        "",
        messages.labelled("record-date", done.when.isoformat(timespec="seconds")) + "  ",
        messages.labelled("record-by", f"archfit {__version__}"),
    ]
    lines += ["", f"## {ui('record-what')}", "", f"| | {ui('record-before')} | {ui('record-after')} |", "|---|---|---|"]
    lines += table_row(ui("record-state"), str(done.previous), str(done.number))
    lines += table_row("torch", *(_torch(e) for e in (env, after)))
    lines += table_row("CUDA", *(_cuda(e, unknown) for e in (env, after)))
    lines += table_row("Python", *(_python(e, unknown) for e in (env, after)))
    lines += table_row(ui("record-gpu"), _gpus(messages, env, unknown), _gpus(messages, after, unknown))
    lines += table_row(ui("record-driver"), *[_driver(env, unknown)] * 2)
    lines += ["", f"## {ui('record-why')}", "", *_why(messages, done.before), messages.text(done.option.summary)]
    lines += ["", f"## {ui('record-packages')}", "", *_packages(messages, done.changes)]
    judged = [e for e in done.verification.evidence if e.status is not Proof.SKIPPED]
    skipped = [e for e in done.verification.evidence if e.status is Proof.SKIPPED]
    lines += ["", f"## {ui('record-verified')}", "", *evidence_table(messages, judged)]
    lines += ["", f"## {ui('record-unverified')}", "", *_unverified(messages, done, skipped)]
    if done.left_over:
        lines += ["", f"## {ui('left-over')}", "", *(_unsolved(messages, row) for row in done.left_over)]
    lines += ["", f"## {ui('record-back')}", "", ui("record-back-text"), ""]
    lines += ["```", messages.runnable(done.rollback), "```", ""]
    return "\n".join(lines)


def _packages(messages: Messages, changes: Sequence[LockedPackage]) -> list[str]:
    ui = messages.ui
    heads = [ui("column-package"), ui("column-from"), ui("column-to"), ui("column-size"), ui("column-index")]
    rows = [*table_row(*heads, ui("record-sha")), "|---|---|---|---|---|---|"]
    for c in changes:
        rows += table_row(
            c.name,
            c.current or "-",
            wanted_of(messages, c),
            size(c.wheel_bytes),
            c.index or "-",
            f"`{c.sha256 or '-'}`",
        )
    return rows


def _unverified(messages: Messages, done: Upgrade, skipped: Sequence[Evidence]) -> list[str]:
    """What nobody should take for proven."""
    env = done.before.environment
    lines = [f"- `{e.probe}`: {messages.because(e)}" for e in skipped]
    if not any(e.probe.startswith("kernel:") and e.status is Proof.PASSED for e in done.verification.evidence):
        command = messages.runnable(shlex.join(["archfit", "verify", str(env.root), "--level", "kernels"]))
        lines.append("- " + messages.ui("record-no-kernels", command=command))
    return lines or ["- " + messages.ui("record-all-verified")]


def render_plan(messages: Messages, plan: Plan) -> str:
    """A plan to paste into an issue."""
    lines = [f"# {messages.ui('plan-title', target=plan.environment.root)}"]
    lines += ["", for_whom(messages, plan.environment)] if plan.environment.devices else []
    lines += ["", *(f"> {messages.text(notice)}" for notice in plan.notices)] if plan.notices else []
    for number, option in enumerate(plan.options, 1):
        lines += ["", f"## {number}. {option.kind}: {messages.text(option.summary)}", ""]
        lines += [
            f"- {s.package}: {s.current or messages.ui('nothing-installed')} → {s.wanted or messages.ui('newest')}"
            for s in option.steps
            if s.action == "install"
        ]
        lines += [f"- {way.package}: {rebuilt(messages, plan.environment, way)}" for way in compiled(option)]
        lines += [f"- {text}" for text in reasons(messages, option)]
        lines += ["- " + messages.labelled("risks", messages.text(risk)) for risk in option.risks]
        if ways := alternatives_of(messages, option, plan):
            lines += ["", "```", *(messages.runnable(line) for line in as_shell(ways)), "```"]
    lines += [*way_lines(messages, plan), *source_lines(messages, plan)]
    if unsolved := unsolved_of(plan):
        lines += ["", f"## {messages.ui('unsolved')}", "", *(_unsolved(messages, u) for u in unsolved)]
    if plan.rejected:
        lines += ["", f"## {messages.ui('rejected')}", ""]
        lines += [f"- {messages.rejected(r)}" for r in plan.rejected]
    return "\n".join([*lines, ""])


def _unsolved(messages: Messages, unsolved: Unsolved) -> str:
    command = f" `{messages.runnable(unsolved.command)}`" if unsolved.command else ""
    return f"- {messages.text(unsolved.text)}{command}"


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


def _torch(env: Environment) -> str:
    torch = env.distribution("torch")
    return torch.version if torch else "-"


def _cuda(env: Environment, unknown: str) -> str:
    return str(env.torch_cuda.value) if isinstance(env.torch_cuda, Known) else unknown


def _python(env: Environment, unknown: str) -> str:
    return env.interpreter.value.version if isinstance(env.interpreter, Known) else unknown


def _gpus(messages: Messages, env: Environment, unknown: str) -> str:
    return "; ".join(f"{messages.text(g.called)}, {g.source}" for g in env.devices) or unknown


def _driver(env: Environment, unknown: str) -> str:
    return f"{env.driver.value.release} ({env.driver.value.source})" if isinstance(env.driver, Known) else unknown

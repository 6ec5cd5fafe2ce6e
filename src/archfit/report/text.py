"""What a person reads in the terminal: one line per area, the primary cause in a box, the next command last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text as Styled

from archfit.arch import Verdict
from archfit.catalog import load_catalog
from archfit.coverage import base_targets_of, judge_library
from archfit.errors import ArchfitError
from archfit.model import (
    Diagnosis,
    Environment,
    Evidence,
    Finding,
    History,
    Known,
    LockedPackage,
    Option,
    Outcome,
    Plan,
    Proof,
    Severity,
    State,
    Status,
    Unsolved,
    Verification,
)
from archfit.report.messages import Messages

_MARKS = {
    "good": ("✓", "ok", "green"),
    "bad": ("✗", "x", "red"),
    "warn": ("!", "!", "yellow"),
    "none": ("·", "-", "dim"),
}
_VERDICT_STYLE = {
    Verdict.NATIVE: "green",
    Verdict.COMPATIBLE: "green",
    Verdict.JIT: "yellow",
    Verdict.PARTIAL: "yellow",
    Verdict.NONE: "red",
    Verdict.NO_GPU_CODE: "dim",
}


class Screen:
    """A console and the sentences for it. Data goes to `out`, talk to `talk`."""

    def __init__(self, messages: Messages, out: Console, talk: Console) -> None:
        self.messages = messages
        self.out = out
        self.talk = talk
        self.unicode = (out.encoding or "").lower().startswith("utf")

    # --- doctor ------------------------------------------------------------------------------------------------------

    def diagnosis(self, diagnosis: Diagnosis, *, verbose: bool = False) -> None:
        """The answer of the doctor."""
        env = diagnosis.environment
        self._heading(env)
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for outcome in diagnosis.outcomes:
            grid.add_row(self._outcome_mark(outcome), self.messages.check(outcome.check), self._outcome_text(outcome))
        self.out.print(grid)
        if verbose:
            self._coverage(env)
        if diagnosis.primary:
            self.out.print()
            self.out.print(self._primary(diagnosis.primary))
        others = [f for f in diagnosis.findings if f is not diagnosis.primary]
        if others:
            self._others(others, diagnosis.primary, verbose=verbose)
        self.out.print()
        self._conclusion(diagnosis)

    def _heading(self, env: Environment) -> None:
        why = self.messages.ui(f"why-{env.chosen}")
        self.out.print(self.messages.ui("looked-at", target=env.root, why=why), highlight=False)
        pretended = [f"{g.name} ({g.capability})" for g in env.devices if g.pretended]
        if isinstance(env.driver, Known) and env.driver.value.source.startswith("--driver"):
            pretended.append(env.driver.value.source)
        if pretended:
            self.out.print(self.messages.ui("pretended", what=", ".join(pretended)), style="yellow", highlight=False)
        self.out.print()

    def mark(self, kind: str) -> Styled:
        """A mark of one character: good, bad, warn or none."""
        pretty, plain, style = _MARKS[kind]
        return Styled(pretty if self.unicode else plain, style=style)

    def _outcome_mark(self, outcome: Outcome) -> Styled:
        if outcome.state is State.PASSED:
            return self.mark("good")
        if any(f.severity is Severity.ERROR for f in outcome.findings) or outcome.state is State.CRASHED:
            return self.mark("bad")
        if any(f.severity is Severity.WARNING for f in outcome.findings) or outcome.state is State.UNDECIDED:
            return self.mark("warn")
        return self.mark("good" if outcome.findings else "none")

    def _outcome_text(self, outcome: Outcome) -> Styled:
        lines = [self.messages.title(f) for f in outcome.findings]
        if not lines and outcome.reason:
            lines = [self.messages.text(outcome.reason)]
        quiet = outcome.state is State.NOT_APPLICABLE
        if quiet:
            lines = [self.messages.labelled("skipped", line) for line in lines]
        return Styled("\n".join(lines), style="dim" if quiet else "")

    def _primary(self, finding: Finding) -> RenderableType:
        parts: list[RenderableType] = [
            Styled(self.messages.title(finding), style="bold"),
            Styled(self.messages.detail(finding)),
        ]
        if finding.evidence:
            parts += [Styled(""), Styled(self.messages.ui("evidence"), style="dim"), *self._facts(finding)]
        border = box.ROUNDED if self.unicode else box.ASCII
        return Panel(
            Group(*parts), title=self.messages.ui("primary"), title_align="left", border_style="red", box=border
        )

    def _facts(self, finding: Finding) -> list[RenderableType]:
        facts = [Styled(f"{f.source}: {self.messages.text(f.text)}", style="dim") for f in finding.evidence]
        return [Padding(fact, (0, 0, 0, 2)) for fact in facts]

    def _others(self, findings: Sequence[Finding], primary: Finding | None, *, verbose: bool) -> None:
        self.out.print()
        self.out.print(self.messages.ui("also"), style="bold")
        for finding in findings:
            kind = {"error": "bad", "warning": "warn", "info": "none"}[finding.severity.value]
            self.hanging(self.mark(kind), self.messages.title(finding))
            primary_fix = primary.fix if primary else ""
            if finding.severity is not Severity.ERROR and finding.fix not in ("", primary_fix):
                self._command(finding.fix, None)
            if verbose or finding.severity is Severity.WARNING:
                self.out.print(Padding(Styled(self.messages.detail(finding), style="dim"), (0, 0, 0, 4)))
            if verbose:
                self.out.print(Padding(Group(*self._facts(finding)), (0, 0, 0, 2)))

    def _conclusion(self, diagnosis: Diagnosis) -> None:
        errors = sum(f.severity is Severity.ERROR for f in diagnosis.findings)
        style = {Status.OK: "green", Status.PROBLEMS: "red", Status.UNDECIDED: "yellow"}[diagnosis.status]
        self.out.print(self.messages.ui(f"status-{diagnosis.status.value}", count=errors), style=style, highlight=False)
        if diagnosis.primary and diagnosis.primary.fix:
            self.next(diagnosis.primary.fix)

    def next(self, command: str) -> None:
        """The next command, never wrapped, so that it can be copied."""
        command = self.messages.runnable(command)
        line = Styled(self.messages.labelled("next", command), style="bold")
        line.highlight_words([command], "cyan")
        self.out.print(line, soft_wrap=True)

    def _coverage(self, env: Environment) -> None:
        """Library by GPU: what of each library can run."""
        table = Table(box=box.SIMPLE if self.unicode else box.ASCII, pad_edge=False)
        table.add_column("", overflow="fold")
        for gpu in env.devices:
            table.add_column(gpu.capability.sm, no_wrap=True)
        table.add_column("SASS, PTX", overflow="fold", style="dim")
        catalog = load_catalog()
        toolkit = env.torch_cuda.value if isinstance(env.torch_cuda, Known) else None
        for distribution in env.distributions:
            for library in (lib for lib in distribution.libraries if lib.containers):
                dispatched = catalog.is_dispatched(library.name)
                verdicts = [
                    judge_library(library, g.capability, dispatched=dispatched, toolkit=toolkit).verdict
                    for g in env.devices
                ]
                cells = [Styled(v.value, style=_VERDICT_STYLE[v]) for v in verdicts]
                table.add_row(library.path, *cells, " ".join(base_targets_of(library)))
        self.out.print(table)

    # --- plan --------------------------------------------------------------------------------------------------------

    def plan(self, plan: Plan) -> None:
        """The ways out."""
        title = "plan-none" if plan.options[0].kind == "none" else "plan-title"
        self.out.print(self.messages.ui(title, target=plan.environment.root), style="bold", highlight=False)
        for number, option in enumerate(plan.options, 1):
            self._option(number, option, plan)
        self._section("unsolved", bool(plan.unsolved))
        self.left_over(plan.unsolved)
        self._section("rejected", bool(plan.rejected))
        for rejected in plan.rejected:
            self.hanging(self.mark("bad"), self.messages.rejected(rejected))

    def left_over(self, rows: Sequence[Unsolved]) -> None:
        """What remains to be done by hand, with the commands."""
        for row in rows:
            self.hanging(self.mark("warn"), self.messages.text(row.text))
            if row.command:
                self._command(row.command, None)

    def _option(self, number: int, option: Option, plan: Plan) -> None:
        self.out.print()
        head = Styled.assemble((option.kind, "cyan"), "  ", self.messages.text(option.summary))
        self.hanging(Styled(f"{number}.", style="bold"), head, indent=0)
        lines: list[RenderableType] = [
            *(Styled(f"{s.package}: {self._move(s.current, s.wanted)}") for s in option.steps if s.action == "install"),
            *self._why(option),
        ]
        if needs := self._needs(option):
            lines.append(
                Styled(self.messages.labelled("requires", self.messages.ui("separator").join(needs)), style="dim")
            )
        lines += [
            Styled(self.messages.labelled("risks", self.messages.text(risk)), style="yellow") for risk in option.risks
        ]
        self.out.print(Padding(Group(*lines), (0, 0, 0, 3)))
        self._commands(option, plan, archfit=number == 1)

    def _why(self, option: Option) -> list[RenderableType]:
        texts = dict.fromkeys(self.messages.text(t) for s in option.steps for t in s.why)
        return [Styled(text, style="dim") for text in texts]

    def _commands(self, option: Option, plan: Plan, *, archfit: bool) -> None:
        archfit = archfit and option.kind in ("upgrade", "nightly")
        if archfit and plan.environment.cure == plan.environment.command("upgrade"):
            self._command(plan.environment.cure, self.messages.ui("archfit-does"))
        labels = dict.fromkeys([*option.pip, *option.uv])
        for line in labels:
            self._command(line, self.messages.ui("by-hand") if archfit else None)
            archfit = False

    def _command(self, command: str, label: str | None) -> None:
        note = f"   # {label}" if label else ""
        shown = self.messages.runnable(command)
        self.out.print(Styled.assemble("   $ ", (shown, "cyan"), (note, "dim")), soft_wrap=True)

    def _move(self, current: str | None, wanted: str | None) -> str:
        arrow = "→" if self.unicode else "->"
        return f"{current or self.messages.ui('nothing-installed')} {arrow} {wanted or self.messages.ui('newest')}"

    def _needs(self, option: Option) -> list[str]:
        needs = option.requires
        return [
            *([self.messages.ui("requires-driver", driver=needs.driver)] if needs.driver else []),
            *([self.messages.ui("requires-python", python=needs.python)] if needs.python else []),
            *([self.messages.ui("requires-download", size=size(needs.download_bytes))] if needs.download_bytes else []),
            *([self.messages.ui("requires-disk", size=size(needs.disk_bytes))] if needs.disk_bytes else []),
        ]

    def _section(self, title: str, wanted: bool) -> None:
        if wanted:
            self.out.print()
            self.out.print(self.messages.ui(title), style="bold")

    def hanging(self, mark: Styled, text: str | Styled, indent: int = 2) -> None:
        """A mark and a text whose further lines begin below its first."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(mark, Styled(text) if isinstance(text, str) else text)
        self.out.print(Padding(grid, (0, 0, 0, indent)))

    # --- upgrade, history, verify ------------------------------------------------------------------------------------

    def changes(self, changes: Sequence[LockedPackage]) -> None:
        """The packages that a resolved upgrade replaces."""
        table = self._table("column-package", "column-from", "column-to", "column-size")
        for change in changes:
            table.add_row(change.name, change.current or "-", change.wanted, size(change.wheel_bytes))
        self.out.print(table)

    def needs(self, option: Option) -> None:
        """What an option needs, and what to mind."""
        self.out.print(
            self.messages.labelled("requires", self.messages.ui("separator").join(self._needs(option))), highlight=False
        )
        for risk in option.risks:
            self.out.print(self.messages.labelled("risks", self.messages.text(risk)), style="yellow")

    def commands(self, option: Option) -> None:
        """The same by hand."""
        for line in dict.fromkeys([*option.pip, *option.uv]):
            self._command(line, None)

    def history(self, history: History) -> None:
        """The states of an environment."""
        if not history.states:
            self.out.print(self.messages.ui("history-none", target=history.root), highlight=False)
            return
        self.out.print(self.messages.ui("history-title", target=history.root), style="bold", highlight=False)
        table = self._table("column-state", "column-what", "column-when", "column-verified", "column-where")
        for state in history.states:
            key = "history-live" if state.live else "history-kept" if state.path else "history-gone"
            where = (
                self.messages.labelled(key, state.path.name) if state.path and not state.live else self.messages.ui(key)
            )
            style = "green" if state.live else ""
            table.add_row(str(state.id), state.label, _local(state.time), state.verified or "-", where, style=style)
        self.out.print(table)

    def verification(self, verification: Verification, *, only_failures: bool = False) -> None:
        """The evidence, one line each, and the sum."""
        grid = Table.grid(padding=(0, 1))
        for _ in range(2):
            grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for group in _alike(verification.evidence):
            evidence = group[0]
            if only_failures and evidence.status is not Proof.FAILED:
                continue
            kind = {Proof.PASSED: "good", Proof.FAILED: "bad", Proof.SKIPPED: "none"}[evidence.status]
            name = (
                evidence.probe
                if len(group) == 1
                else self.messages.ui("and-more", name=evidence.probe, count=len(group) - 1)
            )
            grid.add_row(self.mark(kind), name, self._evidence_text(evidence))
        self.out.print(grid)
        counts = [sum(e.status is proof for e in verification.evidence) for proof in Proof]
        key = "verify-passed" if verification.passed else "verify-failed" if counts[1] else "verify-nothing"
        total = len(verification.evidence)
        sentence = self.messages.ui(key, passed=counts[0], failed=counts[1], skipped=counts[2], total=total)
        self.out.print(sentence, style="green" if verification.passed else "red", highlight=False)

    def _evidence_text(self, evidence: Evidence) -> Styled:
        because = self.messages.because(evidence)
        parts = [because or self._measured(evidence)]
        if evidence.seconds:
            parts.append(f"{evidence.seconds:.1f} s")
        return Styled("  ".join(parts), style="dim")

    def _measured(self, evidence: Evidence) -> str:
        """What was measured, and against what."""
        if evidence.probe.startswith("health:"):
            return self.messages.ui("measured-speed", measured=evidence.measured, expected=evidence.expected)
        if evidence.tolerance:
            allowed = evidence.tolerance.partition(" (")[0]
            return self.messages.ui("measured-error", measured=evidence.measured, tolerance=allowed)
        return evidence.measured

    def error(self, error: ArchfitError) -> None:
        """One sentence and what to try, on the talking side."""
        self.talk.print(
            self.messages.labelled("error", self.messages.error(error)), style="red", soft_wrap=True, markup=False
        )
        if hint := self.messages.hint(error):
            self.talk.print(self.messages.labelled("hint", hint), soft_wrap=True, markup=False)

    def _table(self, *columns: str) -> Table:
        table = Table(box=box.SIMPLE if self.unicode else box.ASCII, pad_edge=False)
        for column in columns:
            table.add_column(self.messages.ui(column), overflow="fold")
        return table


def _alike(evidence: Sequence[Evidence]) -> list[list[Evidence]]:
    """Neighbours of one kind that were not judged for one and the same reason share a line."""
    groups: list[list[Evidence]] = []
    for one in evidence:
        same = groups and one.status is Proof.SKIPPED and one.reason and _line_of(groups[-1][0]) == _line_of(one)
        groups[-1].append(one) if same else groups.append([one])
    return groups


def _line_of(evidence: Evidence) -> tuple[object, ...]:
    return evidence.probe.partition(":")[0], evidence.status, evidence.reason


def _local(time: str) -> str:
    """A time of the journal (UTC) on the reader's clock, to the minute."""
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M")


def size(count: int | None) -> str:
    """Bytes as people say them: 3.9 GB; a question mark where they are not known."""
    if count is None:
        return "?"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"

"""``archfit doctor`` in the terminal: a line per area, a small grid, the primary cause in a box, the next command last."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text as Styled

from archfit.coverage import base_targets_of
from archfit.model import Diagnosis, Environment, Finding, Known, Option, Outcome, Plan, Severity, State, Status
from archfit.report.alternatives import Alternative, archfit_does, remedy_of
from archfit.report.areas import Area, areas_of, first_with_targets, mark_of
from archfit.report.grid import draw_grid, draw_legend, draw_list, folded
from archfit.report.heatmap import map_environment
from archfit.report.prose import Prose
from archfit.report.screen import Screen
from archfit.report.ways_screen import compiled, rebuilt

_FINDING_MARKS = {Severity.ERROR: "bad", Severity.WARNING: "warn", Severity.INFO: "none"}


def show_diagnosis(screen: Screen, diagnosis: Diagnosis, *, plan: Plan | None = None, verbose: bool = False) -> None:
    """The answer of the doctor; `plan` has the ways out, where they are known."""
    env = diagnosis.environment
    _heading(screen, env)
    _lines(screen, diagnosis.outcomes, verbose=verbose)
    _coverage(screen, env, verbose=verbose)
    if diagnosis.primary:
        screen.out.print()
        screen.out.print(_primary(screen, diagnosis.primary, first_with_targets(diagnosis)))
    others = [f for f in diagnosis.findings if f is not diagnosis.primary]
    _others(screen, others if verbose else [f for f in others if f.severity is not Severity.INFO], diagnosis, verbose)
    screen.out.print()
    _conclusion(screen, diagnosis, plan, verbose=verbose)


def _heading(screen: Screen, env: Environment) -> None:
    messages = screen.messages
    why = messages.ui(f"why-{env.chosen}")
    screen.out.print(messages.ui("looked-at", target=env.root, why=why), soft_wrap=True)
    pretended = [gpu.name for gpu in env.devices if gpu.pretended]
    if isinstance(env.driver, Known) and env.driver.value.source.startswith("--driver"):
        pretended.append(env.driver.value.source)
    if pretended:
        screen.say(messages.ui("pretended", what=messages.ui("separator").join(pretended)), "yellow")
    screen.out.print()


# --- a line per area -------------------------------------------------------------------------------------------------


def _lines(screen: Screen, outcomes: Sequence[Outcome], *, verbose: bool) -> None:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    if verbose:
        for outcome in outcomes:
            check = screen.messages.check(outcome.check)
            grid.add_row(screen.mark(mark_of(outcome)), check, _told(screen, [outcome]))
    else:
        for area in areas_of(outcomes):
            grid.add_row(screen.mark(area.kind), _name(screen, area), _told(screen, area.telling))
    screen.out.print(grid)


def _name(screen: Screen, area: Area) -> str:
    return screen.messages.area(area.name) if area.name else screen.messages.check(area.outcomes[0].check)


def _told(screen: Screen, outcomes: Sequence[Outcome]) -> Styled:
    messages = screen.messages
    lines = [messages.title(f) for outcome in outcomes for f in outcome.findings]
    for outcome in (o for o in outcomes if o.reason and not o.findings):
        said = messages.text(outcome.reason) if outcome.reason else ""
        quiet = outcome.state is State.NOT_APPLICABLE
        lines.append(messages.labelled("skipped", said) if quiet else said)
    dim = all(outcome.state is State.NOT_APPLICABLE for outcome in outcomes)
    return Prose("\n".join(lines), style="dim" if dim else "")


# --- what runs where -------------------------------------------------------------------------------------------------


def _coverage(screen: Screen, env: Environment, *, verbose: bool) -> None:
    """Package by GPU; when verbose library by GPU, with what each library holds."""
    heat = map_environment(env, libraries=verbose)
    if not heat.rows:
        return
    screen.section("coverage-title")
    if verbose:
        held = {lib.path: " ".join(base_targets_of(lib)) for d in env.distributions for lib in d.libraries}
        draw_list(screen, heat, held)
    else:
        draw_grid(screen, folded(heat, lambda count: screen.messages.ui("coverage-vendor", count=count)), indent=2)
    screen.out.print()
    draw_legend(screen, heat.verdicts)


# --- findings --------------------------------------------------------------------------------------------------------


def _primary(screen: Screen, finding: Finding, explained: Finding | None) -> RenderableType:
    messages = screen.messages
    parts: list[RenderableType] = [Prose(messages.title(finding), style="bold"), Prose(messages.detail(finding))]
    if finding.evidence:
        parts += [Styled(""), Styled(messages.ui("evidence"), style="dim"), *_facts(screen, finding)]
    if finding is explained:
        parts.append(Padding(Prose(messages.ui("code-words"), style="dim"), (0, 0, 0, 2)))
    title = messages.ui("primary")
    return Panel(Group(*parts), title=title, title_align="left", border_style="red", box=screen.frame)


def _facts(screen: Screen, finding: Finding) -> list[RenderableType]:
    messages = screen.messages
    facts = [messages.ui("labelled", label=f.source, text=messages.text(f.text)) for f in finding.evidence]
    return [Padding(Prose(fact, style="dim"), (0, 0, 0, 2)) for fact in facts]


def _others(screen: Screen, findings: Sequence[Finding], diagnosis: Diagnosis, verbose: bool) -> None:
    if not findings:
        return
    screen.section("also")
    explained = first_with_targets(diagnosis)
    for finding in findings:
        screen.hanging(screen.mark(_FINDING_MARKS[finding.severity]), screen.messages.title(finding))
        if verbose:
            screen.say(screen.messages.detail(finding), "dim", indent=4)
            screen.out.print(Padding(Group(*_facts(screen, finding)), (0, 0, 0, 2)))
            if finding is explained:
                screen.say(screen.messages.ui("code-words"), "dim", indent=4)
        if finding.severity is not Severity.ERROR and (fix := diagnosis.fix_beside(finding)):
            screen.command(fix)


def _conclusion(screen: Screen, diagnosis: Diagnosis, plan: Plan | None, *, verbose: bool) -> None:
    messages = screen.messages
    errors = sum(f.severity is Severity.ERROR for f in diagnosis.findings)
    style = {Status.OK: "green", Status.PROBLEMS: "red", Status.UNDECIDED: "yellow"}[diagnosis.status]
    if diagnosis.findings and not verbose:
        screen.say(messages.ui("more-verbose"), "dim")
    screen.say(messages.ui(f"status-{diagnosis.status.value}", count=errors), style)
    fix = diagnosis.primary.fix if diagnosis.primary else ""
    if plan and (remedy := remedy_of(plan)):
        _remedy(screen, plan, remedy)
    if fix:
        screen.next(fix)


def _remedy(screen: Screen, plan: Plan, remedy: Option) -> None:
    """What helps, and the same by hand; where the next command does it, too, each is said to be one of two."""
    messages = screen.messages
    screen.say(messages.labelled("remedy", messages.text(remedy.summary)), "bold green")
    again = compiled(remedy) if remedy.kind != "rebuild" else []
    for way in again:
        screen.say(f"{way.package}: {rebuilt(messages, plan.environment, way)}", "green", indent=3)
    if not archfit_does(plan, remedy):
        screen.alternatives([Alternative("", tuple(dict.fromkeys(remedy.pip)))])
        return
    names = messages.ui("separator").join(way.package for way in again)
    how = messages.ui("by-hand-then", packages=names) if again else messages.ui("by-hand-pip")
    by_hand = Alternative(messages.ui("either", how=how), tuple(dict.fromkeys(remedy.pip)))
    screen.alternatives([by_hand, Alternative(messages.ui("or", how=messages.ui("archfit-does")), ())])

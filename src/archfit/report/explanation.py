"""An explanation for people: in the terminal, as plain lines for a pipe, and as Markdown to be shared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archfit.catalog.signatures import load_signatures
from archfit.model import Cause, Explanation
from archfit.report.messages import Messages

if TYPE_CHECKING:
    from rich.console import Console

_SURE = 0.9


@dataclass(frozen=True, slots=True)
class Line:
    """One line to print: `indent` in columns, `mark` in front in a quiet style, and whether it may be broken."""

    text: str = ""
    style: str = ""
    indent: int = 0
    mark: str = ""
    whole: bool = False


def show_explanation(messages: Messages, out: Console, explanation: Explanation, *, verbose: bool = False) -> None:
    """Print with colours, broken at the width of the terminal."""
    from rich.padding import Padding

    from archfit.report.prose import Prose

    for line in explanation_lines(messages, explanation, verbose=verbose):
        text = Prose.assemble((line.mark, "dim"), (line.text, line.style))
        out.print(text if line.whole else Padding(text, (0, 0, 0, line.indent)), soft_wrap=line.whole)


def plain_explanation(messages: Messages, explanation: Explanation, *, verbose: bool = False) -> str:
    """The same for a pipe or a file: no colours, and no line is broken."""
    lines = explanation_lines(messages, explanation, verbose=verbose)
    return "".join(f"{'' if line.whole else ' ' * line.indent}{line.mark}{line.text}".rstrip() + "\n" for line in lines)


def explanation_lines(messages: Messages, explanation: Explanation, *, verbose: bool = False) -> Iterator[Line]:
    """The first cause whole, the others in a line each, unless `verbose`."""
    if explanation.joined:
        yield Line(messages.ui("explain-joined", target=explanation.joined), "dim", whole=True)
    yield from _cause(messages, explanation.first, explanation)
    rest = explanation.causes[1:]
    if rest:
        yield from (Line(), Line(messages.ui("explain-more"), "bold"))
    for number, cause in enumerate(rest, 2):
        if verbose:
            yield Line()
            yield from _cause(messages, cause, explanation, f"{number}. ")
        else:
            yield Line(_headline(messages, cause), indent=2, mark=f"{number}. ")
            yield from (_quote(messages, quote.line, quote.text, 5) for quote in cause.evidence[:1])


def _cause(messages: Messages, cause: Cause, explanation: Explanation, number: str = "") -> Iterator[Line]:
    yield Line(_headline(messages, cause), "bold red" if cause.environment else "bold yellow", mark=number)
    if not cause.environment:
        yield Line(messages.ui("explain-not-environment"), "green")
    yield Line(messages.cause(cause.id, "means"))
    if cause.evidence:
        yield Line(messages.ui("evidence"), "dim")
    yield from (_quote(messages, quote.line, quote.text, 2) for quote in cause.evidence)
    yield from (Line(line, whole=True) for line in _context(messages, cause, explanation))
    yield Line(messages.labelled("explain-fix", messages.cause(cause.id, "fix")))
    yield from (Line(messages.runnable(command), "cyan", mark="   $ ", whole=True) for command in cause.commands)
    if cause.confidence < _SURE:
        area = load_signatures().classes[cause.id].area
        if not (area == "architecture" and explanation.joined):  # that is at hand already
            yield Line(messages.ui(f"explain-surer-{area}"), "dim")


def _headline(messages: Messages, cause: Cause) -> str:
    sure = messages.ui("explain-sure", percent=round(cause.confidence * 100))
    return f"{messages.cause(cause.id, 'title')}  [{cause.id}, {sure}]"


def _quote(messages: Messages, line: int, text: str, indent: int) -> Line:
    return Line(text, indent=indent, mark=messages.ui("explain-line", line=line) + "  ")


def _context(messages: Messages, cause: Cause, explanation: Explanation) -> list[str]:
    """Who is at fault, who is not, and what a look at the environment adds."""
    culprit = [word for word in (cause.culprit.package, cause.culprit.library) if word]
    lines = [messages.labelled("explain-culprit", ", ".join(culprit))] if culprit else []
    if explanation.facts.cleared and cause is explanation.first:
        lines.append(messages.labelled("explain-cleared", ", ".join(explanation.facts.cleared)))
    return lines + [messages.labelled("explain-seen", messages.title(finding)) for finding in cause.findings]


def render_explanation(
    messages: Messages, explanation: Explanation, command: Sequence[str] = (), code: int | None = None
) -> str:
    """Markdown, to be pasted into an issue; of `archfit run` with the command and its exit code."""
    parts = [f"# {messages.ui('explain-title')}", ""]
    if command:
        import shlex

        parts += [messages.labelled("explain-command", f"`{shlex.join(command)}`"), ""]
    if code is not None:
        parts += [messages.labelled("explain-exit", str(code)), ""]
    if explanation.joined:
        parts += [messages.ui("explain-joined", target=explanation.joined), ""]
    for number, cause in enumerate(explanation.causes, 1):
        parts += _section(messages, cause, explanation, number)
    return "\n".join(parts).rstrip() + "\n"


def _section(messages: Messages, cause: Cause, explanation: Explanation, number: int) -> Iterator[str]:
    yield from (f"## {number}. {_headline(messages, cause)}", "")
    if not cause.environment:
        yield from (messages.ui("explain-not-environment"), "")
    yield from (messages.cause(cause.id, "means"), "")
    if cause.evidence:
        quotes = (f"{messages.ui('explain-line', line=q.line)}  {q.text}" for q in cause.evidence)
        yield from ("```", *quotes, "```", "")
    if context := _context(messages, cause, explanation):
        yield from (*(f"* {line}" for line in context), "")
    yield from (messages.cause(cause.id, "fix"), "")
    if cause.commands:
        yield from ("```", *(messages.runnable(command) for command in cause.commands), "```", "")

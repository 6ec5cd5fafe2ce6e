"""An explanation for people: in the terminal, and as Markdown to be shared."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text as Styled

from archfit.model import Cause, Explanation
from archfit.report.messages import Messages

_SURE = 0.9


def show_explanation(messages: Messages, out: Console, explanation: Explanation, *, verbose: bool = False) -> None:
    """The first cause whole, the others in a line each, unless `verbose`."""
    first, rest = explanation.first, explanation.causes[1:]
    _show_cause(messages, out, first, explanation)
    if rest:
        out.print()
        out.print(messages.ui("explain-more"), style="bold")
    for number, cause in enumerate(rest, 2):
        if verbose:
            out.print()
            _show_cause(messages, out, cause, explanation, number)
        else:
            out.print(Styled(f"  {number}. {_headline(messages, cause)}"))
            for quote in cause.evidence[:1]:
                _quote(messages, out, quote.line, quote.text, indent=5)


def _show_cause(
    messages: Messages, out: Console, cause: Cause, explanation: Explanation, number: int | None = None
) -> None:
    style = "bold red" if cause.environment else "bold yellow"
    out.print(Styled(f"{number}. " if number else "", style=style) + Styled(_headline(messages, cause), style=style))
    if not cause.environment:
        out.print(messages.ui("explain-not-environment"), style="green")
    out.print(Styled(messages.cause(cause.id, "means")))
    if cause.evidence:
        out.print(messages.ui("evidence"), style="dim")
    for quote in cause.evidence:
        _quote(messages, out, quote.line, quote.text, indent=2)
    for line in _context(messages, cause, explanation):
        out.print(Styled(line), soft_wrap=True)
    out.print(Styled(messages.labelled("explain-fix", messages.cause(cause.id, "fix"))))
    for command in cause.commands:
        out.print(Styled.assemble("   $ ", (messages.runnable(command), "cyan")), soft_wrap=True)
    if cause.confidence < _SURE:
        out.print(Styled(messages.ui(f"explain-surer-{cause_area(cause)}"), style="dim"))


def cause_area(cause: Cause) -> str:
    """What a cause concerns; the key of the sentence that says what would make it surer."""
    from archfit.catalog.signatures import load_signatures

    return load_signatures().classes[cause.id].area


def _headline(messages: Messages, cause: Cause) -> str:
    sure = messages.ui("explain-sure", percent=round(cause.confidence * 100))
    return f"{messages.cause(cause.id, 'title')}  [{cause.id}, {sure}]"


def _quote(messages: Messages, out: Console, line: int, text: str, indent: int) -> None:
    mark = Styled(messages.ui("explain-line", line=line) + "  ", style="dim")
    out.print(Padding(mark + Styled(text), (0, 0, 0, indent)))


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

        parts += [f"{messages.labelled('explain-command', f'`{shlex.join(command)}`')}  "]
    if code is not None:
        parts += [messages.labelled("explain-exit", str(code)), ""]
    if explanation.joined:
        parts += [messages.ui("explain-joined", target=explanation.joined), ""]
    for number, cause in enumerate(explanation.causes, 1):
        parts += [f"## {number}. {_headline(messages, cause)}", ""]
        if not cause.environment:
            parts += [messages.ui("explain-not-environment"), ""]
        parts += [messages.cause(cause.id, "means"), ""]
        parts += [f"    {messages.ui('explain-line', line=q.line)}  {q.text}" for q in cause.evidence]
        parts += ["", *(f"* {line}" for line in _context(messages, cause, explanation))]
        parts += ["", messages.cause(cause.id, "fix"), ""]
        if cause.commands:
            parts += ["```", *(messages.runnable(command) for command in cause.commands), "```", ""]
    return "\n".join(parts).rstrip() + "\n"

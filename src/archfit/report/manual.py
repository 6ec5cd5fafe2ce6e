"""The manual of a command: for ``--help`` in the terminal, as a man page, and as Markdown for the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.padding import Padding
from rich.table import Table
from rich.text import Text as Styled

from archfit.report.messages import Messages
from archfit.report.prose import Prose
from archfit.report.screen import Screen

_NAMES_COLUMNS = 26


@dataclass(frozen=True, slots=True)
class Entry:
    """An argument or option: how it is written (``--gpu GPU``) and what it is for."""

    spelling: str
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """A command line and what it is for."""

    command: str
    text: str


@dataclass(frozen=True, slots=True)
class Manual:
    """What there is to say of one command.

    `manner` are the options that nearly every command has, `commands` those below one that only holds others.
    """

    name: str
    usage: str
    summary: str
    text: str
    examples: tuple[Example, ...]
    arguments: tuple[Entry, ...] = ()
    options: tuple[Entry, ...] = ()
    manner: tuple[Entry, ...] = ()
    commands: tuple[Entry, ...] = ()

    @property
    def parts(self) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
        """The tables that have something in them, by the key of their heading."""
        found = {"commands": self.commands, "arguments": self.arguments, "options": self.options, "manner": self.manner}
        return tuple((title, entries) for title, entries in found.items() if entries)


def parse_examples(lines: str) -> tuple[Example, ...]:
    """Read ``command   # what it is for``, one on each line."""
    parts = (re.split(r"\s+# ", line, maxsplit=1) for line in lines.strip().splitlines())
    return tuple(Example(part[0].strip(), part[1].strip() if len(part) > 1 else "") for part in parts)


# --- the terminal ----------------------------------------------------------------------------------------------------


def show_manual(screen: Screen, manual: Manual) -> None:
    """What ``archfit COMMAND --help`` prints."""
    _usage(screen, manual.usage)
    screen.say(manual.summary)
    if manual.text:
        screen.say(manual.text)
    _examples(screen, manual.examples)
    for title, entries in manual.parts:
        _entries(screen, title, entries)


def show_overview(screen: Screen, groups: Sequence[tuple[str, Sequence[Manual]]], options: Sequence[Entry]) -> None:
    """What ``archfit --help`` prints: the story by example, the commands by what they are for, the exit codes."""
    words = screen.messages.help
    _usage(screen, f"archfit {words('command')} [{words('option')}]")
    screen.say(words("tagline"), "bold")
    _examples(screen, parse_examples(words("story")))
    for group, manuals in groups:
        _entries(screen, f"group-{group}", [Entry(manual.name, manual.summary) for manual in manuals])
    _entries(screen, "options", options)
    _entries(screen, "exit-codes", [Entry(code, text) for code, text in screen.messages.exit_codes().items()])
    screen.out.print()
    screen.say(words("more"), "dim")


def _usage(screen: Screen, usage: str) -> None:
    label = screen.messages.ui("labelled", label=screen.messages.help("usage"), text="")
    screen.hanging(Styled(label.rstrip(), style="bold"), screen.messages.runnable(usage), indent=0)
    screen.out.print()


def _examples(screen: Screen, examples: Sequence[Example]) -> None:
    if not examples:
        return
    screen.out.print()
    screen.say(screen.messages.help("examples"), "bold")
    for example in examples:
        command = screen.messages.runnable(example.command)
        screen.out.print(Styled.assemble("  $ ", (command, "cyan")), soft_wrap=True)
        if example.text:
            screen.say(example.text, "dim", indent=6)


def _entries(screen: Screen, title: str, entries: Sequence[Entry]) -> None:
    if not entries:
        return
    screen.out.print()
    screen.say(screen.messages.help(title), "bold")
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold", max_width=min(_NAMES_COLUMNS, screen.out.width // 3))
    grid.add_column(overflow="fold")
    for entry in entries:
        grid.add_row(Prose(entry.spelling, style="cyan"), Prose(screen.messages.runnable(entry.text)))
    screen.out.print(Padding(grid, (0, 0, 0, 2)))


# --- the man page ----------------------------------------------------------------------------------------------------


def render_man(messages: Messages, version: str, manuals: Sequence[Manual], options: Sequence[Entry]) -> str:
    """``archfit(1)`` with every command, in the language of `messages`; for man-db and mandoc."""
    words = messages.help
    lines = [f'.TH ARCHFIT 1 "" "archfit {version}" ""', ".ad l", f".SH {words('man-name')}"]
    lines += [f"archfit \\- {_roff(words('tagline'))}", f".SH {words('man-synopsis')}"]
    lines += [f".B archfit\n.I {words('command')}\n[{words('option')}]", f".SH {words('man-description')}"]
    lines += [*_man_examples(parse_examples(words("story"))), f".SH {words('man-commands')}"]
    for manual in manuals:
        lines += _man_command(messages, manual)
    lines += [f".SH {words('options')}", *_man_entries(options)]
    lines += [f".SH {words('exit-codes')}"]
    lines += _man_entries([Entry(code, text) for code, text in messages.exit_codes().items()])
    lines += [f".SH {words('man-environment')}"]
    lines += _man_entries([Entry(name, text) for name, text in messages.variables().items()])
    lines += [f".SH {words('man-see-also')}", "uv(1), pip(1), nvidia\\-smi(1)"]
    return "\n".join(lines) + "\n"


def _man_command(messages: Messages, manual: Manual) -> Iterator[str]:
    yield f".SS {_roff(manual.usage)}"
    yield _roff(f"{manual.summary} {manual.text}".strip())
    yield from _man_examples(manual.examples)
    yield from _man_entries([entry for title, entries in manual.parts for entry in entries if title != "commands"])


def _man_examples(examples: Sequence[Example]) -> Iterator[str]:
    for example in examples:
        yield ".PP"
        yield f".RS 4\n.nf\n\\fB{_roff(example.command)}\\fR\n.fi"
        yield f"{_roff(example.text)}\n.RE" if example.text else ".RE"


def _man_entries(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        yield f".TP\n.B {_roff(entry.spelling)}\n{_roff(entry.text)}"


def _roff(text: str) -> str:
    """`text` with what roff would take for its own: backslashes, hyphens that are typed, dots and quotes in front."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return re.sub(r"(?m)^(?=[.'])", r"\\&", text)


# --- Markdown --------------------------------------------------------------------------------------------------------


def render_manual(messages: Messages, manual: Manual) -> str:
    """One command for the documentation, with a heading of the second degree."""
    lines = [f"## archfit {manual.name}", "", manual.summary, *([manual.text] if manual.text else []), ""]
    lines += ["```", manual.usage, "```", ""]
    if manual.examples:
        widest = max(len(example.command) for example in manual.examples)
        lines += ["```", *(f"{e.command:{widest}}  # {e.text}".rstrip(" #") for e in manual.examples), "```", ""]
    for title, entries in manual.parts:
        lines += [f"**{messages.help(title)}**", ""]
        lines += [f"- `{entry.spelling}`  {entry.text}" for entry in entries]
        lines += [""]
    return "\n".join(lines)

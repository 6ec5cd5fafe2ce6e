"""From the command line as cyclopts knows it, and the texts, to the manual of each command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from archfit.report.manual import Entry, Manual, parse_examples, show_manual, show_overview
from archfit.report.messages import Messages
from archfit.report.screen import Screen

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import Argument

GROUPS = {
    "look": ("doctor", "explain", "run", "scan", "matrix", "fleet"),
    "change": ("plan", "upgrade", "rollback", "history", "clean"),
    "prove": ("verify", "audit", "demo"),
}
"""Commands by what they are for; one that is named nowhere stands in the last group, ``more``."""

_MANNER = frozenset({"--lang", "--json", "--output", "--verbose", "--no-color"})
_KEY = "option."


def show_help(app: App, screen: Screen, names: Iterable[str], named: str | None) -> None:
    """What ``--help`` prints: of the command that is named, else of all."""
    messages = screen.messages
    if named:
        show_manual(screen, manual_of(app, named, messages))
        return
    groups = [(group, [manual_of(app, name, messages) for name in some]) for group, some in grouped(list(names))]
    show_overview(screen, groups, general_options(messages))


def command_paths(app: App, names: Iterable[str]) -> Iterator[str]:
    """Every command that can be run, in the order of the manual; of one that has others below it those: ``fleet merge``."""
    for _, some in grouped(list(names)):
        for name in some:
            yield name
            yield from (f"{name} {below}" for below in _below(app[name]))


def manual_of(app: App, path: str, messages: Messages) -> Manual:
    """The manual of one command, ``doctor`` or ``fleet merge``; imports its module."""
    command, key = app, path.replace(" ", "-")
    for word in path.split():
        command = command[word]
    summary = messages.command(key, "summary") or (command.help or "").strip().partition("\n")[0]
    text, examples = messages.command(key, "text"), parse_examples(messages.command(key, "examples"))
    if below := _below(command):
        commands = tuple(Entry(name, manual_of(app, f"{path} {name}", messages).summary) for name in below)
        usage = f"archfit {path} {messages.help('command')} [{messages.help('option')}]"
        return Manual(path, usage, summary, text, examples, commands=commands)
    parsed = [a for a in command.assemble_argument_collection() if a.parse and a.show and a.names != ("*",)]
    places = [a for a in parsed if a.index is not None]
    options = [a for a in parsed if a.index is None]
    return Manual(
        path,
        _usage(path, places, messages),
        summary,
        text,
        examples,
        tuple(_entry(a, messages) for a in places),
        tuple(_entry(a, messages) for a in options if a.name not in _MANNER),
        tuple(_entry(a, messages) for a in options if a.name in _MANNER),
    )


def grouped(names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The commands in the order of the manual, by group."""
    known = {name for group in GROUPS.values() for name in group}
    for group, members in (*GROUPS.items(), ("more", tuple(n for n in names if n not in known))):
        if present := [name for name in members if name in names]:
            yield group, present


def general_options(messages: Messages) -> tuple[Entry, ...]:
    """The options that belong to no command."""
    return (Entry("--help, -h", messages.option("help")), Entry("--version", messages.option("version")))


def is_group(app: App) -> bool:
    """Does a command only hold others?"""
    return app.default_command is None


def help_text(argument: Argument, messages: Messages) -> str:
    """What an argument is for: by its key, or as it was written in the source."""
    said = argument.parameter.help or ""
    return messages.option(said.removeprefix(_KEY)) if said.startswith(_KEY) else said


def _below(command: App) -> list[str]:
    return [name for name in command if not name.startswith("-")] if is_group(command) else []


def _usage(name: str, places: Sequence[Argument], messages: Messages) -> str:
    words = [f"{_label(a)} ..." if _is_many(a) else _label(a) for a in places]
    shown = [word if a.required else f"[{word}]" for word, a in zip(words, places, strict=True)]
    return " ".join(["archfit", name, *shown, f"[{messages.help('option')}]"])


def _entry(argument: Argument, messages: Messages) -> Entry:
    notes = [messages.help("required")] if argument.required and argument.index is None else []
    default = argument.field_info.default
    if isinstance(default, (str, Enum, Path)) and str(default):
        notes.append(messages.help("default").format(value=getattr(default, "value", default)))
    text = help_text(argument, messages)
    if notes:
        text = messages.help("noted").format(text=text, notes=messages.ui("separator").join(notes))
    return Entry(_label(argument) if argument.index is not None else _spelling(argument), text)


def _spelling(argument: Argument) -> str:
    """``--output, -o OUTPUT``; the way to say no only where it has a name of its own."""
    declared = argument.parameter.name or (argument.name,)
    negative = [n for n in argument.names if argument.parameter.negative and n in _words(argument.parameter.negative)]
    value = "" if argument.is_flag() or bool in get_args(argument.hint) else f" {_value(argument)}"
    return ", ".join(dict.fromkeys([*declared, *negative])) + value


def _value(argument: Argument) -> str:
    if choices := argument.get_choices():
        return "|".join(choices)
    return "FILE" if argument.hint is Path or Path in get_args(argument.hint) else argument.name.lstrip("-").upper()


def _label(argument: Argument) -> str:
    return argument.name.lstrip("-*").upper()


def _is_many(argument: Argument) -> bool:
    return argument.field_info.kind.name == "VAR_POSITIONAL" or (
        str in get_args(argument.hint)[:1] and (getattr(argument.hint, "__origin__", None) is tuple)
    )


def _words(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (tuple, list)) else ()

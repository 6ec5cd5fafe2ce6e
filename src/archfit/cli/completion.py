"""archfit completion."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from archfit.cli.options import Lang, Manner
from archfit.errors import ExitCode, UsageError
from archfit.session import error_door

if TYPE_CHECKING:
    from archfit.report.messages import Messages


class Shell(StrEnum):
    """Shells that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell | None, Parameter(help="option.shell")] = None,
    /,
    *,
    install: Annotated[bool, Parameter(help="option.install")] = False,
    lang: Annotated[Lang | None, Parameter(help="option.lang")] = None,
) -> int:
    """Print what makes the shell complete commands and options of archfit, or put it in its place."""
    session = Manner(lang).session()
    with error_door(session):
        wanted = shell or _shell_here()
        script = completion_script(wanted, session.messages)
        if not install:
            session.print_text(script)
            return int(ExitCode.OK)
        path = _place(wanted)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script, "utf-8")
        session.talk.print(session.messages.ui("written", path=path), soft_wrap=True, markup=False)
        if wanted is Shell.ZSH:
            session.talk.print(session.messages.ui("completion-zsh", folder=path.parent), soft_wrap=True, markup=False)
    return int(ExitCode.OK)


def completion_script(shell: Shell, messages: Messages) -> str:
    """The script of a shell, made by cyclopts from the command line itself, with what options are for in one language."""
    from archfit.cli import COMMANDS, app
    from archfit.cli.manuals import command_paths

    for path in command_paths(app, COMMANDS):
        command = app
        for word in path.split():
            command = command[word]
        command.help = f"command.{path.replace(' ', '-')}"
    script = app.generate_completion(shell=shell.value)
    described = re.sub(r"option\.([a-z-]+)", lambda m: _harmless(messages.option(m[1])), script)
    return re.sub(r"command\.([a-z-]+)", lambda m: _harmless(messages.command(m[1], "summary")), described)


def _harmless(sentence: str) -> str:
    """The first sentence without what a shell would read as its own."""
    first = re.split(r"(?<=[^0-9])[.;。；](?=\s|$)|[。；：]|: ", sentence, maxsplit=1)[0]
    return re.sub(r"[^\w\s,.+*=/\-，、（）“”]", "", first).strip()


def _shell_here() -> Shell:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in list(Shell):
        raise UsageError("shell-unknown", name=name or "-", known=", ".join(Shell))
    return Shell(name)


def _place(shell: Shell) -> Path:
    """Where the shell looks for completions of one user; zsh has no such folder, so it must be told of ours."""
    data = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return {
        Shell.BASH: data / "bash-completion/completions/archfit",
        Shell.FISH: config / "fish/completions/archfit.fish",
        Shell.ZSH: data / "zsh/site-functions/_archfit",
    }[shell]

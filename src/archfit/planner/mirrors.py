"""The commands of a plan by way of a mirror."""

from __future__ import annotations

import re
from dataclasses import replace

from archfit.catalog.mirrors import Mirror
from archfit.model import Option, Plan, Text
from archfit.planner.situation import TORCH_INDEX

_OFFICIAL = re.compile(rf" --index-url {re.escape(TORCH_INDEX)}/(?P<variant>(?:cu|cpu)\w*)")
_INSTALLS = re.compile(r"(?:-m pip install|uv pip install)\b")
_FAMILY = re.compile(r"\b(torch|torchvision|torchaudio)==([\d.]+)(?![\d.+])")


def mirrored(plan: Plan, mirror: Mirror) -> Plan:
    """The plan with every command that installs torch going to the mirror, and a notice that says what was not tried."""
    values = {"mirror": mirror.name, "source": mirror.source, "read": mirror.read, "pypi": mirror.pypi or "-"}
    notices = [Text("mirror-untried", values)]
    notices += [Text("mirror-archfit", values)] if mirror.pypi else []
    options = tuple(_option(option, mirror) for option in plan.options)
    return replace(plan, options=options, notices=(*plan.notices, *notices))


def _option(option: Option, mirror: Mirror) -> Option:
    if option.kind != "upgrade":
        return option  # nightlies and sources are on no mirror that documents them
    pip = tuple(_command(command, mirror, uv=False) for command in option.pip)
    return replace(option, pip=pip, uv=tuple(_command(command, mirror, uv=True) for command in option.uv))


def _command(command: str, mirror: Mirror, *, uv: bool) -> str:
    if not _INSTALLS.search(command):
        return command
    match = _OFFICIAL.search(command)
    if match is None:
        other = " --index-url " in command
        return command if other or not mirror.pypi else f"{command} --index-url {mirror.pypi}"
    if not mirror.torch:
        return command
    variant = match["variant"]
    place = f"{mirror.torch}/{variant}"
    pinned = _FAMILY.sub(rf"\1==\2+{variant}", command.replace(match[0], ""))  # PyPI has the same release without it
    if mirror.layout == "links":
        links = f" --find-links {place}/" if uv else f" -f {place}/"
        return pinned + links + (f" --index-url {mirror.pypi}" if mirror.pypi else "")
    if uv:
        return f"{pinned} --index {place}" + (f" --default-index {mirror.pypi}" if mirror.pypi else "")
    return f"{pinned} --index-url {place}" + (f" --extra-index-url {mirror.pypi}" if mirror.pypi else "")

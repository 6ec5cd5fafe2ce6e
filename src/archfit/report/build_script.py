"""The bash script that builds torch from source for a target: it checks what it needs before it begins."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from archfit.model import SourceBuild
from archfit.report.messages import Messages

_TEMPLATE = Path(__file__).parent / "templates" / "build_torch.sh"
_BEGIN = "build-torch-"


def render_build_script(messages: Messages, build: SourceBuild, file: str) -> str:
    """The script for `build`; `file` is what it will be called."""
    facts = {
        "release": build.release,
        "cuda": str(build.cuda),
        "arch_list": build.arch_list,
        "python": shlex.quote(str(build.python)),
        "gcc_from": str(build.gcc_from),
        "gcc_below": str(build.gcc_below),
        "disk_gb": str(build.disk_gb),
        "job_gb": str(build.job_gb),
        "file": shlex.quote(file),
    }

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        return facts[name] if name in facts else _quoted(messages.ui(_BEGIN + name, **facts))

    return re.sub(r"@([a-z_-]+)@", fill, _TEMPLATE.read_text("utf-8"))


def _quoted(text: str) -> str:
    """Fit to stand between double quotes of bash."""
    return re.sub(r'([\\"$`])', r"\\\1", text)

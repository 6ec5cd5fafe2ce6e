"""One file to attach to an issue: report, environment, pieces of logs; names, hosts, addresses and tokens are taken out."""

from __future__ import annotations

import io
import json
import zipfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archfit.model import Diagnosis, Environment, Explanation, Known
from archfit.redact import Names, names_in, redact
from archfit.report import json_v1
from archfit.report.explanation import render_explanation
from archfit.report.markdown import render_diagnosis
from archfit.report.messages import Messages

_TAIL_LINES = 200
_WHEN = (1980, 1, 1, 0, 0, 0)  # the same content makes the same file
_PRIVATE = 0o600

Members = Mapping[str, str]
"""The texts of a bundle by file name."""


def diagnosis_members(diagnosis: Diagnosis, messages: Messages, failure: str = "") -> dict[str, str]:
    """What a helper needs to judge a diagnosis; `failure` is the log of archfit's own last failure, if there is one."""
    report = json_v1.dump(_anonymous(json_v1.doctor_document(diagnosis, messages)))
    members = {
        "report.md": render_diagnosis(messages, diagnosis),
        "report.json": report,
        "environment.txt": _environment(diagnosis.environment),
    }
    return clean_members(members | ({"failure.log": failure} if failure else {}))


def explanation_members(explanation: Explanation, messages: Messages, log: Path | None) -> dict[str, str]:
    """The explanation of a log, and the end of the log where it is a file."""
    members = {
        "explanation.md": render_explanation(messages, explanation),
        "explanation.json": json_v1.dump(json_v1.explain_document(explanation, messages)),
    }
    return clean_members(members | ({"log-end.txt": _end_of(log)} if log and log.is_file() else {}))


def clean_members(members: Members) -> dict[str, str]:
    """All members without tokens, names, hosts and addresses; a name that one of them gives away goes from all."""
    known = names_in("\n".join(members.values()))
    cleaned = {}
    for name, text in members.items():
        if name.endswith(".json"):
            cleaned[name] = json_v1.dump(_clean_document(json.loads(text), known))
        else:
            cleaned[name] = clean(text, known)
    return cleaned


def render_bundle(members: Members) -> bytes:
    """The members as a zip file."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in members.items():
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _PRIVATE << 16
            bundle.writestr(entry, text.encode("utf-8"))
    return raw.getvalue()


def clean(text: str, known: Names = (frozenset(), frozenset())) -> str:
    """`text` without tokens, names, hosts and addresses; the reader's own folder is called ``~``."""
    home = str(Path.home())
    return redact(text.replace(home, "~") if len(home) > 1 else text, known)


def _clean_document(value: Any, known: Names) -> Any:
    if isinstance(value, str):
        return clean(value, known)
    if isinstance(value, dict):
        return {clean(key, known): _clean_document(item, known) for key, item in value.items()}
    return [_clean_document(item, known) for item in value] if isinstance(value, list) else value


def _anonymous(document: dict[str, Any]) -> dict[str, Any]:
    """Without what tells one machine from all others."""
    environment = document.get("environment")
    if isinstance(environment, dict):
        document = {**document, "environment": {**environment, "places": []}}
    return {**document, "host": None}


def _environment(env: Environment) -> str:
    """What is installed and what is set, in the manner of ``pip freeze`` and ``env``."""
    python = env.interpreter.value if isinstance(env.interpreter, Known) else None
    around = env.surroundings.value if isinstance(env.surroundings, Known) else None
    lines = [f"# target: {env.root} ({env.chosen})"]
    lines += [f"# python: {python.version} {python.platform} {python.libc or ''}".rstrip()] if python else []
    lines += [f"{d.name}=={d.version}" for d in env.distributions if d.version]
    lines += ["", "# variables", *(f"{name}={value}" for name, value in around.variables.items())] if around else []
    return _printable(lines)


def _printable(lines: list[str]) -> str:
    """Lines as a text; what is not printable is escaped."""
    return "".join(f"{line if line.isprintable() else json.dumps(line)}\n" for line in lines)


def _end_of(log: Path) -> str:
    with log.open("r", encoding="utf-8", errors="replace") as lines:
        return "".join(deque(lines, _TAIL_LINES))

"""archfit audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from archfit import api
from archfit.audit import Policy, override, parse_capabilities, parse_size, read_policy
from archfit.cli.answer import answer
from archfit.cli.options import PLAIN, Manner, platform_tag, python_version
from archfit.errors import ExitCode, UsageError
from archfit.report import json_v1
from archfit.report.audit_v1 import audit_document, show_audits
from archfit.report.markdown import render_audits
from archfit.report.sarif import sarif_document
from archfit.scanning import code_of, scan_all, wishes_for
from archfit.session import error_door


def audit(
    *subjects: Annotated[str, Parameter(help="option.subjects-audit")],
    require: Annotated[tuple[str, ...], Parameter(help="option.require", negative=())] = (),
    allow_jit: Annotated[bool, Parameter(help="option.allow-jit")] = False,
    max_size: Annotated[str | None, Parameter(help="option.max-size")] = None,
    config: Annotated[
        Path | None,
        Parameter(help="option.config"),
    ] = None,
    python: Annotated[str | None, Parameter("--python", help="option.python-wheel")] = None,
    platform: Annotated[str | None, Parameter(help="option.platform-wheel")] = None,
    manner: Manner = PLAIN,
) -> int:
    """Fail a release whose wheels lack code for a required GPU."""
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md", ".sarif")
        if not subjects:
            raise UsageError("scan-nothing-named")
        platform_tag(platform)
        policy = _policy(config, require, max_size, allow_jit=allow_jit)
        found, failures = scan_all(session, wishes_for(subjects, platform, python_version(python), deep=True))
        failures += [(s.name, UsageError("audit-source", name=s.file)) for s in found if s.build]
        found = [subject for subject in found if not subject.build]
        audits = [api.audit(subject, policy) for subject in found]
        told = [(name, session.messages.error(error)) for name, error in failures]
        answer(
            session,
            manner,
            show=lambda: show_audits(session.screen, audits, len(failures)),
            document=lambda: audit_document(audits, policy, told, session.messages),
            markdown=lambda: render_audits(session.messages, audits, told),
            more={".sarif": lambda: json_v1.dump(sarif_document(audits, told, session.messages))},
        )
        for _, error in failures:
            session.screen.error(error)
        failed = any(not a.passed for a in audits)
        return int(ExitCode.PROBLEMS if failed else code_of(found, failures))


def _policy(config: Path | None, require: tuple[str, ...], max_size: str | None, *, allow_jit: bool) -> Policy:
    """What the file and the command line ask for together; refuses a policy that asks for nothing."""
    here = Path("pyproject.toml")
    path = config or (here if here.is_file() else None)
    policy = override(
        read_policy(path) if path else Policy(),
        parse_capabilities(require) if require else (),
        parse_size(max_size) if max_size else None,
        allow_jit=allow_jit,
    )
    if not policy.require and policy.max_bytes is None:
        raise UsageError("policy-empty")
    return policy

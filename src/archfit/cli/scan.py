"""archfit scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from archfit import api
from archfit.arch import ComputeCapability
from archfit.audit import Audit, Policy
from archfit.cli.answer import PICTURES, answer, page, pictures
from archfit.cli.options import PLAIN, GpuSpecs, Manner, platform_tag, python_version
from archfit.errors import UsageError
from archfit.model import Subject
from archfit.report import json_v1, scan_v1
from archfit.report.heatmap import map_subjects
from archfit.report.markdown import render_scan
from archfit.report.sarif import sarif_document
from archfit.report.scan_screen import show_subject
from archfit.scanning import code_of, kernels_lacking, scan_all, wishes_for
from archfit.session import error_door


def scan(
    *subjects: Annotated[
        str,
        Parameter(help="option.subjects-scan"),
    ],
    gpu: GpuSpecs = (),
    python: Annotated[str | None, Parameter("--python", help="option.python-wheel")] = None,
    platform: Annotated[str | None, Parameter(help="option.platform-wheel")] = None,
    deep: Annotated[bool, Parameter(help="option.deep")] = False,
    no_cache: Annotated[bool, Parameter(help="option.no-cache")] = False,
    remember: Annotated[bool, Parameter(help="option.remember")] = False,
    manner: Manner = PLAIN,
) -> int:
    """Show what GPU code is inside, and what of it runs on which GPU."""
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md", ".html", ".sarif", *PICTURES)
        if not subjects:
            raise UsageError("scan-nothing-named")
        if manner.output and manner.output.suffix == ".sarif" and not gpu:
            raise UsageError("sarif-needs-gpu")
        platform_tag(platform)
        devices = api.devices_of(gpu)
        wishes = wishes_for(subjects, platform, python_version(python), deep=deep, use_cache=not no_cache)
        found, failures = scan_all(session, wishes)
        told = [(name, session.messages.error(error)) for name, error in failures]
        verbose = manner.verbose

        def show() -> None:
            for number, subject in enumerate(found):
                session.screen.out.print() if number else None
                kernels = kernels_lacking(subject, devices) if verbose else {}
                show_subject(session.screen, subject, devices, verbose=verbose, kernels=kernels)

        answer(
            session,
            manner,
            show=show,
            document=lambda: scan_v1.scan_document(found, devices, told, session.messages, verbose=verbose),
            markdown=lambda: render_scan(session.messages, found, devices),
            more=pictures(
                session, lambda: map_subjects(found, devices), session.messages.ui("separator").join(subjects)
            )
            | {".sarif": lambda: json_v1.dump(sarif_document(_audits(found, devices), told, session.messages))}
            | {".html": lambda: page(session, "scan", subjects=found, devices=devices, failures=failures)},
        )
        for _, error in failures:
            session.screen.error(error)
        for subject in found if remember else ():
            kept = api.remember(subject)
            session.talk.print(session.messages.ui("remembered", **kept), markup=False, soft_wrap=True)
        return int(code_of(found, failures))


def _audits(subjects: Sequence[Subject], devices: Sequence[ComputeCapability]) -> list[Audit]:
    """What a release gate that requires these GPUs, and takes PTX for them, would say."""
    policy = Policy(tuple(devices), allow_jit=True)
    return [api.audit(subject, policy) for subject in subjects if not subject.build]

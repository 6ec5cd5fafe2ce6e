"""archfit scan."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from archfit import api
from archfit.cli.answer import PICTURES, answer, page, pictures
from archfit.cli.options import PLAIN, GpuSpecs, Manner, platform_tag, python_version
from archfit.errors import UsageError
from archfit.report import scan_v1
from archfit.report.heatmap import map_subjects
from archfit.report.scan_screen import show_subject
from archfit.scanning import code_of, kernels_lacking, scan_all, wishes_for
from archfit.session import error_door


def scan(
    *subjects: Annotated[
        str,
        Parameter(
            help="A library, cubin, PTX, archive, wheel, folder or environment; or a requirement such as torch==2.8.0, "
            "read from the package index without installing it."
        ),
    ],
    gpu: GpuSpecs = (),
    python: Annotated[str | None, Parameter("--python", help="The Python that the wheel is for: 3.11.")] = None,
    platform: Annotated[
        str | None, Parameter(help="The platform that the wheel is for: linux-x86_64, linux-aarch64, windows-x86_64.")
    ] = None,
    deep: Annotated[bool, Parameter(help="Search every section of well-known libraries, too.")] = False,
    no_cache: Annotated[bool, Parameter(help="Read wheels anew that were scanned before.")] = False,
    manner: Manner = PLAIN,
) -> int:
    """Show what GPU code is inside, and what of it runs on which GPU.

    ```
    archfit scan libmine.so
    archfit scan dist/*.whl --gpu 'RTX 5090' -v
    archfit scan torch==2.8.0 --platform windows-x86_64 --python 3.12
    archfit scan .venv --json
    ```
    """
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".html", *PICTURES)
        if not subjects:
            raise UsageError("scan-nothing-named")
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
            more=pictures(
                session, lambda: map_subjects(found, devices), session.messages.ui("separator").join(subjects)
            )
            | {".html": lambda: page(session, "scan", subjects=found, devices=devices, failures=failures)},
        )
        for _, error in failures:
            session.screen.error(error)
        return int(code_of(found, failures))

"""archfit doctor."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from archfit import api
from archfit.cli.answer import CODE_OF, PICTURES, answer, page, pictures
from archfit.cli.answer import share as bundle
from archfit.cli.options import HERE, PLAIN, Manner, Pretend, Target
from archfit.flow import diagnose, ways_out
from archfit.model import Diagnosis
from archfit.report import json_v1
from archfit.report.doctor_screen import show_diagnosis
from archfit.report.heatmap import map_environment
from archfit.session import Session, error_door, last_failure


def doctor(
    target: Target = None,
    /,
    *,
    share: Annotated[bool, Parameter(help="option.share")] = False,
    pretend: Pretend = HERE,
    manner: Manner = PLAIN,
) -> int:
    """Say why this environment does or does not run on the GPU, from the bytes of its libraries."""
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md", ".html", ".sarif", *PICTURES)
        diagnosis = diagnose(session, target, pretend.gpu, pretend.driver)
        answer(
            session,
            manner,
            show=lambda: show_diagnosis(session.screen, diagnosis, plan=ways_out(diagnosis), verbose=manner.verbose),
            document=lambda: json_v1.doctor_document(diagnosis, session.messages),
            markdown=lambda: _markdown(session, diagnosis),
            more=pictures(
                session,
                lambda: map_environment(diagnosis.environment, api.devices_of(())),
                str(diagnosis.environment.root),
            )
            | {".sarif": lambda: _sarif(session, diagnosis)}
            | {".html": lambda: page(session, "doctor", diagnosis=diagnosis, plan=ways_out(diagnosis))},
        )
        if share:
            _share(session, diagnosis)
        return int(CODE_OF[diagnosis.status])


# What few ask for is imported when it is asked for.


def _markdown(session: Session, diagnosis: Diagnosis) -> str:
    from archfit.report.markdown import render_diagnosis

    return render_diagnosis(session.messages, diagnosis, ways_out(diagnosis))


def _sarif(session: Session, diagnosis: Diagnosis) -> str:
    from archfit.report.sarif import diagnosis_sarif

    return json_v1.dump(diagnosis_sarif(diagnosis, session.messages))


def _share(session: Session, diagnosis: Diagnosis) -> None:
    from archfit.report.share import diagnosis_members

    bundle(session, diagnosis_members(diagnosis, session.messages, last_failure()))

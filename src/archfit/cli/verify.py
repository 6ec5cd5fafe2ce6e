"""archfit verify."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from archfit import api
from archfit.cli.answer import answer, page
from archfit.cli.options import HERE, PLAIN, Device, Level, Manner, Pretend, Target, highest_level
from archfit.errors import ExitCode
from archfit.flow import diagnose
from archfit.model import Diagnosis, Proof, Status, Verification
from archfit.report import json_v1
from archfit.report.markdown import render_verification
from archfit.report.proof_screen import show_verification
from archfit.session import Session, error_door


def verify(
    target: Target = None,
    /,
    *,
    level: Level = None,
    device: Annotated[
        Device,
        Parameter(help="option.device"),
    ] = Device.CUDA,
    only: Annotated[tuple[str, ...], Parameter(help="option.only")] = (),
    pretend: Pretend = HERE,
    manner: Manner = PLAIN,
) -> int:
    """Prove that the environment can compute: what is proven, what failed, what could not be judged."""
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md", ".html")
        wanted = highest_level(level)
        diagnosis = diagnose(session, target, pretend.gpu, pretend.driver)
        height = wanted or api.default_level(diagnosis.environment, only)
        with session.steps() as (on_step, on_probe):
            on_step("prove")
            proof = api.prove(diagnosis, height, on_probe, device=device.value, only=only)
        code = _verify_code(diagnosis, proof, device)
        status = {ExitCode.OK: "passed", ExitCode.VERIFY_FAILED: "failed"}.get(code, "undecided")
        answer(
            session,
            manner,
            show=lambda: _say_verified(session, proof, device),
            document=lambda: json_v1.verify_document(proof, diagnosis.environment, status, session.messages),
            markdown=lambda: render_verification(session.messages, proof, diagnosis.environment),
            more={".html": lambda: page(session, "verify", diagnosis=diagnosis, verification=proof)},
        )
        return int(code)


def _verify_code(diagnosis: Diagnosis, proof: Verification, device: Device) -> ExitCode:
    if any(e.status is Proof.FAILED for e in proof.evidence):
        return ExitCode.VERIFY_FAILED
    seen = diagnosis.status is not Status.UNDECIDED or device is Device.CPU  # who asks for the CPU may have no GPU
    decided = proof.passed and proof.reached and seen
    return ExitCode.OK if decided else ExitCode.UNDECIDED


def _say_verified(session: Session, proof: Verification, device: Device) -> None:
    show_verification(session.screen, proof)
    if device is Device.CPU:
        session.screen.say(session.messages.ui("on-cpu"), "yellow")

"""Diagnoses and environments to verify, built by hand; the Python in them is real."""

from __future__ import annotations

import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from archfit.model import (
    Diagnosis,
    Distribution,
    Environment,
    Finding,
    Library,
    Outcome,
    Severity,
    State,
    Status,
    Unknown,
)

NATIVE = (Library("some/library.so", 1, (), ()),)
UNSEEN = Unknown("not looked at")

MakeEnvironment = Callable[..., Environment]
MakeDiagnosis = Callable[..., Diagnosis]


@pytest.fixture(scope="session")
def python_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One virtual environment for all; packages are put on its path by each test."""
    root = tmp_path_factory.mktemp("verify") / "env"
    venv.create(root, with_pip=False, symlinks=True)
    return root


@pytest.fixture
def environment(python_home: Path, tmp_path: Path) -> MakeEnvironment:
    """An environment with these packages: each a module of this source, with native code as far as archfit knows."""

    def make(*, name: str = "env", **sources: str) -> Environment:
        folder = tmp_path / name
        (folder / "bin").mkdir(parents=True)
        for module, source in sources.items():
            (folder / f"{module}.py").write_text(source, "utf-8")
        python = folder / "bin/python"
        python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {python_home}/bin/python "$@"\n', "utf-8")
        python.chmod(0o755)
        rows = tuple(Distribution(m.replace("_", "-"), "1.0", (), (m,), NATIVE) for m in sources)
        return Environment(folder, python, "named", UNSEEN, rows, (), UNSEEN, UNSEEN, UNSEEN)

    return make


@pytest.fixture
def diagnosis(environment: MakeEnvironment) -> MakeDiagnosis:
    """A diagnosis with these outcomes, of an environment without packages unless one is given."""

    def make(*outcomes: Outcome, env: Environment | None = None) -> Diagnosis:
        findings = tuple(f for outcome in outcomes for f in outcome.findings)
        primary = next((f for f in findings if f.severity is Severity.ERROR), None)
        status = Status.PROBLEMS if primary else Status.OK
        where = env or Environment(
            Path("/nowhere"), Path("/nowhere/bin/python"), "named", UNSEEN, (), (), UNSEEN, UNSEEN, UNSEEN
        )
        return Diagnosis(where, outcomes, findings, primary, status)

    return make


@pytest.fixture
def error() -> Callable[[str, str], Outcome]:
    """The outcome of a check that found an error with this id about this subject."""

    def make(id_: str, subject: str = "torch") -> Outcome:
        return Outcome("some-check", State.FOUND, (Finding(id_, Severity.ERROR, subject, {}),))

    return make

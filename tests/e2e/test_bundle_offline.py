"""A bundle of small real wheels from PyPI, and an environment that is filled from it without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from archfit.bundle import Target, fill, find_wheels
from archfit.model import LockedPackage
from archfit.scan.releases import published
from archfit.uv import run_uv

pytestmark = [pytest.mark.e2e, pytest.mark.network]

WANTED = {"markupsafe": "3.0.2", "jinja2": "3.1.5", "packaging": "24.2"}


def test_an_environment_is_filled_from_a_bundle_without_a_network(tmp_path: Path) -> None:
    locked = [
        LockedPackage(name, None, version, None, None, tuple(hashes), "PyPI")
        for name, version in WANTED.items()
        if (hashes := [f.sha256 for f in published(name) if f"-{version}-" in f.file and f.sha256])
    ]
    digits = f"{sys.version_info[0]}{sys.version_info[1]}"
    files = find_wheels(locked, Target(f"cp{digits}", "linux_x86_64", "glibc 2.28"))
    assert {f.file.split("-")[0].lower(): f.file.split("-")[1] for f in files} == WANTED
    wheels = fill(tmp_path / "bundle", files)
    assert sum(w.size_bytes for w in wheels) == sum(f.size_bytes or 0 for f in files) > 100_000

    python = tmp_path / "env/bin/python"
    assert run_uv(["venv", "--quiet", "--python", sys.executable, str(tmp_path / "env")]).returncode == 0
    offline = ["--offline", "--no-index", "--find-links", str(tmp_path / "bundle/wheels")]
    specs = [f"{name}=={version}" for name, version in WANTED.items()]
    done = run_uv(["pip", "install", "--quiet", "--python", str(python), *offline, *specs])
    assert done.returncode == 0, done.stderr
    text = subprocess.run(
        [python, "-c", "import jinja2; print(jinja2.Template('{{ 6 * 7 }}').render())"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert text.strip() == "42"

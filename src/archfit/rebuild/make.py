"""Compile one extension for one torch and some GPUs: prepare, fetch, compile, judge, keep."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from archfit.arch import Verdict
from archfit.buildscript import append_flags, read_build_files
from archfit.catalog import Catalog
from archfit.catalog.recipes import Recipe, find_recipe, standard_for
from archfit.rebuild.compile import build
from archfit.rebuild.host import count_jobs, find_compiler, try_compiler
from archfit.rebuild.judge import judge_wheel
from archfit.rebuild.records import BuildError, BuildProgress, Built, Ground, OnProgress, Source, Wanted
from archfit.rebuild.source import fetch_source, hash_file, unpack
from archfit.rebuild.store import Store, key_of
from archfit.rebuild.toolchain import Choice, arch_of, choose_compiler
from archfit.rebuild.workshop import Workshop, create_workshop, install_requirements

_HARD_STANDARD = re.compile(r"(-std=(?:c|gnu)\+\+|/std:c\+\+)(0x|1y|1z|11|14|17)\b")
_OLD_NAMES = {"0x": 11, "1y": 14, "1z": 17}


@dataclass(frozen=True, slots=True)
class _Job:
    wanted: Wanted
    ground: Ground
    recipe: Recipe
    choice: Choice
    arch_list: tuple[str, ...]
    catalog: Catalog
    on_progress: OnProgress


def rebuild(
    wanted: Wanted,
    ground: Ground,
    catalog: Catalog,
    on_progress: OnProgress,
    *,
    store: Store | None = None,
    environ: Mapping[str, str] | None = None,
) -> Built:
    """A wheel of `wanted` for `ground`, built now or before.

    Raises:
        BuildError: it cannot be built here, the build failed, or what came out of it does not hold what it must.
    """
    store, environ = store or Store(), os.environ if environ is None else environ
    choice = choose_compiler(ground.cuda, ground.devices, catalog, environ)
    find_compiler(environ)  # before gigabytes are loaded
    archs = sorted({arch_of(device, choice.cuda, catalog) for device in ground.devices})
    job = _Job(wanted, ground, find_recipe(wanted.name), choice, tuple(map(str, archs)), catalog, on_progress)
    with store.workplace() as folder:
        on_progress(BuildProgress(str(wanted), "environment"))
        workshop = create_workshop(folder, ground, job.recipe, choice)
        on_progress(BuildProgress(str(wanted), "source"))
        source = fetch_source(wanted, workshop.python, folder)
        key = key_of(source, ground, choice, job.arch_list, job.recipe)
        if kept := store.find(key):
            on_progress(BuildProgress(str(wanted), "cached"))
            return kept
        log = folder / "build.log"
        try:
            return store.keep(key, _make(job, workshop, source, log, environ))
        except BuildError as error:
            if not log.exists():
                raise
            raise error.with_log(store.keep_log(log, wanted)) from error


def _make(job: _Job, workshop: Workshop, source: Source, log: Path, environ: Mapping[str, str]) -> Built:
    began = monotonic()
    folder = unpack(source, workshop.folder / "source")
    install_requirements(workshop, folder, job.recipe)
    has_kernels = next(folder.rglob("*.cu"), None) is not None
    standard = standard_for(job.ground.torch)
    _edit(folder, job.recipe, standard)
    variables = workshop.environ(environ, job.recipe, job.arch_list, count_jobs(job.recipe.gib_per_job, environ))
    variables |= _added_flags(job, folder, variables)
    try_compiler(workshop.cuda_home, standard, f"sm_{job.arch_list[-1].replace('.', '')}", workshop.folder, variables)
    _write_head(log, job, variables)

    def on_part(done: int, total: int, file: str) -> None:
        job.on_progress(BuildProgress(str(job.wanted), "compile", done, total, file))

    on_part(0, 0, "")
    out = workshop.folder / "out"
    if not build(workshop.python, folder, out, log, variables, on_part):
        raise BuildError("rebuild-failed", package=job.wanted, cuda=job.ground.cuda, torch=job.ground.torch)
    wheels = sorted(out.glob("*.whl"))
    if len(wheels) != 1:
        raise BuildError("rebuild-failed", package=job.wanted, cuda=job.ground.cuda, torch=job.ground.torch)
    job.on_progress(BuildProgress(str(job.wanted), "check"))
    targets = judge_wheel(wheels[0], job.wanted, job.recipe, job.ground.devices, job.catalog, has_kernels=has_kernels)
    return Built(
        job.wanted.name,
        job.wanted.version,
        wheels[0],
        hash_file(wheels[0]),
        log,
        str(job.choice),
        targets,
        round(monotonic() - began, 1),
    )


def _edit(folder: Path, recipe: Recipe, standard: int) -> None:
    """Apply the edits of the recipe, and raise C++ standards that torch's headers refuse."""
    for edit in recipe.edits:
        path = folder / edit.file
        if path.is_file() and edit.old in (text := path.read_text("utf-8")):
            path.write_text(text.replace(edit.old, edit.new), "utf-8")
    setup = folder / "setup.py"
    if setup.is_file():
        text = setup.read_text("utf-8", "surrogateescape")
        raised = raise_standard(text, standard)
        if raised != text:
            setup.write_text(raised, "utf-8", "surrogateescape")


def _added_flags(job: _Job, folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """For a ``setup.py`` with a list of GPUs of its own that leaves one out: let nvcc add it to that list."""
    setup = folder / "setup.py"
    if not setup.is_file():
        return {}
    text = setup.read_text("utf-8", "replace")
    script = read_build_files(job.wanted.name, job.wanted.version, {"setup.py": text})
    if script.choice != "hard-coded":
        return {}
    left_out = [
        device
        for device in job.ground.devices
        if script.verdict(device, job.choice.cuda) not in (Verdict.NATIVE, Verdict.COMPATIBLE)
    ]
    flags = append_flags([arch_of(device, job.choice.cuda, job.catalog) for device in left_out])
    before = variables.get("NVCC_APPEND_FLAGS", "")
    return {"NVCC_APPEND_FLAGS": f"{before} {flags}".strip()} if flags else {}


def raise_standard(text: str, standard: int) -> str:
    """`text` with every older ``-std=c++NN`` in it raised to `standard`."""

    def newer(match: re.Match[str]) -> str:
        asked = _OLD_NAMES.get(match[2]) or int(match[2])
        return f"{match[1]}{max(asked, standard)}"

    return _HARD_STANDARD.sub(newer, text)


def _write_head(log: Path, job: _Job, variables: Mapping[str, str]) -> None:
    """What a person needs to do the same by hand stands in front of the log."""
    names = sorted({*job.recipe.env, "CUDA_HOME", "CC", "CXX", "NVCC_APPEND_FLAGS"} & variables.keys())
    lines = [
        f"# {job.wanted}, torch {job.ground.torch}, CUDA {job.ground.cuda}, {job.choice}",
        *(f"# {name}={variables[name]}" for name in names),
    ]
    log.write_text("\n".join(lines) + "\n", "utf-8")

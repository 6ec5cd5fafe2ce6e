"""A row keeps all that the rules look at: what is packed and unpacked is judged as the scan was, on every GPU."""

from __future__ import annotations

import json
from typing import Literal

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from archfit.arch import ComputeCapability, Target
from archfit.catalog import load_catalog
from archfit.catalog.digest import Texts, pack_compilers, pack_libraries, unpack_compilers, unpack_libraries
from archfit.coverage import judge_subject
from archfit.model import CodeObject, Compiler, Container, Distribution, FileFormat, Library, Subject

CATALOG = load_catalog()
DEVICES = tuple(CATALOG.generations)

targets = st.builds(
    Target,
    st.sampled_from([ComputeCapability.parse(t) for t in ("70", "75", "80", "86", "87", "89", "90", "100", "120")]),
    st.sampled_from(("sass", "ptx")),
    st.sampled_from(("", "", "", "a", "f")),
)


@st.composite
def objects(draw: st.DrawFn) -> CodeObject:
    kind: Literal["code", "tile", "lto"] = draw(st.sampled_from(("code", "code", "code", "code", "tile", "lto")))
    target = draw(targets)
    if kind != "code":
        return CodeObject(kind, None, None, None, has_kernels=False)
    isa = draw(st.sampled_from(("7.8", "8.4", "9.0"))) if target.kind == "ptx" else None
    compression = draw(st.sampled_from((None, "zstd")))
    sass_or_ptx: Literal["sass", "ptx"] = "ptx" if target.kind == "ptx" else "sass"
    return CodeObject(sass_or_ptx, target, isa, compression, has_kernels=draw(st.booleans()))


containers = st.builds(
    Container,
    st.lists(objects(), max_size=4).map(tuple),
    registered=st.booleans(),
    count=st.integers(1, 50),
    section=st.sampled_from((".nv_fatbin", ".nv_fatbin", "__nv_relfatbin", ".rodata")),
    linked=st.booleans(),
)
names = st.sampled_from(
    (
        "torch/lib/libtorch_cuda.so",
        "a/libcublasLt.so.12",
        "a/_C.so",
        "k/sm90/ops.so",
        "k/sm100/ops.so",
        "b/libx_cuda121.so",
    )
)
formats: st.SearchStrategy[FileFormat] = st.sampled_from(("elf", "elf", "archive"))
libraries = st.builds(Library, names, st.just(9), st.just(()), st.lists(containers, max_size=4).map(tuple), formats)
cubins = st.builds(
    Library,
    st.integers(0, 99).map("cubins/k{}.cubin".format),
    st.just(9),
    st.just(()),
    containers.map(lambda c: (c,)),
    st.just("cubin"),
)
wheels = st.lists(libraries | cubins, max_size=6, unique_by=lambda lib: lib.path)


@settings(max_examples=150, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(wheels, st.sampled_from(("torch", "vllm", "anything")))
def test_a_row_is_judged_as_the_scan_was(found: list[Library], package: str) -> None:
    texts = Texts()
    rows = json.loads(json.dumps(pack_libraries(found, texts)))
    again = unpack_libraries(rows, texts.all)
    for device in DEVICES:
        scanned, kept = (
            judge_subject(
                Subject(package, "wheel", (Distribution(package, "1", libraries=libs),)), device, CATALOG.loading_of
            )
            for libs in (tuple(sorted(found, key=lambda lib: lib.path)), again)
        )
        assert (kept.verdict, kept.decided_by) == (scanned.verdict, scanned.decided_by)
        decided = [(scanned.libraries[path].ptx_isa, kept.libraries[path].ptx_isa) for path in scanned.decided_by]
        assert [pair for pair in decided if pair[0] != pair[1]] == []


def test_compilers_come_back_as_they_were() -> None:
    found = (Compiler("t/ptxas", "ptxas", None, (Target.parse("sm_90"), Target.parse("sm_120a"))),)
    texts = Texts()
    assert unpack_compilers(json.loads(json.dumps(pack_compilers(found, texts))), texts.all) == found

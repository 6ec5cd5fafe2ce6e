"""What nodes have in common, where they differ, what they share, what changed."""

from __future__ import annotations

import pytest

from archfit.fleet.assemble import assemble
from archfit.fleet.diff import compare
from archfit.fleet.group import causes_of, drifts_of
from archfit.model import Node, Severity, SharedPlace, Text
from archfit.report.fleet_names import fold_names, short_names
from fleet_worlds import Report, finding, nodes_of, place, report

# --- causes and drift ------------------------------------------------------------------------------------------------


def test_a_cause_is_named_once_with_all_its_nodes_worst_first() -> None:
    missing, low = finding(torch="2.4.1"), finding("gpu-memory-low", "warning", gpu="T4")
    nodes = nodes_of(report("a", findings=[low]), report("b", findings=[missing, low]), report("c", findings=[missing]))
    assert [(c.id, c.severity, c.nodes) for c in causes_of(nodes)] == [
        ("arch-missing-torch", Severity.ERROR, ("b", "c")),
        ("gpu-memory-low", Severity.WARNING, ("a", "b")),
    ]


def test_one_cause_with_different_values_is_one_row_for_each_sentence() -> None:
    nodes = nodes_of(report("a", findings=[finding(torch="2.4.1")]), report("b", findings=[finding(torch="2.0.0")]))
    assert len(causes_of(nodes)) == 1  # the reports' own sentences are equal
    assert [c.title for c in causes_of(nodes, lambda f: f.values["torch"])] == ["2.0.0", "2.4.1"]


def test_nodes_with_the_same_gpus_should_be_equal() -> None:
    nodes = nodes_of(
        report("a", "H100", "550.54.14", packages={"torch": "2.4.1", "numpy": "1.26"}),
        report("b", "H100", "550.54.14", packages={"torch": "2.4.1", "numpy": "2.0", "einops": "0.8"}),
        report("c", "H100", "535.104.05", packages={"torch": "2.4.1", "numpy": "2.0", "einops": "0.8"}),
        report("d", "T4", "470.82.01"),
    )
    assert [(d.group, d.what, d.values) for d in drifts_of(nodes)] == [
        ("H100, linux_x86_64", "driver", (("550.54.14", ("a", "b")), ("535.104.05", ("c",)))),
        ("H100, linux_x86_64", "package einops", (("0.8", ("b", "c")), ("", ("a",)))),
        ("H100, linux_x86_64", "package numpy", (("2.0", ("b", "c")), ("1.26", ("a",)))),
    ]


def test_equal_nodes_do_not_drift() -> None:
    assert drifts_of(nodes_of(report("a"), report("b"))) == ()


# --- shared folders --------------------------------------------------------------------------------------------------

EXTENSIONS = "/home/you/.cache/torch_extensions/py311_cu121"
TRITON, COMPUTE = "/home/you/.triton/cache", "/home/you/.nv/ComputeCache"


def shared(*reports: Report) -> tuple[SharedPlace, ...]:
    return assemble(nodes_of(*reports)).shared


def two(
    folder: Report, other: Report | None = None, *, gpus: tuple[str, str] = ("V100", "RTX 5090")
) -> tuple[SharedPlace, ...]:
    return shared(
        report("a", gpus[0], "570.86.16", boot="b1", places=[folder]),
        report("b", gpus[1], "570.86.16", boot="b2", places=[other or folder]),
    )


def test_extensions_that_one_generation_compiled_for_another() -> None:
    (found,) = two(place("torch-extension", EXTENSIONS, targets=["sm_70"], count=2))
    assert (found.kind, found.proven, found.filesystem, found.severity) == (
        "torch-extension",
        True,
        "nfs4",
        Severity.WARNING,
    )
    assert found.why == Text("fleet-cache-lacks", {"lacking": "sm_120", "targets": "sm_70"})
    assert found.commands == (
        'arch="$(uname -m)-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | sort -u | paste -sd_ -)"',
        'export TORCH_EXTENSIONS_DIR=/home/you/.cache/torch_extensions/"$arch"/py311_cu121',
    )


@pytest.mark.parametrize(
    ("kind", "path", "remote", "key", "severity"),
    [
        ("torch-extension", EXTENSIONS, True, "fleet-cache-extension", Severity.WARNING),
        ("triton", TRITON, True, "fleet-cache-triton-remote", Severity.WARNING),
        ("triton", TRITON, False, "fleet-cache-triton", Severity.INFO),
        ("compute", COMPUTE, True, "fleet-cache-compute", Severity.INFO),
        ("environment", "/env", True, "fleet-environment-one", Severity.INFO),
    ],
)
def test_what_goes_wrong_in_each_folder(kind: str, path: str, remote: bool, key: str, severity: Severity) -> None:
    folder = place(kind, path, remote=remote)
    reports = [
        report(name, gpu, "570.86.16", boot="b1", places=[folder]) for name, gpu in (("a", "V100"), ("b", "RTX 5090"))
    ]
    (found,) = shared(*reports)
    assert (found.why.key, found.severity, found.nodes) == (key, severity, ("a", "b"))


def test_one_environment_that_no_single_build_can_serve() -> None:
    (found,) = two(place("environment", "/env"), gpus=("GTX 1080 Ti", "RTX 5090"))
    assert (found.why.key, found.severity) == ("fleet-environment-split", Severity.WARNING)
    builds = found.why.values["builds"]
    assert builds == "torch 2.7.1+cu126 (linux_x86_64), torch 2.7.1+cu128 (linux_x86_64)"


def test_equal_numbers_on_two_servers_or_two_disks_are_two_folders() -> None:
    cache = place("torch-extension", EXTENSIONS)
    assert two(cache, place("torch-extension", EXTENSIONS, source="other:/home")) == ()
    assert two(cache, place("torch-extension", EXTENSIONS, inode=8)) == ()
    local = place("torch-extension", EXTENSIONS, remote=False)
    assert two(local) == ()  # the same numbers on the disks of two machines


def test_the_same_content_to_the_nanosecond_is_a_hint_and_no_proof() -> None:
    local = place("torch-extension", EXTENSIONS, remote=False, fingerprint="ab")
    (found,) = two(local)
    assert found.proven is False
    assert two(local, {**local, "fingerprint": "cd"}) == ()


def test_one_generation_shares_in_peace_but_for_triton_on_a_network() -> None:
    alike = ("H100", "H100")
    assert two(place("torch-extension", EXTENSIONS), gpus=alike) == ()
    assert two(place("compute", COMPUTE), gpus=alike) == ()
    assert two(place("triton", TRITON, remote=False), gpus=alike) == ()
    (found,) = two(place("triton", TRITON), gpus=alike)
    assert found.why.key == "fleet-cache-triton-remote"


def test_two_environments_of_one_host_share_nothing_with_others() -> None:
    cache = place("torch-extension", EXTENSIONS)
    reports = [report("a", "V100", target="/x", places=[cache]), report("a", "RTX 5090", target="/y", places=[cache])]
    assert shared(*reports) == ()


# --- two runs --------------------------------------------------------------------------------------------------------


def test_what_changed_between_two_runs() -> None:
    old = nodes_of(
        report("a", "H100", "535.104.05", findings=[finding(torch="2.4.1")], status="problems"),
        report("b", "H100"),
        report("c", "H100"),
        report("same"),
    )
    new = nodes_of(
        report("a", "H100", "550.54.14"),
        report("b", "H100", findings=[finding("driver-too-old", driver="535")], status="problems"),
        report("d", "H100"),
        report("same", observed="2026-12-01T00:00:00Z"),
    )
    found = compare(old, new)
    assert (found.came, found.went, found.same) == (("d",), ("c",), 1)
    assert [(c.id, c.nodes) for c in found.ended] == [("arch-missing-torch", ("a",))]
    assert [(c.id, c.nodes) for c in found.began] == [("driver-too-old", ("b",))]
    assert [(c.what, c.old, c.new, c.nodes) for c in found.changes] == [
        ("status", "ok", "problems", ("b",)),
        ("status", "problems", "ok", ("a",)),
        ("driver", "535.104.05", "550.54.14", ("a",)),
    ]


def test_a_node_that_did_not_answer_ended_nothing() -> None:
    old = nodes_of(report("a", findings=[finding()], status="problems"))
    found = compare(old, [Node("a", "silent", "ray")])
    assert (found.came, found.went, found.ended) == ((), (), ())
    assert [(c.what, c.old, c.new) for c in found.changes] == [("state", "reported", "silent")]
    back = compare([Node("a", "silent", "ray")], old)
    assert [(c.what, c.old, c.new) for c in back.changes] == [("state", "silent", "reported")]


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], ""),
        (["login"], "login"),
        (["n1"], "n1"),
        (["n2", "n1", "n3", "n7"], "n[1-3,7]"),
        (["n08", "n09", "n10", "n100"], "n100, n[08-10]"),
        (["a1.lab", "a2.lab", "b"], "a[1-2].lab, b"),
        (["n1", "n1"], "n1"),
        (["rack1-n1", "rack1-n2", "rack2-n1"], "rack1-n[1-2], rack2-n1"),
    ],
)
def test_names_are_folded(names: list[str], folded: str) -> None:
    assert fold_names(names) == folded


def test_folded_names_are_cut_with_their_number() -> None:
    assert short_names([f"n{n}" for n in range(0, 200, 2)], 20) == "n[0,2,4,6,8,10,12,1… (100)"

"""Reports as they come in: whole, joined, doubled, broken, hostile. What cannot be read is a row, never a crash."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfit.errors import UsageError
from archfit.fleet.assemble import assemble
from archfit.fleet.documents import MOST_BYTES, Reader
from archfit.fleet.read import read_nodes
from archfit.model import Node, NodeProof, Status
from archfit.report.fleet_v1 import fleet_document
from archfit.report.messages import Messages
from fleet_worlds import Report, finding, node_of, place, report

EN = Messages("en")


def read(data: bytes) -> Node:
    return Reader().read(data, "x.json", "x")


def said(node: Node) -> str:
    assert node.state == "unreadable"
    assert node.why
    return EN.text(node.why)


def pipe(*documents: bytes) -> tuple[Node, ...]:
    return read_nodes(["-"], io.BytesIO(b"".join(documents)))


def pretty(document: Report) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def test_a_report_becomes_a_node() -> None:
    node = node_of(report("n1", ["H100", "H100"], findings=[finding(torch="2.4.1")], status="problems", boot="b1"))
    assert (node.name, node.state, node.status, node.primary) == (
        "n1",
        "reported",
        Status.PROBLEMS,
        "arch-missing-torch",
    )
    assert (node.hardware, [c.sm for c in node.capabilities]) == ("2 x H100", ["sm_90"])
    assert (str(node.driver.release) if node.driver else None, node.python_tag) == ("580.65.06", "cp311")
    assert (node.torch, node.cuda, node.platform, node.libc) == ("2.4.1", "12.1", "linux_x86_64", "glibc 2.36")
    assert node.findings[0].values == {"torch": "2.4.1"}


def test_a_report_of_an_older_archfit_is_named_by_its_file() -> None:
    document = report()
    del document["host"], document["environment"]
    assert node_of(document).name == "a"


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is no JSON document: "),
    "cut off": (json.dumps(report()).encode()[:-5], "it is no JSON document: "),
    "not JSON": (b"srun: error: node12: task 3: Exited", "it is no JSON document: "),
    "not UTF-8": (json.dumps(report("h?st")).encode().replace(b"?", b"\xff"), ""),
    "UTF-16": (json.dumps(report()).encode("utf-16"), "it is no JSON document: "),
    "nested too deep": (b'{"schema": "archfit.doctor/1", "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", ""),
    "another schema": (json.dumps(report() | {"schema": "archfit.doctor/2"}).encode(), "its schema is archfit.doctor/2; "),
    "another document": (json.dumps({"schema": "archfit.scan/1", "subjects": []}).encode(), "its schema is archfit.scan/1; "),
    "no schema": (b"{}", "its schema is -; "),
    "a list of numbers": (b"[1, 2]", "it does not have the shape of its schema: "),
    "GPUs as a text": (json.dumps(report() | {"gpus": "H100"}).encode(), "it does not have the shape of its schema: "),
    "a GPU of no generation": (
        json.dumps(report() | {"gpus": [{"name": "x", "compute_capability": "many"}]}).encode(),
        "it does not have the shape of its schema: compute_capability 'many'",
    ),
    "a driver that is none": (
        json.dumps(report() | {"driver": {"release": "new"}}).encode(),
        "it does not have the shape of its schema: driver 'new'",
    ),
    "findings as a number": (json.dumps(report() | {"findings": 3}).encode(), "it does not have the shape of its schema: "),
    "a status of its own": (json.dumps(report() | {"status": "fine"}).encode(), "it does not have the shape of its schema: "),
    "packages as a list": (
        json.dumps(report() | {"environment": {"packages": [1]}}).encode(),
        "it does not have the shape of its schema: ",
    ),
    "a cache of no generation": (
        json.dumps(report(places=[place("triton", "/x", targets=["all"])])).encode(),
        "it does not have the shape of its schema: ",
    ),
    "a hundred thousand GPUs": (
        json.dumps(report() | {"gpus": [{"name": "x", "compute_capability": "9.0"}] * 100_000}).encode(),
        "it lists 100000 GPUs",
    ),
    "huge": (b'{"schema": "' + b"x" * MOST_BYTES + b'"}', f"{MOST_BYTES + 14} bytes, more than {MOST_BYTES}"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_report_is_a_row_that_says_why(name: str) -> None:
    data, sentence = BROKEN[name]
    assert said(read(data)).startswith(sentence)


def test_what_reports_say_cannot_drive_a_terminal() -> None:
    hostile = "\x1b[2J\x07" + "n" * 5000 + "\u202e"
    node = node_of(report(hostile, findings=[finding(torch=hostile)], packages={hostile: hostile}, target=hostile))
    words = [node.name, node.target, node.findings[0].values["torch"], *node.packages, *node.packages.values()]
    assert all(word.isprintable() and len(word) <= 400 for word in words)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from([*report(), "level", "evidence"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=3))
def test_any_json_in_any_place_is_a_node(changes: dict[str, Any]) -> None:
    node = read(json.dumps(report() | changes).encode())
    assert node.state in ("reported", "unreadable")
    assemble([node], image=True)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2000), st.binary(max_size=4))
def test_any_bytes_in_any_place_are_a_node(position: int, noise: bytes) -> None:
    data = pretty(report(findings=[finding()]))
    for node in pipe(data[:position] + noise + data[position:]):
        assert node.state in ("reported", "unreadable", "duplicate")


# --- files, folders, pipes -------------------------------------------------------------------------------------------


def test_documents_come_one_a_line_pretty_after_one_another_or_in_a_list() -> None:
    documents = [report(f"n{n}") for n in range(3)]
    lines = "\n".join(map(json.dumps, documents)).encode()
    for data in (
        lines,
        lines + b"\n\n",
        b"".join(map(pretty, documents)),
        json.dumps(documents).encode(),
        b"\xef\xbb\xbf" + lines,
    ):
        assert [(n.name, n.state) for n in pipe(data)] == [("n0", "reported"), ("n1", "reported"), ("n2", "reported")]


def test_one_broken_document_spoils_no_other() -> None:
    nodes = pipe(pretty(report("n1"))[:-200], b"\n", pretty(report("n2")), b'{"schema": 3}\n', pretty(report("n3")))
    assert [(n.name, n.state) for n in nodes] == [
        ("-:1", "unreadable"),
        ("-:3", "unreadable"),
        ("n2", "reported"),
        ("n3", "reported"),
    ]


def test_what_stands_before_a_document_does_not_spoil_it() -> None:
    nodes = pipe(b"srun: warning: something\n", pretty(report("n1")))
    assert [(n.name, n.state) for n in nodes] == [("-:1", "unreadable"), ("n1", "reported")]


def test_folders_and_files(tmp_path: Path) -> None:
    (tmp_path / "rack1").mkdir()
    (tmp_path / "rack1" / "a.json").write_bytes(pretty(report("a")))
    (tmp_path / "b.ndjson").write_text(json.dumps(report("b")) + "\n" + json.dumps(report("c")))
    (tmp_path / "notes.txt").write_text("not a report")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "folder.json").mkdir()
    seen: list[tuple[int, int]] = []
    nodes = read_nodes([str(tmp_path)], io.BytesIO(), lambda done, total: seen.append((done, total)))
    assert {n.name: n.state for n in nodes} == {
        "a": "reported", "b": "reported", "c": "reported",
        "pipe": "unreadable", "loop": "unreadable", "folder": "unreadable",
    }  # fmt: skip
    assert seen[-1] == (5, 5)


@pytest.mark.parametrize("words", [["nowhere.json"], ["empty"]])
def test_what_is_not_there_is_a_mistake(tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError):
        read_nodes(words, io.BytesIO())


def test_the_newest_report_of_a_host_counts_and_older_ones_are_named() -> None:
    old = report("n1", torch="2.0.0", observed="2026-11-24T10:00:00Z")
    new = report("n1", torch="2.8.0", observed="2026-11-25T10:00:00Z")
    nodes = pipe(pretty(new), pretty(old), pretty(report("n2")))
    assert [(n.name, n.state, n.torch) for n in nodes] == [
        ("n1", "duplicate", ""),
        ("n1", "reported", "2.8.0"),
        ("n2", "reported", "2.4.1"),
    ]
    assert nodes[0].why
    assert EN.text(nodes[0].why) == "a newer report of the same host counts: -:1"


def test_two_environments_of_one_host_are_two_nodes() -> None:
    nodes = pipe(pretty(report("n1", target="/a")), pretty(report("n1", target="/b")))
    assert [(n.name, n.target, n.state) for n in nodes] == [("n1", "/a", "reported"), ("n1", "/b", "reported")]


def test_a_verification_joins_the_diagnosis_of_its_host() -> None:
    proof = report("n1") | {
        "schema": "archfit.verify/1",
        "status": "failed",
        "level": "kernels",
        "evidence": [{"probe": "kernel:matmul", "status": "failed"}, {"probe": "kernel:device", "status": "passed"}],
    }
    (node,) = pipe(pretty(proof), pretty(report("n1")))
    assert (node.status, node.proof) == (Status.OK, NodeProof("kernels", "failed", ("kernel:matmul",)))


def test_a_run_can_be_read_back_as_it_was() -> None:
    first = pipe(
        pretty(report("n1", findings=[finding(torch="2.4.1")], status="problems", places=[place("triton", "/t")])),
        pretty(report("n2", packages={"torch": "2.8.0", "numpy": "2.0"})),
        b"{broken",
    )
    document = fleet_document(assemble(first), EN)
    again = pipe(json.dumps(document).encode())
    assert [n for n in again if n.state == "reported"] == [n for n in first if n.state == "reported"]
    assert fleet_document(assemble(again), EN) == document

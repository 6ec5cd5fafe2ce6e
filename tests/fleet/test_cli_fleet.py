"""archfit fleet on the command line: answers, documents, exit codes, languages."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from archfit.cli import run
from archfit.errors import ExitCode
from archfit.schemas import load_schema
from fleet_worlds import Report, finding, place, report

MISSING = finding(torch="torch 2.4.1", version="2.4.1", gpu="RTX 5090")


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Two nodes that work, one that does not, one broken report."""
    folder = tmp_path / "reports"
    folder.mkdir()
    cache = place("triton", "/home/you/.triton/cache")
    for document in (
        report("a01", "H100", places=[cache]),
        report("a02", "H100", "550.54.14", places=[cache]),
        report("b1", "RTX 5090", findings=[MISSING], status="problems", places=[cache]),
    ):
        (folder / f"{document['host']['name']}.json").write_text(json.dumps(document))
    (folder / "cut.json").write_text("{")
    return folder


def document_of(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Report]:
    code = run(["fleet", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_picture_in_the_terminal(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["fleet", "merge", str(reports), "--image"])
    out = capsys.readouterr().out
    assert code == ExitCode.PROBLEMS
    assert out.startswith("4 node(s): 2 ok, 1 with problems, 1 unreadable\n")
    for words in (
        "b1",
        "cut: unreadable report: it is no JSON document",
        "Folders that nodes share",
        "TORCH_CUDA_ARCH_LIST",
    ):
        assert words in out
    assert "torch 2.8.0+cu128 (linux_x86_64) from PyPI: 3 node(s): a[01-02], b1" in out
    assert "driver (H100, linux_x86_64): 550.54.14 on 1 (a02), 580.65.06 on 1 (a01)" in " ".join(out.split())


def test_chinese(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["fleet", "merge", str(reports), "--lang", "zh"])
    assert capsys.readouterr().out.startswith("4 个节点：2 个正常")


def test_the_document_has_its_schema(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import jsonschema

    _, document = document_of(capsys, "merge", str(reports), "--image")
    jsonschema.validate(document, load_schema("fleet"))
    assert document["summary"]["ok"] == 2
    assert [n["name"] for n in document["nodes"]] == ["a01", "a02", "b1", "cut"]
    assert [b["torch"] for b in document["plan"]["choices"][0]["builds"]] == ["2.8.0"]


def test_a_pipe_and_files_of_every_kind(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = b"\n".join(path.read_bytes() for path in sorted(reports.glob("[ab]*.json")))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run(["fleet", "merge", "-", "-o", str(tmp_path / "fleet.md")]) == ExitCode.PROBLEMS
    text = (tmp_path / "fleet.md").read_text("utf-8")
    assert text.startswith("# Fleet\n")
    assert "| a\\[01-02\\]" not in text.splitlines()[6]
    assert "## One plan for all" in text


@pytest.mark.parametrize(
    ("documents", "code"),
    [
        ([report("a")], ExitCode.OK),
        ([report("a", status="undecided")], ExitCode.UNDECIDED),
        ([report("a"), {}], ExitCode.UNDECIDED),
        ([report("a"), report("a", observed="2020-01-01T00:00:00Z")], ExitCode.OK),
        ([report("a", status="problems"), {}], ExitCode.PROBLEMS),
        ([{}], ExitCode.UNDECIDED),
    ],
)
def test_exit_codes(documents: list[Report], code: ExitCode, tmp_path: Path) -> None:
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    assert run(["fleet", "merge", str(tmp_path)]) == code


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["merge"], "error: no reports were named"),
        (["merge", "nowhere"], "error: there is no file or folder nowhere"),
        (["merge", "."], "error: there are no reports in ."),
        (["merge", ".", "-o", "x.png"], "error: "),
    ],
)
def test_mistakes(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["fleet", *words]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(said)


def test_two_runs(reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tmp_path / "before.json"
    run(["fleet", "merge", str(reports), "-o", str(before)])
    (reports / "b1.json").write_text(json.dumps(report("b1", "RTX 5090", torch="2.8.0", cuda="12.8")))
    (reports / "a02.json").write_text(json.dumps(report("a02", "H100", findings=[MISSING], status="problems")))
    capsys.readouterr()
    assert run(["fleet", "diff", str(before), str(reports)]) == ExitCode.PROBLEMS
    out = capsys.readouterr().out
    assert "torch: 2.4.1 (CUDA 12.1) → 2.8.0 (CUDA 12.8) on 1 node(s) (b1)" in out
    assert "driver: 550.54.14 → 580.65.06 on 1 node(s) (a02)" in out
    code, document = document_of(capsys, "diff", str(reports), str(reports))
    assert (code, document["schema"], document["unchanged"]) == (ExitCode.OK, "archfit.fleet-diff/1", 4)
    assert run(["fleet", "diff", str(before), str(reports), "-o", str(tmp_path / "diff.md")]) == ExitCode.PROBLEMS
    assert "## Solved" in (tmp_path / "diff.md").read_text("utf-8")


def test_what_reports_say_is_no_markup_in_markdown(tmp_path: Path) -> None:
    hostile = "<script>|[x](y)*"
    (tmp_path / "a.json").write_text(
        json.dumps(report(hostile, findings=[finding("x", hostile=hostile)], status="problems"))
    )
    run(["fleet", "merge", str(tmp_path / "a.json"), "-o", str(tmp_path / "a.md")])
    assert "<script>" not in (tmp_path / "a.md").read_text("utf-8")


# --- the page --------------------------------------------------------------------------------------------------------


def page_of(folder: Path, *words: str) -> str:
    path = folder.parent / "fleet.html"
    run(["fleet", "merge", str(folder), "-o", str(path), *words])
    return path.read_text("utf-8")


def data_of(text: str) -> Report:
    found = re.search(r'<script type="application/json" id="fleet">(.*?)</script>', text)
    assert found
    data: Report = json.loads(found[1])
    return data


def test_the_page_holds_both_languages_and_every_node(reports: Path) -> None:
    text = page_of(reports, "--image")
    for words in ("One plan for all", "统一方案", "torch 2.8.0+cu128 (linux_x86_64)", "TORCH_CUDA_ARCH_LIST"):
        assert words in text
    data = data_of(text)
    strings = data["strings"]
    assert [(n[0], n[1], strings["hardware"][n[2]], strings["driver"][n[3]]) for n in data["nodes"]] == [
        ("a01", "good", "H100", "580.65.06"),
        ("a02", "good", "H100", "550.54.14"),
        ("b1", "bad", "RTX 5090", "580.65.06"),
        ("cut", "warn", "", ""),
    ]
    said = [strings["said"][language][data["nodes"][3][7]] for language in ("en", "zh")]
    assert said[0].startswith("unreadable report: ")
    assert said[1].startswith("报告读不了：")


def test_what_reports_say_is_no_markup_in_the_page(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    folder = tmp_path / "hostile"
    folder.mkdir()
    cache = place("triton", hostile)
    document = report(hostile, "H100", findings=[finding(hostile, hostile=hostile)], status="problems", places=[cache])
    (folder / "a.json").write_text(json.dumps(document))
    (folder / "b.json").write_text(json.dumps({**document, "host": {"name": "b"}, "gpus": report(gpus="T4")["gpus"]}))
    text = page_of(folder)
    assert "<img" not in text
    assert "alert(1)</script>" not in text


def test_a_page_of_many_nodes_stays_small(tmp_path: Path) -> None:
    """Rows that look alike are one; the nodes themselves are numbers into tables."""
    folder = tmp_path / "many"
    folder.mkdir()
    lines = [json.dumps(report(f"n{n:04d}", ["H100"] * 8, f"570.{n % 300}.1")) for n in range(3000)]
    (folder / "all.ndjson").write_text("\n".join(lines))
    text = page_of(folder)
    assert len(data_of(text)["nodes"]) == 3000
    assert len(text) < 700_000
    assert text.count("<tr>") < 1000

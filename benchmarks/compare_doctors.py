"""The same machines put to archfit and to the tools that already do part of its job; what each answers, word for word.

    python benchmarks/compare_doctors.py FOLDER

FOLDER gets one environment per tool (pinned releases from PyPI) and, for each machine of `pretended.py`, its stand-ins. The
tools themselves are the released ones. Two tables go to stdout: what each tool says of the machine, and what it would have
installed. What each printed in full goes to FOLDER/answers.json.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from pretended import CARDS, MACHINES, OLD_STORY, Machine, pretend  # noqa: E402

from worlds import NEW, TORCH_2_4_1, Package, build_environment  # noqa: E402

UV, _ARCHFIT = ROOT / ".venv/bin/uv", ROOT / ".venv/bin/archfit"
PEERS = {
    "env-doctor": "0.3.5",
    "cuda-doctor": "0.2.0",
    "torchruntime": "2.24.0",
    "light-the-torch": "0.8.1",
    "mlenvdoctor": "0.1.6",
    "gpu-doctor": "1.0.0",
    "ai-compat": "0.3.1",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool says: of the machine (`verdict`), what should be installed (`remedy`), and all that it printed.

    Empty where the tool does not answer that question.
    """

    verdict: str
    remedy: str
    full: str


def main() -> None:
    """Ask everybody, print the tables."""
    folder = Path(sys.argv[1]).resolve()
    for name, version in PEERS.items():
        if not (folder / name).exists():
            subprocess.run([UV, "venv", "--quiet", "--python", "3.11", folder / name], check=True)
            python = folder / name / "bin/python"
            subprocess.run([UV, "pip", "install", "--quiet", "--python", python, f"{name}=={version}"], check=True)
    told: dict[Machine, dict[str, Answer]] = {}
    for number, machine in enumerate(MACHINES):
        place = folder / f"machine-{number}"
        pretend(place, machine)
        told[machine] = {name: ask(folder, place, machine) for name, ask in TOOLS.items()}
        print(f"{number + 1}/{len(MACHINES)} {machine.name}", file=sys.stderr, flush=True)
    full = {m.name: {name: answer.full for name, answer in answers.items()} for m, answers in told.items()}
    (folder / "answers.json").write_text(json.dumps(full, indent=1, ensure_ascii=False) + "\n", "utf-8")
    uv = subprocess.run([UV, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    versions = {"archfit": "", "uv": uv, **PEERS}
    print_table(told, versions, lambda answer: answer.verdict)
    print_table(told, versions, lambda answer: answer.remedy)


def print_table(
    told: dict[Machine, dict[str, Answer]], versions: dict[str, str], part: Callable[[Answer], str]
) -> None:
    """One row per machine, one column per tool that answers this part at all."""
    names = [name for name in TOOLS if any(part(answers[name]) for answers in told.values())]
    heads = ["machine", "what is true", *(f"{name} {versions[name]}".strip() for name in names)]
    rows = [[m.name, m.right, *(part(answers[name]) or "-" for name in names)] for m, answers in told.items()]
    for row in ([f" {head} " for head in heads], ["---"] * len(heads)):
        print("|" + "|".join(row) + "|")
    for row in rows:
        print("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |")
    print()


# --- one function per tool: what it says of the machine, and what it would have installed --------------------------------


def archfit(_: Path, place: Path, machine: Machine) -> Answer:
    env = place / "env"
    if not env.exists():
        old = machine.torch == OLD_STORY
        text = "__version__ = '2.15.0'\ncuda: Optional[str] = '13.2'\nhip = None\n"
        texts = {"torch/__init__.py": "", "torch/version.py": text}
        new = Package("torch", "2.15.0", (), texts, {"torch/lib/libtorch_cuda.so": NEW}, "torch\n")
        build_environment(env, TORCH_2_4_1 if old else new)
    gpus = [word for gpu in machine.gpus for word in ("--gpu", CARDS[gpu][0])]
    seen = ["--driver", machine.driver, "--json"]
    verdict = _run(place, [_ARCHFIT, "doctor", env, *gpus, *seen])
    said = _run(place, [_ARCHFIT, "plan", env, *gpus, *seen, "--offline"])
    first = json.loads(said)["options"][0]
    remedy = "nothing to do" if first["kind"] == "none" else first["summary"]
    return Answer(json.loads(verdict)["primary"] or "ok", remedy, verdict + said)


def uv(_: Path, place: Path, machine: Machine) -> Answer:
    (place / "in.txt").write_text("torch\n")
    settings = {
        "UV_CUDA_DRIVER_VERSION": machine.driver,
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(place / "uv-cache"),
    }
    command = [
        UV,
        "pip",
        "compile",
        "--torch-backend=auto",
        "--python-platform",
        "x86_64-manylinux_2_28",
        place / "in.txt",
    ]
    said = _run(place, command, **settings)
    tried = re.findall(r"download\.pytorch\.org/whl/(\w+)", said)
    return Answer("", f"index {tried[0]} first" if tried else said.strip().splitlines()[-1][:80], said)


def env_doctor(folder: Path, place: Path, _: Machine) -> Answer:
    said = _run(place, [folder / "env-doctor/bin/env-doctor", "check"])
    advice = _run(place, [folder / "env-doctor/bin/env-doctor", "install", "torch"])
    verdict = re.search(r"ARCHITECTURE MISMATCH(?: \(\w+\))?|COMPATIBLE(?=:)", said)
    fix = re.search(r"whl/((?:nightly/)?\w+)", said)
    index = re.search(r"whl/((?:nightly/)?\w+)", advice)
    parts = [f"fix: {fix[1]}" if fix else "", f"`install torch`: {index[1] if index else '-'}"]
    return Answer(verdict[0] if verdict else "no verdict", ", ".join(filter(None, parts)), said + advice)


def cuda_doctor(folder: Path, place: Path, _: Machine) -> Answer:
    said = _run(place, [folder / "cuda-doctor/bin/cuda-doctor", "diagnose", "-f", "json"])
    told = json.loads(said[said.index("{") :])
    return Answer(told["summary"]["status"], "", said)


def torchruntime(folder: Path, place: Path, _: Machine) -> Answer:
    code = "from torchruntime.device_db import get_gpus; from torchruntime.platform_detection import get_torch_platform"
    code += "; print(get_torch_platform(get_gpus(), ['torch']))"
    said = _run(place, [folder / "torchruntime/bin/python", "-c", code])
    return Answer("", said.strip().splitlines()[-1][:120] if said.strip() else "no answer", said)


def light_the_torch(folder: Path, place: Path, _: Machine) -> Answer:
    code = "from light_the_torch._cb import detect_compatible_computation_backends as d; print(*sorted(map(str, d())))"
    said = _run(place, [folder / "light-the-torch/bin/python", "-c", code])
    newest = max(re.findall(r"cu\d+", said), default="cpu", key=lambda name: int(name[2:]))
    return Answer("", f"newest of its list: {newest}", said)


def mlenvdoctor(folder: Path, place: Path, _: Machine) -> Answer:
    tool = folder / "mlenvdoctor/bin/mlenvdoctor"
    checks = _run(place, [tool, "diagnose", "--json", "-"])
    issues = {row["check_id"]: row for row in json.loads(checks[checks.index("{") : checks.rindex("}") + 1])["issues"]}
    driver, runs = issues["cuda_driver"], issues["pytorch_cuda_execution"]
    return Answer(f"driver: {driver['status']}; torch: {runs['status']}", runs["fix"] or "", checks)


def gpu_doctor(folder: Path, place: Path, _: Machine) -> Answer:
    tool = folder / "gpu-doctor/bin/gpu-doctor"
    said = _run(place, [tool, "--check"])
    asked = _run(place, [tool, "--install"], PYTHONPATH=f"{place}/site:{place}/pip")
    best = re.search(r"Best device: (\w+)", said)
    index = re.search(r"^pip install .*whl/(\w+)", asked, re.MULTILINE)
    return Answer(f"best device: {best[1] if best else '-'}", index[1] if index else "no index", said + asked)


def ai_compat(folder: Path, place: Path, _: Machine) -> Answer:
    tool = folder / "ai-compat/bin/ai-compat"
    check, test, fix = (_run(place, [tool, *words]) for words in (["check"], ["test", "--gpu-only"], ["fix"]))
    errors = [row["message"] for row in json.loads(check)["issues"]]
    torch = next((line for line in test.splitlines() if "torch" in line.lower()), "-")
    actions = [line.partition(": ")[2] for line in fix.splitlines() if line.startswith(" - ")]
    said = f"{'; '.join(errors) or 'No issues detected'}; test: {torch}"
    return Answer(said, ", ".join(actions) or "No fixes required", check + test + fix)


TOOLS: dict[str, Callable[[Path, Path, Machine], Answer]] = {
    "archfit": archfit,
    "uv": uv,
    "env-doctor": env_doctor,
    "cuda-doctor": cuda_doctor,
    "torchruntime": torchruntime,
    "light-the-torch": light_the_torch,
    "mlenvdoctor": mlenvdoctor,
    "gpu-doctor": gpu_doctor,
    "ai-compat": ai_compat,
}


def _run(place: Path, command: list[str | Path], **settings: str) -> str:
    env = {
        **os.environ,
        "PATH": f"{place}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(place / "site"),
        "NO_COLOR": "1",
    }
    if "archfit" in str(command[0]) and "bin/archfit" in str(command[0]):
        env.pop("PYTHONPATH")
    done = subprocess.run(command, capture_output=True, text=True, env={**env, **settings}, timeout=300, check=False)
    return done.stdout + ("" if command[0] == _ARCHFIT else done.stderr)


if __name__ == "__main__":
    main()

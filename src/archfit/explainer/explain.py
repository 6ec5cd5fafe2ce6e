"""From a log to an `Explanation`: clean, read the facts, judge, name the culprit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from archfit.catalog.signatures import ErrorClass, Signatures, load_signatures
from archfit.explainer.facts import Facts, Pattern, read_facts
from archfit.explainer.judge import Hit, Judge, Verdict
from archfit.explainer.lines import Line, clean
from archfit.explainer.log import Log, separate, together
from archfit.explainer.owner import library_in, owner_at
from archfit.model import Cause, Culprit, Explanation, LogFacts, Quote

_MAX_QUOTES = 4
_MAX_CAUSES = 6
_MAX_QUOTE_CHARS = 400
_FALLOUT_CONFIDENCE = 0.35
_UNKNOWN_CONFIDENCE = 0.2
_MAX_PATHS = 20
_MAX_COMMANDS = 3
_ENVIRONMENT = Pattern(rb"(/[\w./+~@\-]{1,200}?/)lib(?:64)?/python3\.\d{1,2}/")

# Import names whose package has another name on PyPI.
_DISTRIBUTIONS = {
    "flash_attn_2_cuda": "flash-attn", "flash_attn_interface": "flash-attn", "awq_ext": "autoawq-kernels", "awq": "autoawq",
    "cv2": "opencv-python", "selective_scan_cuda": "mamba-ssm", "causal_conv1d_cuda": "causal-conv1d",
    "vllm_flash_attn": "vllm", "_turbomind": "lmdeploy", "llama_cpp": "llama-cpp-python", "exllamav2_ext": "exllamav2",
    "auto_gptq": "auto-gptq", "mmcv_full": "mmcv-full", "onnxruntime": "onnxruntime-gpu", "paddle": "paddlepaddle-gpu",
    "sklearn": "scikit-learn", "PIL": "pillow", "yaml": "PyYAML",
}  # fmt: skip


def explain_text(text: str) -> Explanation:
    """Explain a log that is at hand as text."""
    lines = list(clean(text))
    return explain_lines(lines, lines[-1].number if lines else 0)


def explain_lines(lines: Iterable[Line], lines_total: int) -> Explanation:
    """Explain a log by its clean lines, or by those that matter of a long one with `lines_total` lines."""
    signatures = load_signatures()
    kept = list(lines)
    log = separate(kept, lines_total)
    facts = read_facts(log.whole)
    verdicts = Judge(log, facts, signatures).verdicts()
    if len(log.streams) > 1 and all(verdict.cause == "other" for verdict in verdicts):
        log = together(kept, lines_total)  # a message that was wrapped lost its prefix
        verdicts = Judge(log, facts, signatures).verdicts()
    causes = tuple(_cause(verdict, facts, signatures) for verdict in verdicts[:_MAX_CAUSES])
    causes = _with_alternatives(causes, verdicts, signatures) or (_nothing_known(log),)
    return Explanation(causes, _told(facts, causes), log.lines_total, _environments(log))


def _environments(log: Log) -> tuple[str, ...]:
    """The folders of environments in which the log's files lie, with a slash at their end: ``/home/you/.venv/``."""
    found = dict.fromkeys(
        match[1].decode("utf-8", "replace") for stream in log.streams for match in _ENVIRONMENT.finditer(stream.text)
    )
    return tuple(found)[:_MAX_PATHS]


def _cause(verdict: Verdict, facts: Facts, signatures: Signatures) -> Cause:
    best = verdict.hits[0]
    kind = signatures.classes[verdict.cause]
    culprit = _culprit(best, signatures)
    return Cause(
        id=verdict.cause,
        confidence=_confidence(verdict),
        evidence=_quotes(verdict.hits),
        culprit=culprit,
        commands=_commands(_cures(kind, culprit, facts, signatures), culprit, facts, best),
        environment=kind.environment,
        row=best.row.id,
    )


def _confidence(verdict: Verdict) -> float:
    """From the weight of the text: a warning that nothing came of, or a mere consequence, is less sure."""
    best = verdict.hits[0]
    sure = best.row.weight / 100
    if best.score < best.row.weight - 30:
        sure = min(sure, _FALLOUT_CONFIDENCE)
    elif best.score < best.row.weight:
        sure *= 0.85
    return round(min(0.98, max(0.05, sure)), 2)


def _quotes(hits: Sequence[Hit]) -> tuple[Quote, ...]:
    """The lines that say it, the decisive one first in rank but all in order of the log."""
    found: dict[int, Quote] = {}
    for hit in sorted(hits, key=_is_source):
        for line in hit.stream.lines[hit.first : min(hit.last, hit.first + 2) + 1]:
            if len(found) < _MAX_QUOTES and line.text.strip() and line.number not in found:
                found[line.number] = Quote(line.number, line.text.strip()[:_MAX_QUOTE_CHARS])
    return tuple(found[number] for number in sorted(found))


def _is_source(hit: Hit) -> bool:
    """Is the text a line of source code that a traceback shows, and not what was printed?"""
    return hit.stream.lines[hit.first].text.lstrip().startswith(("raise ", "assert ", "warnings.warn("))


def _culprit(hit: Hit, signatures: Signatures) -> Culprit:
    owner = hit.owner if hit.owner.kind else owner_at(hit.stream, hit.begin, hit.end, signatures.packages)
    library, package = library_in(hit.stream.around(hit.begin, hit.end, 0, 1))
    library = library or owner.library
    name = hit.row.culprit or package or (owner.package if owner.kind != "torch" else "") or _stem(library)
    return Culprit(distribution_of(name), library)


def _stem(library: str) -> str:
    """flash_attn_2_cuda of flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so; nothing for libraries of the system."""
    stem = library.partition(".")[0]
    return stem if stem in _DISTRIBUTIONS else ""


def distribution_of(import_name: str) -> str:
    """What to call the package of this import name when installing it."""
    return _DISTRIBUTIONS.get(import_name, import_name.replace("_", "-") if import_name else "")


def _cures(kind: ErrorClass, culprit: Culprit, facts: Facts, signatures: Signatures) -> tuple[str, ...]:
    """What cures this class; a package that exists as sources only is built again by its own rules, once the GPU is known."""
    if kind.id != "arch-missing-extension" or culprit.package not in signatures.rebuild:
        return kind.commands
    return signatures.rebuild[culprit.package] if facts.capability else ("archfit doctor",)


def _commands(templates: Sequence[str], culprit: Culprit, facts: Facts, hit: Hit) -> tuple[str, ...]:
    """The commands whose places can be filled; of several for one purpose, those that say more come first."""
    values = {
        "package": culprit.package,
        "sm": facts.capability.sm if facts.capability else "",
        "arch": str(facts.capability) if facts.capability else "",
        "torch": facts.torch,
        "cuda": _cuda_of(facts.build),
        "module": _module(hit),
    }
    ready = [t.format(**values) for t in templates if all(values[name] for name in _places(t))]
    said_better = {short for short in ready for longer in ready if longer.startswith(short + " ")}
    return tuple(dict.fromkeys(command for command in ready if command not in said_better))[:_MAX_COMMANDS]


def _places(template: str) -> list[str]:
    return [name for name in ("package", "sm", "arch", "torch", "cuda", "module") if f"{{{name}}}" in template]


def _cuda_of(build: str) -> str:
    digits = build.removeprefix("cu")
    return f"{digits[:-1]}.{digits[-1]}" if digits.isdigit() and len(digits) >= 3 else ""


def _module(hit: Hit) -> str:
    """The module of "No module named 'einops'"."""
    text = hit.stream.lines[hit.first].text
    _, found, rest = text.partition("No module named ")
    return distribution_of(rest.strip(" '\"").partition("'")[0].partition(".")[0]) if found else ""


def _with_alternatives(
    causes: tuple[Cause, ...], verdicts: Sequence[Verdict], signatures: Signatures
) -> tuple[Cause, ...]:
    """What the decisive text can mean, too: after what else the log says, but before what merely follows."""
    if not causes:
        return ()
    first, rest = causes[0], list(causes[1:])
    known = {cause.id for cause in causes}
    share = max(0.05, round((1 - first.confidence) * 0.6, 2))
    row = verdicts[0].hits[0].row
    others = [
        Cause(name, share, first.evidence, first.culprit, (), signatures.classes[name].environment, first.row)
        for name in row.also
        if name not in known
    ]
    strong = [cause for cause in rest if cause.confidence > share + 0.1]
    weak = [cause for cause in rest if cause not in strong]
    return (first, *strong, *others[:2], *weak)


def _nothing_known(log: Log) -> Cause:
    lines = [line for stream in log.streams for line in stream.lines if line.text.strip()]
    quotes = tuple(Quote(line.number, line.text.strip()[:_MAX_QUOTE_CHARS]) for line in lines[-1:])
    return Cause("other", _UNKNOWN_CONFIDENCE, quotes, Culprit(), (), False, "")


def _told(facts: Facts, causes: Sequence[Cause]) -> LogFacts:
    cleared = ("torch",) if facts.standing == "covered" and causes[0].id == "arch-missing-extension" else ()
    capability = str(facts.capability) if facts.capability else ""
    return LogFacts(facts.gpu, capability, facts.torch, _cuda_of(facts.build), cleared)

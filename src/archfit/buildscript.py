"""What a source package's build files say: for which GPUs it compiles, who chooses them, which C++ it asks for.

``setup.py`` is read as a syntax tree and never run: comments cannot mislead, and hostile files do nothing. Of CMake files the
few lines that set architectures are read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict, judge_code

Choice = Literal["variable", "torch", "computed", "hard-coded", "none"]
"""Who chooses the GPUs: a variable of the package's own, torch (``TORCH_CUDA_ARCH_LIST``), code that nobody ran, a list in
the sources, or nobody because there is no GPU code."""

TORCH_VARIABLE = "TORCH_CUDA_ARCH_LIST"

_FLAG = re.compile(
    r"arch=(?P<virtual>compute_\w+?),code=\[?(?P<real>[\w,]+)\]?"
    r"|(?:-arch|--gpu-architecture)[= ](?P<short>(?:sm|compute)_\w+)"
)
_FILLED = re.compile(r"(?:arch=|code=|sm_|compute_)\0|-arch[= ]\0")  # \0 stands for what code fills in
_VARIABLE = re.compile(r"ARCH|GENCODE|CAPABILIT|COMPUTE_C", re.IGNORECASE)
_STANDARD = re.compile(r"-std=(?:c|gnu)\+\+(\d\d)")
_OTHER_VENDOR = re.compile(r"hip|rocm|mlu|npu|\bmps\b|musa|xpu|diopi|darwin|win32|windows", re.IGNORECASE)
_NEEDS_CUDA = re.compile(r"Version\(['\"](\d+\.\d+)['\"]\)|CUDA_VERSION\D*(\d+\.\d+)")
_LONGEST = 160


@dataclass(frozen=True, slots=True)
class Spot:
    """A line of a build file: `file` is its path in the package, `line` counts from 1."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class ArchFlag:
    """Targets that one flag of the compiler asks for; `since` is the CUDA release that the lines around it ask for."""

    targets: tuple[Target, ...]
    spot: Spot
    since: CudaVersion | None = None


@dataclass(frozen=True, slots=True)
class BuildScript:
    """What the build files of one source package say.

    `variables` are environment variables that choose the GPUs, `computed` the lines in which code makes up a target,
    `standards` C++ standards that are asked for on NVIDIA GPUs. `sources` counts files with GPU code. With `limits_only` the
    flags say what may be chosen, not what is.
    """

    package: str
    version: str
    flags: tuple[ArchFlag, ...] = ()
    computed: tuple[Spot, ...] = ()
    variables: Mapping[str, Spot] = field(default_factory=dict)
    standards: tuple[tuple[int, Spot], ...] = ()
    imports: Mapping[str, Spot] = field(default_factory=dict)
    sources: int = 0
    limits_only: bool = False

    @property
    def choice(self) -> Choice:
        """Who chooses the GPUs."""
        if self.own_variable:
            return "variable"
        if self.flags and not self.limits_only:
            return "hard-coded"
        if self.computed and TORCH_VARIABLE not in self.variables:
            return "computed"
        return "torch" if self.sources else "none"

    @property
    def own_variable(self) -> str | None:
        """The variable of the package's own that chooses the GPUs."""
        return next((name for name in self.variables if name != TORCH_VARIABLE), None)

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets that stand in the sources, whatever the toolkit."""
        return tuple(sorted({t for flag in self.flags for t in flag.targets}))

    def verdict(self, device: ComputeCapability, toolkit: CudaVersion) -> Verdict:
        """What a build with `toolkit` can do on `device`, going by the list in the sources."""
        listed = [t for f in self.flags if f.since is None or f.since <= toolkit for t in f.targets]
        found = {judge_code(target, device, toolkit) for target in listed}
        return next((v for v in (Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT) if v in found), Verdict.NONE)

    @property
    def newest_standard(self) -> tuple[int, Spot] | None:
        """The newest C++ standard that is asked for, where one is."""
        return max(self.standards, key=lambda pair: pair[0], default=None)


def append_flags(devices: Sequence[ComputeCapability]) -> str:
    """What ``NVCC_APPEND_FLAGS`` must hold so that nvcc adds these GPUs to a list in the sources.

    Seen with nvcc 13.0.88 on 2026-11-25: it adds to ``-gencode`` lists and to ``-arch``, and ends in "Unsupported gpu
    architecture" where the list itself holds one that it no longer knows.
    """
    numbers = (device.sm.removeprefix("sm_") for device in devices)
    return " ".join(f"-gencode arch=compute_{number},code=sm_{number}" for number in numbers)


def read_build_files(package: str, version: str, files: Mapping[str, str], sources: int = 0) -> BuildScript:
    """Read build files, given as path to text; those that are no Python or CMake are passed over."""
    flags: list[ArchFlag] = []
    computed: list[Spot] = []
    variables: dict[str, Spot] = {}
    standards: list[tuple[int, Spot]] = []
    imports: dict[str, Spot] = {}
    limits_only = False
    for path, text in files.items():
        part = _read_python(path, text) if path.endswith(".py") else _read_cmake(path, text)
        flags += part.flags
        computed += part.computed
        standards += part.standards
        variables = {**part.variables, **variables}
        imports = {**part.imports, **imports}
        limits_only = limits_only or part.limits_only
    return BuildScript(
        package=package,
        version=version,
        flags=tuple(sorted(flags, key=lambda flag: (flag.spot.file, flag.spot.line))),
        computed=tuple(sorted(computed, key=lambda spot: (spot.file, spot.line))),
        variables=variables,
        standards=tuple(standards),
        imports=imports,
        sources=sources,
        limits_only=limits_only,
    )


# --- Python ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Part:
    flags: list[ArchFlag] = field(default_factory=list)
    computed: list[Spot] = field(default_factory=list)
    variables: dict[str, Spot] = field(default_factory=dict)
    standards: list[tuple[int, Spot]] = field(default_factory=list)
    imports: dict[str, Spot] = field(default_factory=dict)
    limits_only: bool = False


Guards = tuple[str, ...]


def _read_python(path: str, text: str) -> _Part:
    part = _Part()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return part
    lines = text.splitlines()
    for node, guards in _walk(tree):
        if any(_OTHER_VENDOR.search(guard) for guard in guards):
            continue
        number = getattr(node, "lineno", 0)
        spot = Spot(path, number, lines[number - 1].strip()[:_LONGEST] if 0 < number <= len(lines) else "")
        _take(part, node, spot, guards)
    return part


def _take(part: _Part, node: ast.AST, spot: Spot, guards: Guards) -> None:
    if (name := _environment_variable(node)) and _VARIABLE.search(name) and not _OTHER_VENDOR.search(name):
        part.variables.setdefault(name, spot)
    for module in _imported(node):
        part.imports.setdefault(module, spot)
    written = _written(node)
    if written is None:
        return
    for match in _FLAG.finditer(written):
        if targets := _targets(match):
            part.flags.append(ArchFlag(targets, spot, _since(guards)))
    if _FILLED.search(written):
        part.computed.append(spot)
    part.standards += [(int(number), spot) for number in _STANDARD.findall(written)]


def _walk(tree: ast.Module) -> Iterator[tuple[ast.AST, Guards]]:
    """Every node with the conditions around it as they are written; an ``else`` turns its condition round."""
    stack: list[tuple[ast.AST, Guards]] = [(tree, ())]
    while stack:
        node, guards = stack.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        yield node, guards
        if isinstance(node, ast.JoinedStr):
            stack += [(v.value, guards) for v in node.values if isinstance(v, ast.FormattedValue)]
        elif isinstance(node, ast.If | ast.IfExp):
            test = ast.unparse(node.test)
            body = node.body if isinstance(node.body, list) else [node.body]
            orelse = node.orelse if isinstance(node.orelse, list) else [node.orelse]
            stack.append((node.test, guards))
            stack += [(child, (*guards, *_positive(node.test, test))) for child in body]
            stack += [(child, (*guards, f"else of {_neutral(test)}")) for child in orelse]
        else:
            stack += [(child, guards) for child in ast.iter_child_nodes(node)]


def _positive(test: ast.expr, written: str) -> Guards:
    """What a condition claims: of ``not IS_ROCM and X`` only X, so that *not* another vendor is none about that vendor."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    claims = [ast.unparse(part) for part in parts if not _denies(part)]
    return tuple(claims)


def _denies(test: ast.expr) -> bool:
    """``not X``, ``X != "Windows"``, ``X is None``."""
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        none = isinstance(test.comparators[0], ast.Constant) and test.comparators[0].value is None
        return isinstance(test.ops[0], ast.NotEq | ast.NotIn) or (isinstance(test.ops[0], ast.Is) and none)
    return isinstance(test, ast.UnaryOp)


def _neutral(test: str) -> str:
    return _OTHER_VENDOR.sub("", test)


def _environment_variable(node: ast.AST) -> str | None:
    """The name in ``os.getenv("X")``, ``os.environ.get("X")`` and ``os.environ["X"]`` where it is read."""
    if isinstance(node, ast.Call) and node.args and re.search(r"getenv$|environ\.get$", ast.unparse(node.func)):
        return _text(node.args[0])
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and ast.unparse(node.value).endswith("environ")
    ):
        return _text(node.slice)
    return None


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.partition(".")[0]]
    return []


def _written(node: ast.AST) -> str | None:
    """A string as it is written, with a NUL for what code fills in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            v.value if isinstance(v, ast.Constant) and isinstance(v.value, str) else "\0" for v in node.values
        )
    if text := _text(node):
        return re.sub(r"\{\w*\}|%s|%d", "\0", text)
    return None


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _targets(match: re.Match[str]) -> tuple[Target, ...]:
    """``code=sm_80`` is machine code, ``code=compute_80`` PTX; ``-arch=sm_80`` alone makes both."""
    named = (match["real"] or match["short"]).split(",")
    if match["short"] and match["short"].startswith("sm_"):
        named.append(match["short"].replace("sm_", "compute_"))
    found = []
    for name in named:
        try:
            found.append(Target.parse(name))
        except ValueError:
            continue
    return tuple(found)


def _since(guards: Guards) -> CudaVersion | None:
    """The newest CUDA that the conditions ask for; ``<`` and ``else`` ask for an older one and are passed over."""
    asked = [
        CudaVersion.parse(found[1] or found[2])
        for guard in guards
        if ">" in guard and not guard.startswith("else of") and (found := _NEEDS_CUDA.search(guard))
    ]
    return max(asked, default=None)


# --- CMake -----------------------------------------------------------------------------------------------------------

_SET = re.compile(r"^\s*set\s*\(\s*(CMAKE_CUDA_ARCHITECTURES|CUDA_SUPPORTED_ARCHS)\s+([^)]*)\)?", re.IGNORECASE)
_OPEN = re.compile(r"\$ENV\{(\w*ARCH\w*)\}|NOT DEFINED (CMAKE_CUDA_ARCHITECTURES)")
_CMAKE_STANDARD = re.compile(r"CMAKE_C(?:XX|UDA)_STANDARD\s+(\d\d)\b|[-/]std=c\+\+(\d\d)")


def _read_cmake(path: str, text: str) -> _Part:
    """`CUDA_SUPPORTED_ARCHS` is what vLLM and those who follow it intersect with what torch was told."""
    part = _Part()
    for number, line in enumerate(text.splitlines(), 1):
        code = line.partition("#")[0]
        spot = Spot(path, number, line.strip()[:_LONGEST])
        if match := _SET.match(code):
            targets = _cmake_targets(match[2])
            part.flags += [ArchFlag(targets, spot)] if targets else []
            part.limits_only = part.limits_only or bool(targets and match[1].upper() == "CUDA_SUPPORTED_ARCHS")
        else:
            part.flags += [ArchFlag(found, spot) for m in _FLAG.finditer(code) if (found := _targets(m))]
        if (match := _OPEN.search(code)) and not _OTHER_VENDOR.search(code):
            part.variables.setdefault(match[1] or match[2], spot)
        part.standards += [(int(a or b), spot) for a, b in _CMAKE_STANDARD.findall(code)]
    return part


def _cmake_targets(written: str) -> tuple[Target, ...]:
    """``70-real``, ``80-virtual``, ``90a`` or ``7.5;8.0+PTX``; a bare number makes both kinds of code."""
    found: list[Target] = []
    for word in re.split(r"[\s;\"]+", written):
        match = re.fullmatch(r"(\d{1,2})\.?(\d)([af]?)(-real|-virtual|\+PTX)?", word)
        if match:
            number = f"{match[1]}{match[2]}{match[3]}"
            found += [Target.parse(f"sm_{number}")] if match[4] != "-virtual" else []
            found += [Target.parse(f"compute_{number}")] if match[4] in ("-virtual", "+PTX") else []
    return tuple(found)

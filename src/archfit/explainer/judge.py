"""From texts to causes: which rows hold, what follows from what, and which comes first.

The first error of the process that failed is the best candidate; what it leads to comes after it, and a warning that nothing
came of comes last. See docs/design.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from archfit.catalog.signatures import Signature, Signatures
from archfit.explainer.facts import Facts
from archfit.explainer.log import Log, Stream
from archfit.explainer.owner import Owner, owner_at
from archfit.explainer.tracebacks import Traceback, find_tracebacks

_NEAR_BEFORE, _NEAR_AFTER = 14, 14  # lines that count as near where no traceback says more
_MAX_NEAR = 40_000  # bytes; a longer traceback is cut at its front
_MAX_SPANS = 16  # of one row in one stream: the first and the last of them
_PLAIN_WEIGHT = 58  # an exception that no row knows

_CUDA_WEIGHT = 30  # the same, where it speaks of CUDA: it may follow from what was warned of
_CUDA_WORDS = re.compile(r"CUDA|cuda|cu(?:blas|dnn|fft|sparse)|nvrtc|NCCL|nccl|GPU|[Kk]ernel|device")

# What the place of a text adds to its weight. Compared on a corpus that was held out (docs/measurements.md).
_IN_LAST = 22
_FIRST_OF_CHAIN = 4
_ALONE = 7
_EARLY = 6
_WARNING = -26
_FALLOUT = -46
_ODD_RANK = 12
_SURER = 6

# Classes that are fallout, or harmless, unless they are the last words of a process.
_LAST_WORDS = frozenset({"python-import", "missing-file", "other"})

_WRAPPERS = re.compile(
    r"ChildFailedError|CalledProcessError|SystemExit|BrokenPipe|BrokenProcessPool|ProcessExited|ProcessRaised|RayTaskError|RayActorError"
    r"|ActorDied|WorkerCrashed|SubprocessError|InstallationError|InstallationSubprocessError|BackendUnavailable|CompilationError: Failed"
    r"|root cause|see (?:its|the) (?:traceback|stack trace|log)|look up to see|Engine core|EngineCore|Engine process|EngineDead"
    r"|worker .{0,30}(?:died|exited|failed)|[Ee]rror building extension|[Ee]rror compiling objects|because of the following error"
    r"|subprocess|returned? (?:a )?non-?zero|exit(?:ed)? (?:with )?(?:code|status)|terminated by|process .{0,20}terminated|Command '"
    r"|Unable to create|failed to start|initialization failed|NCCL communicator was aborted|[Cc]onnection (?:closed|reset|refused)|Broken pipe"
)


@dataclass(frozen=True, slots=True)
class Hit:
    """One row that holds at one place: `first` to `last` are positions in the lines of `stream`.

    `owner` is set where the row asks for one.
    """

    row: Signature
    stream: Stream
    begin: int
    end: int
    first: int
    last: int
    owner: Owner
    score: float = 0.0

    @property
    def number(self) -> int:
        """The line number where it begins."""
        return self.stream.lines[self.first].number


@dataclass(frozen=True, slots=True)
class Verdict:
    """A class with its best evidence, and all hits of it."""

    cause: str
    score: float
    hits: tuple[Hit, ...]


class Judge:
    """Reads one log by the rows."""

    def __init__(self, log: Log, facts: Facts, signatures: Signatures) -> None:
        self.log = log
        self.facts = facts
        self.signatures = signatures
        self.tracebacks = {stream.source: find_tracebacks(stream.lines) for stream in log.streams}
        self._far: dict[tuple[str, ...], bool] = {}

    def verdicts(self) -> list[Verdict]:
        """The classes that the log speaks of, root first."""
        hits = [self._scored(hit) for stream in self.log.streams for hit in self.hits_in(stream)]
        hits += self._plain_exceptions(hits)
        hits = [hit for hit in hits if not _yields(hit, hits)]
        by_class: dict[str, list[Hit]] = {}
        for hit in hits:
            by_class.setdefault(hit.row.cause, []).append(hit)
        found = [self._verdict(cause, group) for cause, group in by_class.items()]
        found.sort(key=lambda verdict: (-verdict.score, verdict.hits[0].number))
        return self._roots_first(self._odd_rank(found))

    # --- which rows hold ---------------------------------------------------------------------------------------------

    def hits_in(self, stream: Stream, *, decoys: bool = False) -> Iterator[Hit]:
        """The rows that hold in one stream; where two match the same text, the earlier row has it.

        Decoys only take texts away from other rows, unless `decoys` asks for them, too.
        """
        taken = _Taken()
        for number in self.signatures.likely(stream.text):
            row = self.signatures.rows[number]
            if not self._far_holds(row):
                continue
            for begin, end in _ends(row.match.spans(stream.text)):
                if taken.overlaps(begin, end) or not (owner := self._holds(row, stream, begin, end)):
                    continue
                taken.add(begin, end)
                if row.role != "decoy" or decoys:
                    yield Hit(
                        row, stream, begin, end, stream.index_at(begin), stream.index_at(max(begin, end - 1)), owner
                    )

    def _far_holds(self, row: Signature) -> bool:
        if row.gpu and self.facts.standing not in row.gpu:
            return False
        if row.far.texts and not self._somewhere(row.far.texts, row):
            return False
        return not (row.not_far.texts and self._somewhere(row.not_far.texts, row, denied=True))

    def _somewhere(self, texts: tuple[str, ...], row: Signature, *, denied: bool = False) -> bool:
        if texts not in self._far:
            self._far[texts] = (row.not_far if denied else row.far).found_in(self.log.whole)
        return self._far[texts]

    def _holds(self, row: Signature, stream: Stream, begin: int, end: int) -> Owner | None:
        """The owner if all conditions of the row hold here."""
        if row.near.texts or row.not_near.texts:
            near = self._near(stream, begin, end)
            if (row.near.texts and not row.near.found_in(near)) or row.not_near.found_in(near):
                return None
        if not row.owner:
            return Owner()
        owner = owner_at(stream, begin, end, self.signatures.packages)
        return owner if owner.kind in row.owner else None

    def _near(self, stream: Stream, begin: int, end: int) -> bytes:
        index = stream.index_at(begin)
        held = next((t for t in self.tracebacks[stream.source] if t.holds(index)), None)
        around = stream.around(begin, end, _NEAR_BEFORE, _NEAR_AFTER)
        if held is None:
            return around
        return stream.text[stream.start_of(held.begin) : stream.start_of(held.end)][-_MAX_NEAR:] + b"\n" + around

    # --- which comes first -------------------------------------------------------------------------------------------

    def _scored(self, hit: Hit) -> Hit:
        tracebacks = self.tracebacks[hit.stream.source]
        last_chain = tracebacks[-1].chain if tracebacks else None
        held = next((t for t in tracebacks if t.holds(hit.first)), None)
        score = float(hit.row.weight)
        if held is None:
            score += _ALONE if not tracebacks or hit.first < tracebacks[-1].begin else _IN_LAST
        elif held.chain == last_chain:
            first = next(t for t in tracebacks if t.chain == last_chain)
            score += _IN_LAST + (_FIRST_OF_CHAIN if held is first else 0)
        score += _EARLY * (1 - hit.number / max(1, self.log.lines_total))
        return replace(hit, score=score + self._role_score(hit, held, last_chain))

    @staticmethod
    def _role_score(hit: Hit, held: Traceback | None, last_chain: int | None) -> float:
        """Warnings and consequences stand back, unless they are what the process died of."""
        died_of_it = held is not None and held.chain == last_chain and hit.first >= held.exception
        if hit.row.role == "warning" or (hit.row.role == "error" and "Warning: " in hit.stream.lines[hit.first].text):
            return 0 if died_of_it else _WARNING
        if hit.row.role == "fallout":
            return 0 if died_of_it and hit.row.cause in _LAST_WORDS else _FALLOUT
        return 0

    def _plain_exceptions(self, hits: Sequence[Hit]) -> Iterator[Hit]:
        """What processes died of, where no row knows it: a plain bug, as far as anybody can tell."""
        row = next(row for row in self.signatures.rows if row.id == "other-known")
        for stream in self.log.streams:
            tracebacks = self.tracebacks[stream.source]
            if not tracebacks:
                continue
            last = tracebacks[-1]
            if not last.type or _WRAPPERS.search(f"{last.type}: {last.message}") or "Warning" in last.type:
                continue
            known = any(h.stream is stream and last.begin <= h.first < max(last.end, last.exception + 1) for h in hits)
            chained = any(
                h.stream is stream and t.holds(h.first) for h in hits for t in tracebacks if t.chain == last.chain
            )
            if not known and not chained:
                begin, end = stream.start_of(last.exception), stream.start_of(last.exception + 1)
                weight = _CUDA_WEIGHT if _CUDA_WORDS.search(f"{last.type}: {last.message}") else _PLAIN_WEIGHT
                plain = replace(row, id="plain-exception", weight=weight, role="error", also=())
                score = float(weight + _IN_LAST + _FIRST_OF_CHAIN)
                yield Hit(plain, stream, begin, end, last.exception, last.exception, Owner(), score)

    def _verdict(self, cause: str, group: list[Hit]) -> Verdict:
        ranked = sorted(group, key=lambda hit: (-hit.score, hit.number))
        return Verdict(cause, ranked[0].score, tuple(ranked))

    def _odd_rank(self, found: list[Verdict]) -> list[Verdict]:
        """With several ranks, the one whose error differs from that of all others is where it began."""
        tops = {
            stream.source: next((v.cause for v in found if any(h.stream is stream for h in v.hits)), None)
            for stream in self.log.streams
            if stream.source
        }
        counts = Counter(cause for cause in tops.values() if cause)
        if sum(counts.values()) < 3 or len(counts) < 2:
            return found
        odd = {cause for cause, count in counts.items() if count == 1 and max(counts.values()) > 1}
        raised = [replace(v, score=v.score + _ODD_RANK) if v.cause in odd else v for v in found]
        return sorted(raised, key=lambda verdict: -verdict.score)

    def _roots_first(self, found: list[Verdict]) -> list[Verdict]:
        """A class goes in front of those that follow from it; what decides otherwise is the score."""
        present = {verdict.cause: verdict for verdict in found}
        ordered: list[Verdict] = []

        def place(verdict: Verdict, above: frozenset[str]) -> None:
            if verdict in ordered:
                return
            for root in found:
                explains = self.signatures.classes[root.cause].explains
                if verdict.cause in explains and root.cause not in above and self._leads_to(root, verdict):
                    place(root, above | {verdict.cause})
            ordered.append(verdict)

        for verdict in present.values():
            place(verdict, frozenset())
        return ordered

    def _leads_to(self, root: Verdict, follower: Verdict) -> bool:
        """A cause must come before its consequence, or be stated beside it; fallout is nobody's cause."""
        role = root.hits[0].row.role
        if role == "fallout" and follower.hits[0].row.role != "fallout":
            return False
        if role == "warning" and follower.cause in _LAST_WORDS and follower.score > _PLAIN_WEIGHT:
            return False  # the program went on after the warning and died of something else
        first = min(hit.number for hit in root.hits)
        return first <= max(hit.number for hit in follower.hits) + 3


def _yields(hit: Hit, hits: Sequence[Hit]) -> bool:
    """A text that can mean several things gives way to one that means one of them more surely."""
    return any(
        other.row.cause in hit.row.also and other.row.weight >= hit.row.weight + _SURER and other.row.role != "fallout"
        for other in hits
    )


class _Taken:
    """Spans of text that a row has already."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def overlaps(self, begin: int, end: int) -> bool:
        return any(begin < other_end and other_begin < end for other_begin, other_end in self._spans)

    def add(self, begin: int, end: int) -> None:
        self._spans.append((begin, end))


def _ends(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """All spans, or the first and the last where there are too many."""
    half = _MAX_SPANS // 2
    return spans if len(spans) <= _MAX_SPANS else spans[:half] + spans[-half:]

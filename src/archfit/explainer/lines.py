"""From the bytes of a log to clean lines: encodings, colours, boxes and the prefixes of everything that relays logs.

Nothing is thrown away but decoration; each line keeps its number, and the name of the process, rank or service that printed it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[()][0-9A-B]|[@-Z\\-_])")
_BOX = re.compile(r"[\u2500-\u259f\u2771\u25cf\u2022]+")
_QUOTES = str.maketrans("\u2018\u2019\u201a\u00b4`\u201c\u201d\u2013\u2014\u00a0\u3000\ufffd", "'''''\"\"--  ?")

# What stands in front of a line when something relays it. `tag` names who printed it, so that interleaved ranks can be told
# apart; the others are stamps. Every branch begins with a character class or a literal and has bounded repeats.
_PREFIX = re.compile(
    r"""\s*(?:
      (?:>\s?)+(?=\S)                                                              # quoted in a mail or an issue
    | (?P<tag>
        \[(?:[Rr]ank|RANK|default|local_rank|worker|Worker|node|gpu)[\s_\-=:]?\d{1,5}\]:?
      | (?:[Rr]ank|RANK|default|local_rank|worker|Worker|node|gpu)[\s_\-=:]?\d{1,5}:(?=\s|$)
      | \[\d{1,5}(?:,\d{1,5})?\](?:<\w{1,8}>:?|:(?=\s|$))                          # mpirun, torchrun --tee
      | \((?:[\w.:\-]{1,60}[ ])?(?:pid=\d{1,10}|raylet)(?:,\s?[\w.]{1,20}=[^)\s]{1,60})*\)
      | \((?:\w{0,30}(?:Worker|Engine|Actor|Server|Core|Replica|Proc)[\w.]{0,40})(?:\s[^()]{0,60})?\)(?=\s)
      | [a-zA-Z0-9][\w.\-]{0,50}\s{0,24}\|(?=\s|$)                                 # docker compose, foreman
      | \d{1,4}:(?=\s)                                                             # srun --label
      )\s?
    | \[?\d{4}[\-/]\d\d[\-/]\d\d[T\s_]\d\d:\d\d:\d\d(?:[.,:]\d{1,9})?\s?(?:Z|UTC|[+\-]\d\d:?\d\d)?\]?[:,]?(?:\s(?:stdout|stderr)\s[FP])?\s?
    | \[?\d\d[\-/]\d\d(?:[\-/]\d{2,4})?\s\d\d:\d\d:\d\d(?:[.,]\d{1,9})?\]?\s?
    | \[?\d\d:\d\d:\d\d(?:[.,]\d{1,9})?\]?\s
    | (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)?,?\s?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s{1,2}\d{1,2}\s\d\d:\d\d:\d\d
      (?:\.\d+)?(?:\s(?P<host>[\w.\-]{1,60})\s(?P<proc>[\w.\-/@]{1,60})(?:\[\d{1,10}\])?:)?\s?
    | [WEIFD]\d{4}\s\d\d:\d\d:\d\d\.\d{2,6}\s+\d{1,10}(?:\s[\w.\-/]{1,100}:\d{1,6})?\]\s?   # glog
    | [WEIF]\d{4}\s\d\d:\d\d:\d\d\.\d{2,6}\s?
    | [WEIF]\s(?=(?:tensorflow|external|xla)/)
    | (?:\#\d{1,4}\s\d{1,6}\.\d{1,3}|\#\d{1,4}(?=\s(?:ERROR|CANCELED|DONE)))\s?      # docker buildx
    | \[\s{0,6}\d{1,8}\.\d{6}\]\s?                                                   # dmesg
    | <\d{1,3}>
    | E\s{2,4}(?=\S)                                                                 # pytest
    | (?:\[|\()?(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL|stderr|stdout)(?:\]|\))?(?:\s?[:|\-]{1,2}(?=\s)|(?=\s\[?\d\d[\-:]|\s\[))\s?
    | -\s(?:[\w.]{1,60}\s-\s)?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\s-\s
    | \[[\w.\-/]{1,60}\.(?:py|cpp|cc|cu|go|rs):\d{1,6}(?::\w{1,60})?\]:?\s?           # [engine.py:400]
    | [\w.\-/]{1,60}\.(?:py|cc|cpp):\d{1,6}\]\s?
    | \[pid\s?\d{1,10}\]:?\s?
    | \|(?=\s)
    )""",
    re.VERBOSE,
)
_NULS = 0.05
_MAX_PREFIXES = 6
_JSON_FIELDS = ("log", "message", "msg", "MESSAGE", "text", "output")
_ESCAPED_BREAK = re.compile(r"\\r?\\n|\\n")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its number from 1, its text without decoration, and who printed it (empty where nobody says).

    `width` is its length in characters as it was printed.
    """

    number: int
    text: str
    source: str = ""
    width: int = 0


def decode(data: bytes) -> str:
    """Read a log of unknown encoding: UTF-8, UTF-16 as Windows redirects it, GBK as Chinese Windows prints it."""
    return data.decode(encoding_of(data), "replace").removeprefix("\ufeff")


def encoding_of(data: bytes) -> str:
    """The encoding of a log, judged by its beginning.

    A cut in the middle of a character does not matter. What is neither is read as UTF-8 with marks for what does not fit.
    """
    head = data[:65536]
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    even, odd = head[::2].count(0), head[1::2].count(0)
    if even + odd > _NULS * len(head):  # ASCII in UTF-16 has a zero in every pair, on one side
        return max(("utf-16-le", "utf-16-be"), key=lambda name: _letters(head[: len(head) & ~1], name))
    for name in ("utf-8", "gb18030"):
        if _decodes(head, name):
            return name
    return "utf-8"


def _letters(head: bytes, name: str) -> int:
    """How many letters of English are in it, read this way."""
    return sum(char.isascii() and char.isalpha() for char in head.decode(name, "replace"))


def _decodes(head: bytes, name: str) -> bool:
    try:
        head.decode(name)
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 4  # only the last character is cut
    return True


def clean(text: str, first_number: int = 1) -> Iterator[Line]:
    """The lines of `text` without colour, boxes and prefixes; `first_number` is the number of its first line."""
    for number, raw in enumerate(text.split("\n"), first_number):
        for part in _unwrap(raw):
            yield _clean_line(number, part)


def _unwrap(raw: str) -> Iterable[str]:
    """The text inside a line of JSON, the lines inside an escaped traceback, the last state of a progress bar."""
    raw = raw.rstrip("\r")
    if "\r" in raw:
        return [part for bar in raw.split("\r") for part in _unwrap(bar)] or [raw]
    if raw.lstrip().startswith("{") and len(raw) < 200_000:
        raw = _inside_json(raw)
        if "\n" in raw:
            return raw.split("\n")
    if raw.count("\\n") >= 3:
        raw = raw.replace("\\u0022", '"').replace("\\u0027", "'").replace('\\"', '"')
        return _ESCAPED_BREAK.split(raw)
    return (raw,)


def _inside_json(raw: str) -> str:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    if not isinstance(document, dict):
        return raw
    found = [document[name] for name in _JSON_FIELDS if isinstance(document.get(name), str)]
    return found[0].rstrip("\n") if found else raw


def _clean_line(number: int, raw: str) -> Line:
    if "\x1b" in raw:
        raw = _ANSI.sub("", raw)
    if not raw.isascii():
        raw = _BOX.sub(" ", raw.translate(_QUOTES))
    elif "`" in raw:
        raw = raw.replace("`", "'")
    source, at, width = "", 0, len(raw)
    for _ in range(_MAX_PREFIXES):
        match = _PREFIX.match(raw, at)
        if not match or match.end() == at:
            break
        source = source or _source_of(match)
        at = match.end()
    return Line(number, raw[at:] if at else raw, source, width)


def _source_of(match: re.Match[str]) -> str:
    if match["tag"]:
        return match["tag"].strip(" |:[]()")
    return match["proc"] or ""

"""Take out of a text what should not be shared: tokens, user names, e-mail addresses, hosts and addresses.

What is taken out leaves a mark of its kind, so that a text stays readable: ``/home/<user>/train.py``. Numbers, paths
below the home folder, versions and names of packages stay.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Iterable

_SECRET = re.compile(
    r"""(?x)
    \b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_\-]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{20,}|glpat-[\w\-]{16,}|AKIA[0-9A-Z]{12,}
      |xox[abprs]-[\w\-]{10,}|AIza[\w\-]{30,}|npm_\w{30,}|pypi-[\w\-]{20,}|eyJ[\w\-]{10,}\.[\w\-]{10,}\.[\w\-]{5,})"""
)
_NAMED_SECRET = re.compile(
    r"(?i)\b((?:[\w.\-]{0,40}(?:api[_\-]?key|access[_\-]?key|secret|token|passwd|password|credential)s?[\w\-]{0,20})"
    r"[\"']?\s{0,3}(?:=|:|\s(?=[A-Za-z0-9+/_\-]{20,}))\s{0,3}[\"']?)(?!\s|None|null|<|\(|\{|True|False)([^\s\"',;&]{4,})"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s{1,3}[A-Za-z0-9+/=_.\-]{12,}")
_WANDB = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])(?=\s*$)")
_USERINFO = re.compile(
    r"(?<=://)[^\s/@]{1,4096}@"
)  # tokens of some package services have more than a thousand characters
_EMAIL = re.compile(r"(?<![\w.+\-])[\w.+\-]{1,64}@[\w\-]{1,63}(?:\.[\w\-]{1,63}){1,6}(?![\w\-])")
_PROMPT = re.compile(r"(?<![\w.+\-/])(?!git@)([a-z_][\w\-]{0,31})@([A-Za-z][\w.\-]{0,62})(?=[:\s\])])")
_HOME = re.compile(
    r"((?:/(?:[\w.\-]+/){0,3}(?:home|Users)/|\b[A-Za-z]:[\\/]{1,2}(?:Users|用户)[\\/]{1,2}|/scratch/|/data/home/))([^/\\\s:\"'<>|]{1,64})"
)
_IPV4 = re.compile(
    r"(?<![\d.\w\-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]|-\d)(?:(?=:)|(?![\w]))"
)
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F]{1,4}(?::{1,2}[0-9a-fA-F]{1,4}){3,7}(?![\w:])")
_MAC = re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}(?![\w:])")
_HOST_NAMED = re.compile(
    r"(?i)\b((?:hostname|host|node|server|nodename|MASTER_ADDR)\s{0,2}[=:]\s{0,3}[\"']?)([A-Za-z][\w\-]{1,62}(?:\.[\w\-]{1,63}){0,5})"
)
_HOST_NCCL = re.compile(r"(?m)(^|[\s|])([A-Za-z][\w.\-]{1,62})(?=:\d{2,8}:\d{2,8} \[\d{1,3}\] NCCL)")
_HOST_SYSLOG = re.compile(
    r"((?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s{1,2}\d{1,2}\s\d\d:\d\d:\d\d(?:\.\d+)?\s)([\w.\-]{1,63})(?=\s[\w.\-/@]+(?:\[\d+\])?:)"
)
_HOST_INNER = re.compile(
    r"\b[A-Za-z][\w\-]{0,62}(?:\.[\w\-]{1,63}){0,4}\.(?:local|lan|internal|intra|corp|cluster|home\.arpa)\b"
)
_VERSION_BEFORE = re.compile(r"(?i)(?:version|driver|release|v|==|>=|<=|cu(?:dnn|blas|sparse)?\S{0,6})[\s:=\"'(]{0,3}$")

# Names that say nothing about a person, or that are words.
_COMMON = frozenset({
    "root", "user", "users", "ubuntu", "admin", "administrator", "runner", "jenkins", "builder", "docker", "conda",
    "miniconda", "anaconda", "home", "python", "app", "default", "public", "shared", "vscode", "jovyan", "ec2-user",
    "azureuser", "circleci", "build", "work", "workspace", "data", "torch", "cuda", "test", "train", "model", "models",
    "nvidia", "host", "localhost", "none", "null", "true", "false", "and", "the", "for", "with", "from",
})  # fmt: skip
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1", "none", "null"})


Names = tuple[frozenset[str], frozenset[str]]
"""Names of users and names of hosts."""


def names_in(text: str) -> Names:
    """The names of users and hosts that `text` gives away by where they stand."""
    hosts = {m[2] for pattern in (_HOST_NAMED, _HOST_NCCL, _HOST_SYSLOG, _PROMPT) for m in pattern.finditer(text)}
    users = {m[1] for m in _PROMPT.finditer(text)} | {m[2] for m in _HOME.finditer(text)}
    return frozenset(users), frozenset(hosts)


def redact(text: str, known: Names = (frozenset(), frozenset())) -> str:
    """`text` without tokens, user names, e-mail addresses, hosts and addresses; `known` names are taken out, too."""
    text = _USERINFO.sub("<user>@", text)
    text = _NAMED_SECRET.sub(lambda m: f"{m[1]}<token>", _SECRET.sub("<token>", text))
    text = _WANDB.sub("<token>", _BEARER.sub(lambda m: f"{m[1]} <token>", text))
    text = _EMAIL.sub(_address, text)
    users, hosts = names_in(text)
    text = _HOME.sub(lambda m: f"{m[1]}<user>" if m[2] not in _COMMON else m[0], text)
    text = _PROMPT.sub("<user>@<host>", text)
    text = _replace(text, {*hosts, *known[1], *_own_hosts()}, "<host>")
    text = _replace(text, {*users, *known[0], *_own_user()}, "<user>")
    text = _MAC.sub("<mac>", _HOST_INNER.sub("<host>", text))
    return _IPV6.sub(_six, _IPV4.sub(_four, text))


def without_credentials(text: str) -> str:
    """`text` whose addresses carry no name and no password; everything else stays."""
    return _USERINFO.sub("<user>@", text)


def _address(match: re.Match[str]) -> str:
    """git@github.com is a service, not a person."""
    return match[0] if match[0].startswith("git@") else "<email>"


def _four(match: re.Match[str]) -> str:
    """Four numbers can be a version, too, such as libcudnn 9.1.0.70."""
    if match[0] in _LOCAL_HOSTS or _VERSION_BEFORE.search(match.string[max(0, match.start() - 16) : match.start()]):
        return match[0]
    return "<ip>"


def _six(match: re.Match[str]) -> str:
    """A time of day has two colons; an address has more, or letters."""
    return "<ip>" if match[0].count(":") >= 4 or re.search("[a-f]", match[0]) else match[0]


def _replace(text: str, names: Iterable[str], mark: str) -> str:
    """Names that were seen in one place are taken out everywhere."""
    known = sorted(
        (n for n in names if len(n) >= 3 and n.lower() not in _COMMON and not n.isdigit()), key=len, reverse=True
    )
    if not known:
        return text
    return re.sub(rf"(?<![\w\-])(?:{'|'.join(map(re.escape, known))})(?![\w\-])", mark, text)


def _own_user() -> set[str]:
    try:
        return {getpass.getuser()}
    except (OSError, KeyError, ImportError):
        return set()


def _own_hosts() -> set[str]:
    try:
        name = socket.gethostname()
    except OSError:
        return set()
    return {name, name.partition(".")[0]}

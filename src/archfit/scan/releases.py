"""The files that a package index lists for a project: for source packages, which the resolver would have to run to judge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from packaging.requirements import Requirement
from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import Version

from archfit.scan.index import RemoteWheel
from archfit.uv import run_uv

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_TIMEOUT_S = (10, 60)
_LARGEST_PAGE_BYTES = 64 << 20


def find_sdist(requirement: str) -> RemoteWheel | None:
    """The source package that `requirement` means, newest first, from the indexes of uv's settings; None if there is none."""
    wanted = Requirement(requirement)
    found: dict[Version, RemoteWheel] = {}
    for index in _indexes():
        for file in _files(index, canonicalize_name(wanted.name)):
            version = _version_of(file.file, wanted.name)
            if version is not None:
                found.setdefault(version, file)
    fitting = list(wanted.specifier.filter(sorted(found, reverse=True)))
    return found[fitting[0]] if fitting else None


def published(project: str, index: str | None = None) -> tuple[RemoteWheel, ...]:
    """Every file that `index` lists for a project, or that the indexes of uv's settings do; nothing where none answers."""
    where = [index] if index else _indexes()
    return tuple(file for address in where for file in _files(address, canonicalize_name(project)))


def _indexes() -> list[str]:
    """Addresses of simple indexes, in the order in which uv asks them."""
    listed = run_uv(
        ["pip", "compile", "--no-deps", "--quiet", "--no-header", "--emit-index-url", "-"], given="\n"
    ).stdout
    return re.findall(r"^--(?:extra-)?index-url (https?://\S+)", listed, re.MULTILINE)


def _version_of(file: str, project: str) -> Version | None:
    try:
        name, version = parse_sdist_filename(file)
    except InvalidSdistFilename:
        return None
    return version if name == canonicalize_name(project) else None


def _files(index: str, project: str) -> Iterator[RemoteWheel]:
    """What one index lists; nothing where it does not answer: the resolver has said so already."""
    import requests

    page = f"{index.rstrip('/')}/{project}/"
    try:
        answer = requests.get(page, headers={"Accept": _ACCEPT}, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        if len(answer.content) > _LARGEST_PAGE_BYTES:
            return
        if "json" in answer.headers.get("Content-Type", ""):
            yield from _rows(answer.json(), answer.url)
            return
    except (requests.RequestException, ValueError):
        return
    links = _Links()
    links.feed(answer.text)
    for target in links.targets:
        address, fragment = urldefrag(urljoin(answer.url, target))
        digest = re.match(r"sha256=([0-9a-f]{64})$", fragment)
        yield RemoteWheel(
            unquote(urlsplit(address).path).rpartition("/")[2], address, None, digest[1] if digest else None
        )


def _rows(document: Any, page: str) -> Iterator[RemoteWheel]:
    for row in document.get("files", ()) if isinstance(document, dict) else ():
        try:
            digest = row.get("hashes", {}).get("sha256")
            yield RemoteWheel(row["filename"], urljoin(page, row["url"]), row.get("size"), digest)
        except (AttributeError, KeyError, TypeError):
            continue


class _Links(HTMLParser):
    """The targets of all links on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value for name, value in attrs if tag == "a" and name == "href" and value]

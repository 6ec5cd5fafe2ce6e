"""Where an installed package came from, if not from an index: its ``direct_url.json`` (PEP 610)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.utils import canonicalize_name


@dataclass(frozen=True, slots=True)
class Origin:
    """A folder or ``git+https://…@commit``; `in_place`: the package is used from that folder (``pip install -e``)."""

    address: str
    in_place: bool = False


def find_origin(site_dirs: Iterable[Path], name: str, version: str) -> Origin | None:
    """The origin of an installed package; None where it came from an index, or where nobody wrote it down."""
    for site in site_dirs:
        for path in site.glob(f"*-{version}.dist-info/direct_url.json"):
            if canonicalize_name(path.parent.name.removesuffix(f"-{version}.dist-info")) == name:
                try:
                    return _read(json.loads(path.read_text("utf-8")))
                except (OSError, ValueError, KeyError, TypeError, AttributeError):
                    return None
    return None


def _read(table: dict[str, Any]) -> Origin | None:
    url = str(table["url"])
    if "vcs_info" in table and table["vcs_info"]["vcs"] == "git":
        return Origin(f"git+{url}@{table['vcs_info']['commit_id']}")
    if "dir_info" in table and url.startswith("file:"):
        return Origin(url2pathname(urlsplit(url).path), bool(table["dir_info"].get("editable")))
    return None  # an archive: the index has the same release, or nobody does

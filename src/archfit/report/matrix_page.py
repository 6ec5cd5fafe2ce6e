"""The matrix as a page: its builds as numbers into short tables, so that thousands of them are few bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from archfit.arch import Verdict
from archfit.catalog import Product, load_catalog
from archfit.matrix import Filter, Matrix, Row, fits_python, order_of
from archfit.model import DriverRelease, Gpu
from archfit.report.heatmap import LOOKS, SHOWN
from archfit.report.html_engine import render
from archfit.report.messages import Language, Messages

PLATFORMS = {"linux_x86_64": "Linux x86_64", "linux_aarch64": "Linux aarch64", "win_amd64": "Windows x86_64"}
_LETTERS = {
    Verdict.NATIVE: "n",
    Verdict.COMPATIBLE: "c",
    Verdict.JIT: "j",
    Verdict.PARTIAL: "p",
    Verdict.NONE: "x",
    Verdict.NO_GPU_CODE: "-",
}
_LANGUAGES: tuple[Language, ...] = ("en", "zh")
_PYTHONS = tuple(f"3.{minor}" for minor in range(7, 16))
_PLAIN = (
    *(
        f"column-{name}"
        for name in ("build", "cuda", "driver", "python", "platform", "confidence", "source", "verdict", "index")
    ),
    *(f"confidence-{word}" for word in ("measured", "documented", "inferred")),
    *(
        "no-gpu-code",
        "unknown",
        "copy",
        "copied",
        "copy-failed",
        "close",
        "count-none",
        "gpu-open",
        "gpu-closed",
        "gpus-apart",
    ),
    *("runs-jit", "runs-partial", "and-then", "listed"),
)
_FILLED = {
    "count": ("count", "total"),
    "gpu-unknown": ("gpu",),
    "driver-unknown": ("driver",),
    "gpu-needs": ("gpu", "driver"),
    "gpu-needs-windows": ("windows",),
    "gpu-last": ("branch",),
    "driver-too-new": ("gpu", "asked", "branch"),
    "driver-too-old": ("gpu", "driver", "asked"),
    "runs-range": ("package", "first", "last", "gpu", "platforms"),
    "runs-one": ("package", "first", "gpu", "platforms"),
    "runs-driver": ("driver",),
    "runs-nowhere": ("package", "gpu"),
    "runs-ended": ("newest",),
}
"""The sentences that the page makes itself, and what fills them."""


def render_matrix_page(
    matrix: Matrix, messages: Messages, when: datetime, wanted: Mapping[str, str] | None = None
) -> str:
    """The page over all generations; `wanted` is what its filters begin with, as in the address: q, gpu, driver, cuda, …"""
    tables = _Tables(matrix)
    pythons = [p for p in _PYTHONS if any(p in tags["pythons"] for tags in tables.tags.values)]
    products = {product.name: product for product in load_catalog().products}
    columns = {column.capability.canonical: number for number, column in enumerate(matrix.columns)}
    data = tables.document() | {
        "columns": [
            {
                "label": c.label,
                "capability": str(c.capability),
                "driver": str(c.driver) if c.driver else None,
                "windows": str(c.windows_driver) if c.windows_driver else None,
                "last": c.last_branch,
                "open": c.open_module,
                "closed": c.closed_module,
            }
            for c in matrix.columns
        ],
        "products": [
            [p.name, columns[p.capability.canonical], _first_driver(p)]
            for p in products.values()
            if p.capability.canonical in columns
        ],
        "branches": [branch for branch, _ in load_catalog().branches],
        "platformNames": [PLATFORMS.get(name, name) for name in tables.platforms.values],
        "signs": {verdict.value: look.sign for verdict, look in LOOKS.items()},
        "texts": {language: _texts(Messages(language)) for language in _LANGUAGES},
        "wanted": dict(wanted or {}),
    }
    return render(
        "matrix.html.j2",
        messages,
        when,
        title=lambda m: m.page("title-matrix"),
        scripts=("matrix_ask.js", "matrix_show.js"),
        command="matrix",
        data=data,
        total=f"{len(matrix.rows):,}",
        packages=len(tables.packages.values),
        names=tables.packages.values,
        products=sorted(products),
        verdicts=SHOWN,
        cudas=[(c, c) for c in sorted(filter(None, tables.cudas.values), key=order_of, reverse=True)],
        pythons=[(p, p) for p in pythons],
        platforms=[(p, PLATFORMS.get(p, p)) for p in tables.platforms.values],
    )


def _first_driver(product: Product) -> str | None:
    driver = load_catalog().first_driver_for(Gpu(product.name, product.capability, "", product.first_driver))
    return str(driver) if driver else None


def _texts(messages: Messages) -> dict[str, str]:
    plain = {key: messages.page(key) for key in _PLAIN}
    filled = {key: messages.page(key, **{n: f"{{{n}}}" for n in names}) for key, names in _FILLED.items()}
    return plain | filled


_FIELDS = (
    *("package", "version", "variant", "cuda", "platform", "tags", "index"),
    *("confidence", "source", "driver", "verdicts", "drivers"),
)
"""The values of a row, in order."""


class _Index:
    """Values that occur again and again, each kept once and called by its number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number(self, key: Any, value: Any = None) -> int:
        """The number of `key`; the first time, `value` (or the key itself) is kept."""
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(key if value is None else value)
        return self._numbers[key]


class _Tables:
    def __init__(self, matrix: Matrix) -> None:
        self.packages, self.cudas, self.platforms, self.tags = _Index(), _Index(), _Index(), _Index()
        self.indexes, self.sources, self.drivers, self.sets = _Index(), _Index(), _Index(), _Index()
        self.newest: list[str] = []
        self.rows = [self._row(row) for row in matrix.rows]

    def document(self) -> dict[str, Any]:
        return {
            "fields": _FIELDS,
            "packages": self.packages.values,
            "newest": self.newest,
            "cudas": self.cudas.values,
            "platforms": self.platforms.values,
            "tags": self.tags.values,
            "indexes": self.indexes.values,
            "sources": self.sources.values,
            "drivers": self.drivers.values,
            "driverSets": self.sets.values,
            "rows": self.rows,
        }

    def _row(self, row: Row) -> list[Any]:
        package = self.packages.number(row.package)
        if package == len(self.newest):
            self.newest.append(row.version)  # the rows of a package begin with its newest release
        tags = self.tags.number(row.tags, {"text": said_of_tags(row.tags), "pythons": _fitting(row.tags)})
        drivers = tuple(self._driver(d) for d in row.drivers)
        return [
            package,
            row.version,
            row.variant,
            self.cudas.number(str(row.cuda) if row.cuda else ""),
            self.platforms.number(row.platform),
            tags,
            self.indexes.number(row.index),
            row.confidence,
            self.sources.number(row.source),
            self._driver(row.driver),
            "".join(_LETTERS[verdict] for verdict in row.verdicts),
            self.sets.number(drivers, list(drivers)),
        ]

    def _driver(self, driver: DriverRelease | None) -> int:
        return self.drivers.number(str(driver)) if driver else -1


def _fitting(tags: Iterable[str]) -> list[str]:
    return [python for python in _PYTHONS if fits_python(tuple(tags), python)]


def said_of_tags(tags: tuple[str, ...]) -> str:
    """``3.9–3.13``: the Pythons that tags stand for, in few words; the tags themselves where they say it better."""
    fitting = _fitting(tags)
    stable = next((tag.partition("-")[0] for tag in tags if tag.endswith("-abi3")), None)
    if stable and stable.startswith("cp3"):
        return f"≥3.{stable[3:]}"
    if not fitting or len(fitting) == len(_PYTHONS):
        return " ".join(tags)
    return fitting[0] if len(fitting) == 1 else f"{fitting[0]}–{fitting[-1]}"


def wanted_of(filter_: Filter, gpus: Iterable[str]) -> dict[str, str]:
    """What is wanted as the page's address spells it."""
    words = {
        "q": " ".join(filter_.packages),
        "gpu": ", ".join(gpus),
        "driver": str(filter_.driver) if filter_.driver else "",
        "cuda": str(filter_.cuda) if filter_.cuda else "",
        "python": filter_.python or "",
        "platform": filter_.platform or "",
        "all": "" if filter_.runs else "1",
    }
    return {name: text for name, text in words.items() if text}

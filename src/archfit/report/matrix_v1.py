"""``archfit.matrix/1``: which build runs on which GPU, row by row."""

from __future__ import annotations

from typing import Any

from archfit.matrix import Matrix, Row, command_of

Document = dict[str, Any]


def matrix_document(matrix: Matrix) -> Document:
    """Columns are GPUs, or every generation that is known; a row says for each of them what runs and from which driver on."""
    return {
        "schema": "archfit.matrix/1",
        "gpus": [
            {
                "name": c.label,
                "compute_capability": str(c.capability),
                "min_driver": str(c.driver) if c.driver else None,
                "open_kernel_module": c.open_module,
            }
            for c in matrix.columns
        ],
        "rows": [_row(row, matrix) for row in matrix.rows],
    }


def _row(row: Row, matrix: Matrix) -> Document:
    return {
        "package": row.package,
        "version": row.version,
        "variant": row.variant or None,
        "cuda": str(row.cuda) if row.cuda else None,
        "platform": row.platform,
        "python_tags": list(row.tags),
        "index": row.index,
        "min_driver": str(row.driver) if row.driver else None,
        "confidence": row.confidence,
        "source": row.source,
        "verdicts": {
            column.capability.sm: {"verdict": verdict.value, "min_driver": str(driver) if driver else None}
            for column, verdict, driver in zip(matrix.columns, row.verdicts, row.drivers, strict=True)
        },
        "command": command_of(row),
    }

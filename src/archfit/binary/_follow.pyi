from collections.abc import Callable

from archfit.binary.fatbin import Place, Row, RowKey, Rows

def follow(
    descriptor: int, rows: Rows, describe: Callable[[RowKey], Row | None], offset: int, limit: int, /
) -> tuple[list[Place], int]: ...

"""Work side by side, its results in order; when somebody gives up waiting, no child is left running."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from archfit.child import stop_children

Task = TypeVar("Task")
Result = TypeVar("Result")

_MOST_LANES = 12
_BYTES_PER_LANE = 2_000_000_000  # a process that imported torch and opened a CUDA context: 0.6 to 1.5 GB of main memory


def lanes() -> int:
    """How many children this machine runs side by side: bounded by cores and by main memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_LANES, cores, _free_bytes() // _BYTES_PER_LANE))


def side_by_side(work: Callable[[Task], Result], tasks: Sequence[Task], lane_count: int) -> list[Result]:
    """`work` on each task, `lane_count` at a time; the results in the order of the tasks.

    Ctrl-C, or an error of `work`, ends every child at once.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, lane_count))
    try:
        futures: list[Future[Result]] = [pool.submit(work, task) for task in tasks]
        return [future.result() for future in futures]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        stop_children()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _free_bytes() -> int:
    try:
        pages, size = os.sysconf("SC_AVPHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        with open("/proc/meminfo", encoding="ascii") as page:
            available = next((int(line.split()[1]) for line in page if line.startswith("MemAvailable")), 0)
        return max(pages * size, available * 1024)
    except (OSError, ValueError):
        return _MOST_LANES * _BYTES_PER_LANE

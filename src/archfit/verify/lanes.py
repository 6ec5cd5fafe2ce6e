"""Work side by side, its results in order; when somebody gives up waiting, no child is left running."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from itertools import count
from typing import TypeVar

from archfit.child import stop_children

OnProbe = Callable[[str, int, int], None]
"""Told the probe that begins, how many are done, and how many there are."""
OnName = Callable[[str], None]
"""Told the probe that begins."""

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
    futures: list[Future[Result]] = [pool.submit(work, task) for task in tasks]
    try:
        for future in wait(futures, return_when=FIRST_EXCEPTION).done:
            future.result()  # raises what was raised first
        return [future.result() for future in futures]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        while not all(future.done() for future in futures):  # work may start another child after its first was ended
            stop_children()
            time.sleep(0.02)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def counted(on_probe: OnProbe | None, total: int) -> OnName:
    """Counts probes as they begin, from whichever lane."""
    guard, done = threading.Lock(), count()

    def begin(name: str) -> None:
        with guard:
            if on_probe:
                on_probe(name, min(next(done), total), total)

    return begin


def _free_bytes() -> int:
    try:
        pages, size = os.sysconf("SC_AVPHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        with open("/proc/meminfo", encoding="ascii") as page:
            available = next((int(line.split()[1]) for line in page if line.startswith("MemAvailable")), 0)
        return max(pages * size, available * 1024)
    except (OSError, ValueError):
        return _MOST_LANES * _BYTES_PER_LANE

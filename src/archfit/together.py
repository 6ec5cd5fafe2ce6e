"""Work done side by side, in threads that never keep the process from ending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def start(tasks: Sequence[Callable[[], T]], workers: int) -> list[Future[T]]:
    """Begin `tasks` in their order, `workers` at a time.

    The threads are daemons: one that waits for a slow server does not hold up a person who pressed Ctrl-C, as the threads of
    `ThreadPoolExecutor` would.
    """
    waiting: SimpleQueue[tuple[Future[T], Callable[[], T]]] = SimpleQueue()
    futures: list[Future[T]] = []
    for task in tasks:
        futures.append(Future())
        waiting.put((futures[-1], task))
    for _ in range(min(workers, len(tasks))):
        Thread(target=_work, args=(waiting,), name="archfit-reader", daemon=True).start()
    return futures


def abandon(futures: Sequence[Future[T]], grace_s: float) -> None:
    """Begin no more of them, and give those at work `grace_s` seconds to notice."""
    at_work = [future for future in futures if not future.cancel()]
    wait(at_work, timeout=grace_s)


def _work(waiting: SimpleQueue[tuple[Future[T], Callable[[], T]]]) -> None:
    while True:
        try:
            future, task = waiting.get_nowait()
        except Empty:
            return
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(task())
            except BaseException as error:  # told to whoever asks for the result
                future.set_exception(error)

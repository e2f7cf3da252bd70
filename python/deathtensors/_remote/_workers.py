"""Doing several things at once, where the first failure ends all of them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from ._patience import Cancelled

_Result = TypeVar("_Result")
#: A piece of work: looks at the event now and then, and ends when it is set.
Job = Callable[[threading.Event], _Result]


def run(jobs: Sequence[Job[_Result]], most: int) -> list[_Result]:
    """The results of all jobs, in order; ``most`` of them are under way at once.

    The first exception is raised here, and the other jobs are told to stop. So they are
    when the calling thread is interrupted, which then waits for none of them: their
    threads are daemons, and end when their connection lets go of them.
    """
    stop = threading.Event()
    if len(jobs) <= 1 or most <= 1:
        return [job(stop) for job in jobs]
    results: dict[int, _Result] = {}
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    todo = iter(enumerate(jobs))
    lock = threading.Lock()

    def work() -> None:
        while not stop.is_set():
            with lock:
                at, job = next(todo, (0, None))
            if job is None:
                return
            try:
                results[at] = job(stop)
            except BaseException as error:  # every one of them belongs to the caller
                ended.put(error)
                return
            ended.put(None)

    try:
        for nth in range(min(most, len(jobs))):
            threading.Thread(target=work, name=f"deathtensors-{nth}", daemon=True).start()
        for _ in jobs:
            error = ended.get()
            if error is not None and not isinstance(error, Cancelled):
                raise error
    finally:
        stop.set()
    return [results[at] for at in range(len(jobs))]

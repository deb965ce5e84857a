"""Work that threads do before its results are needed."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

Result = TypeVar("Result")


def ahead(
    work: Iterable[Callable[[], Result]], threads: Executor, count: int
) -> Generator[Result, None, None]:
    """Yield the results of `work` in order, while threads compute the next `count` of them.

    Raises what the work raises. What has not begun when the iterator is closed is never done.
    """
    waiting = deque[Future[Result]]()
    try:
        for each in work:
            waiting.append(threads.submit(each))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()

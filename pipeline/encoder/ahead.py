"""Work on the next item while what came of this one is used."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def one_ahead(make: Callable[[S], T], items: Iterable[S]) -> Generator[T, None, None]:
    """Yield what `make` makes of each item; a thread makes the next one meanwhile, and never more than that.

    Items are read by the caller's thread, which makes the first one, too: one item needs no thread. What `make`
    raises is raised where its item would come. Close it (`contextlib.closing`): that waits for the item under way and
    ends the thread.
    """
    made: list[T] = []
    with ThreadPoolExecutor(1, "one-ahead") as pool:
        for item in items:
            if not made:
                made = [make(item)]
                continue
            coming = pool.submit(make, item)
            yield made[0]
            made = [coming.result()]
        yield from made

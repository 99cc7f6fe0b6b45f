"""Work on the next item while this one is used."""

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def one_ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """Yield the items; one thread makes the next one meanwhile, and never more than that.

    What making an item raises is raised where the item would come. Close it (`contextlib.closing`): that waits for
    the item under way and ends the thread.
    """
    iterator = iter(items)

    def following() -> list[T]:
        return list(islice(iterator, 1))

    with ThreadPoolExecutor(1, "one-ahead") as pool:
        coming = pool.submit(following)
        while found := coming.result():
            coming = pool.submit(following)
            yield found[0]

"""How long to wait before something that failed is tried again: each time twice as long, up to a limit."""


def doubling(times: int, first: int, longest: int) -> int:
    """`first`, doubled so many times, at most `longest`."""
    # 2**40 is far beyond any `longest`; the bound keeps the number small after a million failures.
    return int(min(longest, first * 2 ** min(times, 40)))


def back_off_s(failures: int) -> float:
    """Before a connection, a store or a loop of ours is tried again that failed so often before: 100 ms to 30 s."""
    return doubling(failures, 100, 30_000) / 1000


def short_back_off_s(failures: int) -> float:
    """The same where work that is done waits to be settled, and its messages may be given to others: 100 ms to 2 s."""
    return doubling(failures, 100, 2_000) / 1000

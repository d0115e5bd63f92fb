"""A set of numbers that mostly come in order."""

from bisect import bisect_right


class Ranges:
    """Whole numbers as half-open ranges: memory grows with the gaps, not with the numbers."""

    __slots__ = ("_ends", "_size", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number)
        return at > 0 and number < self._ends[at - 1]

    @property
    def end(self) -> int:
        """The largest number plus one; 0 when there is none."""
        return self._ends[-1] if self._ends else 0

    def add(self, number: int) -> bool:
        """Put a number in; False when it was there."""
        starts, ends = self._starts, self._ends
        if ends and number == ends[-1]:
            ends[-1] += 1
        else:
            at = bisect_right(starts, number)
            if at and number < ends[at - 1]:
                return False
            self._insert(at, number)
        self._size += 1
        return True

    def below(self, limit: int) -> int:
        """Return how many numbers are less than `limit`. Looks at the ranges that are not, from the top."""
        count = self._size
        for start, end in zip(reversed(self._starts), reversed(self._ends), strict=True):
            if end <= limit:
                break
            count -= end - max(start, limit)
        return count

    def _insert(self, at: int, number: int) -> None:
        """Put a new number before range `at`, and join what it makes adjacent."""
        starts, ends = self._starts, self._ends
        left = at > 0 and ends[at - 1] == number
        right = at < len(starts) and starts[at] == number + 1
        if left and right:
            ends[at - 1] = ends.pop(at)
            del starts[at]
        elif left:
            ends[at - 1] += 1
        elif right:
            starts[at] = number
        else:
            starts.insert(at, number)
            ends.insert(at, number + 1)

"""Which heads share: groups of one size in which little is lost, found by exchanging heads between groups.

Not the best partition of all (there are too many), but one that no exchange of two heads improves, from two starts: neighbours,
and whoever goes best with whom.
"""

from collections.abc import Callable
from itertools import combinations

Group = tuple[int, ...]


def find_groups(n_heads: int, n_groups: int, loss: Callable[[Group], float]) -> tuple[Group, ...]:
    """Groups of `n_heads / n_groups` heads each, in the order of their first head. `loss` is asked once of each group."""
    size = n_heads // n_groups
    neighbours = tuple(tuple(range(start, start + size)) for start in range(0, n_heads, size))
    if size == 1 or n_groups == 1:
        return neighbours
    known: dict[Group, float] = {}

    def of(group: Group) -> float:
        if group not in known:
            known[group] = loss(group)
        return known[group]

    found = [_exchanged(start, of) for start in (neighbours, _greedy(n_heads, size, of))]
    return min(found, key=lambda groups: sum(of(group) for group in groups))


def _greedy(n_heads: int, size: int, of: Callable[[Group], float]) -> tuple[Group, ...]:
    left = list(range(n_heads))
    groups: list[Group] = []
    while left:
        group: Group = (left.pop(0),)
        while len(group) < size:
            best = min(left, key=lambda head: of(tuple(sorted((*group, head)))))
            left.remove(best)
            group = tuple(sorted((*group, best)))
        groups.append(group)
    return tuple(groups)


def _exchanged(groups: tuple[Group, ...], of: Callable[[Group], float]) -> tuple[Group, ...]:
    """After every exchange of two heads that helps, until none does."""
    current = [*groups]
    improves = True
    while improves:
        improves = False
        for one, other in combinations(range(len(current)), 2):
            for a in current[one]:
                for b in current[other]:
                    if a not in current[one] or b not in current[other]:
                        continue
                    first = tuple(sorted({*current[one], b} - {a}))
                    second = tuple(sorted({*current[other], a} - {b}))
                    before = of(current[one]) + of(current[other])
                    if of(first) + of(second) < before * (1.0 - 1e-9) - 1e-300:
                        current[one], current[other], improves = first, second, True
    return tuple(sorted(current))

"""A common budget shared out over layers: each next number goes where it saves the most.

Greedy, which is optimal (but for what is left over) where what a number saves falls within a layer, as eigenvalues do.
"""

import heapq
from collections.abc import Sequence
from itertools import pairwise


def share_out(
    savings: Sequence[Sequence[float]], total: float, *, costs: Sequence[float] | None = None, least: int = 1
) -> tuple[int, ...]:
    """How many numbers each layer gets of `total`; `savings[l][r]` is what its number r + 1 saves, falling in r.

    A number of layer l costs `costs[l]` of the total (None: 1), as where layers remember different numbers of tokens. Each
    layer gets `least`; what cannot be used any more is left over.
    """
    price = [1.0] * len(savings) if costs is None else costs
    given = [min(least, len(layer)) for layer in savings]
    heap = [(-layer[n] / price[i], i) for i, (layer, n) in enumerate(zip(savings, given, strict=True)) if n < len(layer)]
    heapq.heapify(heap)
    left = total - sum(n * cost for n, cost in zip(given, price, strict=True))
    while heap:
        _, index = heapq.heappop(heap)
        if price[index] > left * (1.0 + 1e-9):
            continue
        given[index] += 1
        left -= price[index]
        if given[index] < len(savings[index]):
            heapq.heappush(heap, (-savings[index][given[index]] / price[index], index))
    return tuple(given)


def falling(losses: Sequence[float]) -> list[float]:
    """What each further number saves, made to fall: the slopes of the greatest convex curve below the losses.

    `losses[n]` is what is lost with n numbers. Where a step saves nothing by itself but opens the way to one that does, both
    count as half of it.
    """
    hull: list[int] = []
    for n, loss in enumerate(losses):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (losses[b] - losses[a]) * (n - b) < (loss - losses[b]) * (b - a):
                break
            hull.pop()
        hull.append(n)
    slopes: list[float] = []
    for a, b in pairwise(hull):
        slopes += [(losses[a] - losses[b]) / (b - a)] * (b - a)
    return slopes

"""Pairs of measurements, and what they say about a goal."""

import random
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """The median of the pairs, and the 95 % bootstrap interval of that median."""

    median: float
    low: float
    high: float
    pairs: int

    def __str__(self):
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Goal:
    """A limit for the median: at most `limit`, or at least when `at_least`."""

    limit: float
    at_least: bool = False

    def __str__(self):
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"

    def verdict(self, interval: Interval) -> str:
        low, high, limit = interval.low, interval.high, self.limit
        if self.at_least:
            low, high, limit = -high, -low, -limit
        if high <= limit:
            return "met"
        return "missed" if low > limit else "not resolved"


def interval(values, resamples=2000, seed=1) -> Interval:
    """Of one value for each pair. The seed is fixed, so that the same values give the same interval."""
    values = list(values)
    if not values:
        raise ValueError("no pairs")
    rng = random.Random(seed)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(resamples))
    return Interval(statistics.median(values), medians[int(0.025 * resamples)], medians[int(0.975 * resamples) - 1], len(values))


def ratios(a, b):
    """a / b of each pair."""
    return interval([x / y for x, y in zip(a, b, strict=True)])


def differences(a, b):
    """a - b of each pair."""
    return interval([x - y for x, y in zip(a, b, strict=True)])


def abba(sides, rounds, progress=None):
    """Runs each side (name → function) once a round, in turn forwards and backwards, so that a drift of the machine
    falls on all of them alike. Returns name → list of results; the results of one round are a pair (or more)."""
    results = {name: [] for name in sides}
    order = list(sides)
    for number in range(rounds):
        for name in order if number % 2 == 0 else reversed(order):
            results[name].append(sides[name]())
        if progress:
            progress(number + 1, rounds)
    return results


def table(rows, out):
    """Prints rows of cells, the first the heading, columns aligned; numbers to the right."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    numeric = [all(row[i][:1].isdigit() or row[i] in ("", "–") for row in rows[1:]) for i in range(len(widths))]
    for row in rows:
        cells = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(row, widths, numeric)]
        print("  ".join(cells).rstrip(), file=out)

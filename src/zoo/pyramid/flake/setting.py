"""What may differ between two runs of the same tests: seven factors, each with its levels."""

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Any

FACTORS = ("seed", "order", "workers", "threads", "load", "clock", "hash")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How one pytest process is run; the defaults are the plain run."""

    seed: int = 0
    order: str = "given"  # or reversed, files-7, mixed-7
    workers: int = 0  # of xdist; 0: none
    threads: int = 1  # of OpenMP, MKL, OpenBLAS
    load: int = 0  # processes that compute beside it
    clock: str = ""  # "2025-12-31T23:59:58 UTC0": local time at the start, zone; "": now, here
    hash: int = 0  # PYTHONHASHSEED


BASE = Setting()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A setting, the tests to run in it (in this order; none: all), and how often."""

    setting: Setting = BASE
    tests: tuple[str, ...] = ()
    rounds: int = 1
    step: int = 0  # what the seed grows by each round
    fork: bool = False  # each round in a forked child


# POSIX rules: they need no table of zones on the machine
BERLIN, NEW_YORK = "CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0"
FAR_EAST, UTC = "<+14>-14", "UTC0"


def last_sunday(year: int, month: int) -> date:
    """Give the last Sunday of a month of 31 days."""
    end = date(year, month, 31)
    return end - timedelta(days=(end.weekday() + 1) % 7)


def leap_year(year: int) -> int:
    """Give the first leap year from here on."""
    while not (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)):
        year += 1
    return year


def clocks(today: date) -> tuple[str, ...]:
    """Give the times of day and year, near today, at which tests are known to fail."""
    year = today.year
    spring, autumn = last_sunday(year, 3), last_sunday(year, 10)
    saturday = today + timedelta(days=(5 - today.weekday()) % 7)
    return (
        f"{year}-12-31T23:59:58 {UTC}",  # midnight, the end of month and year
        f"{leap_year(year)}-02-29T12:00:00 {UTC}",
        f"{year}-05-31T00:00:01 {FAR_EAST}",  # another day than in most of the world
        f"{spring}T01:59:58 {BERLIN}",  # the hour that follows does not exist
        f"{autumn}T02:59:58 {BERLIN}",  # the hour before comes twice
        f"{year}-07-01T20:30:00 {NEW_YORK}",  # tomorrow in UTC
        f"{saturday}T00:00:00 {UTC}",  # a weekend, midnight to the second
        f"{year}-01-01T00:00:00 {UTC}",
    )


ZONES = (f" {BERLIN}", f" {FAR_EAST}", f" {NEW_YORK}")  # the time of now, elsewhere


def levels(vary: Sequence[str], today: date, *, xdist: bool, clock: bool) -> dict[str, list[Any]]:
    """Give each varied factor's levels other than the plain one."""
    every: dict[str, list[Any]] = {
        "workers": [1, 2, 3] if xdist else [],
        "threads": [2, 4],
        "load": [2 * (os.cpu_count() or 1)],
        "clock": list(clocks(today) if clock else ZONES),
    }
    return {factor: row for factor, row in every.items() if factor in vary and row}


ORDERS = 4
HASHES = 21  # a process has one: a test that fails for a fifth of them shows up at 99 %
# how many plain runs stand beside each other one: workers and load make a run slow
PLAIN = {"workers": 2, "threads": 1, "load": 4, "clock": 1}


@dataclass(frozen=True)
class Plan:
    """The settings of run 0, 1, 2, ...: the plain one first, then mixtures of levels.

    Each factor deals its levels from a shuffled deck of its own, so that all come up soon, and
    which level meets which is chance.
    """

    vary: tuple[str, ...]
    levels: Mapping[str, Sequence[Any]]

    def deck(self, factor: str) -> list[Any]:
        """Give a factor's levels, with the plain one as often as PLAIN says."""
        row = list(self.levels[factor])
        return row + [getattr(BASE, factor)] * (len(row) * PLAIN[factor])

    def cycle(self) -> int:
        """Give how many runs it takes until every level was there."""
        least = HASHES if "hash" in self.vary else ORDERS if "order" in self.vary else 1
        return max([least, *self.sizes()])

    def sizes(self) -> list[int]:
        """Give the size of each deck."""
        return [len(self.deck(factor)) for factor in self.levels]

    def setting(self, number: int) -> Setting:
        """Give the setting of one run."""
        if number == 0:
            return BASE
        dealt: dict[str, Any] = {}
        for factor in self.levels:
            deck = self.deck(factor)
            turn, place = divmod(number - 1, len(deck))
            dealt[factor] = random.Random(f"{factor}/{turn}").sample(deck, len(deck))[place]
        if "seed" in self.vary:
            dealt["seed"] = number * 10_007  # each round takes the next
        if "hash" in self.vary:
            dealt["hash"] = number
        if "order" in self.vary:
            dealt["order"] = ("reversed", f"mixed-{number}", f"files-{number}", "given")[
                (number - 1) % 4
            ]
        return replace(BASE, **dealt)

    def step(self) -> int:
        """Give what the seed grows by each round."""
        return int("seed" in self.vary)


def differing(one: Setting, other: Setting) -> list[str]:
    """Name the factors in which two settings differ."""
    return [f.name for f in fields(Setting) if getattr(one, f.name) != getattr(other, f.name)]


def environment(setting: Setting, only: Sequence[str] = FACTORS) -> dict[str, str]:
    """Give the environment variables of a setting, of the factors that are named."""
    made: dict[str, str] = {}
    if "threads" in only:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ZOO_TEST_THREADS")
        made |= dict.fromkeys(names, str(setting.threads))
    if "hash" in only:
        made["PYTHONHASHSEED"] = str(setting.hash)
    if "clock" in only and setting.clock:
        made["TZ"] = zone(setting.clock)
    return made


def zone(clock: str) -> str:
    """Give the time zone of a clock."""
    return clock.partition(" ")[2]


def varied(trial: Trial, only: Sequence[str] = FACTORS) -> dict[str, Any]:
    """Give what zoo_pytest.varied is to read, of the factors that are named."""
    setting = trial.setting
    made: dict[str, Any] = {}
    if "seed" in only:
        made["seed"] = setting.seed
    if trial.step:
        made["step"] = trial.step
    if "order" in only and setting.order != BASE.order:
        made["order"] = setting.order
    if "load" in only and setting.load:
        made["load"] = setting.load
    if "clock" in only and setting.clock.partition(" ")[0]:
        made["clock"] = setting.clock.partition(" ")[0]
    if trial.rounds > 1:
        made["rounds"] = trial.rounds
        if trial.fork:
            made["fork"] = True
    return made

"""All that is served: models, their versions, and how one set is exchanged for another.

The door asks and reads answers here; it has no torch, each version has a process of its own. All
runs on one event loop, so what happens between two awaits happens at once: a request sees either
the old default or the new one.
"""

import asyncio
import itertools
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zoo.serve.asked import Answers
from zoo.serve.fork_server import ForkServer
from zoo.serve.limits import Limits
from zoo.serve.plan import ModelPlan, Plan
from zoo.serve.refusal import Refusal
from zoo.serve.versions import Heard, Version


@dataclass(frozen=True)
class Served:
    """One model's versions, and which answers to its bare name."""

    versions: dict[str, Version]
    default: str


def ignore(record: dict[str, Any]) -> None:
    """Hear a log record, and say nothing."""


class Fleet:
    """The models of a plan, each version in a worker; `heard` is told each change of state.

    `weights` and `threads` are what `open_engine` takes: how weights are kept, threads a worker.
    """

    def __init__(
        self,
        plan: Plan,
        limits: Limits,
        *,
        weights: str | None = None,
        threads: int = 1,
        heard: Heard = ignore,
    ) -> None:
        self.draining = False
        self.limits = limits
        self._plan = plan
        self._worker = {"limits": asdict(limits), "weights": weights, "threads": threads}
        self._heard = heard
        self._forks = ForkServer()
        self._numbers = itertools.count(1)
        self._served: dict[str, Served] = {}
        self._aside: list[Version] = []  # that are coming or going, and have no name here
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Start all versions of the plan; return when each is ready or refused."""
        await self.apply(self._plan)

    def _ready(self) -> bool:
        """Tell whether each model's default takes traffic, and the server is not leaving.

        A default whose worker is coming back takes traffic while it is expected in time.
        """
        if self.draining or not self._served:
            return False
        by = time.monotonic() + self.limits.request_seconds
        return all(served.versions[served.default].takes(by) for served in self._served.values())

    ready = property(_ready)

    def models(self) -> list[dict[str, Any]]:
        """Say how each version of each model is, in plain JSON."""
        return [
            {
                "name": name,
                "default": served.default,
                "versions": [v.record() for v in self._of(name, served)],
            }
            for name, served in self._served.items()
        ]

    def _of(self, name: str, served: Served) -> list[Version]:
        return [*served.versions.values(), *(v for v in self._aside if v.model == name)]

    def find(self, name: str) -> Version:
        """Give the version that `gpt2@2`, or a bare `gpt2`, means; raise Refusal."""
        model, at, version = name.partition("@")
        served = self._served.get(model)
        if served is None:
            known = ", ".join(self._served)
            raise Refusal("unknown", f"no model {model[:100]!r}; there are {known}", param="model")
        if at and version not in served.versions:
            why = f"no version {version[:100]!r} of {model}; there are {', '.join(served.versions)}"
            raise Refusal("unknown", why, param="model")
        return served.versions[version if at else served.default]

    def submit(
        self,
        model: str,
        verb: str,
        body: dict[str, Any],
        files: Sequence[bytes] = (),
        *,
        deadline: float,
    ) -> Answers:
        """Ask a model; `deadline` is of time.monotonic. Waits for nothing.

        Raises Refusal: unknown, busy, unready, draining, or invalid for a verb that the model does
        not do. A completion without a seed gets one here, so that it can be asked again.
        """
        if self.draining:
            raise Refusal("draining", "the server is leaving", retry_after=1)
        version = self.find(model)
        if verb == "complete" and body.get("seed") is None:
            body = body | {"seed": secrets.randbits(31)}
        return version.submit(next(self._numbers), verb, body, files, deadline)

    async def apply(self, plan: Plan) -> None:
        """Load what is new beside the old, then switch all at once, then let the old finish and go.

        A version that is there already, from the same folder, stays as it is. When the default is
        refused, or a folder new under an old name is, the one that stood there stays. Calls wait
        for each other.
        """
        async with self._changing:
            fresh = self._fresh(plan)
            self._announce(plan, fresh)
            await self._load(fresh)
            old = [v for served in self._served.values() for v in served.versions.values()]
            self._switch(merged(plan, self._served, fresh))
            kept = {v for served in self._served.values() for v in served.versions.values()}
            await asyncio.gather(*(self._retire(v) for v in dict.fromkeys(old) if v not in kept))

    async def _load(self, fresh: list[Version]) -> None:
        """Open versions; each is ready or refused then. Whoever gives up leaves none behind."""
        try:
            await asyncio.gather(*(version.open() for version in fresh))
        except asyncio.CancelledError:
            await asyncio.gather(*(version.close() for version in fresh))
            raise
        finally:
            self._aside = [v for v in self._aside if v not in fresh]

    def _fresh(self, plan: Plan) -> list[Version]:
        """Make the versions of a plan that are not there yet."""
        return [
            self._version(name, version, folder)
            for name, model in plan.models.items()
            for version, folder in model.versions.items()
            if not self._has(name, version, folder)
        ]

    def _has(self, name: str, version: str, folder: str) -> bool:
        there = self._served[name].versions.get(version) if name in self._served else None
        return there is not None and there.serving and there.folder == os.path.realpath(folder)

    def _version(self, name: str, version: str, folder: str) -> Version:
        opening = self._worker | {"folder": os.path.realpath(folder)}
        return Version(
            name, version, opening, forks=self._forks, limits=self.limits, heard=self._heard
        )

    def _announce(self, plan: Plan, fresh: list[Version]) -> None:
        """Give names to versions that load, where they take none away: they are unready."""
        table = dict(self._served)
        for version in fresh:
            served = table.get(version.model, Served({}, plan.models[version.model].default))
            if version.version in served.versions:
                self._aside.append(version)
            else:
                versions = served.versions | {version.version: version}
                table[version.model] = Served(versions, served.default)
        self._served = table

    def _switch(self, table: dict[str, Served]) -> None:
        """Serve another table from now on; one assignment."""
        old, self._served = self._served, table
        for name, served in table.items():
            if name not in old or old[name].default != served.default:
                record = {"event": "default switched", "model": name, "version": served.default}
                self._heard(record)

    async def _retire(self, version: Version) -> None:
        """Let a version that no name leads to any more finish and go."""
        if not version.serving:
            return
        self._aside.append(version)
        await version.finish()
        self._aside.remove(version)

    async def drain(self) -> None:
        """Refuse what is new from now on; return when all that was accepted is answered."""
        self.draining = True
        await asyncio.gather(*(version.idle() for version in self._all()))

    async def close(self) -> None:
        """End the workers; what is in flight is refused."""
        self.draining = True
        await asyncio.gather(*(version.close() for version in self._all()))
        self._forks.close()

    def _all(self) -> list[Version]:
        found = [v for served in self._served.values() for v in served.versions.values()]
        return list(dict.fromkeys([*found, *self._aside]))


def merged(plan: Plan, old: dict[str, Served], fresh: Sequence[Version]) -> dict[str, Served]:
    """Give what is served when a plan's versions are ready or refused."""
    made = {(v.model, v.version): v for v in fresh}
    return {
        name: merged_model(name, model, old.get(name), made) for name, model in plan.models.items()
    }


def merged_model(
    name: str, plan: ModelPlan, old: Served | None, made: dict[tuple[str, str], Version]
) -> Served:
    """Choose each version, the fresh one if it is ready; and the default, the old one if not."""
    there = old.versions if old else {}
    versions = {
        version: chosen(made.get((name, version)), there.get(version)) for version in plan.versions
    }
    default = plan.default
    if old is not None and not versions[default].serving and there[old.default].serving:
        default = old.default
        versions = {default: there[default]} | versions
    return Served(versions, default)


def chosen(fresh: Version | None, old: Version | None) -> Version:
    """Give the fresh version if it is ready or nothing else is."""
    if old is None or (fresh is not None and (fresh.serving or not old.serving)):
        assert fresh is not None
        return fresh
    return old

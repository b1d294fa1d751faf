"""Who finds a model full is told so before the body is understood: under load that is what counts.

To parse a body, to check it and to lead it through routes takes ten times as long as to refuse it,
and whoever sends five times of what can be answered would take all of the door's time by it. So the
model's name is looked for in the raw bytes. A body that is refused so may have been a bad one; one
whose name is not found here goes the usual way.
"""

import re
from typing import Any

from zoo.serve.fleet import Fleet
from zoo.serve.refusal import Refusal

NAMED = re.compile(rb'"model"\s*:\s*"([A-Za-z0-9._@-]{1,201})"')


class Crowd:
    """The paths that ask a model, and what would do the work."""

    def __init__(self, fleet: Fleet, paths: frozenset[str]) -> None:
        self.fleet = fleet
        self.paths = paths

    def check(self, path: str, body: bytes, noted: dict[str, Any]) -> None:
        """Raise Refusal for a request to a model that is full, and note what it asked for."""
        named = NAMED.search(body) if path in self.paths else None
        if named is None:
            return
        try:
            version = self.fleet.find(named[1].decode())
        except Refusal:  # of a model that is not there the route says more
            return
        try:
            version.check_room()
        except Refusal:
            noted |= {"route": path, "model": f"{version.model}@{version.version}"}
            raise

"""A server in processes of its own: started, asked how it is, measured, ended."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psutil

ROOT = Path(__file__).parents[2]
SAID = re.compile(r"serving on (http://[^\s\"]+)")
# threads that wait leave the processor to who shares it, the client among them
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}
SECONDS = 180.0  # to be ready, and to leave
STILL = 0.5  # seconds in which a server that rests computes next to nothing
EARLY = frozenset({"401", "408", "413", "429", "431", "503"})
LOOKS = ("/metrics", "/v1/status", "/readyz", "/healthz")  # paths at which one only looks


class Serving:
    """`zoo serve` (or another command that says where it serves); use it in a `with`."""

    def __init__(self, command: Sequence[str], log: Path, **environment: str) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        begun = time.perf_counter()
        paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        with log.open("w") as out:
            self.process = psutil.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=PASSIVE | os.environ | {"PYTHONPATH": paths} | environment,
            )
        try:
            self.url = self.wait_for(lambda: SAID.search(log.read_text()))[1]
            self.wait_for(lambda: self.answers("/readyz"))
        except BaseException:
            self.end()
            raise
        self.ready_seconds = time.perf_counter() - begun
        parts = urlsplit(self.url)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def wait_for(self, look: Any) -> Any:
        """Wait until `look` gives something. Raises RuntimeError where the server has gone."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            if found := look():
                return found
            if self.process.poll() is not None:
                raise RuntimeError(f"the server has gone: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)
        raise RuntimeError(f"the server was not ready in {SECONDS:g} s; see {self.log}")

    def answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def text(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return str(answer.read().decode())

    def json(self, path: str) -> Any:
        return json.loads(self.text(path))

    def footprint(self) -> dict[str, int]:
        """Count bytes in memory, files and threads of all its processes."""
        found = {"rss": 0, "files": 0, "threads": 0, "processes": 0}
        for process in (self.process, *self.process.children(recursive=True)):
            try:
                with process.oneshot():
                    found["rss"] += process.memory_info().rss
                    found["files"] += process.num_fds()
                    found["threads"] += process.num_threads()
            except psutil.NoSuchProcess:
                continue
            found["processes"] += 1
        return found

    def computed(self) -> float:
        """Give the processor seconds of all its processes so far."""
        found = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                found += times.user + times.system
        return found

    def rest(self) -> None:
        """Wait until it computes no more: some go on with what nobody waits for."""

        def idle() -> bool:
            before = self.computed()
            time.sleep(STILL)
            return self.computed() - before < STILL / 10

        self.wait_for(idle)

    def end(self) -> int | None:
        """Tell it to leave, wait, and give its exit code; what is left after that is killed."""
        children = self.process.children(recursive=True) if self.process.is_running() else []
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return int(self.process.wait(SECONDS))
        except psutil.TimeoutExpired:
            self.process.kill()
            return None
        finally:
            for child in children:
                if child.is_running():
                    child.kill()


def zoo_serve(
    folders: Mapping[str, str], options: Iterable[str], log: Path, **environment: str
) -> Serving:
    """Start `zoo serve` on a port that is free."""
    models = [f"{name}={folder}" for name, folder in folders.items()]
    where = ["--host", "127.0.0.1", "--port", "0", "--log", "json"]
    return Serving(["-m", "zoo", "serve", *models, *where, *options], log, **environment)


def place(route: str, status: int | str) -> str:
    """Name a count; who refuses early does not know the path yet, so such counts have none."""
    return f"{'any' if str(status) in EARLY else route} {status}"


def counted(metrics: str) -> dict[str, float]:
    """Read what /metrics counts: {"route status": requests}, and the tokens of all models."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == "zoo_requests_total":
                name = place(sample.labels["route"], sample.labels["status"])
            elif sample.name in ("zoo_prompt_tokens_total", "zoo_new_tokens_total"):
                name = sample.name.removeprefix("zoo_").removesuffix("_total")
            else:
                continue
            found[name] = found.get(name, 0.0) + sample.value
    return found


def gained(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Give what was counted between two looks; the looks themselves are left out."""
    both = {name: after[name] - before.get(name, 0.0) for name in after}
    return {n: value for n, value in both.items() if value and not n.startswith(LOOKS)}

"""What Locust runs: users that ask and wait, or arrivals that wait for nobody; all is recorded.

The plan is a JSON file, named by ZOO_LOAD_PLAN; see benchmarks.load.drive. Locust's own numbers are
printed at the end, ours are in the records: one line a request, in the order in which they ended.
"""

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import gevent
from benchmarks.load.client import Connection, Reply, request_bytes, told
from benchmarks.load.stats import arrivals
from locust import User, task
from locust.exception import StopUser

PLAN: dict[str, Any] = json.loads(Path(os.environ["ZOO_LOAD_PLAN"]).read_text())
ITEMS: list[dict[str, Any]] = json.loads(Path(PLAN["items"]).read_text())
GOOD = [i for i, item in enumerate(ITEMS) if item["good"]]
BAD = [i for i, item in enumerate(ITEMS) if not item["good"]]
MOST = 4000  # requests under way at once; what would be more is recorded as not sent


class Recorder:
    """Draws what is asked next, asks it, and keeps what came of it."""

    def __init__(self) -> None:
        self.draw = random.Random(PLAN["seed"])
        host, port = PLAN["host"], PLAN["port"]
        self.bytes = [request_bytes(f"{host}:{port}", item, PLAN["key"]) for item in ITEMS]
        self.idle: list[Connection] = []
        self.rows: list[list[Any]] = []
        self.variants: dict[tuple[int, str], int] = {}
        self.begin()
        self.under_way = 0
        self.late = 0.0  # seconds by which an arrival was sent after its time, at most

    def begin(self) -> None:
        """Begin to count time; until here Locust was starting."""
        self.start, self.spent = time.perf_counter(), time.process_time()

    def next(self) -> int:
        """Draw an item: nonsense as often as the plan says."""
        bad = BAD and self.draw.random() < PLAN["nonsense"]
        return self.draw.choice(BAD if bad else GOOD)

    def ask(self, number: int, environment: Any) -> None:
        """Ask on a connection that is free, or a new one."""
        free = self.idle.pop() if self.idle else Connection(PLAN["host"], PLAN["port"])
        at = time.perf_counter() - self.start
        self.under_way += 1
        reply = free.ask(self.bytes[number])
        self.under_way -= 1
        self.idle.append(free)
        self.keep(at, number, reply)
        environment.events.request.fire(
            request_type=ITEMS[number]["method"],
            name=ITEMS[number]["name"],
            response_time=1000 * reply.seconds,
            response_length=len(reply.body),
            exception=None if 0 < reply.status < 400 else RuntimeError(f"status {reply.status}"),
            context={},
        )

    def keep(self, at: float, number: int, reply: Reply) -> None:
        variant = self.variants.setdefault((number, told(reply)), len(self.variants))
        times = [round(at, 6), round(reply.seconds, 6), round(reply.first, 6)]
        self.rows.append([*times, reply.status, number, variant, reply.retry_after])

    def write(self) -> None:
        """Write all that was kept; the connections are closed."""
        for connection in self.idle:
            connection.close()
        variants = [[number, said] for number, said in self.variants]
        taken = time.perf_counter() - self.start
        share = (time.process_time() - self.spent) / taken  # of one processor
        client = {"late_seconds": self.late, "processor_share": share}
        out = {"rows": self.rows, "variants": variants, "client": client}
        Path(PLAN["out"]).write_text(json.dumps(out))


RECORDER = Recorder()


class Asks(User):
    """In a plan with users each of them asks, waits, and asks again; else one lets all arrive."""

    running = 0

    def on_start(self) -> None:
        type(self).running += 1

    @task
    def all(self) -> None:
        if PLAN["users"]:
            self.closed()
        else:
            self.open()
        type(self).running -= 1
        if not type(self).running:
            RECORDER.write()
            gevent.spawn(self.environment.runner.quit)
        raise StopUser

    def closed(self) -> None:
        """Ask one after the other until the time is over."""
        if type(self).running == 1:
            RECORDER.begin()
        while type(self).running < PLAN["users"]:  # all begin together
            gevent.sleep(0.005)
        until = RECORDER.start + PLAN["seconds"]
        while time.perf_counter() < until:
            RECORDER.ask(RECORDER.next(), self.environment)

    def open(self) -> None:
        """Send each request when its time has come, however many are under way."""
        RECORDER.begin()
        sent = []
        for at in arrivals(PLAN["rates"], PLAN["seed"], even=PLAN["even"]):
            number = RECORDER.next()
            ahead = RECORDER.start + at - time.perf_counter()
            gevent.sleep(max(0.0, ahead))
            RECORDER.late = max(RECORDER.late, -ahead)
            if RECORDER.under_way < MOST:
                sent.append(gevent.spawn(RECORDER.ask, number, self.environment))
            else:
                RECORDER.keep(at, number, Reply(0, b"not sent", 0.0, 0.0))
        gevent.joinall(sent)

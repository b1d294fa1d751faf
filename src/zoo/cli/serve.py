"""Serve models over HTTP: OpenAI's completions and embeddings, and fill, classify, match.

zoo serve gpt2=FOLDER bert=FOLDER
zoo serve gpt2=FOLDER gpt2@2=OTHER --port 9000
zoo serve --config models.toml --host 0.0.0.0 --keys keys.txt

A model is asked for by its name, or a version of it as name@version. SIGHUP reads --config again:
new versions are loaded and tried beside the old ones, then take over at once. SIGTERM finishes what
was accepted and leaves. http://HOST:PORT/ shows what goes on; docs/serving.md says all of it.
"""

import argparse
import asyncio
import ipaddress
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, say

KEYS = "ZOO_SERVE_KEYS"
SHORTEST = 16  # characters of a key
HEARD = ("zoo.serve", "uvicorn.error", "asyncio", "opentelemetry")  # of `logging`


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("models", nargs="*", metavar="NAME[@VERSION]=FOLDER", help="the first version is served")
    add("--config", metavar="FILE", help="a TOML file of models and versions instead")
    add("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine alone")
    add("--port", type=int, default=8000, help="default: 8000; 0: any that is free")
    add("--keys", metavar="FILE", help=f"API keys, one a line; also {KEYS}, between commas")
    add("--no-keys", action="store_true", help="let everybody in, also on --host of a network")
    add("--weights", choices=("float32", "float16", "int8"), help="pack weights for the CPU")
    add("--threads", type=int, metavar="N", help="of each model; default: an even share")
    add("--rows", type=int, metavar="N", help="texts that one model lets grow at once (16)")
    add("--queue", type=int, metavar="N", help="requests that one model takes at once (64)")
    add("--request-seconds", type=float, metavar="S", help="until a request is given up (30)")
    add("--drain", type=float, default=1.0, metavar="S", help="unready before it refuses (1)")
    add("--log", choices=("json", "text"), help="default: text on a terminal, else json")
    add("--tracing", action="store_true", help="spans for OpenTelemetry (zoo[tracing])")
    add("--check", action="store_true", help="load and try all models, say so, and leave")


def keys_of(file: str | None, given: str | None) -> tuple[str, ...]:
    """Read keys from a file and the environment. Raises UsageError for a short or strange one."""
    lines = Path(file).read_text(encoding="utf-8").splitlines() if file is not None else []
    found = [line.strip() for line in [*lines, *(given or "").split(",")]]
    keys = tuple(dict.fromkeys(key for key in found if key and not key.startswith("#")))
    for place, key in enumerate(keys, 1):
        if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
            raise UsageError(
                f"key {place} is no key: expected at least {SHORTEST} letters, digits and signs; "
                'python -c "import secrets; print(secrets.token_urlsafe(32))" makes one'
            )
    if file is not None and not keys:
        raise UsageError(f"--keys {file} holds no key: write one a line")
    return keys


def loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_open(host: str, keys: tuple[str, ...], no_keys: bool) -> None:
    """Raise UsageError for a server that a network could use without a key."""
    if keys and no_keys:
        raise UsageError("--no-keys and keys: leave one out")
    if not keys and not no_keys and not loopback(host):
        raise UsageError(
            f"--host {host} is open to a network: give --keys FILE, or --no-keys if that is meant"
        )


def chosen(args: argparse.Namespace) -> dict[str, Any]:
    """Give the limits that were asked for; raise UsageError for one that means nothing."""
    names = ("rows", "queue", "request_seconds")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    for name, value in given.items():
        if not 0 < value < 1e6:
            raise UsageError(f"--{name.replace('_', '-')} {value}; expected more than 0")
    if not 0 <= args.drain <= 3600:
        raise UsageError(f"--drain {args.drain}; expected 0 to 3600 seconds")
    if not 0 <= args.port < 65536:
        raise UsageError(f"--port {args.port}; expected 0 to 65535")
    if args.threads is not None and args.threads < 1:
        raise UsageError(f"--threads {args.threads}; expected at least 1")
    return given


def plan(args: argparse.Namespace) -> Any:
    """Give what is to be served, from words or from a file, never both."""
    from zoo.serve.plan import plan_of, read_plan

    if args.models and args.config is not None:
        raise UsageError("models by name and --config: give one of them")
    return read_plan(args.config) if args.config is not None else plan_of(args.models)


def run(args: argparse.Namespace) -> int:
    limits = chosen(args)
    keys = keys_of(args.keys, os.environ.get(KEYS))
    check_open(args.host, keys, args.no_keys)
    try:
        from zoo.serve.fleet import Fleet, ignore
        from zoo.serve.limits import Limits
        from zoo.serve.logs import Log
        from zoo.serve.server import Door, serve
    except ModuleNotFoundError as error:
        if str(error.name).startswith("zoo"):
            raise
        raise UsageError(f'{error.name} is not installed: pip install "zoo[serve]"') from None
    asked = plan(args)
    log = Log(form=args.log)
    threads = args.threads or share(len(asked.models))
    # with a check, what happens to each version is the result itself
    told = ignore if args.check else log.heard
    fleet = Fleet(asked, Limits(**limits), weights=args.weights, threads=threads, heard=told)
    if args.check:
        return asyncio.run(check(args, fleet))
    door = Door(host=args.host, port=args.port, keys=keys, drain=args.drain)
    with heard_by(log, args.tracing) as heard:

        async def reload() -> None:
            await fleet.apply(plan(args))

        return serve(fleet, fleet.limits, door, heard=heard, reload=reload)


def share(models: int) -> int:
    """Give each model its share of the CPUs."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cpus or 1) // models)


@contextmanager
def heard_by(log: Any, tracing: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give what hears the server's records: the log, people, and OpenTelemetry if asked for."""
    from zoo.serve.logs import Bridge
    from zoo.serve.tracing import open_tracing

    spans = open_tracing() if tracing else None

    def heard(record: dict[str, Any]) -> None:
        log.heard(record)
        if record["event"] == "listening":
            host = f"[{record['host']}]" if ":" in record["host"] else record["host"]
            say(f"serving on http://{host}:{record['port']}")
        if spans is not None and record["event"] == "request":
            spans.heard(record)

    bridge = Bridge(log)
    loggers = [logging.getLogger(name) for name in HEARD]
    for logger in loggers:
        logger.addHandler(bridge)
    try:
        yield heard
    finally:
        for logger in loggers:
            logger.removeHandler(bridge)
        if spans is not None:
            spans.close()


async def check(args: argparse.Namespace, fleet: Any) -> int:
    """Start everything, say how each version is, and end it; 1 unless all are ready."""
    try:
        await fleet.start()
        found = fleet.models()
    finally:
        await fleet.close()
    wrong = 0
    for model in found:
        for version in model["versions"]:
            name = f"{model['name']}@{version['version']}"
            wrong += version["state"] != "ready"
            about = version["about"] or {}
            record = {"model": name, "state": version["state"], "why": version["why"]}
            record |= {"about": about, "ready_seconds": version["ready_seconds"]}
            says = version["why"] or f"{', '.join(about['verbs'])}; {about['parameters']:,} numbers"
            emit(args, record, f"{name:<20} {version['state']:<8} {says}")
    return int(wrong > 0)

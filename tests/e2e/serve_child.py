"""A server in a process of its own, with limits that a test chooses; records are lines of stdout.

python serve_child.py '{"models": ["gpt2=FOLDER"], "limits": {}, "door": {}}'
"""

import json
import sys

from zoo.serve.fleet import Fleet
from zoo.serve.limits import Limits
from zoo.serve.plan import plan_of
from zoo.serve.server import Door, serve


def say(record):
    print(json.dumps(record, default=str), flush=True)


def main():
    asked = json.loads(sys.argv[1])
    limits = Limits(**asked["limits"])
    fleet = Fleet(plan_of(asked["models"]), limits, heard=say)
    door = Door(**{"port": 0, "drain": 0.1} | asked["door"])

    async def reload():
        say({"event": "reloaded"})
        await fleet.apply(plan_of(asked["models"]))

    return serve(fleet, limits, door, heard=say, reload=reload)


if __name__ == "__main__":
    sys.exit(main())

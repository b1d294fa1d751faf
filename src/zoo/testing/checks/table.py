"""All checks, by name: a file of checks has ROWS, and a line here."""

from zoo.testing.checks import running
from zoo.testing.engine import Check

FILES = (running,)
CHECKS: dict[str, Check] = {row.name: row for file in FILES for row in file.ROWS}

"""Write what `zoo flake --json` found as text: python3 .ci/flakes.py FILE.jsonl"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from zoo.pyramid.flake.report import summary_text
from zoo.pyramid.flake.words import test_text


def main(paths: list[str]) -> int:
    for path in paths:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            print(summary_text(row) if "suite" in row else test_text(row))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

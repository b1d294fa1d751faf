"""Sum up pytest's reports in one last line, as pytest itself would say it."""

import sys
from xml.etree import ElementTree


def main(paths: list[str]) -> int:
    total = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    seconds = 0.0
    for path in paths:
        for suite in ElementTree.parse(path).getroot().iter("testsuite"):
            seconds += float(suite.get("time", 0))
            for name in total:
                total[name] += int(suite.get(name, 0))
    passed = total["tests"] - total["failures"] - total["errors"] - total["skipped"]
    parts = [
        f"{total['failures']} failed" if total["failures"] else "",
        f"{passed} passed",
        f"{total['skipped']} skipped" if total["skipped"] else "",
        f"{total['errors']} errors" if total["errors"] else "",
    ]
    line = f" {', '.join(part for part in parts if part)} in {seconds:.2f}s "
    print(line.center(100, "="))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

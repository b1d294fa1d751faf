"""What a run says to people: survivors with their diff, verdicts that are not kills, the scores."""

from tools.mutation import survivors
from tools.mutation.score import UNKNOWN, Score, both


def told(record: dict, floor: float, stale: list[str]) -> tuple[str, bool]:
    """Give the text of a run, and whether it passes."""
    rows = record["rows"]
    fresh = survivors.new(rows)
    parts = [survivor(row) for row in fresh]
    parts += [unknown(row) for row in rows if row["verdict"] in UNKNOWN]
    parts += stale
    every, computing = both(rows)
    low = every.decided > 0 and every.interval()[1] < floor
    parts.append(
        f"{record['room']}: {every.mutants} mutants"
        + (f" drawn of {record['of']}" if record.get("sampled") else "")
        + f", {line(every)}; operators and numbers alone: {line(computing)}"
    )
    if fresh:
        parts.append(
            f"{len(fresh)} survivors are not explained: kill each with a new row, remove the dead"
            f" code, or track it in tests/mutation/survivors/{record['room']}.toml"
        )
    if low:
        parts.append(f"the score is below the floor of {floor:g} %")
    return "\n".join(parts), not (fresh or stale or low)


def line(score: Score) -> str:
    """Say a score in a few words."""
    percent = score.percent()
    if percent is None:
        return "none decided"
    low, high = score.interval()
    text = f"{score.killed} of {score.decided} killed = {percent:.1f} % [{low:.1f}, {high:.1f}]"
    if score.equivalent:
        text += f", {score.equivalent} equivalent"
    if score.unknown:
        counts = ", ".join(f"{count} {name}" for name, count in score.unknown.items())
        text += f", unknown: {counts} (at least {score.least():.1f} %)"
    return text


def survivor(row: dict) -> str:
    """Say which mutant lived, what it changed, and what was run."""
    ran = {"survived": f"{row.get('ran', 0)} tests ran and passed"}.get(
        row["verdict"], "no test reaches it"
    )
    return f"{row['function']} ({row['file']}:{row['line']}, {row['kind']}): {ran}\n{row['diff']}\n"


def unknown(row: dict) -> str:
    """Say how a run ended that decided nothing."""
    ends = {
        "endless": "still runs when its time is over, alone and with more time",
        "crash": f"ends the process (code {row.get('code')})",
        "suspicious": f"ends without a word (code {row.get('code')})",
        "timeout": "is over its time",
    }
    where = f" in {row['at']}" if row.get("at") else ""
    place = f"{row['function']} ({row['file']}:{row['line']})"
    return f"{place}: {ends[row['verdict']]}{where}\n{row['diff']}\n"

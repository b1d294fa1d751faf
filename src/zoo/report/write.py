"""From a page's data to one HTML file that needs nothing else: no network, no script, no font."""

from pathlib import Path
from typing import Any

from zoo.report import svg, words
from zoo.report.page import Page, Score

HERE = Path(__file__).parent


def render(page: Page) -> str:
    """Give the page as HTML; texts are escaped, whatever they hold. Needs jinja2 (`report`)."""
    css = (HERE / "page.css").read_text(encoding="utf-8")
    return str(environment().get_template("page.html.j2").render(page=page, css=css))


def environment() -> Any:
    """Give the templates with what they call; nothing undefined passes as an empty text."""
    try:
        import jinja2  # an extra
    except ImportError as error:
        raise ImportError('the report needs jinja2: pip install "zoo[report]"') from error
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals.update(
        bar=svg.bar,
        sparkline=svg.sparkline,
        curve=svg.reliability,
        told=words.told,
        named=words.named,
        interval=words.interval,
        counted=words.counted,
        bytes_told=words.bytes_told,
        history_told=history_told,
    )
    return made


def history_told(score: Score) -> str:
    """Say a metric's history in words."""
    points = ", ".join(f"{v}: {words.told(x, score.share)}" for v, x in score.history)
    return f"{words.named(score.name)} over accepted versions, {points}"


def write_page(page: Page, out: Path) -> None:
    """Write the page, whole or not at all."""
    draft = out.with_name(out.name + ".partial")
    try:
        draft.write_text(render(page), encoding="utf-8")
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)

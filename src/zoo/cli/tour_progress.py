"""How far a lesson of the tour is."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from zoo.cli.common import say


@contextmanager
def told(seconds: float, of: str = "of") -> Iterator[Callable[[float, int, float], None]]:
    """Show how the lesson goes: a bar on a terminal, elsewhere a line every tenth of it."""
    bar_of = terminal_bar()
    if bar_of is None:
        said = -1

        def line(share: float, step: int, loss: float) -> None:
            nonlocal said
            if int(share * 10) > said:
                said = int(share * 10)
                say(f"   {share:4.0%}  step {step:>5}  loss {loss:.3f}")

        yield line
        return
    form = "   {percentage:3.0f}% |{bar:40}| {elapsed} " + f"{of} {seconds:g} s{{postfix}}"
    with bar_of(total=1000, bar_format=form, file=sys.stderr, leave=False) as bar:

        def move(share: float, step: int, loss: float) -> None:
            bar.set_postfix_str(f"step {step}, loss {loss:.3f}", refresh=False)
            bar.update(int(share * 1000) - bar.n)

        yield move


def terminal_bar() -> Any:
    """Give tqdm when stderr is a terminal and the extra is there."""
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm

"""What a crew has done since it took its first request."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """Totals: steps of the model, of how many rows each, and tokens."""

    steps: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    prompt_tokens: int = 0
    new_tokens: int = 0

    def step(self, rows: int) -> None:
        """Count a step."""
        self.steps += 1
        self.sizes[rows] += 1

    def record(self) -> dict[str, Any]:
        """Give it as plain JSON."""
        return {
            "steps": self.steps,
            "batches": {str(size): count for size, count in sorted(self.sizes.items())},
            "prompt_tokens": self.prompt_tokens,
            "new_tokens": self.new_tokens,
        }

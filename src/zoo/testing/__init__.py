"""The testing kit: checks to point at any module, and tables to test ops with."""

from zoo.testing.opinfo import OpInfo, Refusal, Sample
from zoo.testing.tolerances import assert_near, tolerance

__all__ = ["OpInfo", "Refusal", "Sample", "assert_near", "tolerance"]

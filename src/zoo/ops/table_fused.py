"""Rows of the ops that fuse several steps: attention and the losses."""

from zoo.testing.opinfo import OpInfo

FUSED: dict[str, OpInfo] = {}

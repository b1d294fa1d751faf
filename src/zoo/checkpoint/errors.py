"""The one error that a folder can give."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, hostile, or of another model than was asked for."""

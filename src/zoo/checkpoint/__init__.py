"""Checkpoint folders on disk, read with nothing taken on trust; knows no model."""

from zoo.checkpoint.errors import CheckpointError
from zoo.checkpoint.folder import Folder, read_folder
from zoo.checkpoint.hub import resolve
from zoo.checkpoint.safetensors import LazyTensor
from zoo.checkpoint.write import write_folder

__all__ = ["CheckpointError", "Folder", "LazyTensor", "read_folder", "resolve", "write_folder"]

"""Layouts of other libraries: how each names what is ours, and what it cannot hold."""

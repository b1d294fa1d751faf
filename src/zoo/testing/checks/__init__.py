"""Checks, a file for each kind of property; `table` names them all."""

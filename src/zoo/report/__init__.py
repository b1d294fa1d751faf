"""One page that shows what the golden models can do, for people."""

from zoo.report.gather import gather
from zoo.report.page import Page
from zoo.report.write import render, write_page

__all__ = ["Page", "gather", "render", "write_page"]

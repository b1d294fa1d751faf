"""The status page: six files of the package, read once and served from memory.

What the page may do is said by its content security policy: its own files and its own server,
nothing from elsewhere, and no code or style inside the page.
"""

from dataclasses import dataclass
from importlib import resources

KINDS = {
    "page.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
    "server.js": "text/javascript; charset=utf-8",
    "try.js": "text/javascript; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


@dataclass(frozen=True)
class Part:
    """A file of the page."""

    body: bytes
    type: str


def read_files() -> dict[str, Part]:
    """Read the files of the page: path of the URL -> part; the page itself is "/"."""
    place = resources.files("zoo.serve")
    found = {f"/{name}": Part((place / name).read_bytes(), kind) for name, kind in KINDS.items()}
    return {"/": found.pop("/page.html")} | found


FILES = read_files()

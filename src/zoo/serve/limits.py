"""What one request, and all of them together, may cost. All limits are on by default."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Each is a number that an operator may change; `zoo serve --help` names the usual ones."""

    body: int = 8 * 2**20  # bytes of a request's body
    headers: int = 16 * 2**10  # bytes of a request's line and headers
    depth: int = 32  # nested lists and objects in a body
    batch: int = 64  # texts or pictures of one request
    pixels: int = 50_000_000  # of one picture, known from its header before it is decoded
    header_seconds: float = 5.0  # to send the headers
    body_seconds: float = 15.0  # to send the body
    request_seconds: float = 30.0  # from the last byte of the body to the answer
    connections: int = 1000  # open at once
    queue: int = 64  # requests of one model that wait or are worked on
    # that a request may be expected to wait behind others, once all rows are taken: a queue that is
    # longer than this answers nobody sooner, and takes as long to be worked off when the load falls
    wait_seconds: float = 2.0
    rows: int = 16  # texts of one model that grow at once
    cache_tokens: int = 65_536  # tokens whose keys and values one model may hold

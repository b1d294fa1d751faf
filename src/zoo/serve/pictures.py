"""Pictures in a body: base64, or a data: URL that holds it. A picture is never fetched."""

import base64
import binascii
import re

from zoo.serve.refusal import Refusal

DATA = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)  # no base64 holds a colon


def picture_of(sent: str) -> bytes:
    """Give the bytes of a picture's file. Raises Refusal for an address, and for bad base64."""
    head = DATA.match(sent)
    if head is None and ADDRESS.match(sent):
        raise invalid(
            "a picture is sent as base64 or as data:image/...;base64,...; none is fetched"
        )
    try:
        picture = base64.b64decode(sent[head.end() if head else 0 :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"a picture is not base64: {str(error).lower()}") from None
    if not picture:
        raise invalid("a picture is empty")
    return picture


def invalid(message: str) -> Refusal:
    return Refusal("invalid", message, param="image")

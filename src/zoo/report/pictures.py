"""Pictures inside the page: PNG as data URIs, as small as they can be without being changed."""

import base64
import io
from typing import Any

from zoo.report.page import Picture

COLOURS = 64  # of a drawing of heat, which is smooth


def picture(image: Any, alt: str, *, colours: int | None = None) -> Picture:
    """Put a PIL picture into a data URI; `alt` says what it shows. Grey ones are kept as grey.

    With `colours` the picture is brought to so many. Raises ValueError without words for it.
    """
    if not alt.strip():
        raise ValueError("a picture without words for it: say what it shows")
    kept = image.convert("RGB")
    red, green, blue = (part.tobytes() for part in kept.split())
    if red == green == blue:
        kept = kept.convert("L")
    elif colours is not None:
        kept = kept.quantize(colours)
    data = io.BytesIO()
    kept.save(data, "PNG", optimize=True)
    coded = base64.b64encode(data.getvalue()).decode("ascii")
    return Picture(
        uri=f"data:image/png;base64,{coded}", alt=alt, width=kept.width, height=kept.height
    )

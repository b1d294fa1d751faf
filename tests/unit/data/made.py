"""Files to read, made in a folder of the test's own."""

import io
import json

import pyarrow as pa
from PIL import Image
from pyarrow import parquet


def png(red=10, size=(5, 3)):
    """Give the bytes of a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, (red, 20, 30)).save(file, format="PNG")
    return file.getvalue()


def jsonl(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def parquet_of(**columns):
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def put(folder, files):
    """Write files by their names: texts in UTF-8, and bytes as they are."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(data)
    return folder

"""Python values as JSON: what JSON lacks is an object with the one key that says what it is.

    {"!": "bytes", "v": "/w=="}              base64
    {"!": "datetime", "v": "2026-01-02T03:04:05+00:00"}
    {"!": "date", "v": "2026-01-02"}   {"!": "time", "v": "03:04:05"}
    {"!": "decimal", "v": "1.50"}      {"!": "uuid", "v": "…"}      {"!": "float", "v": "nan"}
    {"!": "int", "v": "18446744073709551616"}    of more than 64 bits, which JSON readers round
    {"!": "dict", "v": [[key, value], …]}    a dict with a key that is no string, or is "!"

Tuples become lists. Everything else is itself.
"""

import base64
import datetime
import decimal
import math
import uuid

TAG = "!"

_DECODERS = {
    "bytes": base64.b64decode,
    "date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "decimal": decimal.Decimal,
    "float": float,
    "int": int,
    "time": datetime.time.fromisoformat,
    "uuid": uuid.UUID,
}


def to_json(value):
    """Returns what `json.dumps` can write for a value."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else _tag("int", str(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else _tag("float", repr(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _tag("bytes", base64.b64encode(bytes(value)).decode("ascii"))
    # A datetime is a date as well, so it comes first.
    for kind, python_type in (
        ("datetime", datetime.datetime),
        ("date", datetime.date),
        ("time", datetime.time),
    ):
        if isinstance(value, python_type):
            return _tag(kind, value.isoformat())
    if isinstance(value, decimal.Decimal):
        return _tag("decimal", str(value))
    if isinstance(value, uuid.UUID):
        return _tag("uuid", str(value))
    if isinstance(value, dict):
        if all(isinstance(key, str) and key != TAG for key in value):
            return {key: to_json(item) for key, item in value.items()}
        return _tag("dict", [[to_json(key), to_json(item)] for key, item in value.items()])
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    raise TypeError(f"no JSON for {type(value).__name__}")


def from_json(value):
    """Returns the value that `to_json` made this of."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: from_json(item) for key, item in value.items()}
    kind, inner = value[TAG], value["v"]
    if kind == "dict":
        return {from_json(key): from_json(item) for key, item in inner}
    return _DECODERS[kind](inner)


def _tag(kind, value):
    return {TAG: kind, "v": value}

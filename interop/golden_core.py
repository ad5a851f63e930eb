"""Golden bodies of kombu-core, made by Python's Kombu.

    pip install kombu==5.7.0
    python interop/golden_core.py write    # makes crates/kombu-core/tests/golden/python.json
    KOMBU_BLESS=1 cargo test -p kombu-core --test codec    # makes golden/rust.json
    python interop/golden_core.py check    # Kombu reads golden/rust.json; compares the values

`cargo test` reads what Python wrote, and holds what Rust writes equal to rust.json.
"""

import base64
import datetime
import decimal
import json
import math
import pathlib
import sys
import uuid

import kombu
from kombu import compression, serialization
from kombu.utils import json as kombu_json

GOLDEN = pathlib.Path(__file__).parent.parent / "crates/kombu-core/tests/golden"

UTC = datetime.timezone.utc
INDIA = datetime.timezone(datetime.timedelta(hours=5, minutes=30))

# name, serializer, value
BODIES = [
    ("null", "json", None),
    ("true", "json", True),
    ("int", "json", 42),
    ("int_min", "json", -(2**63)),
    ("int_max", "json", 2**63 - 1),
    ("uint_max", "json", 2**64 - 1),
    ("float", "json", 0.1),
    ("float_small", "json", 5e-324),
    ("float_large", "json", 1.7976931348623157e308),
    ("float_whole", "json", 1e16),
    ("nan", "json", float("nan")),
    ("infinity", "json", float("inf")),
    ("minus_infinity", "json", float("-inf")),
    ("text", "json", "grüße \u4f60\u597d \U0001f600"),
    ("text_escapes", "json", "\"\\/\b\f\n\r\t\0\x1f\x7f\u2028"),
    ("list", "json", [1, "two", [3.0, None], {}]),
    ("object", "json", {"b": 1, "a": {"": [], "ключ": False}}),
    ("number_keys", "json", {7: "int", 2.5: "float", True: "true", None: "null"}),
    ("tuple", "json", (1, 2)),
    ("bytes", "json", b"abc"),
    ("bytes_utf8", "json", "grüße".encode()),
    ("bytes_binary", "json", b"\xff\xfe\x00"),
    ("bytes_empty", "json", b""),
    ("decimal", "json", decimal.Decimal("1.20")),
    ("decimal_exponent", "json", decimal.Decimal("-1E+5")),
    ("decimal_infinity", "json", decimal.Decimal("Infinity")),
    ("datetime", "json", datetime.datetime(2020, 1, 2, 3, 4, 5, 6)),
    ("datetime_utc", "json", datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ("datetime_offset", "json", datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=INDIA)),
    ("date", "json", datetime.date(2020, 2, 29)),
    ("time", "json", datetime.time(1, 2)),
    ("time_offset", "json", datetime.time(1, 2, 3, 4, tzinfo=INDIA)),
    ("uuid", "json", uuid.UUID(int=5)),
    ("nested", "json", {"args": [{"at": datetime.date(2020, 1, 2)}, b"x"], "id": uuid.UUID(int=2**127)}),
    ("three_keys", "json", {"__type__": "x", "__value__": 1, "more": 2}),
    ("bare_text", None, "grüße"),
    ("bare_bytes", None, b"\x00\xff"),
    ("bare_list", None, ["a"]),
    ("raw_text", "raw", "grüße"),
    ("raw_bytes", "raw", b"\x00\xff"),
]

# What Rust writes and Python reads, beyond BODIES.
MORE_FROM_RUST = [
    ("timestamp", datetime.datetime(2020, 2, 29, tzinfo=UTC)),
    ("big_integer", decimal.Decimal(2**100)),
]

# Texts that a JSON reader meets; recorded is whether Python reads them.
TEXTS = [
    "NaN", "-NaN", "[Infinity,-Infinity]", "nan", "inf", "1e999", "-1e999", "-0", "-0.0", "01", "1.", ".5", "+1",
    "1e5", "1E+5", "1e", "-", "0x10", "123456789012345678901234567890", "-9223372036854775809",
    '"\\ud800"', '"\\ud83d\\ude00"', '"\\ud800\\u0041"', '"\\ude00\\ud83d"', '"\\ud800\\ud83d\\ude00"', '"\\u12"', '"\\u12g4"', '"\\x"', "'a'",
    '"\x01"', '"\x7f"', '"a\tb"', '"a', '"\\', "[1,]", "[1 2]", "[", "]", "{", "{}", '{"a":1,}', '{"a":1,"a":2}', "{1:2}", "{a:1}", '{"a"}', '{"a":}',
    " \t\r\n1 \t\r\n", "1 2", "\u00a01", "\ufeff1", "", " ", "nul", "nulll", "true", "True", "/**/1",
    '{"__type__":"datetime","__value__":"2020-01-02"}',
    '{"__type__":"datetime","__value__":"2020-01-02 03:04Z"}',
    '{"__type__":"datetime","__value__":"2020-13-02T03:04"}',
    '{"__type__":"datetime","__value__":"tomorrow"}',
    '{"__type__":"datetime","__value__":5}',
    '{"__type__":"date","__value__":"2020-01-02T03:04"}',
    '{"__type__":"date","__value__":"2021-02-29"}',
    '{"__type__":"time","__value__":"01:02:03.5+05:30"}',
    '{"__type__":"time","__value__":"25:00"}',
    '{"__type__":"decimal","__value__":5}',
    '{"__type__":"decimal","__value__":"five"}',
    '{"__type__":"uuid","__value__":{"hex":"{12345678-1234-5678-1234-567812345678}"}}',
    '{"__type__":"uuid","__value__":{"hex":"12"}}',
    '{"__type__":"uuid","__value__":"12345678123456781234567812345678"}',
    '{"__type__":"base64","__value__":"AA\\nE="}',
    '{"__type__":"base64","__value__":"A"}',
    '{"__type__":"bytes","__value__":null}',
    '{"__type__":"point","__value__":[1,2]}',
    '{"__type__":5,"__value__":1}',
    '{"__type__":"point","value":1}',
    '[{"a":{"__type__":"point","__value__":1}}]',
    '{"__type__":"bytes","__value__":{"__type__":"bytes","__value__":"a"}}',
]

COMPRESSED = [
    ("empty", b""),
    ("short", b"hello"),
    ("long", b'{"id": 1, "name": "clip.mp4"}' * 200),
]


def encoded(data):
    return base64.b64encode(data).decode()


def write():
    bodies = []
    for name, serializer, value in BODIES:
        content_type, content_encoding, body = serialization.dumps(value, serializer)
        body = body.encode() if isinstance(body, str) else body
        bodies.append({
            "name": name, "serializer": serializer, "python": repr(value), "content_type": content_type,
            "content_encoding": content_encoding, "body": encoded(body),
        })
    texts = []
    for text in TEXTS:
        try:
            texts.append({"text": text, "reads": repr(kombu_json.loads(text.encode()))})
        except Exception as error:
            texts.append({"text": text, "error": type(error).__name__})
    compressed = []
    for name, plain in COMPRESSED:
        body, content_type = compression.compress(plain, "gzip")
        compressed.append({
            "name": name, "content_type": content_type, "plain": encoded(plain), "body": encoded(body),
        })
    golden = {"kombu": kombu.__version__, "bodies": bodies, "texts": texts, "compressed": compressed}
    (GOLDEN / "python.json").write_text(json.dumps(golden, indent=1) + "\n")


def same(left, right):
    if isinstance(left, float) and math.isnan(left):
        return isinstance(right, float) and math.isnan(right)
    return type(left) is type(right) and left == right


def check():
    golden = json.loads((GOLDEN / "rust.json").read_text())
    values = {name: value for name, _, value in BODIES}
    values.update(MORE_FROM_RUST)
    # What JSON itself makes of them.
    values["tuple"] = [1, 2]
    values["number_keys"] = {"7": "int", "2.5": "float", "true": "true", "null": "null"}
    failed = 0
    for row in golden["bodies"]:
        value = values.pop(row["name"])
        body = base64.b64decode(row["body"])
        read = serialization.loads(body, row["content_type"], row["content_encoding"], accept={"application/json", "text/plain"})
        if not same(read, value):
            failed += 1
            print(f"{row['name']}: expected {value!r}, read {read!r} from {body!r}")
    for name in values:
        failed += 1
        print(f"{name}: missing in rust.json")
    plain = dict(COMPRESSED)
    for row in golden["compressed"]:
        if compression.decompress(base64.b64decode(row["body"]), row["content_type"]) != plain.pop(row["name"]):
            failed += 1
            print(f"compressed {row['name']}: restored to something else")
    failed += len(plain)
    passed = max(0, len(golden["bodies"]) + len(golden["compressed"]) - failed)
    # As cargo's test programs end.
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed; 0 ignored")
    return failed


if __name__ == "__main__":
    assert kombu.__version__ == "5.7.0", kombu.__version__
    match sys.argv[1:]:
        case ["write"]:
            write()
        case ["check"]:
            sys.exit(1 if check() else 0)
        case _:
            sys.exit(__doc__)

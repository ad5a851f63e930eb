"""Golden bodies of the serializers yaml, msgpack and pickle, and of every compression, made by Python's Kombu.

    pip install -r interop/requirements.txt
    python interop/golden_codecs.py write    # makes crates/kombu-core/tests/golden/codecs_python.json
    KOMBU_BLESS=1 cargo test -p kombu-core --all-features --test golden    # makes golden/codecs_rust.json
    python interop/golden_codecs.py check    # Kombu reads codecs_rust.json; compares the values

`cargo test` reads what Python wrote, and holds what Rust writes equal to codecs_rust.json.
"""

import base64
import collections
import datetime
import decimal
import json
import pathlib
import pickle
import sys
import uuid
import zoneinfo

import kombu
import msgpack
import yaml
from kombu import compression, serialization

from values import to_json

GOLDEN = pathlib.Path(__file__).parent.parent / "crates/kombu-core/tests/golden"

UTC = datetime.timezone.utc
INDIA = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
ODD = datetime.timezone(-datetime.timedelta(hours=3, seconds=1, microseconds=2))

# What every one of the three has a form for.
PLAIN = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "ints": [1, -1, 127, 128, 255, 256, 65535, 65536, -32, -33, -128, -129, -32768, -32769, 2**31 - 1, 2**31, -(2**31) - 1],
    "int_min": -(2**63),
    "int_max": 2**63 - 1,
    "uint_max": 2**64 - 1,
    "floats": [0.0, -0.0, 0.1, -2.5, 1e16, 1e22, 1e-7, 5e-324, 1.7976931348623157e308, 123456789.125],
    "not_finite": [float("nan"), float("inf"), float("-inf")],
    "empty_text": "",
    "text": "grüße 你好 \U0001f600",
    "texts": [
        "a", "two words", "yes", "No", "on", "~", "null", "=", "<<", "1", "1.5", "0x1f", "012", "1:30", "2020-01-02", ".inf",
        "- a", "a: b", "a #b", "#a", "'", '"', "a'b\"c\\d", "[", "{", "&a", "*a", "!a", "|", ">", "%", "@", "`", "?", "-", ":", ",",
        " lead", "trail ", "line\nbreak", "\n", "\ttab", "cr\rlf\r\n", "\0\x1f\x7f\x85\u2028\ufeff", "very " * 40, "---", "...",
    ],
    "long_text": "x" * 300,
    "bytes": b"\x00\xff\xfe",
    "empty_bytes": b"",
    "long_bytes": bytes(range(256)) * 3,
    "empty_list": [],
    "list": [1, "two", [3.0, None, []], {}],
    "long_list": list(range(300)),
    "dict": {"b": 1, "a": {"": [], "ключ": False}, "yes": {"no": [{"x": 1, "y": [2]}]}},
    "long_dict": {f"key {number}": number for number in range(40)},
    "long_key": {"k" * 2000: 1},
    "tags": {"__type__": "date", "__value__": "2020-01-02"},
}
# Dates and times, which msgpack has none of.
DATED = {
    "date": datetime.date(2020, 2, 29),
    "datetime": datetime.datetime(2020, 1, 2, 3, 4, 5, 6),
    "datetime_whole": datetime.datetime(1999, 12, 31, 23, 59, 59),
    "datetime_utc": datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
    "datetime_offset": datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=INDIA),
    "dates": {"in": [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]},
}
SHARED = [{"shared": "part", "list": [1, 2]}] * 3
# What one of them has a form for.
OWN = {
    "yaml": {
        "set": {1, 2, 30},
        "text_set": {"a"},
        "tuple_keys": {7: "int", 2.5: "float", True: "true", None: "null", datetime.date(2020, 1, 2): "date"},
        "big": [2**64, -(2**63) - 1, 2**200],
        "shared": SHARED,
    },
    "msgpack": {"shared": SHARED, "tuple": (1, (2,)), "bytearray": bytearray(b"\x00\xff"), "longest_text": "x" * 66_000},
    "pickle": {
        "big": [2**64, -(2**63) - 1, 2**200, -(2**127), 2**127, 10**1000],
        "tuple": (1, (2, 3), (4, 5, 6), (7, 8, 9, 10), ()),
        "set": {1, 2, 30},
        "frozenset": frozenset([7]),
        "empty_sets": [set(), frozenset()],
        "bytearray": bytearray(b"\x00\xff"),
        "empty_bytearray": bytearray(),
        "decimal": decimal.Decimal("1.20"),
        "decimals": [decimal.Decimal("-1E+5"), decimal.Decimal("Infinity"), decimal.Decimal("NaN")],
        "uuid": uuid.UUID(int=5),
        "uuids": [uuid.UUID(int=2**127), uuid.UUID("6f4ed3f2-43a5-4a8c-8d2e-0a3b6d6c1f10")],
        "time": datetime.time(1, 2),
        "times": [datetime.time(1, 2, 3, 4, tzinfo=INDIA), datetime.time(23, 59, 59, 999999), datetime.time(1, 2, fold=1)],
        "datetime_odd": datetime.datetime(2020, 1, 2, tzinfo=ODD),
        "datetime_fold": datetime.datetime(2020, 10, 25, 2, 30, fold=1),
        "datetime_zone": datetime.datetime(2020, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC")),
        "ordered_dict": collections.OrderedDict([("b", 1), ("a", 2)]),
        "default_dict": collections.defaultdict(list, {"a": [1]}),
        "counter": collections.Counter("aab"),
        "deque": collections.deque([1, "b"]),
        "deque_bounded": collections.deque([1, 2], maxlen=2),
        "number_keys": {7: "int", 2.5: "float", True: "true", None: "null"},
        "celery": (("a", 1), {"eta": datetime.datetime(2020, 1, 2, tzinfo=UTC)}, {"callbacks": None, "chain": []}),
        "shared": SHARED,
        "surrogate": "\ud800",
        "escapes": "a\\b\nc\u2028\U0001f600\r\x1a\0",
    },
}
# What Rust writes, beyond what it reads back from Python, and what Python reads of it.
MORE_FROM_RUST = {
    ("yaml", "timestamp"): datetime.datetime(2020, 2, 29, tzinfo=UTC),
    ("msgpack", "timestamp"): msgpack.Timestamp(1_582_934_400),
    ("msgpack", "timestamps"): [msgpack.Timestamp(-1), msgpack.Timestamp(2**33), msgpack.Timestamp(2**40)],
    ("pickle", "timestamp"): datetime.datetime(2020, 2, 29, tzinfo=UTC),
}

# Recorded is what the safe loader makes of them, or that it refuses.
YAML_TEXTS = [
    "", "~", "null", "Null", "NULL", "nUll", "# nothing", "--- \n...\n",
    *"yes Yes YES yEs no No NO true True TRUE tRUE false False FALSE on On ON off Off OFF y n Y N".split(),
    *"0 -0 +0 7 -7 +7 007 010 -010 08 0o10 0b101 -0b1 0b 0b2 0x1F 0xg 0x -0xff 1_000 1__0 _1 1_ 0_7 0b_ 0x_ 1:30 -1:30 1:60 1:3:5 0:30 190:20:30".split(),
    "18446744073709551615", "18446744073709551616", "-9223372036854775809", "0x1ffffffffffffffff", "0777777777777777777777777",
    *"0.5 .5 5. 1e5 1.e5 1.0e5 1.0e+5 1.0E-5 -1.5 +1.5 1_0.5 1.5_0 ._5 .5_ 1:30.5 -1:30.5 1:30. .inf -.inf +.INF .Inf .iNf .nan .NaN -.nan 1.0e+400 . 1.2.3 +.5 -.5".split(),
    "2020-01-02", "2020-1-2", "2020-13-02", "2021-02-29", "2020-01-02T03:04:05", "2020-01-02 03:04:05.000006", "2020-01-02t3:04:05Z",
    "2020-01-02 03:04:05 +5:30", "2020-01-02 03:04:05-05", "2020-01-02  03:04:05.1234567 Z", "2020-01-02T03:04", "2020-01-02 03:04:05.",
    "2020-01-02 24:00:00", "2020-01-02 03:04:61", "2020-01-02 03:04:05+99:00", "2020-1-2 3:04:05", "0000-01-01", "2020-01-02 03:04:05+00:00", "2020-01-02 03:04:05-00:30",
    "=", "<<", "[=]", "{=: 1}", "{<<: 1}", "[<<]", '"<<"', "{'<<': {a: 1}}",
    "'yes'", '"1"', "! 12", "! yes", "!!str 12", "!!str yes", "!!str", "!!int '12'", "!!int 12.5", "!!int a", "!!int", "!!float 12", "!!float '1:30'", "!!float a", "!!bool yes", "!!bool 'off'", "!!bool a", "!!bool 1",
    "!!null ''", "!!null a", "!!timestamp 2020-01-02", "!!timestamp '2020-01-02 03:04:05'", "!!timestamp a", "!!binary /w==", "!!binary |\n  /w\n  ==\n", "!!binary '?'", "!!binary A", "!!binary é",
    "!!seq [1]", "!!map {a: 1}", "!!seq {a: 1}", "!!map [1]", "!!str [1]", "!!int {a: 1}", "!!set {a, b}", "!!set [a]", "!!set\n? 1\n? x\n", "!!set {}", "!!set {[a]: }",
    "!!omap [a: 1, b: 2]", "!!omap [a: 1, a: 2]", "!!omap [{a: 1, b: 2}]", "!!omap [1]", "!!omap {a: 1}", "!!omap []", "!!omap [[a]: 1]", "!!pairs [a: 1, a: 2]", "!!pairs\n- 1: 2\n- [x]: 3\n",
    "!point {x: 1}", "!!python/object/apply:os.system ['true']", "!!python/tuple [1]", "!!python/name:os.system", "!<tag:yaml.org,2002:int> 12", "!<tag:yaml.org,2002:str> 12", "%TAG ! tag:yaml.org,2002:\n---\n!int '12'", "%TAG !y! tag:yaml.org,2002:\n---\n!y!str 12", "!x!int 1", "%YAML 1.1\n---\nyes", "%YAML 1.2\n---\nyes", "%YAML 2.0\n---\nyes",
    "a: 1\nb: 2", "a: 1\na: 2", "- 1\n- 2", "- - 1\n  - 2\n- a: 1\n  b:\n  - c", "a:\n- 1\n- 2", "? a\n: b", "? [a]\n: b", "? {a: 1}\n: b", "? |\n  a\n: b", "{a, b: 1}", "[a, b: 1]", "{a: }", "{: a}", "[,]", "[1,]", "{a: 1,}", "a:b", "a: b: c", "'a'b", "a : 1", "a:\n  b:\n c: 1",
    "1: a\n2.5: b\nyes: c\n~: d\n2020-01-02: e\n", "!!binary YQ==: 1", "{1: a, 1: b}",
    "&a 1", "[&a 1, *a]", "[&a [1, 2], *a, *a]", "{a: &x {k: v}, b: *x}", "*a", "&a [*a]", "&a {a: *a}", "[&a 1, &a 2, *a]", "&a", "&a &b 1", "{&a a: 1, b: *a}",
    "{a: 1, <<: {a: 2, b: 3}}", "{<<: {a: 2, b: 3}, a: 1}", "{<<: [{a: 1}, {a: 2, b: 3}], c: 4}", "{<<: [1]}", "{<<: ~}", "{<<: []}", "{<<: {<<: {a: 1}, b: 2}}", "{<<: {a: 1}, <<: {a: 2, b: 3}}", "{<<: [{a: 1}], <<: {a: 2}}",
    "base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\ntwo:\n  <<: [*b, {z: 9}]\n", "{<<: {1: a}, 1: b}", "- &b {x: 1}\n- !!set {<<: *b, c}\n",
    "|\n a\n  b\n\n c\n", "|-\n a\n", "|+\n a\n\n", ">\n a\n b\n\n c\n", ">-\n a\n b\n", "|2\n   a\n", "a: |\n  x\n  y\nb: >\n  x\n  y\n", "- |\n a\n-  b\n", "'a\n  b\n\n  c'", '"a\n  b\n\n  c"', '"a\\\n  b"', "a\nb\n\nc", "a: b\n  c",
    '"\\x41\\u00e9\\U0001F600\\n\\t\\0\\a\\e\\_\\N\\L\\P\\/\\ \\"\\\\"', '"\\q"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\xg0"', "'it''s'", "'", '"', '"a', "a\tb", "\ta", "a:\t1", "\x00", "\x07", "a\x7fb", "\ufeffa", "é", "\U0001f600", "a\u2028b", "a\x85b", "\uffff",
    "--- a\n--- b\n", "--- a\n...\n", "a\n...\nb\n", "...\n", "---\n", "--- |\n a\n", "a # comment", "a#b", "[a #c\n, b]", "@a", "`a`", "%a", "-", "- ", "-a", "?", "? ", ":", ": ", ":a", "]", "}", ",", "[", "{", "{a", "[a: b: c]", "!", "&", "*", "!!",
    "[a, [b, [c, {d: [e]}]]]", "a: !!str\nb: 1", "- !!int 1\n- !!str 1", "key: 'a: b'", "url: http://x:80/y?z#w", "t: 12:30:45", "v: 1.2.3", "m: 10:20", "p: 0.1.0", "c: a,b", "{a: b, c: d,e: f}", "[a,b]", "x: -", "x: - 1", "x: [\n1,\n2\n]", "{\n  \"a\": 1,\n  \"b\": [true, null]\n}", "x: 'multi\n\n  line'", "{\"a\":1}", "{a:1}", "{'a':1}", "[\"a\":1]", "a: >2\n\n   x\n y",
]

MSGPACK_BYTES = [
    "c0", "c1", "c2", "c3", "00", "7f", "e0", "ff", "cc80", "cd0100", "ce00010000", "cfffffffffffffffff", "d080", "d18000", "d280000000", "d38000000000000000",
    "ca3fc00000", "cb3ff8000000000000", "a161", "a1ff", "d90161", "da000161", "db0000000161", "c401ff", "c50001ff", "c600000001ff", "90", "9101", "dc000101", "dd0000000101",
    "80", "81a16101", "de0001a16101", "df00000001a16101", "82a16101a16102", "81c4016101", "8190c0",
    "d6ff00000001", "d7ff0000000000000001", "d7ff000003e800000001", "c70cff00000000ffffffffffffffff", "c70cff000003e80000000000000001", "c703ff000000", "d401ff", "d5ff0000", "c70005", "d7ffffffffff00000000",
    "a2", "a261", "91", "dc0002", "ddffffffff", "dfffffffff", "dbffffffff", "c6ffffffff", "c9ffffffff01", "9101c0", "0000", "d9", "cd01", "cb00",
]

# Pickles that are no plain data, or no pickles; none may do more than fail.
class Attack:
    """Calls a function when Python reads it."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


class Plain:
    """An instance of a class of somebody's own."""


def refused_pickles():
    """The pickles by name."""
    import os

    itself = []
    itself.append(itself)
    hostile = {
        "system": pickle.dumps(Attack(os.system, "exit 1")),
        "eval": pickle.dumps(Attack(eval, "1/0")),
        "getattr": pickle.dumps(Attack(getattr, "", "upper")),
        "import": pickle.dumps(Attack(__import__, "os")),
        "class": pickle.dumps(Plain()),
        "class_itself": pickle.dumps(datetime.datetime),
        "type": pickle.dumps(int),
        "complex": pickle.dumps(1j),
        "range": pickle.dumps(range(3)),
        "slice": pickle.dumps(slice(1)),
        "ellipsis": pickle.dumps(...),
        "exception": pickle.dumps(ValueError("x")),
        "timedelta": pickle.dumps(datetime.timedelta(1)),
        "timezone": pickle.dumps(UTC),
        "zone": pickle.dumps(datetime.datetime(2020, 1, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Amsterdam"))),
        "itself": pickle.dumps(itself),
        "tuple_key": pickle.dumps({(1, 2): 3}),
        "nested": pickle.dumps(nested(200)),
    }
    for protocol in range(6):
        hostile[f"system_{protocol}"] = pickle.dumps(Attack(os.system, "exit 1"), protocol)
        hostile[f"class_{protocol}"] = pickle.dumps(Plain(), protocol)
    return hostile


def nested(depth):
    """A list in a list in a list."""
    value = []
    for _ in range(depth):
        value = [value]
    return value


COMPRESSIONS = {"brotli": "brotli", "bzip2": "bzip2", "gzip": "zlib", "xz": "lzma", "zstd": "zstandard"}
COMPRESSED = {
    "empty": b"",
    "short": b"hello",
    "long": b'{"id": 1, "name": "clip.mp4"}' * 200,
    "random": bytes((n * n * 7919 >> 5) & 255 for n in range(5000)),
}


def plain(value):
    """What a Rust program reads in place of a Python value."""
    if isinstance(value, str):
        # No text of Rust's can hold half of a surrogate pair.
        return "".join("\ufffd" if 0xD800 <= ord(letter) < 0xE000 else letter for letter in value)
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return decimal.Decimal(value)
    if isinstance(value, dict):
        return {key_text(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return [plain(item) for item in sorted(value, key=str)]
    if isinstance(value, msgpack.ExtType):
        raise TypeError("Rust refuses extensions")
    if isinstance(value, (list, tuple, collections.deque)):
        return [plain(item) for item in value]
    if isinstance(value, (datetime.datetime, datetime.time)):
        return value.replace(fold=0)
    if isinstance(value, msgpack.Timestamp):
        return value.to_datetime() if value.nanoseconds else {"timestamp": value.seconds}
    return bytes(value) if isinstance(value, bytearray) else value


def key_text(key):
    """The name that a key of a dict becomes."""
    if isinstance(key, str):
        return plain(key)
    if isinstance(key, bytes):
        raise TypeError("Rust refuses a key of bytes")
    if isinstance(key, (bool, int, float)) or key is None:
        return json.dumps(key)
    if isinstance(key, datetime.date):
        return key.isoformat()
    raise TypeError(f"no name for {key!r}")


def notation(value):
    """A value in the notation of values.py, as the Rust test writes it too."""
    return to_json(plain(value))


def encoded(data):
    return base64.b64encode(data).decode()


def cases():
    """Every value with its serializer and name."""
    for serializer, own in OWN.items():
        values = {**PLAIN, **own}
        if serializer != "msgpack":
            values |= DATED
        for name, value in values.items():
            yield serializer, name, value


def bodies():
    """The bodies that Kombu writes; of pickle, those of each protocol, which has its number behind the name."""
    for serializer, name, value in cases():
        content_type, content_encoding, body = serialization.dumps(value, serializer)
        body = body.encode() if isinstance(body, str) else body
        yield serializer, name, value, content_type, content_encoding, body
        if serializer == "pickle":
            for protocol in range(6):
                yield serializer, f"{name} ({protocol})", value, content_type, content_encoding, pickle.dumps(value, protocol)


def judged(read):
    """What reading gives, or that it fails."""
    try:
        return {"reads": notation(read())}
    except Exception as error:
        return {"error": type(error).__name__}


def write():
    document = {
        "kombu": kombu.__version__,
        "bodies": [
            {
                "serializer": serializer, "name": name, "content_type": content_type, "content_encoding": content_encoding,
                "body": encoded(body), **({} if name.endswith(")") else {"value": notation(value)}),
            }
            for serializer, name, value, content_type, content_encoding, body in bodies()
        ],
        "yaml": [{"text": text, **judged(lambda: yaml.safe_load(text.encode()))} for text in YAML_TEXTS],
        "msgpack": [{"hex": text, **judged(lambda: read_msgpack(text))} for text in MSGPACK_BYTES],
        "refused": [{"name": name, "body": encoded(body)} for name, body in refused_pickles().items()],
        "compressed": [
            {"method": method, "name": name, "plain": encoded(data), "content_type": content_type, "body": encoded(body)}
            for method, alias in COMPRESSIONS.items()
            for name, data in COMPRESSED.items()
            for body, content_type in [compression.compress(data, alias)]
        ],
    }
    (GOLDEN / "codecs_python.json").write_text(json.dumps(document).replace('}, {"', '},\n{"') + "\n")


def read_msgpack(text):
    """As Kombu reads it."""
    return serialization.loads(bytes.fromhex(text), "application/x-msgpack", "binary", accept={"application/x-msgpack"})


def check():
    golden = json.loads((GOLDEN / "codecs_rust.json").read_text())
    accept = {"application/x-yaml", "application/x-msgpack", "application/x-python-serialize"}
    expected = {(serializer, name): value for serializer, name, value in cases()} | MORE_FROM_RUST
    failed = passed = 0

    def judge(what, right, read):
        nonlocal failed, passed
        if json.dumps(read) == json.dumps(right):
            passed += 1
        else:
            failed += 1
            print(f"{what}: expected {str(right)[:200]}, read {str(read)[:200]}")

    for row in golden["bodies"]:
        body = base64.b64decode(row["body"])
        value = expected.pop((row["serializer"], row["name"]))
        try:
            read = serialization.loads(body, row["content_type"], row["content_encoding"], accept=accept)
        except Exception as error:
            read = repr(error)
        judge(f"{row['serializer']} {row['name']}", ordered(notation(value)), ordered(notation(read)))
    plain_bodies = {(method, name): data for method in COMPRESSIONS for name, data in COMPRESSED.items()}
    for row in golden["compressed"]:
        try:
            read = compression.decompress(base64.b64decode(row["body"]), row["content_type"])
        except Exception as error:
            read = repr(error).encode()
        judge(f"{row['method']} {row['name']}", encoded(plain_bodies.pop((row["method"], row["name"]))), encoded(read))
    for missing in [*expected, *plain_bodies]:
        failed += 1
        print(f"{missing}: missing in codecs_rust.json")
    # As cargo's test programs end.
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed; 0 ignored")
    return failed


def ordered(value):
    """With the names of dicts in order."""
    return json.loads(json.dumps(value, sort_keys=True))


if __name__ == "__main__":
    assert kombu.__version__ == "5.7.0", kombu.__version__
    match sys.argv[1:]:
        case ["write"]:
            write()
        case ["check"]:
            sys.exit(1 if check() else 0)
        case _:
            sys.exit(__doc__)

"""Golden envelopes of kombu-virtual, made by Python's Kombu.

    pip install kombu==5.7.0
    python interop/golden_envelope.py write    # makes crates/kombu-virtual/tests/golden/envelopes.json
    python interop/golden_envelope.py check    # holds that file equal to what Kombu writes today

`cargo test -p kombu-virtual --test envelope` reads each of them, writes it anew, and holds the two equal byte by byte.
"""

import datetime
import decimal
import json
import pathlib
import sys
import uuid

import kombu
from kombu.utils import json as kombu_json

GOLDEN = pathlib.Path(__file__).parent.parent / "crates/kombu-virtual/tests/golden"

# What differs in each envelope, and is put in its place.
TAG = "00000000-0000-4000-8000-000000000000"

HEADERS = {
    "bool": True,
    "bytes": b"\xff\xfe",
    "date": datetime.date(2020, 1, 2),
    "datetime": datetime.datetime(2020, 1, 2, 3, 4, 5, 6, datetime.timezone.utc),
    "decimal": decimal.Decimal("1.20"),
    "empty": {},
    "float": 0.5,
    "int": -(2**63),
    "list": [1, None, "x", [], {"a": "b"}],
    "null": None,
    "text": "é\u2028\U0001f600\"\\/\x7f\x00\n\t\b\f\r",
    "time": datetime.time(1, 2),
    "utf8": b"ab",
    "uuid": uuid.UUID(int=1),
}

# name, channel options, keywords of Producer.publish
CASES = [
    ("plain", {}, {"body": "hi", "routing_key": "q"}),
    ("json", {}, {"body": {"a": 1}, "exchange": "e", "routing_key": "a.b"}),
    ("bytes", {}, {"body": b"\x00\xff", "routing_key": "q"}),
    ("empty", {}, {"body": "", "routing_key": "q"}),
    ("as text", {"body_encoding": None}, {"body": {"a": "h\u00e9 \"\\\n"}, "routing_key": "q"}),
    ("as tagged text", {"body_encoding": None}, {"body": "h\u00e9", "routing_key": "q"}),
    ("compressed", {}, {"body": {"a": 1}, "routing_key": "q", "headers": {"compression": "application/x-gzip"}}),
    ("transient", {}, {"body": "", "routing_key": "q", "delivery_mode": 1}),
    ("priority", {}, {"body": "", "routing_key": "q", "priority": 9}),
    (
        "properties",
        {},
        {
            "body": "",
            "routing_key": "q",
            "correlation_id": "c",
            "reply_to": "r",
            "message_id": "m",
            "type": "t",
            "user_id": "u",
            "app_id": "a",
            "cluster_id": "k",
            "timestamp": 1577934245,
            "foo": "own",
            "hops": 3,
            "expiration": 2.5,
        },
    ),
    ("headers", {}, {"body": "", "routing_key": "q", "headers": HEADERS}),
    ("names", {}, {"body": "", "exchange": "\u00e9 \"x\"", "routing_key": "\u4e16.\U0001f600"}),
]


def envelope(options, arguments):
    """What Kombu hands to a broker."""
    stored = []
    with kombu.Connection("memory://", transport_options=options) as connection:
        channel = connection.channel()
        channel._put = lambda queue, message, **_: stored.append(message)
        exchange = arguments.get("exchange", "")
        if exchange:
            kombu.Queue("q", kombu.Exchange(exchange), routing_key=arguments["routing_key"])(channel).declare()
        kombu.Producer(channel).publish(retry=False, **arguments)
    (message,) = stored
    message["properties"]["delivery_tag"] = TAG
    return kombu_json.dumps(message)


def envelopes():
    return {name: envelope(options, arguments) for name, options, arguments in CASES}


def write():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    document = {"kombu": kombu.__version__, "envelopes": envelopes()}
    (GOLDEN / "envelopes.json").write_text(json.dumps(document, indent=1) + "\n")


def check():
    stored = json.loads((GOLDEN / "envelopes.json").read_text())["envelopes"]
    written = envelopes()
    wrong = sorted(name for name in stored.keys() | written.keys() if stored.get(name) != written.get(name))
    for name in wrong:
        print(f"{name}: stored {stored.get(name)!r}, Kombu writes {written.get(name)!r}")
    passed = len(written) - len([name for name in wrong if name in written])
    print(f"test result: {'FAILED' if wrong else 'ok'}. {passed} passed; {len(wrong)} failed; 0 ignored")
    return not wrong


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write"]:
            write()
        case ["check"]:
            sys.exit(0 if check() else 1)
        case _:
            sys.exit(__doc__)

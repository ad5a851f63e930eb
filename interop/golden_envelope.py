"""Golden envelopes of kombu-virtual, made by Python's Kombu.

    pip install kombu==5.7.0
    python interop/golden_envelope.py    # makes crates/kombu-virtual/tests/golden/envelopes.json

`cargo test -p kombu-virtual --test envelope` reads each of them, writes it anew, and holds the two equal byte by byte.
"""

import datetime
import decimal
import json
import pathlib
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


def write():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    cases = {name: envelope(options, arguments) for name, options, arguments in CASES}
    document = {"kombu": kombu.__version__, "envelopes": cases}
    (GOLDEN / "envelopes.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    write()

"""Checks the peer against itself: two Python peers exchange messages over a broker.

    python check.py URL

It ends with the closing line that cargo's test programs have, and with status 1 if a case failed.
On `memory://` both peers live in this process; on `filesystem://` they share a temporary folder.
"""

import datetime
import decimal
import json
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from queue import SimpleQueue

from peer import Peer
from values import from_json, to_json

HERE = Path(__file__).parent
# Where nothing is ever published to fanout exchanges.
WITHOUT_FANOUT = ("pyro", "sqla", "sqlalchemy", "zookeeper")
# What Kombu's transports over plain stores lack, compared with AMQP.
AMQP_ONLY = {"exchange-headers", "binary-headers", "native-expiry", "ordered-requeue", "redelivered-mark"}
# What Redis lacks beside: queues of fanout exchanges keep nothing, and empty queues are none.
REDIS_LACKS = {"early-fanout", "empty-size"}


# What ZooKeeper lacks beside: fanout; and asking for the size of a queue fails.
ZOOKEEPER_LACKS = {"early-fanout", "empty-size"}
# What Pyro lacks beside: fanout; and emptying a queue fails.
PYRO_LACKS = {"early-fanout", "empty-size"}
# What SQL lacks beside: fanout.
SQL_LACKS = {"early-fanout"}
# What MongoDB lacks beside: queues of fanout exchanges miss what comes while others have messages.
MONGODB_LACKS = {"early-fanout"}
# Where exchanges and bindings are those of a process, so that senders must declare the queues, too.
LOCAL_TABLES = ("pyro", "sqla", "sqlalchemy", "zookeeper")


class Failed(Exception):
    """An answer was an error, or not the expected one."""


class Subprocess:
    """A peer in a process of its own."""

    def __init__(self, url, options):
        arguments = [f"--option={name}={json.dumps(value)}" for name, value in options.items()]
        self.process = subprocess.Popen(
            [sys.executable, HERE / "peer.py", url, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, request):
        """Hands a request over without waiting for its answer."""
        print(json.dumps(request), file=self.process.stdin, flush=True)

    def receive(self):
        """Waits for the next answer."""
        line = self.process.stdout.readline()
        if not line:
            raise Failed("the peer has ended")
        return json.loads(line)

    def close(self):
        """Ends the peer."""
        self.process.stdin.close()
        self.process.wait(timeout=30)


class InProcess:
    """A peer in this process, for a broker that is nowhere else."""

    def __init__(self, url, options):
        self.peer = Peer(url, options)
        self.answers = SimpleQueue()

    def send(self, request):
        """Hands a request over without waiting for its answer."""
        request = json.loads(json.dumps(request))
        threading.Thread(target=lambda: self.answers.put(self.peer.handle(request)), daemon=True).start()

    def receive(self):
        """Waits for the next answer."""
        return json.loads(json.dumps(self.answers.get(timeout=60)))

    def close(self):
        """Ends the peer."""
        self.peer.connection.close()


class Client:
    """Asks a peer with Python values."""

    def __init__(self, peer):
        self.peer = peer

    def send(self, what, **arguments):
        """Hands a request over without waiting for its answer."""
        self.peer.send({"do": what, **{key: to_json(value) for key, value in arguments.items()}})

    def receive(self):
        """Waits for the next answer."""
        answer = self.peer.receive()
        if "error" in answer:
            raise Failed(f"{answer['error']['type']}: {answer['error']['message']}")
        return from_json(answer["ok"])

    def ask(self, what, **arguments):
        """Hands a request over and waits for its answer."""
        self.send(what, **arguments)
        return self.receive()


def expect(actual, expected):
    """Fails unless two values are equal and of the same type."""
    if actual != expected or type(actual) is not type(expected):
        raise Failed(f"{actual!r} instead of {expected!r}")


def unique(name):
    """A name that no other run uses."""
    return f"check-{name}-{uuid.uuid4().hex[:8]}"


class Cases:
    """What is checked; a method's docstring ends with what its transport must have, in brackets."""

    def __init__(self, sender, receiver, local_tables):
        self.sender = sender
        self.receiver = receiver
        self.local_tables = local_tables

    def exchange(self, kind, bindings):
        """Declares an exchange with one queue per binding; returns its name and those of the queues."""
        exchange = {"name": unique(kind), "type": kind}
        queues = [
            {"name": unique(kind), "exchange": exchange, "routing_key": key, "binding_arguments": arguments}
            for key, arguments in bindings
        ]
        self.receiver.ask("declare", queues=queues)
        if self.local_tables:
            self.sender.ask("declare", queues=queues)
        return exchange, [queue["name"] for queue in queues]

    def bodies(self, queue, count, timeout=10):
        """Receives and returns bodies in an order that does not depend on their arrival."""
        received = self.receiver.ask("consume", queues=[queue], count=count, timeout=timeout)
        return sorted(message["body"] for message in received)

    def round_trip(self, body, accept=None, **options):
        """Sends one body through a queue and returns the message that comes out."""
        queue = unique("queue")
        self.receiver.ask("declare", queues=[{"name": queue}])
        self.sender.ask("publish", body=body, routing_key=queue, **options)
        accepted = {} if accept is None else {"accept": accept}
        received = self.receiver.ask("consume", queues=[queue], **accepted)
        self.receiver.ask("delete", queues=[queue])
        expect(len(received), 1)
        return received[0]

    def exchange_direct(self):
        """A direct exchange delivers by equal keys."""
        exchange, (one, two) = self.exchange("direct", [("one", None), ("two", None)])
        for key in ("one", "two", "three"):
            self.sender.ask("publish", body=key, exchange=exchange, routing_key=key)
        expect(self.bodies(one, 1), ["one"])
        expect(self.bodies(two, 1), ["two"])
        expect(self.receiver.ask("get", queue=one), None)

    def exchange_topic(self):
        """A topic exchange delivers by patterns."""
        exchange, (star, hash_) = self.exchange("topic", [("*.error", None), ("disk.#", None)])
        for key in ("disk.error", "disk.full.error", "net.error"):
            self.sender.ask("publish", body=key, exchange=exchange, routing_key=key)
        expect(self.bodies(star, 2), ["disk.error", "net.error"])
        expect(self.bodies(hash_, 2), ["disk.error", "disk.full.error"])

    def exchange_fanout(self):
        """A fanout exchange delivers to every queue. [early-fanout]"""
        exchange, queues = self.exchange("fanout", [("", None), ("", None)])
        self.sender.ask("publish", body="all", exchange=exchange)
        for queue in queues:
            expect(self.bodies(queue, 1), ["all"])

    def exchange_headers(self):
        """A headers exchange delivers by headers. [exchange-headers]"""
        both = {"x-match": "all", "a": 1, "b": "x"}
        either = {"x-match": "any", "a": 1, "b": "x"}
        exchange, (strict, loose) = self.exchange("headers", [("", both), ("", either)])
        self.sender.ask("publish", body="a", exchange=exchange, headers={"a": 1})
        self.sender.ask("publish", body="ab", exchange=exchange, headers={"a": 1, "b": "x"})
        expect(self.bodies(strict, 1), ["ab"])
        expect(self.bodies(loose, 2), ["a", "ab"])

    def headers(self):
        """Headers arrive with their values and types."""
        headers = {
            "text": "é",
            "int": 7,
            "negative": -5_000_000_000,
            "big": 5_000_000_000,
            "float": 1.5,
            "true": True,
            "none": None,
            "nested": {"list": [1, "two", {"three": 3}]},
            "uuid": str(uuid.uuid4()),
        }
        received = self.round_trip("x", headers=headers)["headers"]
        expect({key: received[key] for key in headers}, headers)

    def headers_binary(self):
        """Headers may be bytes, times and decimals. [binary-headers]"""
        headers = {
            "bytes": b"\xff\xfe",
            "decimal": decimal.Decimal("1.50"),
            "datetime": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        }
        received = self.round_trip("x", headers=headers)["headers"]
        expect(bytes(received["bytes"]), headers["bytes"])
        expect(received["decimal"], headers["decimal"])
        expect(received["datetime"].replace(tzinfo=datetime.timezone.utc), headers["datetime"])

    def properties(self):
        """Priority, delivery mode and identifiers arrive."""
        message = self.round_trip(
            "x", priority=3, delivery_mode=1, correlation_id="c", reply_to="r", message_id="m"
        )
        properties = message["properties"]
        expect(properties["priority"], 3)
        expect(properties["delivery_mode"], 1)
        expect(properties["correlation_id"], "c")
        expect(properties["reply_to"], "r")

    def expiration(self):
        """A message that has expired does not arrive. [native-expiry]"""
        queue = unique("expiry")
        self.receiver.ask("declare", queues=[{"name": queue}])
        self.sender.ask("publish", body="old", routing_key=queue, expiration=0.05)
        deadline = time.monotonic() + 10
        while self.receiver.ask("size", queue=queue) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.sender.ask("publish", body="new", routing_key=queue, expiration=60)
        (message,) = self.receiver.ask("consume", queues=[queue])
        expect(message["body"], "new")
        expect(message["properties"]["expiration"], "60000")

    def compression(self):
        """A compressed body arrives as it was."""
        message = self.round_trip({"long": "x" * 1000}, compression="zlib")
        expect(message["body"], {"long": "x" * 1000})
        expect(message["headers"]["compression"], "application/x-gzip")

    def serializers(self):
        """Every serializer and every compression work together."""
        body = {"text": "grüße \U0001f600", "numbers": [0, -1, 1.5, 2**63 - 1], "none": None, "bytes": b"\x00\xff"}
        bodies = {"json": body, "msgpack": body, "pickle": body, "yaml": body, "raw": b"\x00\xff", None: "grüße"}
        accept = ["json", "msgpack", "pickle", "yaml", "text/plain"]
        for serializer, body in bodies.items():
            for compression in (None, "brotli", "bzip2", "gzip", "lzma", "zstd"):
                message = self.round_trip(body, accept=accept, serializer=serializer, compression=compression)
                expect(message["body"], body)

    def json_types(self):
        """JSON bodies carry more than JSON's types."""
        body = {
            "datetime": datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc),
            "naive": datetime.datetime(2026, 1, 2, 3, 4, 5),
            "date": datetime.date(2026, 1, 2),
            "time": datetime.time(3, 4, 5),
            "decimal": decimal.Decimal("12.340"),
            "uuid": uuid.uuid4(),
            "text bytes": b"text",
            "bytes": b"\xff\xfe\x00",
            "nested": [{"date": datetime.date(2026, 1, 2)}],
        }
        expect(self.round_trip(body)["body"], body)

    def text(self):
        """A text without a serializer arrives as text."""
        message = self.round_trip("grüße", content_type="text/plain", content_encoding="utf-8")
        expect(message["content_type"], "text/plain")
        expect(message["body"], "grüße")

    def raw(self):
        """Bytes arrive as they were."""
        message = self.round_trip(b"\x00\xff", content_type="application/data", content_encoding="binary")
        expect(bytes(message["body"]), b"\x00\xff")

    def not_accepted(self):
        """A body of a kind that is not accepted is shown as an error."""
        queue = unique("refused")
        self.receiver.ask("declare", queues=[{"name": queue}])
        self.sender.ask("publish", body={"a": 1}, routing_key=queue, serializer="yaml")
        (message,) = self.receiver.ask("consume", queues=[queue])
        expect(message["error"]["type"], "ContentDisallowed")

    def requeue(self):
        """A message that was put back comes again."""
        queue = unique("requeue")
        self.receiver.ask("declare", queues=[{"name": queue}])
        self.sender.ask("publish", body="again", routing_key=queue)
        received = self.receiver.ask("consume", queues=[queue], count=2, settle=["requeue", "ack"], prefetch=1)
        expect([message["body"] for message in received], ["again", "again"])

    def redelivered(self):
        """A message that was put back is marked when it comes again. [redelivered-mark]"""
        queue = unique("redelivered")
        self.receiver.ask("declare", queues=[{"name": queue}])
        self.sender.ask("publish", body="again", routing_key=queue)
        received = self.receiver.ask("consume", queues=[queue], count=2, settle=["requeue", "ack"], prefetch=1)
        expect([message["redelivered"] for message in received], [False, True])

    def hold(self):
        """Held messages are settled later, one by one; rejected ones are gone."""
        queue = unique("hold")
        self.receiver.ask("declare", queues=[{"name": queue}])
        self.sender.ask("publish", body="x", routing_key=queue, count=3)
        tags = [self.receiver.ask("get", queue=queue)["tag"] for _ in range(3)]
        self.receiver.ask("settle", tags=tags[:1], how="ack")
        self.receiver.ask("settle", tags=tags[1:2], how="reject")
        self.receiver.ask("settle", tags=tags[2:], how="requeue")
        expect(self.bodies(queue, 2, timeout=1), ["x"])

    def order(self):
        """A message that was put back comes before later ones. [ordered-requeue]"""
        queue = unique("order")
        self.receiver.ask("declare", queues=[{"name": queue}])
        for body in ("one", "two"):
            self.sender.ask("publish", body=body, routing_key=queue)
        tag = self.receiver.ask("get", queue=queue)["tag"]
        self.receiver.ask("settle", tags=[tag], how="requeue")
        expect(self.receiver.ask("get", queue=queue, no_ack=True)["body"], "one")

    def reply(self):
        """A request is answered to its sender."""
        queue = unique("requests")
        self.receiver.ask("declare", queues=[{"name": queue}])
        self.receiver.send("serve", queue=queue)
        reply = self.sender.ask("call", body={"n": 1}, routing_key=queue)
        expect(reply["body"], {"echo": {"n": 1}})
        (request,) = self.receiver.receive()
        expect(request["properties"]["correlation_id"], reply["properties"]["correlation_id"])

    def replies(self):
        """Many replies are collected in one queue."""
        queue = unique("requests")
        self.receiver.ask("declare", queues=[{"name": queue}])
        self.receiver.send("serve", queue=queue, count=3)
        bodies = self.sender.ask("collect", bodies=[1, 2, 3], routing_key=queue)
        expect(sorted(body["echo"] for body in bodies), [1, 2, 3])
        expect(len(self.receiver.receive()), 3)

    def simple_queue(self):
        """A simple queue hands over what was put into it."""
        name = unique("simple")
        self.sender.ask("simple_put", name=name, bodies=["one", {"two": 2}, 3])
        received = self.receiver.ask("simple_get", name=name, count=3)
        # Not every store keeps the order of a publisher that is this fast.
        texts = sorted(json.dumps(message["body"]) for message in received)
        expect(texts, ['"one"', "3", '{"two": 2}'])
        expect({message["routing_key"] for message in received}, {name})

    def broadcast(self):
        """Who listens to a broadcast hears it. [fanout]"""
        name = unique("news")
        self.receiver.send("listen", name=name)
        heard = []
        waiting = threading.Thread(target=lambda: heard.extend(self.receiver.receive()))
        waiting.start()
        while waiting.is_alive():
            # Nobody says when it listens.
            self.sender.ask("broadcast", name=name, body="news")
            waiting.join(0.1)
        expect([message["body"] for message in heard], ["news"])

    def size_and_purge(self):
        """Queues are counted and emptied. [empty-size]"""
        queue = unique("size")
        self.receiver.ask("declare", queues=[{"name": queue}])
        self.sender.ask("publish", body="x", routing_key=queue, count=4)
        expect(self.receiver.ask("size", queue=queue), 4)
        expect(self.receiver.ask("purge", queue=queue), 4)
        expect(self.receiver.ask("size", queue=queue), 0)


def main():
    """Runs all cases."""
    (url,) = sys.argv[1:]
    scheme = url.partition(":")[0].partition("+")[0]
    options = {}
    if scheme == "filesystem" and "?" not in url:
        folder = tempfile.TemporaryDirectory(prefix="kombu-check-")
        options = {name: folder.name for name in ("data_folder_in", "data_folder_out", "control_folder")}
    peer = InProcess if scheme == "memory" else Subprocess
    lacks = set() if scheme.startswith(("amqp", "pyamqp")) else set(AMQP_ONLY)
    if scheme in WITHOUT_FANOUT:
        lacks.add("fanout")
    if scheme.startswith(("redis", "sentinel")):
        lacks |= REDIS_LACKS
    if scheme == "zookeeper":
        lacks |= ZOOKEEPER_LACKS
    if scheme == "pyro":
        lacks |= PYRO_LACKS
    if scheme in ("sqla", "sqlalchemy"):
        lacks |= SQL_LACKS
    if scheme == "mongodb":
        lacks |= MONGODB_LACKS
        # Kombu skips as many messages of an exchange as the collection has of all.
        options["broadcast_collection"] = unique("broadcast")
    sender = Client(peer(url, options))
    # It is connected when it answers: two at once would both make the collections of MongoDB, and one would fail.
    about = sender.ask("about")
    receiver = Client(peer(url, options))
    print(f"kombu {about['kombu']}, {about['driver']}, server {about['server'] or 'none'}")
    cases = Cases(sender, receiver, scheme in LOCAL_TABLES)
    passed = failed = ignored = 0
    setup = {"exchange", "bodies", "round_trip"}
    for name, method in vars(Cases).items():
        if name.startswith("_") or name in setup:
            continue
        _, _, needs = method.__doc__.rstrip("]").partition("[")
        if needs in lacks:
            ignored += 1
            print(f"test {name} ... ignored, needs {needs}")
            continue
        try:
            method(cases)
        except Exception as error:  # one case does not end the others
            failed += 1
            print(f"test {name} ... FAILED: {type(error).__name__}: {error}")
        else:
            passed += 1
            print(f"test {name} ... ok")
    sender.peer.close()
    receiver.peer.close()
    print(f"\ntest result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed; {ignored} ignored")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""A Python Kombu that does what it is told: one JSON request a line in, one JSON answer a line out.

    python peer.py URL [--option NAME=JSON]…

Options are Kombu's transport options. README.md beside this file describes requests and answers.
"""

import argparse
import json
import socket
import ssl
import sys
import time
import uuid
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import kombu
from kombu.common import Broadcast, collect_replies, send_reply
from kombu.pidbox import Mailbox
from kombu.simple import SimpleQueue
from kombu.transport import native_delayed_delivery

from values import from_json, to_json

# What a consumer decodes unless a request says otherwise.
ACCEPT = ["json", "text/plain", "application/data", "application/octet-stream"]
AMQP_SCHEMES = {"amqp", "amqps", "pyamqp", "librabbitmq"}


def connect(url, options):
    """Opens a connection; URLs may carry options that Kombu takes apart from them: TLS and login on AMQP, folders."""
    arguments = {"transport_options": options}
    parts = urlsplit(url)
    if parts.scheme in AMQP_SCHEMES:
        # A publish is answered when the broker has the message.
        options.setdefault("confirm_publish", True)
        query = dict(parse_qsl(parts.query))
        url = urlunsplit(parts._replace(query=""))
        tls = {
            name.removeprefix("ssl_"): query.pop(name)
            for name in list(query)
            if name.startswith("ssl_")
        }
        if tls:
            arguments["ssl"] = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": parts.hostname, **tls}
        arguments.update(query)
    elif parts.scheme == "filesystem":
        # Kombu takes the folders as options only.
        options.update(parse_qsl(parts.query))
        url = "filesystem://"
    elif parts.scheme.startswith(("sqla+", "sqlalchemy+")):
        # Kombu gives what it does not know to the engine, which refuses it.
        options.pop("visibility_timeout", None)
        if "mysql" in parts.scheme:
            # Kombu does not end its transactions after reading: it would see an old state for ever.
            options.setdefault("isolation_level", "READ COMMITTED")
    elif parts.scheme == "pyro":
        prepare_pyro(parts.port)
    connection = kombu.Connection(url, **arguments)
    connection.connect()
    return connection


def prepare_pyro(port):
    """Lets Kombu use a name server on another port than 9090, and see that a queue is empty: since Python 3.7 the
    exception that says so has another name than the one that Kombu knows."""
    import queue

    from kombu.transport import pyro
    from Pyro4.util import SerializerBase

    pyro.Transport.default_port = port
    SerializerBase.register_dict_to_class("_queue.Empty", lambda name, fields: queue.Empty())


class Peer:
    """One connection, one channel, and the messages that were received and not settled."""

    def __init__(self, url, options=None):
        self.connection = connect(url, options or {})
        self.channel = self.connection.channel()
        self.held = {}
        self.last_tag = 0

    def handle(self, request):
        """Does one request and returns its answer; an exception becomes an answer too."""
        answer = {"id": request.get("id")}
        try:
            action = getattr(self, "do_" + request["do"].replace("-", "_"), None)
            if action is None:
                raise ValueError(f"no request {request['do']!r}")
            arguments = {key: from_json(value) for key, value in request.items() if key not in ("id", "do")}
            answer["ok"] = to_json(action(**arguments))
        except Exception as error:  # what went wrong is the answer, whatever it was
            answer["error"] = {"type": type(error).__name__, "message": str(error)}
            self.renew_channel(error)
        return answer

    def renew_channel(self, error):
        """Opens a new channel after an error that has closed the old one."""
        if isinstance(error, self.connection.channel_errors):
            self.held.clear()
            self.channel = self.connection.channel()

    # Requests, in the order of README.md.

    def do_about(self):
        """Says what this peer is."""
        properties = getattr(self.connection.connection, "server_properties", {})
        return {
            "kombu": kombu.__version__,
            "python": sys.version.split()[0],
            "transport": self.connection.transport.driver_type,
            "driver": self.connection.transport.driver_name,
            "server": str(properties.get("version", "")),
        }

    def do_declare(self, exchanges=(), queues=()):
        """Declares exchanges, and queues with their bindings."""
        for exchange in exchanges:
            self.exchange(exchange).declare()
        for queue in queues:
            self.queue(queue).declare()

    def do_bind(self, queue, exchange, routing_key="", arguments=None):
        """Binds a queue to an exchange."""
        self.queue(queue).bind_to(exchange, routing_key=routing_key, arguments=arguments)

    def do_unbind(self, queue, exchange, routing_key="", arguments=None):
        """Removes a binding."""
        self.queue(queue).unbind_from(exchange, routing_key=routing_key, arguments=arguments)

    def do_publish(self, body, exchange=None, routing_key="", declare=(), count=1, **options):
        """Publishes a body `count` times; other keys are arguments of Kombu's `Producer.publish`.

        An exchange that is more than a name is declared first: over a plain store, Kombu knows the type of an
        exchange only where it was declared.
        """
        producer = kombu.Producer(self.channel)
        declare = [self.queue(queue) for queue in declare]
        target = self.exchange(exchange) if exchange else ""
        if isinstance(exchange, dict):
            declare.insert(0, target)
        for _ in range(count):
            if self.connection.transport.driver_type == "filesystem":
                # Kombu orders files by the millisecond: each message gets one of its own.
                time.sleep(0.002)
            producer.publish(body, exchange=target, routing_key=routing_key, declare=declare, **options)

    def do_get(self, queue, no_ack=False, accept=ACCEPT):
        """Takes one message if there is one, else answers null."""
        message = self.queue(queue).get(no_ack=no_ack, accept=accept)
        return None if message is None else self.describe(message, held=not no_ack)

    def do_consume(self, queues, count=1, timeout=10, settle="ack", prefetch=None, no_ack=False, accept=ACCEPT):
        """Receives `count` messages and settles each; answers with those that came in time.

        `settle` is ack, reject, requeue or hold; a list settles the first message by its first word, and so on.
        """
        words = settle if isinstance(settle, list) else [settle] * count
        received, last = [], []

        def receive(message):
            word = "hold" if no_ack else words[len(received)]
            received.append(self.describe(message, held=word == "hold" and not no_ack))
            if word == "hold":
                return
            if len(received) < count:
                self.settle_message(message, word)
            else:
                # Put back while this consumes, it would come to this consumer again.
                last.append((message, word))

        self.receive(queues, receive, lambda: len(received) >= count, timeout, prefetch or count, no_ack, accept)
        for message, word in last:
            self.settle_message(message, word)
        return received

    def do_settle(self, tags, how="ack"):
        """Settles held messages by their tags."""
        for tag in tags:
            self.settle_message(self.held.pop(tag), how)

    def do_recover(self):
        """Asks for all that is not settled once more."""
        self.held.clear()
        self.channel.basic_recover(requeue=True)

    def do_serve(self, queue, count=1, timeout=10):
        """Answers `count` requests with `{"echo": body}`, to their `reply_to` with their `correlation_id`."""
        producer = kombu.Producer(self.channel)
        served = []

        def answer(message):
            served.append(self.describe(message, held=False))
            send_reply("", message, {"echo": message.decode()}, producer)
            message.ack()

        self.receive([queue], answer, lambda: len(served) >= count, timeout, 1, False, ACCEPT)
        return served

    def do_call(self, body, exchange=None, routing_key="", timeout=10, serializer="json"):
        """Sends a request and answers with the reply to it, else null."""
        identity = str(uuid.uuid4())
        replies = kombu.Queue(f"reply-{identity}", exclusive=True, auto_delete=True, durable=False)(self.channel)
        replies.declare()
        kombu.Producer(self.channel).publish(
            body,
            exchange=self.exchange(exchange) if exchange else "",
            routing_key=routing_key,
            reply_to=replies.name,
            correlation_id=identity,
            serializer=serializer,
        )
        found = []

        def receive(message):
            message.ack()
            if message.properties.get("correlation_id") == identity:
                found.append(self.describe(message, held=False))

        self.receive([replies], receive, lambda: found, timeout, 1, False, ACCEPT)
        replies.delete()
        return found[0] if found else None

    def do_collect(self, bodies, routing_key, timeout=10, serializer="json"):
        """Sends requests, and answers with the bodies of as many replies."""
        replies = kombu.Queue(f"reply-{uuid.uuid4()}", exclusive=True, auto_delete=True, durable=False)(self.channel)
        replies.declare()
        for body in bodies:
            kombu.Producer(self.channel).publish(
                body,
                exchange="",
                routing_key=routing_key,
                reply_to=replies.name,
                correlation_id=str(uuid.uuid4()),
                serializer=serializer,
            )
        return list(collect_replies(self.connection, self.channel, replies, limit=len(bodies), timeout=timeout))

    def do_simple_put(self, name, bodies, **options):
        """Puts bodies into a `SimpleQueue`."""
        queue = SimpleQueue(self.channel, name)
        for body in bodies:
            queue.put(body, **options)
        queue.close()

    def do_simple_get(self, name, count=1, timeout=10):
        """Gets messages from a `SimpleQueue` and acknowledges them."""
        queue = SimpleQueue(self.channel, name)
        received = []
        for _ in range(count):
            message = queue.get(timeout=timeout)
            received.append(self.describe(message, held=False))
            message.ack()
        # What it fetched ahead is nobody's until the channel closes.
        for message in queue.buffer:
            message.requeue()
        queue.close()
        return received

    def do_broadcast(self, name, body):
        """Publishes a body to the exchange of a `Broadcast`."""
        exchange = Broadcast(name).exchange
        kombu.Producer(self.channel).publish(body, exchange=exchange, declare=[exchange])

    def do_listen(self, name, count=1, timeout=10):
        """Receives what is published to a `Broadcast`."""
        received = []

        def receive(message):
            received.append(self.describe(message, held=False))
            message.ack()

        self.receive([Broadcast(name)], receive, lambda: len(received) >= count, timeout, count, False, ACCEPT)
        return received

    def do_size(self, queue):
        """Says how many messages are ready in a queue."""
        return self.queue(queue).queue_declare(passive=True).message_count

    def do_purge(self, queue):
        """Empties a queue and says of how many messages."""
        return self.queue(queue).purge()

    def do_delete(self, exchanges=(), queues=()):
        """Deletes queues and exchanges."""
        for queue in queues:
            self.queue(queue).delete()
        for exchange in exchanges:
            self.exchange(exchange).delete()

    def do_declare_delayed(self, prefix="", queue_type="classic"):
        """Declares the exchanges and queues that hold delayed messages."""
        native_delayed_delivery.declare_native_delayed_delivery_exchanges_and_queues(
            self.connection, queue_type, prefix
        )

    def do_bind_delayed(self, queue, prefix=""):
        """Makes delayed messages reach a queue through the exchanges that it is bound to."""
        native_delayed_delivery.bind_queue_to_native_delayed_delivery_exchange(
            self.connection, self.queue(queue), prefix
        )

    def do_delayed_key(self, seconds, routing_key):
        """Says with which key to publish a message that is to be delayed."""
        return native_delayed_delivery.calculate_routing_key(seconds, routing_key)

    def do_serve_node(self, namespace, hostname, type="direct", timeout=30):
        """Is a node of a mailbox until it is told to stop; answers with the methods that were called."""
        called, stopped = [], []

        def echo(state, **arguments):
            called.append("echo")
            return {"echo": arguments}

        def fail(state):
            called.append("fail")
            raise ValueError("on purpose")

        def stop(state):
            stopped.append(True)

        def ping(state):
            return {"ok": "pong"}

        channel = self.connection.channel()
        mailbox = Mailbox(namespace, type=type, connection=self.connection)
        handlers = {"echo": echo, "fail": fail, "stop": stop, "ping": ping}
        node = mailbox.Node(hostname, state=None, channel=channel, handlers=handlers)
        consumer = node.listen(channel=channel)
        deadline = time.monotonic() + timeout
        while not stopped and time.monotonic() < deadline:
            try:
                self.connection.drain_events(timeout=0.5)
            except socket.timeout:
                pass
        consumer.cancel()
        channel.close()
        return called

    def do_ask_nodes(
        self,
        namespace,
        method,
        type="direct",
        arguments=None,
        destination=None,
        pattern=None,
        matcher=None,
        reply=True,
        timeout=5,
        limit=None,
    ):
        """Calls a method of the nodes of a mailbox; answers with their replies, one object per node."""
        mailbox = Mailbox(namespace, type=type, connection=self.connection)
        return mailbox._broadcast(
            method,
            arguments or {},
            destination=destination,
            reply=reply,
            timeout=timeout,
            limit=limit,
            pattern=pattern,
            matcher=matcher,
        )

    def do_reconnect(self):
        """Drops the connection and opens another; what was held goes back to its queues."""
        self.held.clear()
        self.connection.close()
        self.connection.connect()
        self.channel = self.connection.channel()

    # What requests are made of.

    def exchange(self, given):
        """An exchange from its name or from the arguments of Kombu's `Exchange`, bound to the channel."""
        if isinstance(given, str):
            given = {"name": given, "no_declare": True}
        return kombu.Exchange(**given)(self.channel)

    def queue(self, given):
        """A queue from its name or from the arguments of Kombu's `Queue`, bound to the channel.

        `exchange` in it is an exchange, `bindings` a list of `exchange`, `routing_key` and `arguments`.
        """
        if isinstance(given, kombu.Queue):
            return given if given.is_bound else given(self.channel)
        if isinstance(given, str):
            given = {"name": given, "no_declare": True}
        given = dict(given)
        if given.get("exchange"):
            given["exchange"] = self.exchange(given["exchange"])
        if "bindings" in given:
            given["bindings"] = [
                kombu.binding(**{**binding, "exchange": self.exchange(binding["exchange"])})
                for binding in given["bindings"]
            ]
        return kombu.Queue(**given)(self.channel)

    def receive(self, queues, callback, enough, timeout, prefetch, no_ack, accept):
        """Consumes until it is enough or the time is over."""
        deadline = time.monotonic() + timeout

        def on_message(message):
            if not enough():
                callback(message)
            elif not no_ack:
                # It came between the last one and the end of this.
                message.requeue()

        with kombu.Consumer(
            self.channel,
            [self.queue(queue) for queue in queues],
            on_message=on_message,
            prefetch_count=prefetch,
            no_ack=no_ack,
            accept=accept,
        ):
            while not enough():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                try:
                    self.connection.drain_events(timeout=min(left, 1))
                except socket.timeout:
                    self.restore()

    def restore(self):
        """Gives back what dead consumers left, as a worker's event loop does it on Redis."""
        restore = getattr(getattr(self.channel, "qos", None), "restore_visible", None)
        if restore:
            restore(interval=1)

    def describe(self, message, held):
        """A message as an answer shows it; one that is held gets a tag to settle it by."""
        described = {
            "content_type": message.content_type,
            "content_encoding": message.content_encoding,
            "headers": message.headers,
            "properties": message.properties,
            "exchange": message.delivery_info.get("exchange"),
            "routing_key": message.delivery_info.get("routing_key"),
            "redelivered": message.delivery_info.get("redelivered"),
        }
        raw = message.body
        described["raw"] = raw.encode("utf-8") if isinstance(raw, str) else raw
        try:
            described["body"] = message.decode()
        except Exception as error:  # a body that cannot be read is shown, not fatal
            described["error"] = {"type": type(error).__name__, "message": str(error)}
        if held:
            self.last_tag += 1
            self.held[self.last_tag] = message
            described["tag"] = self.last_tag
        return described

    def settle_message(self, message, how):
        """Acknowledges, rejects or requeues a message."""
        {"ack": message.ack, "reject": message.reject, "requeue": message.requeue}[how]()


def option(text):
    """Reads NAME=JSON."""
    name, _, value = text.partition("=")
    return name, json.loads(value)


def main():
    """Answers requests until there are no more."""
    parser = argparse.ArgumentParser(description="A Python Kombu that does what it is told.")
    parser.add_argument("url")
    parser.add_argument("--option", action="append", type=option, default=[], metavar="NAME=JSON")
    arguments = parser.parse_args()
    peer = Peer(arguments.url, dict(arguments.option))
    # Not `for line in sys.stdin`, which reads ahead.
    for line in iter(sys.stdin.readline, ""):
        if line.strip():
            print(json.dumps(peer.handle(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

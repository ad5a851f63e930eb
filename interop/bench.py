"""Python's Kombu as a contender of the benchmark: one JSON request a line in, one JSON answer a line out.

    python bench.py                                  # requests on standard input, see `Request` in kombu-bench
    python bench.py --resident URL QUEUE COUNT       # consumes and says how much memory that took

Everything is used as Kombu's documentation shows it. Clocks run from the connection's being open to the last
answer, and count this process's CPU only.
"""

import json
import os
import platform
import resource
import sys
import time
from urllib.parse import parse_qsl

import amqp
import kazoo
import kombu
import redis


class Clocks:
    """The clocks of a run: the wall's, this process's, the broker's."""

    def __init__(self, broker):
        self.broker = broker
        self.broker_cpu = self.cpu_of_broker()
        self.cpu = time.process_time()
        self.wall = time.perf_counter()

    def stop(self, messages, latencies=()):
        """The answer."""
        wall = time.perf_counter() - self.wall
        cpu = time.process_time() - self.cpu
        broker_cpu = self.cpu_of_broker()
        if broker_cpu is not None:
            broker_cpu -= self.broker_cpu
        return {
            "messages": messages,
            "wall": wall,
            "cpu": cpu,
            "broker_cpu": broker_cpu,
            "latencies": list(latencies),
        }

    def cpu_of_broker(self):
        """Seconds that the broker's threads have used."""
        if self.broker is None:
            return None
        nanos = 0
        for thread in os.listdir(f"/proc/{self.broker}/task"):
            try:
                with open(f"/proc/{self.broker}/task/{thread}/schedstat") as file:
                    nanos += int(file.read().split()[0])
            except FileNotFoundError:
                pass
        return nanos / 1e9


def connect(request, confirm):
    """An open connection; publishes wait for the broker's confirm, or not."""
    url, options = request["url"], {"confirm_publish": confirm}
    if url.startswith("filesystem:"):
        # Kombu takes the folders as options only.
        url, _, query = url.partition("?")
        options = dict(parse_qsl(query))
    connection = kombu.Connection(url, transport_options=options)
    connection.connect()
    return connection


def run_versions(_request):
    """What takes part."""
    return [
        ["Python", platform.python_version()],
        ["Python's Kombu", kombu.__version__],
        ["py-amqp", amqp.__version__],
        ["redis-py", redis.__version__],
        ["kazoo", kazoo.__version__],
    ]


def publisher(channel, request, values):
    """A function that publishes the body once: as a value, which Kombu serializes, or as text that is JSON already."""
    producer = kombu.Producer(channel, serializer="json")
    body, queue = request["body"], request["queue"]
    if values:
        value = json.loads(body)
        return lambda: producer.publish(value, routing_key=queue)
    return lambda: producer.publish(
        body, routing_key=queue, content_type="application/json", content_encoding="utf-8"
    )


def consumer(channel, request, values, receive):
    """A consumer that calls `receive` with each message, decoded first or not."""
    queues, prefetch = [kombu.Queue(request["queue"])], request["prefetch"]
    if values:
        callbacks = [lambda _body, message: receive(message)]
        return kombu.Consumer(channel, queues, callbacks=callbacks, prefetch_count=prefetch)
    return kombu.Consumer(channel, queues, on_message=receive, prefetch_count=prefetch)


def run_publish(request, values=False):
    """Publishes, each message confirmed before the next: the only way Kombu has."""
    with connect(request, confirm=True) as connection:
        publish = publisher(connection.channel(), request, values)
        clocks = Clocks(request["broker"])
        for _ in range(request["count"]):
            publish()
        return clocks.stop(request["count"])


def run_publish_values(request):
    """The same with values."""
    return run_publish(request, values=True)


def run_publish_batch(request):
    """Publishes in batches, each answered before the next."""
    with connect(request, confirm=True) as connection:
        producer = kombu.Producer(connection.channel(), serializer="json")
        body, queue, left = request["body"], request["queue"], request["count"]
        clocks = Clocks(request["broker"])
        while left:
            some = min(left, request["window"])
            with producer.batch(max_size=some):
                for _ in range(some):
                    producer.publish(
                        body, routing_key=queue, content_type="application/json", content_encoding="utf-8"
                    )
            left -= some
        return clocks.stop(request["count"])


def run_publish_window(request):
    """Publishes bytes through py-amqp, below Kombu, with a window of confirms."""
    with connect(request, confirm=False) as connection:
        channel = connection.channel()
        channel.confirm_select()
        up_to, beyond = 0, set()

        def confirmed(tag, multiple):
            nonlocal up_to
            if multiple:
                up_to = max(up_to, tag)
                for earlier in [earlier for earlier in beyond if earlier <= up_to]:
                    beyond.discard(earlier)
            else:
                beyond.add(tag)
            while up_to + 1 in beyond:
                up_to += 1
                beyond.discard(up_to)

        channel.events["basic_ack"].add(confirmed)
        body, queue, window = request["body"].encode(), request["queue"], request["window"]
        clocks = Clocks(request["broker"])
        for sent in range(request["count"]):
            while sent - up_to - len(beyond) >= window:
                connection.drain_events(timeout=30)
            message = amqp.Message(
                body, content_type="application/json", content_encoding="utf-8", delivery_mode=2
            )
            channel.basic_publish(message, exchange="", routing_key=queue)
        while up_to + len(beyond) < request["count"]:
            connection.drain_events(timeout=30)
        return clocks.stop(request["count"])


def run_consume(request, values=False):
    """Consumes, and acknowledges each message."""
    with connect(request, confirm=True) as connection:
        channel = connection.channel()
        received = 0

        def receive(message):
            nonlocal received
            received += 1
            message.ack()

        clocks = Clocks(request["broker"])
        with consumer(channel, request, values, receive):
            while received < request["count"]:
                connection.drain_events(timeout=30)
        channel.close()
        return clocks.stop(received)


def run_consume_values(request):
    """The same with values."""
    return run_consume(request, values=True)


def run_round_trip(request):
    """Publishes one message at a time, not confirmed, and receives it."""
    with connect(request, confirm=False) as connection:
        channel = connection.channel()
        publish = publisher(channel, request, values=False)
        received, latencies = 0, []

        def receive(message):
            nonlocal received
            received += 1
            latencies.append(time.perf_counter() - sent)
            message.ack()

        with consumer(channel, request, False, receive):
            clocks = Clocks(request["broker"])
            for number in range(request["count"]):
                sent = time.perf_counter()
                publish()
                while received <= number:
                    connection.drain_events(timeout=30)
            answer = clocks.stop(received, latencies)
        channel.close()
        return answer


def run_memory(request, values=False):
    """Publishes a few messages, consumes and acknowledges them."""
    with connect(request, confirm=False) as connection:
        channel = connection.channel()
        publish = publisher(channel, request, values)
        count, received = request["count"], 0

        def receive(message):
            nonlocal received
            received += 1
            message.ack()

        with consumer(channel, request, values, receive):
            clocks = Clocks(None)
            sent = 0
            while sent < count:
                for _ in range(min(request["window"], count - sent)):
                    publish()
                    sent += 1
                while received < sent:
                    connection.drain_events(timeout=30)
            answer = clocks.stop(received)
        channel.queue_delete(request["queue"])
        return answer


def run_memory_values(request):
    """The same with values."""
    return run_memory(request, values=True)


def resident(url, queue, count):
    """Consumes with a prefetch of 100; prints the memory that this process took at first and at most, in KiB."""
    with kombu.Connection(url) as connection:
        channel = connection.channel()
        received = 0
        with open("/proc/self/statm") as file:
            first = int(file.read().split()[1]) * resource.getpagesize() // 1024

        def receive(_body, message):
            nonlocal received
            if received < count:
                received += 1
                message.ack()

        with kombu.Consumer(channel, [kombu.Queue(queue)], callbacks=[receive], prefetch_count=100):
            while received < count:
                connection.drain_events(timeout=30)
    print(json.dumps({"first": first, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


def main():
    """Answers requests until there are no more."""
    if sys.argv[1:2] == ["--resident"]:
        url, queue, count = sys.argv[2:]
        resident(url, queue, int(count))
        return
    runs = {name.removeprefix("run_"): run for name, run in globals().items() if name.startswith("run_")}
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        try:
            answer = runs[request["run"]](request)
        except Exception as error:  # the other side says it and ends
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

"""Faults injected into a running stream: those that it recovers from, and those that end it."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import psutil
from kafka import TopicPartition
from kafka.errors import KafkaError

from lakehouse.errors import ComplaintsError
from lakehouse.spark.java_process import ENDED
from lakehouse.tables.writer_lock import BusyError
from stewardship.erase import erase_complaint
from stewardship.replay import replay
from stewardship.verification.invariants import UNPUBLISHED
from stewardship.verification.verify import verify
from streaming.batch.backlog import score_backlog
from streaming.batch.load import load_files
from streaming.kafka.topics import admin_client, consumer_of, delete_topic, ensure_topics
from tests.stream_fixtures import wait_until
from tests.streaming.service.fault_world import EXIT_SECONDS, STREAMS, Fault, World, new_file

Attempt = Callable[[], object]


def freeze(world: World, *, python: bool, java: bool) -> None:
    """Stop the processes at a random moment and resume them a few seconds later."""
    stream = world.up()
    world.send()
    world.pause(1.5)
    spark = stream.java
    assert spark is not None, stream.output[-3000:]
    frozen = [pid for pid, wanted in ((stream.popen.pid, python), (spark.pid, java)) if wanted]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(world.dice.uniform(0.5, 4))
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)


def send_oversized(world: World) -> None:
    """Send messages up to the topic's maximum size, followed by ordinary ones."""
    most = world.settings.kafka.input.max_message_bytes
    sizes = [round(world.dice.choice((0.1, 0.3, 0.6, 0.95)) * most) for _ in range(world.dice.randint(1, 3))]
    world.send_values([world.complaint(complaint_what_happened="They said no. " * (size // 14)) for size in sizes])
    world.send(30)


def send_twofold(world: World) -> None:
    """Send two objects in one message, and one message twice."""
    first, second = world.complaint(), world.complaint()
    world.send_values([first + second, first + b"\n" + second, first, first, second, second + b" "])
    world.send(30)


def write_while_streaming(world: World) -> None:
    """Check that everything else that writes the lake is refused while the stream runs."""
    file = new_file(world)
    known = world.one("SELECT complaint_id FROM gold.decisions LIMIT 1")
    attempts: tuple[Attempt, ...] = (
        lambda: load_files(world.settings, [file], lambda *_: None),
        lambda: replay(world.settings, reason=None, replacements=None),
        lambda: erase_complaint(world.settings, int(str(known)), lambda _: None),
        lambda: score_backlog(world.settings, lambda *_: None),
    )
    world.send()
    for attempt in attempts:
        with suppress(BusyError):
            attempt()
            msg = "a second process was allowed to write the lake"
            raise AssertionError(msg)


def kill_broker(world: World) -> None:
    world.send()
    world.pause(1)
    world.brokers[0].kill()
    world.pause(2)
    world.brokers[0].start()
    world.send(30)


def drop_messages(world: World) -> None:
    """Have Kafka drop all input that was read and the older half of the decisions."""
    kafka, servers = world.settings.kafka, str(world.settings.kafka.bootstrap_servers)
    world.settle()
    with consumer_of(kafka, servers) as consumer:
        ends = {
            topic.name: consumer.end_offsets(
                [TopicPartition(topic.name, n) for n in consumer.partitions_for_topic(topic.name) or ()]
            )
            for topic in (kafka.input, kafka.predictions)
        }
    gone = {**ends[kafka.input.name], **{p: end // 2 for p, end in ends[kafka.predictions.name].items()}}
    with admin_client(kafka, servers) as admin:
        admin.delete_records({position: offset for position, offset in gone.items() if offset})
    world.send()


def remake_topic(world: World) -> None:
    """Delete the input topic while it is read and create it again, so that offsets start over."""
    kafka, servers = world.settings.kafka, str(world.settings.kafka.bootstrap_servers)
    world.send()
    world.pause(1.5)
    delete_topic(kafka, servers, kafka.input.name)
    wait_until(lambda: is_gone(world), "the topic's deletion")
    wait_until(lambda: is_made(world), "the topic's creation")
    world.send(200)


def is_gone(world: World) -> bool:
    with admin_client(world.settings.kafka, str(world.settings.kafka.bootstrap_servers)) as admin:
        return world.settings.kafka.input.name not in admin.list_topics()


def is_made(world: World) -> bool:
    kafka, servers = world.settings.kafka, str(world.settings.kafka.bootstrap_servers)
    with suppress(ComplaintsError, KafkaError):
        ensure_topics(kafka, servers)
        with consumer_of(kafka, servers) as consumer:
            return bool(consumer.partitions_for_topic(kafka.input.name))
    return False


def hand_over(world: World) -> None:
    """Kill the stream and let a standby take over."""
    stream = world.up()
    standby = world.command("stream", "--standby")
    wait_until(partial(standby.says, "standing by"), "the standby")
    assert not standby.ended, standby.output[-3000:]
    world.pause(8)
    world.send()
    world.pause(1.5)
    stream.kill()
    world.stream = standby
    wait_until(partial(standby.says, STREAMS), "the standby's takeover")
    assert not standby.ended, standby.output[-3000:]


def replace_frozen(world: World) -> None:
    """Kill Python with its Spark frozen, start another stream, and resume the frozen Spark while it runs."""
    stream = world.up()
    world.send()
    world.pause(1.5)
    spark = stream.java
    assert spark is not None, stream.output[-3000:]
    os.kill(spark.pid, signal.SIGSTOP)
    stream.popen.kill()
    stream.popen.wait()
    world.stream = world.command("stream")
    time.sleep(world.dice.uniform(1, 15))
    world.send()
    with suppress(ProcessLookupError):
        os.kill(spark.pid, signal.SIGCONT)
    with suppress(psutil.TimeoutExpired):
        spark.wait(EXIT_SECONDS)
    stream.kill()


def stop(world: World) -> None:
    world.send()
    world.pause(1.5)
    world.end()


def kill_python(world: World) -> None:
    """Kill the Python process; its Spark notices some time later."""
    stream = world.up()
    world.send()
    world.pause(3)
    stream.popen.kill()
    stream.popen.wait()
    world.stream = None  # not waited for: the next fault has to cope with it


def kill_java(world: World) -> None:
    stream = world.up()
    world.send()
    world.pause(3)
    spark = stream.java
    assert spark is not None, stream.output[-3000:]
    spark.kill()
    world.wait_for_exit()
    assert ENDED in " ".join(stream.output.split()), stream.output[-3000:]
    assert "Traceback" not in stream.output, stream.output[-3000:]


def kill_all(world: World) -> None:
    stream = world.up()
    world.send()
    world.pause(3)
    stream.kill()
    world.stream = None


def change_broker(world: World) -> None:
    """Switch to another cluster whose topic has the same name and overlapping offsets."""
    world.settle()
    world.end()
    world.brokers.reverse()
    kafka = world.settings.kafka.model_copy(update={"bootstrap_servers": world.brokers[0].bootstrap_servers})
    world.settings = world.settings.model_copy(update={"kafka": kafka})
    ensure_topics(kafka, str(kafka.bootstrap_servers))
    found = {one.name: one for one in verify(world.settings, lambda _: None).invariants}
    world.unpublished = found["published"].apart.get(UNPUBLISHED, 0)
    world.send(200)
    world.up()


RUNNING: dict[str, Fault] = {
    "freeze-python": lambda world: freeze(world, python=True, java=False),
    "freeze-java": lambda world: freeze(world, python=False, java=True),
    "freeze-all": lambda world: freeze(world, python=True, java=True),
    "oversized": send_oversized,
    "twofold": send_twofold,
    "beside": write_while_streaming,
    "kill-broker": kill_broker,
    "drop-messages": drop_messages,
    "remake-topic": remake_topic,
    "hand-over": hand_over,
    "replace-frozen": replace_frozen,
}
ENDING: dict[str, Fault] = {
    "stop": stop,
    "kill-python": kill_python,
    "kill-java": kill_java,
    "kill-all": kill_all,
    "change-broker": change_broker,
}

"""What a writer is told at the level `replicated`, by a pair in virtual time."""

import asyncio
import random

import pytest

from patterns.clone.client import WriteError
from patterns.clone.levels import REPLICATED
from patterns.clone.replication import ReplicationPolicy

from .services import BACKUP, PRIMARY, contents

TIMEOUT = 0.5
REFUSING = ReplicationPolicy(timeout=TIMEOUT, refuses=True)
DEGRADING = ReplicationPolicy(timeout=TIMEOUT)


def paired(service, policy=DEGRADING):
    """A pair that keeps up, and a client that is live on it."""
    pair = service.pair(replication=policy)
    client = service.live(service.client(PRIMARY, BACKUP))
    service.loop.run_until(lambda: pair[0].protocol.statistics().in_sync)
    return (*pair, client)


def failure(service, write):
    """Why a write was not done as asked, and how long it took to say so."""
    began = service.loop.time()
    with pytest.raises(WriteError) as raised:
        service.wait(write)
    return raised.value, service.loop.time() - began


def catch_up(service, primary, backup):
    """Let the backup be heard again, and keep up."""
    service.network.heal(backup.name)
    service.loop.run_until(lambda: primary.protocol.statistics().in_sync)


def test_i16_when_it_is_done_both_servers_hold_it(service):
    _, backup, client = paired(service)
    sequence = service.wait(client.set("key", "1", ack="replicated"))
    assert contents(backup) == {b"key": b"1"}
    assert client.entry("key") == (b"1", sequence) and backup.protocol.sequence == sequence
    with pytest.raises(WriteError, match="conflict"):
        service.wait(client.create("key", "2", ack="replicated"))
    assert service.wait(client.update("key", lambda _: "3", ack="replicated")) == b"3"
    assert contents(backup) == {b"key": b"3"}
    service.wait(client.delete("key", ack="replicated"))
    assert contents(backup) == {}


def test_nobody_sees_it_before(service):
    """Whoever did could see it vanish again in a failover."""
    primary, backup, client = paired(service)
    reader = service.live(service.client(PRIMARY, BACKUP, name="reader"))
    service.vanish(backup)
    write = client.set("key", "1", ack="replicated")
    plain = client.set("other", "1")
    service.loop.advance(TIMEOUT - 0.1)
    assert contents(primary) == {b"key": b"1", b"other": b"1"}
    assert contents(client) == contents(reader) == {}
    assert not write.done() and not plain.done()  # nothing overtakes it
    late = service.client(PRIMARY, BACKUP, name="late")
    catch_up(service, primary, backup)
    service.wait(asyncio.gather(write, plain))
    service.live(late)
    assert contents(client) == contents(reader) == contents(late) == contents(backup)


def test_without_the_passive_server_it_is_applied_and_its_writer_is_told(service):
    primary, backup, client = paired(service)
    service.vanish(backup)
    error, seconds = failure(service, client.set("key", "1", ack="replicated"))
    assert (error.reason, error.key, seconds) == ("applied", b"key", pytest.approx(TIMEOUT))
    assert client.entry("key") == (b"1", error.sequence)
    error, seconds = failure(service, client.set("key", "2", ack="replicated"))
    assert (error.reason, seconds) == ("applied", 0.0)  # the next one need not wait for it
    assert service.wait(client.set("key", "3")) == primary.protocol.sequence
    catch_up(service, primary, backup)
    service.wait(client.set("key", "4", ack="replicated"))
    assert contents(backup) == {b"key": b"4"}


def test_or_it_is_refused_and_plain_writes_go_on(service):
    primary, backup, client = paired(service, REFUSING)
    service.vanish(backup)
    # Whether the passive server is gone is not known before one write has waited for it.
    assert failure(service, client.set("key", "1", ack="replicated"))[0].reason == "applied"
    error, seconds = failure(service, client.set("key", "2", ack="replicated"))
    assert (error.reason, error.sequence, seconds) == ("unreplicated", 0, 0.0)
    assert client.get("key") == b"1"
    service.wait(client.set("other", "1"))
    catch_up(service, primary, backup)
    service.wait(client.set("key", "3", ack="replicated"))
    assert contents(backup) == {b"key": b"3", b"other": b"1"}


@pytest.mark.parametrize("policy", [DEGRADING, REFUSING])
def test_writes_of_one_key_that_waited_are_told_the_same(service, policy):
    _, backup, client = paired(service, policy)
    service.vanish(backup)
    writes = [client.set("key", str(number), ack="replicated") for number in range(4)]
    errors = [failure(service, write)[0] for write in writes]
    reason = "unreplicated" if policy.refuses else "applied"
    assert [error.reason for error in errors] == ["applied", *[reason] * 3]
    assert len({error.sequence for error in errors[1:]}) == 1
    assert client.get("key") == (b"0" if policy.refuses else b"3")


def test_a_server_may_replicate_what_nobody_asked_for(service):
    """Writers that ask for nothing are told nothing: an answer is all that they expect."""
    policy = ReplicationPolicy(level=REPLICATED, timeout=TIMEOUT)
    _, backup, client = paired(service, policy)
    service.wait(client.set("key", "1"))
    assert contents(backup) == {b"key": b"1"}
    service.vanish(backup)
    write = client.set("key", "2")
    service.loop.advance(TIMEOUT - 0.1)
    assert not write.done()
    service.wait(write)
    assert contents(client) == {b"key": b"2"} and contents(backup) == {b"key": b"1"}


def test_a_server_may_refuse_what_nobody_asked_for(service):
    policy = ReplicationPolicy(level=REPLICATED, timeout=TIMEOUT, refuses=True)
    _, backup, client = paired(service, policy)
    service.vanish(backup)
    service.wait(client.set("key", "1"))  # it was applied before that was known
    assert failure(service, client.set("key", "2"))[0].reason == "unreplicated"
    assert client.get("key") == b"1"


def test_after_a_failover_the_only_server_says_that_it_is(service):
    """The write reached both, its answer nobody: a copy is answered by who holds it now."""
    primary, backup, client = paired(service)
    loss = service.network.drop(lambda frames: frames[0] == b"key", "primary.publisher")
    write = client.set("key", "1", ack="replicated")
    service.loop.run_until(lambda: loss.dropped)
    assert contents(backup) == {b"key": b"1"} and not write.done()
    service.kill(primary)
    error, _ = failure(service, write)
    assert (error.reason, client.server) == ("applied", BACKUP)
    assert client.entry("key") == (b"1", error.sequence)


def test_what_was_applied_without_the_passive_server_is_applied_by_it_too(service):
    """Its copy came from the client."""
    primary, backup, client = paired(service)
    service.network.partition("primary", "backup")
    assert failure(service, client.set("key", "1", ack="replicated"))[0].reason == "applied"
    assert contents(backup) == {}
    service.kill(primary)
    service.loop.run_until(lambda: client.server == BACKUP and client.live)
    assert contents(backup) == contents(client) == {b"key": b"1"}


def test_where_writes_are_refused_what_its_writer_was_refused_never_comes_back(service):
    """Its copy reaches the passive server, and that it was refused does not.

    So this one refuses it again when it takes over, and with it what was applied alone before.
    """
    primary, backup, client = paired(service, REFUSING)
    service.network.partition("primary", "backup")
    assert failure(service, client.set("key", "1", ack="replicated"))[0].reason == "applied"
    assert failure(service, client.set("key", "2", ack="replicated"))[0].reason == "unreplicated"
    service.wait(client.set("plain", "3"))
    service.kill(primary)
    service.loop.run_until(lambda: client.server == BACKUP and client.live)
    assert contents(backup) == contents(client) == {b"plain": b"3"}


def test_an_answer_that_is_lost_is_given_again(service):
    """The client finds its write in the next snapshot, which does not tell who else has it."""
    _, backup, client = paired(service)
    loss = service.network.drop(1, "primary.publisher", "client")
    write = client.set("key", "1", ack="replicated")
    service.loop.run_until(lambda: loss.dropped and contents(client))
    assert not write.done()
    assert service.wait(write) == backup.protocol.sequence
    assert client.statistics_of_client().sent_again == 1


@pytest.mark.parametrize("seed", range(8))
def test_i16_what_is_replicated_survives_the_death_of_the_active_server(service, seed):
    """Clients write all the time, some messages are lost, and the primary dies at some instant."""
    chance = random.Random(seed)
    primary, backup, first = paired(service)
    clients = [first, *(service.client(PRIMARY, BACKUP, name=f"client-{n}") for n in range(2))]
    for client in clients:
        service.live(client)
    service.network.drop(lambda frames: chance.random() < 0.05, "primary.publisher")
    told = {"replicated": {}, "applied": {}}

    async def write(client, key):
        for number in range(40):
            try:
                await client.set(key, str(number), ack="replicated", timeout=300.0)
                told["replicated"][key] = number
            except WriteError as error:
                told[error.reason][key] = number
            await asyncio.sleep(chance.random() / 10)

    tasks = [service.loop.create_task(write(c, b"key/%d" % n)) for n, c in enumerate(clients)]
    service.loop.advance(1.0 + chance.random())
    promised = dict(told["replicated"])
    assert len(promised) == 3 and told["applied"] == {}
    service.kill(primary)
    held = contents(backup)
    assert {key for key in promised if int(held.get(key, b"-1")) < promised[key]} == set()
    for task in tasks:
        service.wait(task, timeout=300.0)
    assert told["applied"] == dict.fromkeys(promised, 39)  # from then on one server is all there is
    assert contents(backup) == dict.fromkeys(promised, b"39")


def increment(value):
    return str(int(value or b"0") + 1)


def test_no_increment_that_was_replicated_is_lost_in_a_failover(service):
    primary, backup, client = paired(service)
    done = {"replicated": 0, "applied": 0}

    async def count():
        for _ in range(40):
            try:
                await client.update(
                    "counter", lambda value: str(int(value or 0) + 1), ack=REPLICATED
                )
                done["replicated"] += 1
            except WriteError as error:
                done[error.reason] += 1
            await asyncio.sleep(0.01)

    task = service.loop.create_task(count())
    service.loop.run_until(lambda: done["replicated"] == 20)
    service.kill(primary)
    service.wait(task)
    assert done == {"replicated": 20, "applied": 20}
    assert contents(backup) == {b"counter": b"40"}

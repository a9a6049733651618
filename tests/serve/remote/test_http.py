"""The client: connections kept and bounded, dead ones replaced, answers limited, who leaves abandons."""

import asyncio
from collections.abc import Awaitable

import pytest
from scripted import http, scripted

from modelyard.core.errors import InvalidInput
from modelyard.serve.remote.exchange import Broken, Reply, Unreached
from modelyard.serve.remote.http import Client, address_of
from support.ports import free_port


def run(scenario: Awaitable[None]) -> None:
    async def main() -> None:
        async with asyncio.timeout(120):
            await scenario

    asyncio.run(main())


def soon() -> float:
    return asyncio.get_running_loop().time() + 60.0


async def ask(client: Client, body: bytes = b"", deadline: float | None = None) -> Reply:
    return await client.exchange(client.head("POST", "/x"), body, deadline or soon())


async def ok(target: str, body: bytes) -> bytes:
    return http(200, body, "x-name: value")


def test_exchanges_follow_each_other_on_one_connection(tmp_path) -> None:
    async def scenario() -> None:
        for path in (None, str(tmp_path / "s")):
            async with scripted(ok, path) as remote:
                client = Client(address_of(remote.url))
                for body in (b"a", b"", b"c" * 300_000):
                    reply = await ask(client, body)
                    assert (reply.status, reply.headers[b"x-name"], reply.body) == (200, b"value", body)
                assert remote.connections == 1
                client.retire()

    run(scenario())


def test_a_connection_that_died_while_idle_is_replaced_once() -> None:
    async def scenario() -> None:
        async with scripted(ok) as remote:
            remote.keep = False
            client = Client(address_of(remote.url))
            for _ in range(3):
                assert (await ask(client, b"a")).body == b"a"
            assert remote.connections == 3
            client.retire()

    run(scenario())


def test_a_fresh_connection_that_ends_without_an_answer_is_told() -> None:
    async def nothing(target: str, body: bytes) -> None:
        return None

    async def scenario() -> None:
        async with scripted(nothing) as remote:
            client = Client(address_of(remote.url))
            with pytest.raises(Unreached):
                await ask(client)
            assert remote.connections == 1

    run(scenario())


def test_nobody_there_is_told_at_once() -> None:
    async def scenario() -> None:
        with pytest.raises(Unreached):
            await ask(Client(address_of(f"http://127.0.0.1:{free_port()}")))
        with pytest.raises(Unreached):
            await ask(Client(address_of("unix:/does/not/exist")))

    run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2000,  # over the limit of the test
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_told_and_its_connection_closed(answer: bytes) -> None:
    async def rubbish(target: str, body: bytes) -> bytes:
        return answer

    async def scenario() -> None:
        async with scripted(rubbish) as remote:
            client = Client(address_of(remote.url), body_limit=1000)
            for count in (1, 2):
                with pytest.raises(Broken):
                    await ask(client)
                assert remote.connections == count

    run(scenario())


def test_an_answer_cut_short_is_broken_and_one_ended_by_closing_is_whole() -> None:
    answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", b"HTTP/1.0 200 OK\r\n\r\nall of it"]

    async def next_one(target: str, body: bytes) -> bytes:
        return answers.pop(0)

    async def scenario() -> None:
        async with scripted(next_one) as remote:
            remote.keep = False
            client = Client(address_of(remote.url))
            with pytest.raises(Broken):
                await ask(client)
            assert (await ask(client)).body == b"all of it"

    run(scenario())


def test_who_is_cancelled_or_out_of_time_abandons_the_exchange() -> None:
    async def never(target: str, body: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def scenario() -> None:
        async with scripted(never) as remote:
            client = Client(address_of(remote.url))
            with pytest.raises(TimeoutError):  # after time enough to ask, on a busy machine too
                await ask(client, deadline=asyncio.get_running_loop().time() + 2.0)
            await remote.left.wait()
            remote.left.clear()
            task = asyncio.create_task(ask(client))
            while len(remote.requests) < 2:
                await asyncio.sleep(0)
            task.cancel()
            await remote.left.wait()
            assert remote.connections == 2

    run(scenario())


def test_connections_are_bounded_and_everybody_gets_a_turn() -> None:
    most = open_now = 0

    async def counted(target: str, body: bytes) -> bytes:
        nonlocal most, open_now
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0)
        open_now -= 1
        return http(200, body)

    async def scenario() -> None:
        async with scripted(counted) as remote:
            client = Client(address_of(remote.url), limit=3)
            replies = await asyncio.gather(*(ask(client, b"%d" % number) for number in range(50)))
            assert [reply.body for reply in replies] == [b"%d" % number for number in range(50)]
            assert most <= 3
            assert remote.connections <= 3
            waiting = [asyncio.create_task(ask(client)) for _ in range(10)]
            await asyncio.sleep(0)
            for task in waiting[:9]:
                task.cancel()
            assert (await waiting[9]).status == 200  # a place is not lost with who leaves
            client.retire()

    run(scenario())


def test_a_stream_comes_in_pieces_and_ends_when_it_is_left() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

    async def streamed(target: str, body: bytes) -> bytes:
        return chunked + b"3\r\none\r\n3\r\ntwo\r\n" + (b"0\r\n\r\n" if body else b"")

    async def scenario() -> None:
        async with scripted(streamed) as remote:
            client = Client(address_of(remote.url))
            head = client.head("POST", "/x")
            async with client.stream(head, b"whole", soon()) as (reply, pieces):
                assert reply.status == 200
                assert b"".join([piece async for piece in pieces]) == b"onetwo"
            async with client.stream(head, b"", soon()) as (_, pieces):
                assert await anext(pieces)
            assert remote.connections == 1
            assert (await ask(client, b"x")).body == b"onetwo"
            assert remote.connections == 2  # the one that was left is not used again
            client.retire()

    run(scenario())


def test_nothing_can_be_smuggled_through_a_header() -> None:
    client = Client.__new__(Client)
    client.address = address_of("http://x")
    client._host = b""
    with pytest.raises(InvalidInput):
        client.head("GET", "/", {"authorization": "Bearer a\r\nx: y"})


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://host:8701", "host:8701"),
        ("http://host/prefix/", "host"),
        ("https://host", "host"),
        ("http://[::1]:80", "[::1]"),
        ("unix:/run/node.sock", "localhost"),
    ],
)
def test_addresses_are_read(url: str, authority: str) -> None:
    assert address_of(url).authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "ftp://host",
        "http://",
        "http://a b",
        "http://u@h",
        "http://h?x",
        "http://h:99999",
        "unix:x",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        address_of(url)

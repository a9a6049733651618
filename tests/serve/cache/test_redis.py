"""Redis as the second level: shared by nodes, and never in the way of a call, whatever it does."""

import asyncio
import contextlib
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.serve.cache.answers import Hit, owned, packed
from modelyard.serve.cache.redis import Address, address_of
from modelyard.serve.cache.resp import Refusal, ReplyParser, command
from modelyard.serve.cache.second import MAX_UNWRITTEN, Found, SecondLevel
from modelyard.serve.call import RawTensor
from modelyard.serve.observe.counts import RedisCounts
from support.redis import RedisProcess

ANSWER = owned((RawTensor("y", "FP32", (1, 2), b"\1\2\3\4\5\6\7\x08"),))
KEY = b"k" * 32
NAME = "modelyard:1:" + KEY.hex()
BUDGET = 60.0  # long, so that a busy machine is not taken for a slow Redis; short where that is the test


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path / "redis") as process:
        yield process


@contextlib.asynccontextmanager
async def level(url: str, budget: float = BUDGET, *, wait: bool = True) -> AsyncIterator[SecondLevel]:
    second = SecondLevel(address_of(url), budget, RedisCounts())
    second.start()
    try:
        if wait:
            await until(lambda: second.up and second.can_write)
        yield second
    finally:
        await second.close()


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def ask(second: SecondLevel, *keys: bytes, limit: float = 60.0) -> Found | str | None:
    """What was found; "not asked" when that was said at once."""
    future = asyncio.get_running_loop().create_future()
    if not second.look_up(keys, limit, future.set_result):
        return "not asked"
    return await future


def test_what_one_node_keeps_another_one_finds_for_as_long_as_it_is_fresh(redis: RedisProcess) -> None:
    async def run() -> None:
        async with level(redis.url) as here, level(f"unix://{redis.socket}") as there:
            here.keep(KEY, ANSWER, 100.0)
            await until(redis.keys)
            found = await ask(there, b"x" * 32, KEY)
            assert isinstance(found, list)
            assert found[0] is None
            assert found[1] is not None
            answer, left = found[1]
            assert answer == ANSWER
            assert isinstance(answer, Hit)
            assert 0 < left <= 100
            assert there.counts.wait.total > 0

    asyncio.run(run())


def test_a_database_and_a_password_are_used(tmp_path: Path) -> None:
    async def run(redis: RedisProcess) -> None:
        async with level(f"redis://:se%2Fcret@localhost:{redis.port}/3") as second:
            second.keep(KEY, ANSWER, 100.0)
            assert isinstance(await ask(second, KEY), list)
            assert second.counts.refused == 0

    with RedisProcess(tmp_path, "--requirepass", "se/cret") as redis:
        asyncio.run(run(redis))


def test_a_wrong_password_is_told_once_without_it_and_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(redis: RedisProcess) -> None:
        async with level(f"redis://me:hunter2@localhost:{redis.port}/3", wait=False) as second:
            await until(lambda: "WRONGPASS" in (second.trouble or ""))
            assert await ask(second, KEY) == "not asked"
            second.keep(KEY, ANSWER, 100.0)

    with RedisProcess(tmp_path, "--requirepass", "secret") as redis:
        asyncio.run(run(redis))
    told = [record.__dict__ for record in caplog.records if record.message == "Redis is not used"]
    # Each of the two links tells it; a slow machine may have been told before it.
    assert 1 <= sum("WRONGPASS" in one["why"] for one in told) <= 2
    assert "hunter2" not in f"{told}"


def test_tls_is_spoken_and_a_stranger_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crt, key = tmp_path / "redis.crt", tmp_path / "redis.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(crt)],
        check=True, capture_output=True,
    )  # fmt: skip

    async def run(redis: RedisProcess) -> None:
        async with level(redis.url, wait=False) as second:
            await until(lambda: "certificate" in (second.trouble or ""))
        monkeypatch.setenv("SSL_CERT_FILE", str(crt))
        async with level(redis.url) as second:
            second.keep(KEY, ANSWER, 100.0)
            await until(redis.keys)
            assert (await ask(second, KEY))[0][0] == ANSWER

    options = ("--tls-cert-file", str(crt), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    with RedisProcess(tmp_path / "redis", *options, tls=True) as redis:
        asyncio.run(run(redis))


def test_a_redis_that_is_down_is_not_asked() -> None:
    async def run() -> None:
        async with level("redis://127.0.0.1:1", wait=False) as second:
            await until(lambda: second.trouble)
            assert await ask(second, KEY) == "not asked"
            second.keep(KEY, ANSWER, 100.0)

    asyncio.run(run())


def test_a_redis_that_hangs_costs_its_budget_three_times_and_then_nothing(redis: RedisProcess) -> None:
    async def run() -> None:
        async with level(redis.url, 0.02) as second:
            redis.stall()
            for _ in range(3):
                assert await ask(second, KEY) is None
            assert await ask(second, KEY) == "not asked"
            assert second.counts.late == 3
            redis.go_on()
            await until(lambda: second.up)

    asyncio.run(run())


def test_a_question_is_over_when_its_callers_time_is(redis: RedisProcess) -> None:
    async def run() -> None:
        async with level(redis.url, 3600.0) as second:
            redis.stall()
            assert await ask(second, KEY, limit=0.01) is None
            redis.go_on()

    asyncio.run(run())


def test_many_questions_at_once_to_a_redis_that_hangs_all_end(redis: RedisProcess) -> None:
    async def run() -> None:
        async with level(redis.url, 0.05) as second:
            redis.stall()
            answers = await asyncio.gather(*(ask(second, bytes([n]) * 32) for n in range(200)))
            assert set(answers) == {None}
            assert not second.up

    asyncio.run(run())


def test_a_redis_that_was_restarted_is_used_again(redis: RedisProcess) -> None:
    async def run() -> None:
        async with level(redis.url) as second:
            redis.stop()
            await until(lambda: not second.up)
            assert await ask(second, KEY) == "not asked"
            redis.start()
            await until(lambda: second.up)
            assert await ask(second, KEY) == [None]

    asyncio.run(run())


def test_a_redis_that_is_full_still_answers(redis: RedisProcess, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with level(redis.url) as second:
            second.keep(KEY, ANSWER, 100.0)
            await until(redis.keys)
            redis.do("CONFIG", "SET", "maxmemory", "1")
            for number in range(3):
                second.keep(bytes([number]) * 32, ANSWER, 100.0)
            await until(lambda: second.counts.refused == 3)
            assert (await ask(second, KEY))[0][0] == ANSWER

    asyncio.run(run())
    assert [record.message for record in caplog.records].count("Redis refuses a command") == 1


def test_values_that_are_no_answer_are_misses(redis: RedisProcess) -> None:
    values = [b"", b"rubbish", packed(KEY, ANSWER)[:-1], packed(b"j" * 32, ANSWER)]

    async def run() -> None:
        async with level(redis.url) as second:
            for value in values:
                redis.do("SET", NAME, value, "PX", "100000")
                assert await ask(second, KEY) == [None]
            assert second.counts.corrupt == len(values)
            redis.do("DEL", NAME)
            redis.do("LPUSH", NAME, "a list")
            assert await ask(second, KEY) == [None]
            assert second.counts.refused == 1
            redis.do("SET", NAME, packed(KEY, ANSWER))  # for ever: not by us
            assert await ask(second, KEY) == [None]

    asyncio.run(run())


def test_writes_that_redis_does_not_take_are_bounded(redis: RedisProcess) -> None:
    large = owned((RawTensor("y", "UINT8", (900_000,), bytes(900_000)),))

    async def run() -> None:
        async with level(redis.url) as second:
            redis.stall()
            for number in range(40):
                second.keep(bytes([number]) * 32, large, 100.0)
            assert second.counts.unwritten == 40 - MAX_UNWRITTEN // 900_100
            redis.go_on()

    asyncio.run(run())


def test_closing_a_redis_that_hangs_does_not_hang(redis: RedisProcess) -> None:
    async def run() -> None:
        async with level(redis.url) as second:
            redis.stall()
            asking = asyncio.create_task(ask(second, KEY))
            await asyncio.sleep(0)
            async with asyncio.timeout(60):
                await second.close()
                assert await asking is None

    asyncio.run(run())


def test_what_is_not_a_redis_is_left_alone() -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()

    async def run() -> None:
        async with level(f"redis://127.0.0.1:{server.getsockname()[1]}", wait=False) as second:
            await until(lambda: "not how Redis answers" in (second.trouble or ""))

    try:
        asyncio.run(run())
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def test_urls_are_read_and_wrong_ones_refused_without_their_secret() -> None:
    assert address_of("redis://cache") == Address("cache", 6379, None, False, 0, "", None)
    assert address_of("rediss://me:p%40ss@cache:7000/2") == Address(
        "cache", 7000, None, True, 2, "me", "p@ss"
    )
    assert "p@ss" not in str(address_of("rediss://me:p%40ss@cache:7000/2"))
    assert address_of("unix:///run/redis.sock").path == "/run/redis.sock"
    for url in (
        "http://cache",
        "redis://:hunter2@cache:port",
        "redis://:hunter2@cache/name",
        "redis://:hunter2@cache?ssl=no",
        "redis:///1",
        "",
    ):
        with pytest.raises(InvalidInput) as refused:
            address_of(url)
        assert "hunter2" not in refused.value.message


def test_replies_are_read_whole_wherever_they_are_cut() -> None:
    data = b"+OK\r\n$5\r\nhe\r\nl\r\n$-1\r\n:12\r\n-OOM no\r\n$0\r\n\r\n"
    for size in range(1, len(data) + 1):
        parser = ReplyParser()
        replies = [
            reply
            for start in range(0, len(data), size)
            for reply in parser.feed(data[start : start + size])
        ]
        assert replies[:4] == [b"OK", b"he\r\nl", None, 12]
        assert isinstance(replies[4], Refusal)
        assert replies[5:] == [b""]
    for wrong in (
        b"*1\r\n",
        b"?\r\n",
        b"$x\r\n",
        b"$1\r\nabc",
        b"$999999999999\r\n",
        b":" + b"1" * 99 + b"\r\n",
    ):
        with pytest.raises(ValueError):
            ReplyParser().feed(wrong)
    assert command(b"GET", b"a") == b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"

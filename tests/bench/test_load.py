"""The load generator counts every call once, as what it was, and never flatters a server."""

import asyncio
import itertools
import time

import pytest
from bench.load.client import connect
from bench.load.loop import Load, endless
from bench.load.question import Question, post


class Server(asyncio.Protocol):
    """Answers by the path: /ok, /wrong, /busy, /broken, /late (in pieces), /chunks (too), /never, /cut."""

    made: list[asyncio.Transport] = []

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.buffer = b""
        self.made.append(transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.answer(head.split(b" ")[1].decode())

    def answer(self, path: str) -> None:
        body = {"/ok": b"good", "/late": b"good", "/chunks": b"good"}.get(path, b"bad")
        status = {"/busy": b"429", "/broken": b"500"}.get(path, b"200")
        text = b"HTTP/1.1 %s X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
        if path == "/chunks":
            text = (
                b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ngoo\r\n1;a=b\r\nd\r\n0\r\n\r\n"
            )
        if path == "/cut":
            self.transport.close()
        elif path in ("/late", "/chunks"):
            loop = asyncio.get_running_loop()
            for index in range(len(text)):
                loop.call_soon(self.transport.write, text[index : index + 1])
        elif path != "/never":
            self.transport.write(text)


def ask(path: str, **more) -> Question:
    return Question(post(path, b"{}"), lambda body: body == b"good", **more)


def run(scenario):
    """Run ``scenario(url)`` beside the server."""

    async def main():
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await scenario(f"http://127.0.0.1:{port}")
        finally:
            server.close()
            for transport in Server.made:
                transport.abort()
            Server.made.clear()
            await asyncio.sleep(0.01)  # the transports' ends run in the loop

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/ok", "right"),
        ("/late", "right"),
        ("/chunks", "right"),
        ("/wrong", "wrong"),
        ("/busy", "refused"),
        ("/broken", "failed"),
        ("/cut", "lost"),
    ],
)
def test_each_call_is_counted_once_as_what_it_was(path: str, outcome: str) -> None:
    tally = run(lambda url: Load(url).closed(iter([ask(path)] * 5), connections=2))
    assert tally.total == 5
    assert tally.count(outcome) == 5


def test_a_call_that_nobody_answers_hangs_and_one_whose_caller_leaves_has_left() -> None:
    questions = [ask("/never"), ask("/never", leave_after=0.01, kind="leaver")]
    tally = run(lambda url: Load(url, patience=0.05).closed(iter(questions), connections=2))
    assert tally.groups["innocent"].count("hung") == 1
    assert tally.groups["leaver"].count("left") == 1


def test_a_poison_call_is_right_when_it_fails_and_wrong_when_it_succeeds() -> None:
    questions = [Question(post(path, b"{}"), lambda body: True, expects=500) for path in ("/broken", "/ok")]
    tally = run(lambda url: Load(url).closed(iter(questions), connections=1))
    assert (tally.count("right"), tally.count("wrong")) == (1, 1)


def test_a_closed_loop_asks_all_its_questions_and_no_more() -> None:
    made = itertools.count()
    questions = (ask("/ok") for _ in range(500) if next(made) >= 0)
    tally = run(lambda url: Load(url).closed(questions, connections=32))
    assert tally.count("right") == tally.total == 500


def test_an_open_loop_sends_at_its_rate_also_to_a_server_that_never_answers() -> None:
    async def scenario(url):
        return await Load(url, patience=0.5).open(endless(lambda _: ask("/never")), rate=200, seconds=1)

    tally = run(scenario)
    assert tally.count("hung") == tally.total
    assert 130 < tally.total < 280  # Poisson of 200: five standard deviations


def test_the_time_of_an_open_call_counts_from_when_it_was_due() -> None:
    async def scenario(url):
        load = Load(url)
        connection = await connect(url)
        due = time.perf_counter() - 2.0  # as a generator that lags by two seconds would ask
        await load._ask(ask("/ok"), connection, due)
        return load.tally

    tally = run(scenario)
    assert tally.milliseconds("innocent", "right", 0.5) >= 1500


def test_a_call_on_a_connection_that_the_server_closed_is_lost_and_the_next_one_is_not() -> None:
    tally = run(lambda url: Load(url).closed(iter([ask("/cut"), ask("/ok")]), connections=1))
    assert (tally.count("lost"), tally.count("right")) == (1, 1)


def test_statuses_are_counted_as_they_came() -> None:
    questions = [ask("/ok"), ask("/busy"), ask("/busy")]
    tally = run(lambda url: Load(url).closed(iter(questions), connections=1))
    assert tally.statuses == {200: 1, 429: 2}


def test_work_done_is_counted_by_weight_and_only_for_right_answers() -> None:
    questions = [ask("/ok", weight=3.0), ask("/wrong", weight=5.0), ask("/ok", weight=4.0)]
    tally = run(lambda url: Load(url).closed(iter(questions), connections=1))
    assert tally.rate(0.0, 1.0) == pytest.approx(7.0)
    assert tally.rate(5.0, 6.0) == 0.0

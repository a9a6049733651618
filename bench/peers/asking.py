"""One question to a server, to see whether it is up and right."""

import http.client
from urllib.parse import urlsplit

from bench.load.question import Question


def ask_once(base: str, question: Question, timeout: float = 30.0) -> bool:
    """Whether the answer is right. Raises OSError while nobody listens, ValueError for another status."""
    head, _, body = question.request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("POST", lines[0].split(" ")[1], body, headers)
        response = connection.getresponse()
        answer = response.read()
    except http.client.HTTPException as error:
        raise ValueError(repr(error)) from error
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(f"HTTP {response.status}: {answer[:300]!r}")
    return question.right(answer)

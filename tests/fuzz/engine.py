"""What makes inputs out of good ones, and what counts as a finding."""

import faulthandler
import hashlib
import random
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REGRESSIONS = Path(__file__).parent / "regressions"
LONGEST = 1.0  # seconds of processor time that one input may take
HANG = 120.0  # seconds after which the process is ended with a traceback
LARGEST = 64 * 1024  # bytes of an input
MEMORY = 2 << 30  # bytes of address space that all inputs together may add

_NUMBERS = [
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    1023,
    32767,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
]
_OPENERS = [b"[", b'{"a":', b"(", b"- "]


@dataclass
class Harness:
    """One decoder. ``fuzz_one`` raises when the decoder did what it must not."""

    name: str
    fuzz_one: Callable[[bytes], None]
    seeds: Sequence[bytes]
    tokens: Sequence[bytes] = ()


@dataclass
class Report:
    """What a run found; ``failures`` are inputs with what happened."""

    inputs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    memory: int = 0  # bytes that the peak of resident memory grew by
    failures: list[tuple[bytes, str]] = field(default_factory=list)


def mutate(rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """A good input with a few things done to it, or plain noise."""
    if rng.random() < 0.03:
        return rng.randbytes(rng.randrange(200))
    data = bytearray(rng.choice(seeds))
    for _ in range(1 + min(int(rng.expovariate(0.6)), 12)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(10):
            case 0 if rng.random() < 0.05:  # deep rather than long
                data[at:at] = rng.choice(_OPENERS) * rng.randrange(1, 3000)
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at % len(data)] = rng.randrange(256)
            case 2:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 3:
                del data[at : at + rng.randrange(1, 17)]
            case 4:
                data[at:at] = data[at : at + rng.randrange(1, 65)] * rng.randrange(1, 5)
            case 5:
                other = rng.choice(seeds)
                cut = rng.randrange(len(other) + 1)
                data[at:] = other[cut:]
            case 6:
                number = rng.choice(_NUMBERS)
                size = rng.choice((1, 2, 4, 8))
                data[at : at + size] = (number % 256**size).to_bytes(size, rng.choice(("little", "big")))
            case 7:
                data[at:at] = str(rng.choice(_NUMBERS) * rng.choice((1, -1))).encode()
            case 8 if tokens:
                token = rng.choice(tokens)
                data[at : at + rng.choice((0, len(token)))] = token
            case _:
                del data[at:]
    return bytes(data[:LARGEST])


def try_one(harness: Harness, data: bytes, report: Report) -> None:
    """Count one input, and keep it when it is a finding."""
    began = time.thread_time()
    try:
        harness.fuzz_one(data)
    except Exception as error:
        report.failures.append((data, f"{type(error).__name__}: {error}"))
    took = time.thread_time() - began
    report.inputs += 1
    report.slowest = max(report.slowest, took)
    if took > LONGEST:
        report.failures.append((data, f"it took {took:.1f} s"))


def run(harness: Harness, inputs: int, seed: int, *, most_failures: int = 20) -> Report:
    """Try the regressions, the seeds, then ``inputs`` mutations of them; the same for the same ``seed``."""
    report = Report()
    rng = random.Random(f"{harness.name} {seed}")
    began, before = time.monotonic(), _peak()
    for data in (*regressions(harness.name), *harness.seeds):
        try_one(harness, data, report)
    while report.inputs < inputs and len(report.failures) < most_failures:
        if report.inputs % 4096 == 0:
            faulthandler.dump_traceback_later(HANG, exit=True)
        try_one(harness, mutate(rng, harness.seeds, harness.tokens), report)
    faulthandler.cancel_dump_traceback_later()
    report.seconds = time.monotonic() - began
    report.memory = _peak() - before
    return report


def regressions(name: str) -> list[bytes]:
    """Inputs that were findings once."""
    return [path.read_bytes() for path in sorted((REGRESSIONS / name).glob("*"))]


def keep(name: str, data: bytes) -> Path:
    """Keep a finding where the next run begins with it."""
    path = REGRESSIONS / name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def limit_memory() -> None:
    """Make memory without bound a MemoryError: the process may take MEMORY more than it has."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

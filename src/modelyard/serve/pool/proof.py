"""What a process has to show before calls come to it: that it answers one, and once for each version whether it answers
several together as it does alone."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from modelyard.core.errors import ModelyardError
from modelyard.serve.call import Answer, Call
from modelyard.serve.pool import together
from modelyard.serve.pool.canary import canary_call
from modelyard.serve.pool.frames import Hello

if TYPE_CHECKING:
    from modelyard.serve.pool.pool import Pool
    from modelyard.serve.pool.replica import Replica

log = logging.getLogger("modelyard.replica")

OUT_OF_MEMORY = "out_of_memory"  # the code of a load that failed for want of memory


class NotProven(Exception):
    """Why it may not serve; ``code`` is that of the failed load."""

    def __init__(self, why: str, code: str = "canary") -> None:
        super().__init__(why)
        self.why = why
        self.code = code


class Proof:
    """Of one process of ``replica``, which has just said HELLO. All methods run on the event loop's thread."""

    def __init__(self, pool: "Pool", replica: "Replica", hello: Hello) -> None:
        self._pool = pool
        self._replica = replica
        self._hello = hello
        self._begun = time.monotonic()
        self._call: Call | None = None
        self._alone: Answer | None = None  # to it

    async def canary(self) -> None:
        """One real prediction, which goes the way of every batch but for waiting in the queue.

        Raises NotProven. A made-up input that the model refuses proves the way too: it came to the model and back, and
        what the model makes of zeros says nothing of it.
        """
        pool, hello = self._pool, self._hello
        example = pool.spec.example or hello.example
        longest = 2 * pool.spec.serving.timeout
        try:
            self._call = canary_call(hello.signature, example, longest)
            (future,) = pool.try_out(self._replica, [self._call])
        except ModelyardError as error:
            raise NotProven(f"the example of the model does not fit it: {error.message}") from error
        result = await future
        if not isinstance(result, ModelyardError):
            if isinstance(wrong := pool.checked(result), ModelyardError):
                raise NotProven(f"its first prediction was wrong: {wrong.message}")
            self._alone = result
            return
        if example is not None or result.code not in ("invalid_input", "internal"):
            hint = (
                f" It has twice a call's timeout, here {longest:g} s; deploy it with a longer --timeout"
                if result.code == "deadline"
                else ""
            )
            raise NotProven(
                f"its first prediction failed: {result.message}{hint}",
                OUT_OF_MEMORY if result.code == "too_large" else "canary",
            )
        pool.log.note(
            self._replica.id,
            f"modelyard: it refused an input that was made up from its signature ({result.message}); put an "
            "example into model.yaml to have each replica tried with a real one",
        )

    @property
    def is_to_be_compared(self) -> bool:
        """Whether it is not known yet if calls may be computed together, and can be found out."""
        pool, hello = self._pool, self._hello
        one = 1 in (pool.spec.serving.max_batch, hello.signature.max_batch)
        if self._alone is None or pool.compared or hello.tolerance is None or hello.streams or one:
            return False
        return time.monotonic() - self._begun < together.LONGEST

    async def compare(self) -> None:
        """Find out whether calls may be computed together; what holds if the process ends of it is that they may not."""
        pool = self._pool
        assert self._call is not None and self._alone is not None
        pool.keep_apart(together.UNFINISHED)
        why = None
        try:
            why = await together.difference(
                lambda calls: asyncio.gather(*pool.try_out(self._replica, calls)),
                self._call,
                self._alone,
                self._hello.signature,
                self._hello.tolerance or 0.0,
            )
        except Exception:  # it has answered its first prediction: it serves
            log.exception("an error of ours")
        if not self._replica.starts:
            return  # its process ended meanwhile
        pool.keep_apart(why)
        if why is not None:
            pool.log.note(self._replica.id, f"modelyard: calls are computed one at a time: {why}")

"""A session of ONNX Runtime that answers at once, and becomes quick a moment later.

Most of what loading takes is copying the weights and packing them as the kernels like them best. Without that a model
answers a few milliseconds after it was asked for, its weights being mapped; single rows then take up to three times as
long. So it gets two sessions: one that packs nothing and answers first, and one by which it is replaced as soon as it
has computed for as long as that takes to be made. A model that is woken for a few calls never is, and none costs more
than twice what it would if one knew how often it will be called (the rule of who rents skis, Karlin 1988). Both compute
the same graph.
"""

import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from ..adapter import LoadError
from ..loop import log
from .onnx_skeleton import skeleton

LARGE = 1024 * 1024  # bytes of weights from which they are mapped; below, nothing of it takes long
PACKING = 2.5e-9  # seconds a byte that packing takes, about

# y = Identity(x), one number; as a message of onnx.proto.
_SMALLEST_GRAPH = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a080801"
    "12040a020801620f0a0179120a0a08080112040a02080142040a001011"
)


def warm() -> None:
    """Have ONNX Runtime do what it does for the first session of a process (4,000 pages of tables of operators)."""
    import numpy
    import onnxruntime

    session = onnxruntime.InferenceSession(
        _SMALLEST_GRAPH, _settings(1), providers=["CPUExecutionProvider"]
    )
    session.run(None, {"x": numpy.zeros(1, "f")})


def _settings(threads: int) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    # A spinning pool burns the cores that the node and the other models need.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    return settings


class Session:
    """The graph in ``path``, computed with so many threads. Raises LoadError."""

    def __init__(self, path: Path, threads: int) -> None:
        self._path = path
        self._threads = threads
        found = skeleton(path)
        weights = found[1] if found is not None else 0
        self._graph = found[0] if found is not None and weights >= LARGE else None
        self._following: Optional[threading.Thread] = None
        self._packed = weights < LARGE
        self._computed = 0.0  # seconds, without packed weights
        self._worth = weights * PACKING  # seconds
        # Bytes that it will take beside what it takes now, and once it has computed for how long.
        self.later: Dict[str, Any] = (
            {} if self._packed else {"later_bytes": weights, "later_after": self._worth}
        )
        if not self._packed:
            try:
                self._session = self._open(packed=False)
                return
            except Exception as error:
                log("the model is loaded whole before it answers: %s" % error)
                self._packed, self._graph, self.later = True, None, {}
        try:
            self._session = self._open(packed=True)
        except Exception as error:
            # ONNX Runtime's own exceptions share no base class that is public.
            raise LoadError("ONNX Runtime cannot load %s: %s" % (path.name, error)) from error

    def inputs(self) -> List[Any]:
        """As ONNX Runtime describes them."""
        return list(self._session.get_inputs())

    def outputs(self) -> List[str]:
        """Their names."""
        return [output.name for output in self._session.get_outputs()]

    def run(self, names: Optional[Sequence[str]], feeds: Dict[str, Any]) -> Any:
        """The outputs, in the order of ``names``. Raises what ONNX Runtime raises."""
        session = self._session
        if self._packed:
            return session.run(names, feeds)
        began = time.perf_counter()
        try:
            answer = session.run(names, feeds)
            self._computed += time.perf_counter() - began
            return answer
        except Exception:
            # A kernel may want its weights packed; whose fault it is, the other session tells.
            self.pack()
            self.packed()
            if self._session is session:
                raise
            return self._session.run(names, feeds)

    @property
    def worth_packing(self) -> bool:
        """Whether it has computed for as long as making the quick session takes."""
        return not self._packed and self._computed >= self._worth

    def pack(self) -> None:
        """Begin to make the quick session, once."""
        if self._packed or self._following is not None:
            return
        # Not a daemon: an interpreter must not end while it is in there.
        self._following = threading.Thread(target=self._pack, name="pack", daemon=False)
        self._following.start()

    def packed(self) -> None:
        """Return when there is nothing to be waited for any more."""
        if self._following is not None:
            self._following.join()

    def _pack(self) -> None:
        try:
            self._session = self._open(packed=True)
        except Exception as error:
            log("the model goes on as it was mapped, without packed weights: %s" % error)
        self._packed = True

    def _open(self, *, packed: bool) -> Any:
        import onnxruntime

        settings = _settings(self._threads)
        if not packed:
            settings.add_session_config_entry("session.disable_prepacking", "1")
        source: Any = str(self._path)
        if self._graph is not None:
            settings.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(self._path.parent)
            )
            source = self._graph
        return onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])

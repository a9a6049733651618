"""A session of ONNX Runtime that answers at once, and becomes quick a moment later.

Most of what loading takes is packing the weights as the kernels like them best. Without that a model answers a few
milliseconds after it was asked for, if its weights are mapped; single rows then take up to three times as long. So a
large model gets two sessions: one that packs nothing and answers first, and one that is made meanwhile, by which
it is replaced. Both compute the same graph.
"""

import threading
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from ..adapter import LoadError
from ..loop import log
from .onnx_skeleton import skeleton

LARGE = 8 * 1024 * 1024  # bytes of weights from which packing is not waited for


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
        if not self._packed:
            try:
                self._session = self._open(packed=False)
                return
            except Exception as error:
                log("the model is loaded whole before it answers: %s" % error)
                self._packed, self._graph = True, None
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
        try:
            return session.run(names, feeds)
        except Exception:
            # A kernel may want its weights packed; whose fault it is, the other session tells.
            if self._packed:
                raise
            self.pack()
            self.packed()
            if self._session is session:
                raise
            return self._session.run(names, feeds)

    def pack(self) -> None:
        """Begin to make the quick session, once; called when the first answer is out."""
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

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self._threads
        settings.inter_op_num_threads = 1
        # A spinning pool burns the cores that the node and the other models need.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.log_severity_level = 3
        if not packed:
            settings.add_session_config_entry("session.disable_prepacking", "1")
        source: Any = str(self._path)
        if self._graph is not None:
            settings.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(self._path.parent)
            )
            source = self._graph
        return onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])

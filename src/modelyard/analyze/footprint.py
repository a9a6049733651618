"""Memory estimates made from file headers, before anything was loaded.

The bounds are honest, not tight: once a replica runs, what the platform measures replaces them. The
bases are resident memory of a Python 3.11 process on Linux x86-64 after its imports and one small
prediction: ONNX Runtime 1.31 with NumPy 72 MB, scikit-learn 1.9 139 MB; PyTorch (CPU) with
transformers is taken as 500 MB; TensorFlow 2.21 530 MB, LiteRT 2.3 55 MB.
"""

from modelyard.core.model import Interval

_MB = 1_000_000
BASES = {
    "onnx": 72 * _MB,
    "sklearn": 139 * _MB,
    "torch": 500 * _MB,
    "function": 12 * _MB,
    "boosted": 110 * _MB,
    "tensorflow": 530 * _MB,
    "tflite": 60 * _MB,
}
FACTORS = {
    "onnx": 2.5,  # weights as stored, packed again for the kernels, and activations
    "sklearn": 3.0,  # numbers in compressed or text form grow; trees are copied while loading
    "torch": 2.0,  # the weights once more while loading
    "tensorflow": 2.5,  # not measured over many
    "tflite": 1.5,  # mapped, and packed again where a kernel wants it so
    "boosted": 4.0,  # text and numbers of trees become nodes; not measured over many
    "function": 3.0,  # nothing is known but the size of the files
}


def estimate(runtime: str, weights: int) -> Interval:
    """Bytes of one replica: ``low`` is the weights alone, ``high`` weights × factor + the base.

    ``runtime`` is a key of :data:`BASES`; ``weights`` is in bytes.
    """
    return Interval(low=weights, high=int(weights * FACTORS[runtime]) + BASES[runtime])

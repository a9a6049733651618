"""What is this? The room that looks at a model's files and says what they are, without running them.

One file per format (``onnx``, ``sklearn``, ``transformers``, ``function``) detects, checks and
describes: signature, parameters, memory, requirements, and the options with which an adapter of the
executor loads it. Beside them stand the readers that they share (``protobuf``, ``safetensors``,
``pickle_opcodes``, ``model_yaml`` …). Nothing here executes a model's code, unpickles, or imports a
framework, and only headers are read, so a model of 100 GB is described as fast as one of 100 kB.
Whatever is wrong with the files ends as RejectedContent: a sentence that says what they are and what
would be accepted.
"""

from modelyard.analyze.analysis import analyze

__all__ = ["analyze"]

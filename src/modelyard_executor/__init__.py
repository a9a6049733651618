"""The executor: one process that loads one model and computes, in the model's own environment.

It needs nothing but Python >= 3.9 and its standard library; frameworks are imported by an adapter's
``load``, never before. It knows its node only through the socket that it inherits:

    __main__  start: read START, load the adapter, say HELLO (or FAILED)
    loop      BATCH -> RESULT until DRAIN or the node is gone
    wire      frames on the socket; the node uses the same file for its side
    tensor    typed raw bytes, and back
    adapter   what an adapter is; adapters/ holds one file per family
"""

"""The node: the program that answers predictions, and keeps doing so whatever happens elsewhere.

A call walks through these files, in this order, and back:

    server, connection   bytes to one ``Request`` (``http``): limits, time-outs, request id, who left
    protocols/           one file each, thin twins that decode a body and encode an answer: v2 (v2_models,
                         generate), native, v1, openai, invocations, health, internal; ``records`` is
                         what the row and column forms share
    dataplane            which pool serves this endpoint; checks against the signature; a ``call``
    pool                 the queue (policy's scheduler) and its replicas; batches are pulled from here
    replica              one supervised copy: start, ``canary``, serve, die, back off, start again
    executor             the process, its ``limits``, and its end of the wire

``node`` puts them together and follows the table of routes (``table``), which the control plane
pushes and which is kept on disk: the node needs nobody else to serve. ``codec`` turns values into raw
tensors and back, ``metrics`` counts, ``logs`` keeps what models print.
"""

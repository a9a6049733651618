"""The node: the program that answers predictions, and keeps doing so whatever happens elsewhere.

A call walks through these rooms, in this order, and back (docs/architecture/04-way-of-a-request.md):

    edge/        bytes to one ``Request`` (``http``), over HTTP/1.1 and HTTP/2: limits, time-outs, who left
    protocols/   one file each, thin twins that decode a body and encode an answer; grpc/ is one more
    dataplane    who serves this endpoint (``served``); ``checks`` against the signature; a ``Call``; and
                 when it is refused, another answer (``rescue``)
    cache/       answers that were kept, and identical calls in flight; only where a deployment wants it
    pool/        the queue (policy's scheduler) and its replicas; batches are pulled from here
    remote/      or: backends elsewhere, behind the same interface

``node`` puts them together and follows the table of routes (``table``), which the control plane
pushes and which is kept on disk: the node needs nobody else to serve. ``codec`` and ``binary`` turn
values into raw tensors and back; observe/ counts, traces and keeps what models print; ``fronts`` and
``front`` are more processes behind the same port.
"""

"""The node: the program that answers predictions, and keeps doing so whatever happens elsewhere.

A call walks through these files, in this order, and back:

    http        a connection's request becomes one ``Request``; limits, request id, errors → statuses
    protocols/  v2, native, health, internal: thin twins that decode a body to a ``Call`` and encode
                its answer
    dataplane   which pool serves this endpoint, deadline, checks against the signature
    pool        the queue (policy's scheduler) and its replicas; batches are pulled from here
    replica     one supervised copy: start, canary, serve, die, back off, start again
    executor    the process and its end of the wire

``node`` puts them together and follows the table of routes (``table``), which the control plane
pushes and which is kept on disk: the node needs nobody else to serve.
"""

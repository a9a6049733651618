"""Backends elsewhere: another node, any V2 server, any OpenAI-compatible one.

routes     the table's routes with remotes, as what the dataplane serves; whose turn ended is let go
group      one route: chooses among its remotes (and the local pool), retries, hedges
member     one remote: its breaker, its load, its health
v2, openai what it speaks: a call to bytes and an answer back
http       connections to it, kept alive
"""

"""Bytes and rows: where everything that Modelyard knows is kept, and survives a crash.

*Bytes* lie in ``blobs``, named by their SHA-256: written aside, hashed on the way, made durable, and
renamed into place, so that a blob is whole or not there. *Rows* lie in one database, SQLite in
the home or PostgreSQL for several (``database``, ``backend``, ``sqlite``, ``postgres``, ``tables``,
``migrations``); each noun has its own repository (``versions``, ``aliases``, ``cards``, ``lineage``,
``retirement``, ``uploads``, ``endpoints``, ``remotes``, ``jobs``, ``homes``, ``audit``) that takes and
returns the nouns of core and makes every change in one transaction; ``listings`` and ``words`` are what
search reads. Several processes may use both at once. Nothing here decides anything: it keeps what the
other rooms have decided, and refuses what cannot be true.
"""

"""Models that MLflow keeps: its server (REST), its database (SQLite) and its folder, read without MLflow.

``tracking`` has the nouns and chooses; ``server``, ``database`` and ``folder`` fulfil it; ``artifacts`` fetches files.
"""

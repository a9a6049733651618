"""Known models: one YAML file each in ``entries/``, checked against :mod:`~modelyard.catalog.entry`.

An entry says where a model comes from, under which licence, what it takes and gives, what it needs, and
which adapter runs it. Every fact names its source; what could not be verified is absent.
"""

"""Families of models that come as a Python package, one file each; how one is written: :mod:`..family`."""

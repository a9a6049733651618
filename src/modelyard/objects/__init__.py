"""From a Python object to a version: saved in the safest format that keeps it, loaded again by another process,
compared with the object on an example, and only then sent. One file per library; ``libraries`` lists them.
"""

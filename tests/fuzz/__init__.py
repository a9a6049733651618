"""Every decoder that reads bytes from outside, against bytes that somebody made up.

    python -m tests.fuzz                       what there is to fuzz
    python -m tests.fuzz v2_json               a million inputs
    python -m tests.fuzz all --inputs 20000 --engine atheris

A *harness* is one decoder with a few good inputs (``seeds``) and words of its language (``tokens``). It
raises only when something is wrong: another exception than the documented ones, an answer that says
"internal", an input that takes longer than its time. In the test run each has a small, fixed budget.
"""

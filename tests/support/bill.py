"""Whether a text is a bill of materials as CycloneDX 1.6 has them."""

from typing import Any

from cyclonedx.schema import SchemaVersion


def problem(text: str) -> Any:
    """What is wrong with it; None: nothing, and it says nothing that the format does not know."""
    # Here, because it builds a grammar for a second and a half, and each worker imports each file of tests.
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)

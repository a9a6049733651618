"""Licences by their SPDX identifiers, and which of them allow commercial use."""

import difflib
import re
from typing import Final

from modelyard.core.errors import InvalidInput

_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*( (OR|AND|WITH) [A-Za-z0-9][A-Za-z0-9.+-]*)*")
# As the licences' own texts say (https://spdx.org/licenses/): those of people's models that are met most.
_COMMERCIAL: Final = (
    "AFL-3.0", "AGPL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause",
    "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0",
    "CC-BY-SA-4.0", "CC0-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "ECL-2.0", "EPL-1.0", "EPL-2.0", "EUPL-1.1",
    "EUPL-1.2", "GPL-2.0", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0", "GPL-3.0-only", "GPL-3.0-or-later", "ISC",
    "LGPL-2.1", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0", "LGPL-3.0-only", "LGPL-3.0-or-later", "MIT", "MIT-0",
    "MPL-2.0", "MS-PL", "NCSA", "OFL-1.1", "PostgreSQL", "Unlicense", "WTFPL", "Zlib", "0BSD",
)  # fmt: skip
_CANONICAL: Final = {name.lower(): name for name in _COMMERCIAL}


def check_licence(spdx: str, *, field: str = "licence") -> str:
    """``spdx`` in the case that SPDX writes it. Raises InvalidInput for what is no identifier (``LicenseRef-…`` for a
    licence that has none)."""
    if len(spdx) > 200 or _SPDX.fullmatch(spdx) is None:
        raise InvalidInput(
            f"{spdx[:80]!r} is no SPDX identifier; write MIT, Apache-2.0, or LicenseRef-NAME for one that has none.",
            field=field,
        )
    folded = spdx.lower()
    return _CANONICAL.get(folded, spdx.upper() if folded.startswith("cc-by") else spdx)


def check_listed(spdx: str, *, field: str = "licence") -> str:
    """The same of what people say: SPDX lists each of its names, or it is a ``LicenseRef-…``. READMEs and hubs have names
    of their own, which are kept as they came. Raises InvalidInput with what may have been meant."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    told = check_licence(spdx, field=field)
    try:
        canonicalize_license_expression(told)
    except InvalidLicenseExpression as error:
        near = ", ".join(
            _CANONICAL[each] for each in difflib.get_close_matches(told.lower(), _CANONICAL, 3)
        )
        reference = re.sub(r"[^A-Za-z0-9.-]+", "-", told)
        raise InvalidInput(
            f"SPDX lists no licence {told!r}.{f' Did you mean {near}?' if near else ''} "
            f"Write LicenseRef-{reference} for one that it does not list.",
            field=field,
        ) from error
    return told


def allows_commercial(spdx: str) -> bool | None:
    """Whether a licence allows commercial use; None when that is not known of it."""
    if re.search(r"(^|-)NC(-|$)", spdx, re.IGNORECASE):
        return False
    known = [_CANONICAL.get(part.lower()) is not None for part in re.split(r" (?:OR|AND) ", spdx)]
    if " OR " in spdx and any(known):
        return True
    return True if all(known) else None

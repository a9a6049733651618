"""Structures in PDB files: residues, their backbone, and what lies beside the protein; the same atoms as ProDy takes."""

import math
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..adapter import InvalidInput

_BACKBONE = ("N", "CA", "C", "O")
_MOST = 20_000  # residues
_WATER = frozenset(["DOD", "H2O", "HOH", "OH2", "SOL", "SPC", "T3P", "TIP", "WAT"])


class Structure:
    """The residues of a PDB file's first model, and the atoms of what is neither protein nor water.

    ``chains`` and ``names`` (chain, number, insertion code) are those of the residues. Raises InvalidInput.
    """

    def __init__(self, text: str) -> None:
        self.chains: List[str] = []
        self.names: List[str] = []
        self._numbers: List[int] = []
        self._kinds: List[str] = []
        self._atoms: List[Dict[str, Tuple[float, float, float]]] = []
        self._others: List[Tuple[str, Tuple[float, float, float]]] = []
        seen: Dict[Tuple[str, str], int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("ENDMDL"):
                break
            if line.startswith(("ATOM  ", "HETATM")):
                try:
                    self._read(line, seen)
                except (ValueError, IndexError):
                    raise InvalidInput(
                        "inputs.structure", "Line %d is not an atom of a PDB file: %.80r." % (number, line)
                    ) from None
        self._keep([index for index, atoms in enumerate(self._atoms) if "CA" in atoms])
        if not self.names:
            raise InvalidInput(
                "inputs.structure", "There is no residue with a CA atom; the structure is to be PDB."
            )
        if len(self.names) > _MOST:
            raise InvalidInput(
                "inputs.structure", "It has %d residues; at most %d." % (len(self.names), _MOST)
            )

    def _read(self, line: str, seen: "Dict[Tuple[str, str], int]") -> None:
        name, alternative, kind, chain = (
            line[12:16].strip(),
            line[16],
            line[17:20].strip(),
            line[21].strip(),
        )
        place = (float(line[30:38]), float(line[38:46]), float(line[46:54]))
        if not all(map(math.isfinite, place)):
            raise ValueError("it is nowhere")
        occupancy = float(line[54:60]) if line[54:60].strip() else 1.0
        if occupancy <= 0 or alternative not in " A":
            return
        if kind not in _LETTERS and kind not in _OTHERS:
            if kind not in _WATER:
                self._others.append((line[76:78].strip().upper() or name[:1], place))
            return
        residue = (chain, line[22:27].strip())
        if residue not in seen:
            seen[residue] = len(self.names)
            self.chains.append(chain)
            self.names.append(chain + residue[1])
            self._numbers.append(int(line[22:26]))
            self._kinds.append(kind)
            self._atoms.append({})
        self._atoms[seen[residue]].setdefault(name, place)

    def _keep(self, indexes: List[int]) -> None:
        for name in ("chains", "names", "_numbers", "_kinds", "_atoms"):
            values = getattr(self, name)
            setattr(self, name, [values[index] for index in indexes])

    def joined(self, letters: Sequence[str]) -> str:
        """One letter a residue as text: chains in the order of their names."""
        chains: Dict[str, List[str]] = {}
        for chain, letter in zip(self.chains, letters):
            chains.setdefault(chain, []).append(letter)
        return "/".join("".join(chains[chain]) for chain in sorted(chains))

    def tensors(self, torch: Any, device: str, letters: Mapping[str, int]) -> Dict[str, Any]:
        """What the package's ``parse_PDB`` makes of it."""
        nowhere = (0.0, 0.0, 0.0)
        backbone = [[atoms.get(name, nowhere) for name in _BACKBONE] for atoms in self._atoms]
        whole = [all(name in atoms for name in _BACKBONE) for atoms in self._atoms]
        order: Dict[str, int] = {}
        for chain in self.chains:
            order.setdefault(chain, len(order))
        others = [
            (_number(element), place) for element, place in self._others if (_number(element) or 1) != 1
        ]

        def integers(values: Sequence[Any]) -> Any:
            return torch.tensor(values, dtype=torch.int32, device=device)

        return {
            "X": torch.tensor(backbone, dtype=torch.float32, device=device),
            "mask": integers(whole),
            "Y": torch.tensor(
                [place for _, place in others] or [nowhere], dtype=torch.float32, device=device
            ),
            "Y_t": integers([element for element, _ in others] or [0]),
            "Y_m": integers([1] * len(others) or [0]),
            "R_idx": integers(self._numbers),
            "chain_labels": integers([order[chain] for chain in self.chains]),
            "S": integers([letters[_LETTERS.get(kind, "X")] for kind in self._kinds]),
        }


_LETTERS = dict(
    zip(
        [
            "ALA",
            "ARG",
            "ASN",
            "ASP",
            "CYS",
            "GLN",
            "GLU",
            "GLY",
            "HIS",
            "ILE",
            "LEU",
            "LYS",
            "MET",
            "PHE",
            "PRO",
            "SER",
            "THR",
            "TRP",
            "TYR",
            "VAL",
        ],
        "ARNDCQEGHILKMFPSTWYV",
    )
)
# What ProDy takes for amino acids beside the twenty.
_OTHERS = frozenset(
    [
        "ARN",
        "ASH",
        "ASX",
        "CME",
        "CSB",
        "CSO",
        "CYX",
        "GLH",
        "GLX",
        "HID",
        "HIE",
        "HIP",
        "HSD",
        "HSE",
        "HSP",
        "LYN",
        "MEN",
        "MSE",
        "PHD",
        "PTR",
        "SEC",
        "SEP",
        "TPO",
        "TYM",
        "XAA",
        "XLE",
    ]
)
# As the package has them: it writes MB for molybdenum, and so leaves that out.
_ELEMENTS = [
    "H",
    "HE",
    "LI",
    "BE",
    "B",
    "C",
    "N",
    "O",
    "F",
    "NE",
    "NA",
    "MG",
    "AL",
    "SI",
    "P",
    "S",
    "CL",
    "AR",
    "K",
    "CA",
    "SC",
    "TI",
    "V",
    "CR",
    "MN",
    "FE",
    "CO",
    "NI",
    "CU",
    "ZN",
    "GA",
    "GE",
    "AS",
    "SE",
    "BR",
    "KR",
    "RB",
    "SR",
    "Y",
    "ZR",
    "NB",
    "MB",
    "TC",
    "RU",
    "RH",
    "PD",
    "AG",
    "CD",
    "IN",
    "SN",
    "SB",
    "TE",
    "I",
    "XE",
    "CS",
    "BA",
    "LA",
    "CE",
    "PR",
    "ND",
    "PM",
    "SM",
    "EU",
    "GD",
    "TB",
    "DY",
    "HO",
    "ER",
    "TM",
    "YB",
    "LU",
    "HF",
    "TA",
    "W",
    "RE",
    "OS",
    "IR",
    "PT",
    "AU",
    "HG",
    "TL",
    "PB",
    "BI",
    "PO",
    "AT",
    "RN",
    "FR",
    "RA",
    "AC",
    "TH",
    "PA",
    "U",
    "NP",
    "PU",
    "AM",
    "CM",
    "BK",
    "CF",
    "ES",
    "FM",
    "MD",
    "NO",
    "LR",
]


def _number(element: str) -> Optional[int]:
    """The atomic number; None for what is no element."""
    return _ELEMENTS.index(element) + 1 if element in _ELEMENTS else None

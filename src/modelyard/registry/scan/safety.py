"""What is known of the safety of files, and what follows from it: a version, a question for trust, a refusal.

Verdicts are kept by the bytes of a file and the scanner's version, so that the same file is looked at once. The
scanners: our own, fickling and modelscan on what it found to be pickles (where they are installed), ClamAV on every
file (where it is configured).
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from modelyard.core.errors import Internal, InvalidInput, RejectedContent, Unavailable
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Version
from modelyard.core.scan import FileScan, Finding, Verdict, VerdictName, VersionScan, verdict_of, worst
from modelyard.registry.scan import opinions
from modelyard.registry.scan.clamav import SCANNER as CLAMAV
from modelyard.registry.scan.clamav import ClamAV
from modelyard.registry.scan.kinds import SCANNER, VERSION, hint
from modelyard.registry.scan.scanner import Answer, Asked, NoScanner, look
from modelyard.store.blobs import BlobStore
from modelyard.store.verdicts import Verdicts

Kept = Mapping[str, Sequence[Verdict]]  # by the SHA-256 of a file
Progress = Callable[[str], None]
_TOLD: Final = 3  # findings in a sentence


class ScannerAway(Unavailable):
    """A scanner without whose word nothing passes does not answer."""


class Safety:
    """The scanners of one home, and its rule for trust. ``verdicts`` None: nothing is kept. ``clamav``, ``required`` and
    ``reasons`` are the settings ``clamav``, ``clamav_required`` and ``trust_reason``."""

    def __init__(
        self,
        blobs: BlobStore,
        verdicts: Verdicts | None = None,
        *,
        clamav: str | None = None,
        required: bool = False,
        reasons: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._blobs = blobs
        self._verdicts = verdicts
        self._clamav = None if clamav is None else ClamAV(clamav)
        self._required = required
        self._reasons = reasons
        self._clock = clock

    def require_reason(self, trusted: bool, because: str) -> None:
        """Raises InvalidInput where trust needs a reason, and there is none."""
        if self._reasons and trusted and not because.strip():
            raise InvalidInput(
                "This platform wants to know why what runs code is trusted (trust_reason): --because 'WHY', or because in "
                "Python and over HTTP.",
                field="because",
            )

    def look(
        self,
        manifest: Manifest,
        *,
        progress: Progress = lambda _: None,
        check: Callable[[], None] = lambda: None,
        again: bool = False,
        kept: Kept | None = None,
    ) -> tuple[list[FileScan], dict[str, str]]:
        """Every file of a manifest with its verdicts, and which scanners are absent, with the reason.

        Only what has no verdict of the present scanners is looked at (``again``: everything). ``check`` may raise to
        break off; ``kept`` is what :meth:`kept` said a moment ago. Raises ScannerAway while ClamAV is required and does not answer: nothing passes.
        """
        files = {file.sha256: file for file in manifest.files}
        known: dict[str, dict[str, Verdict]] = {digest: {} for digest in files}
        if kept is None:
            kept = self._verdicts.of(list(files)) if self._verdicts is not None else {}
        for digest in files:
            known[digest] = {verdict.scanner: verdict for verdict in kept.get(digest, ())}
        absent: dict[str, str] = {}

        def wanted(scanner: str, version: str, among: Sequence[str]) -> list[FileEntry]:
            return [
                files[digest]
                for digest in among
                if again or scanner not in known[digest] or known[digest][scanner].version != version
            ]

        def keep(given: list[Verdict]) -> None:
            if self._verdicts is not None and given:
                self._verdicts.keep(given)
            for each in given:
                known[each.sha256][each.scanner] = each

        new = self._new(manifest, known, again=again)
        if new:
            progress(f"scanning {len(new)} file(s)")
            keep(self._own(new, known, check, again=again))
        pickles = [digest for digest in files if _has_pickles(known[digest][SCANNER])]
        for name in opinions.NAMES:
            version = opinions.version_of(name)
            if version is None:
                absent[name] = opinions.ABSENT
            elif each := wanted(name, version, pickles):
                progress(f"{name} looks at {len(each)} file(s) with pickles")
                try:
                    keep(self._opinion(name, version, each, check))
                except NoScanner as error:
                    absent[name] = f"it does not start: {error}"
        self._virus(wanted, keep, list(files), absent, progress, check)
        # Of a scanner that is not there any more, what it said of these very bytes still holds.
        scans = [
            FileScan(
                path=file.path,
                sha256=file.sha256,
                verdict=worst([each.verdict for each in known[file.sha256].values()]),
                verdicts=tuple(known[file.sha256][name] for name in sorted(known[file.sha256])),
            )
            for file in manifest.files
        ]
        return scans, absent

    def kept(self, versions: Iterable[Version]) -> Kept:
        """What is known of the files of some versions, asked at once."""
        digests = {file.sha256 for version in versions for file in version.manifest.files}
        return self._verdicts.of(sorted(digests)) if self._verdicts is not None else {}

    def scan(
        self,
        version: Version,
        *,
        again: bool = False,
        progress: Progress = lambda _: None,
        kept: Kept | None = None,
    ) -> VersionScan:
        """What is known of a version after looking at what was not looked at yet (``kept``: what :meth:`kept` said of it
        a moment ago)."""
        files, absent = self.look(version.manifest, again=again, progress=progress, kept=kept)
        return VersionScan(
            model=version.model,
            number=version.number,
            verdict=worst([file.verdict for file in files]),
            files=tuple(files),
            quarantine=version.quarantine,
            absent=absent,
        )

    def seen(self, version: Version) -> VersionScan:
        """What is known already, without looking at anything. A file without a verdict is *unscanned*."""
        kept = self._verdicts.of([file.sha256 for file in version.manifest.files]) if self._verdicts else {}
        files = [
            FileScan(
                path=file.path,
                sha256=file.sha256,
                verdict=worst([each.verdict for each in kept.get(file.sha256, [])] or ["unscanned"]),
                verdicts=tuple(kept.get(file.sha256, [])),
            )
            for file in version.manifest.files
        ]
        absent = {name: opinions.ABSENT for name in opinions.NAMES if opinions.version_of(name) is None}
        if self._clamav is None:
            absent[CLAMAV] = "it is not configured (setting clamav)"
        return VersionScan(
            model=version.model,
            number=version.number,
            verdict=worst([file.verdict for file in files]),
            files=tuple(files),
            quarantine=version.quarantine,
            absent=absent,
        )

    @staticmethod
    def _new(manifest: Manifest, known: dict[str, dict[str, Verdict]], *, again: bool) -> list[FileEntry]:
        """The files that our own scanner has to look at: once for each name that means something to it."""
        new: dict[tuple[str, str], FileEntry] = {}
        for file in manifest.files:
            row = known[file.sha256].get(SCANNER)
            if again or row is None or hint(file.path) not in _hints(row):
                new.setdefault((file.sha256, hint(file.path)), file)
        return list(new.values())

    def _own(
        self,
        files: list[FileEntry],
        known: dict[str, dict[str, Verdict]],
        check: Callable[[], None],
        *,
        again: bool,
    ) -> list[Verdict]:
        try:
            answers = look([self._asked(file) for file in files], check=check)
        except NoScanner as error:
            raise Internal(f"The files cannot be scanned, so that nothing passes: {error}.") from error
        found: dict[str, Verdict] = {}
        for file, answer in zip(files, answers, strict=True):
            former = found.get(file.sha256) or (None if again else known[file.sha256].get(SCANNER))
            hints = (_hints(former) if former is not None else set()) | {hint(file.path)}
            verdict = self._verdict(file, SCANNER, _version(hints), answer)
            if former is not None and _hints(former):
                # The same bytes under another name may be something else; they are the worse of both.
                findings = tuple(dict.fromkeys((*former.findings, *verdict.findings)))
                verdict = replace(
                    verdict, findings=findings, verdict=worst([former.verdict, verdict.verdict])
                )
            found[file.sha256] = verdict
        return list(found.values())

    def _opinion(
        self, name: str, version: str, files: list[FileEntry], check: Callable[[], None]
    ) -> list[Verdict]:
        answers = look([self._asked(file) for file in files], name, check=check)
        found: list[Verdict] = []
        for file, answer in zip(files, answers, strict=True):
            if answer.died is not None:
                # A second opinion that is not to be had: our own stands, and this is told beside it.
                answer = Answer((Finding(level="note", what=f"{name} gave no opinion: {answer.died}"),))
            found.append(self._verdict(file, name, version, answer))
        return found

    def _virus(
        self,
        wanted: Callable[[str, str, Sequence[str]], list[FileEntry]],
        keep: Callable[[list[Verdict]], None],
        digests: list[str],
        absent: dict[str, str],
        progress: Progress,
        check: Callable[[], None],
    ) -> None:
        if self._clamav is None:
            absent[CLAMAV] = "it is not configured (setting clamav)"
            return
        try:
            version = self._clamav.version()
            for file in wanted(CLAMAV, version, digests):
                check()
                progress(f"ClamAV looks at {file.path}")
                asked = self._asked(file)
                answer = Answer(self._clamav.look(asked.size, asked.read))
                keep([self._verdict(file, CLAMAV, version, answer)])
        except Unavailable as error:
            if self._required:
                raise ScannerAway(
                    f"{error.message} Its verdict is required (clamav_required), so that the files wait.",
                    retry_after=error.retry_after,
                ) from error
            absent[CLAMAV] = error.message

    def _asked(self, file: FileEntry) -> Asked:
        return Asked(
            file.path, file.size, lambda offset, length: self._blobs.read(file.sha256, offset, length)
        )

    def _verdict(self, file: FileEntry, scanner: str, version: str, answer: Answer) -> Verdict:
        findings = answer.findings
        if answer.died is not None:
            findings = (Finding(level="unreadable", what=answer.died),)
        if scanner == SCANNER and answer.pickles:
            findings = (*findings, Finding(level="note", what=f"{_PICKLES} {answer.pickles}"))
        return Verdict(
            sha256=file.sha256,
            scanner=scanner,
            version=version,
            verdict=verdict_of([each.level for each in findings]),
            findings=findings,
            more=answer.more,
            time=self._clock(),
        )


def _version(hints: set[str]) -> str:
    """Of our own scanner, with what in names it went by."""
    return f"{VERSION} ({', '.join(sorted(each or 'any name' for each in hints))})"


def _hints(verdict: Verdict) -> set[str]:
    """What in names a verdict of our own scanner went by; none for one of another version."""
    version, _, rest = verdict.version.partition(" (")
    if version != VERSION or not rest.endswith(")"):
        return set()
    return {"" if each == "any name" else each for each in rest[:-1].split(", ")}


_PICKLES: Final = "pickles in it:"


def _has_pickles(verdict: Verdict) -> bool:
    return any(each.level == "note" and each.what.startswith(_PICKLES) for each in verdict.findings)


def told(files: Sequence[FileScan], level: VerdictName) -> str:
    """The worst findings of a level in a sentence or two, each with its place."""
    parts: list[str] = []
    for file in files:
        for verdict in file.verdicts:
            for each in verdict.findings:
                if each.level == level:
                    where = file.path + (f"/{each.where}" if each.where else "")
                    at = f" at byte {each.offset}" if each.offset is not None else ""
                    parts.append(f"{where}{at}: {each.what}")
    parts = list(dict.fromkeys(parts))
    rest = f"; and {len(parts) - _TOLD} more" if len(parts) > _TOLD else ""
    return "; ".join(parts[:_TOLD]) + rest


def refuse_malicious(files: Sequence[FileScan]) -> None:
    """Raise RejectedContent when a file is malicious: no trust helps."""
    bad = [file for file in files if file.verdict == "malicious"]
    if bad:
        raise RejectedContent(
            f"{told(bad, 'malicious')}. That is no model but an attack, or a mistake; it is refused, trusted or not.",
            field=bad[0].path,
        )

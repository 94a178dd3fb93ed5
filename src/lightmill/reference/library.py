"""References for data: the rules of a context, and the files they name, verified.

Rules and files come from a cache. Where a server is given, what the cache lacks
is fetched, and what is damaged is replaced; without one, everything works that
the cache has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.errors import (
    ConfigurationError,
    LightmillError,
    NothingSelectedError,
)
from lightmill.reference.bad_files import BadFiles
from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.config import STATES, is_date
from lightmill.reference.download import Progress, download
from lightmill.reference.layout import is_mapping, is_true, known_server, plain_name
from lightmill.reference.lock_file import ReferenceLock
from lightmill.reference.selected import (
    BadReferenceError,
    MissingReferenceError,
    Selected,
    raise_together,
)
from lightmill.reference.transport import ServerError
from lightmill.reference.verified import Verified, VerifiedFiles

if TYPE_CHECKING:
    from lightmill.reference.rules import Context, InstrumentRules

__all__ = [
    "BadReferenceError",
    "Library",
    "MissingReferenceError",
    "Selected",
    "instrument_of",
    "raise_together",
]


class Library:
    """The references of all observatories a cache knows.

    Parameters
    ----------
    cache : Cache
        Where rules and files are.
    client : Client, optional
        Whom to ask for what is not there.
    context : str, optional
        The context to use: a name, a state, a date or a path. By default what
        ``CRDS_CONTEXT`` says, else what the cache was told last.
    lock : ReferenceLock, optional
        Pins the context and the content of each file; nothing else is used.
    environ : mapping, optional
        The variables; by default those of this process.
    """

    def __init__(
        self,
        cache: Cache,
        client: Client | None = None,
        *,
        context: str | None = None,
        lock: ReferenceLock | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.cache, self.client, self.lock = cache, client, lock
        self.files = VerifiedFiles(cache, client, lock)
        self._bad = BadFiles(cache, environ)
        self._asked = context or (lock.context if lock else None) or environ.get("CRDS_CONTEXT")
        if lock and self._asked != lock.context:
            raise ConfigurationError(
                "the lock file pins another context than the one asked for",
                place=lock.path,
                found=self._asked,
                expected=lock.context,
                remedy="leave out the context, or write a new lock file: lightmill refs lock",
            )
        self._verify_rules = not is_true(environ.get("CRDS_IGNORE_MAPPING_CHECKSUM"))
        self._contexts: dict[str, Context] = {}
        self._without_files: set[str] = set()  # observatories whose rules are in their own folder

    # -- rules ----------------------------------------------------------------------------

    def context_name(self, observatory: str) -> str:
        """Return the name of the context in force.

        Raises
        ------
        ConfigurationError
            If neither cache nor server know it.
        """
        if self._asked and os.sep in self._asked:
            if not Path(self._asked).is_file():
                raise ConfigurationError(
                    "this is neither the name of a context nor a file of rules",
                    place="--context (or CRDS_CONTEXT)",
                    found=self._asked,
                    expected="a .pmap of the cache, OBS-latest, OBS-DATE, or the path of a .pmap",
                    remedy="lightmill refs list --contexts shows those of the cache",
                )
            return self._asked
        try:
            return self.cache.resolve_context(self._asked, observatory)
        except ConfigurationError:
            if self.client is None:
                raise
            return self.told_by_server(self._asked, observatory)

    def told_by_server(self, spec: str | None, observatory: str) -> str:
        """Return the context a spec means, as the server says."""
        assert self.client is not None
        what = (spec or "").removeprefix(f"{observatory}-")
        config = self.client.for_observatory(observatory)
        kept = self.cache.config(observatory)
        if (kept is None or kept.context() is None) and not self.cache.readonly:
            self.refresh(observatory)  # the next time no server is needed
        if is_date(what):
            return plain_name(self.client.context_by_date(what, observatory), self.client.url)
        state = what if what in STATES else None
        named = config.context(state) or self.client.default_context(observatory, state)
        return plain_name(named, self.client.url)

    def context(self, observatory: str) -> Context:
        """Return the rules in force for an observatory; they are loaded as they are needed.

        Raises
        ------
        ConfigurationError
            If the rules are not to be had.
        BadReferenceError
            If they are known to be wrong, unless ``CRDS_ALLOW_BAD_RULES`` is set.
        """
        from lightmill.reference.rules import Context

        observatory = observatory.lower()
        if observatory not in self._contexts:
            try:
                name = self.context_name(observatory)
            except ConfigurationError:
                own = self._own_rules(observatory)
                if own is None:
                    raise
                self._contexts[observatory] = own
                return own
            found = self._loaded(name, observatory)
            if not isinstance(found, Context):
                raise ConfigurationError(
                    "data are calibrated with the context of an observatory",
                    place=name,
                    expected="a .pmap file",
                )
            self._contexts[observatory] = found
        return self._contexts[observatory]

    def _loaded(self, name: str, observatory: str) -> Any:
        """Return rules; where those the cache was told of are not to be had, others may be by now."""
        from lightmill.reference.rules import load

        def loaded(name: str) -> Any:
            self.refuse_bad_rules(observatory, [name])
            source = _Source(self, observatory, name)
            return load(name, source=source, verify=self._verify_rules)

        if (self._asked or "").endswith(".pmap"):
            return loaded(name)
        try:
            return loaded(name)
        except ConfigurationError as error:
            if self.cache.mapping_path(name).exists():
                raise
            again = self._told_anew(observatory)
            if again not in {None, name}:
                return loaded(str(again))
            if not isinstance(error, BadReferenceError | ServerError):  # these know better
                error.remedy = (
                    "ask for the context in use: lightmill refs sync --contexts "
                    f"{observatory}-latest --server {known_server(observatory)}"
                )
            raise

    def _told_anew(self, observatory: str) -> str | None:
        """Ask the server for its configuration, and return the context it means by ours."""
        if self.client is None:
            return None
        if not self.cache.readonly:
            self.refresh(observatory)
        return self.told_by_server(self._asked, observatory)

    def _own_rules(self, observatory: str) -> Context | None:
        """Return the rules in an observatory's own folder, where nobody names others."""
        from lightmill.instrument import observatories

        if self._asked:
            return None
        for one in observatories():
            if one.name.lower() == observatory:
                from lightmill.reference.yaml_rules import has_rules, rules_of

                if has_rules(one.home):
                    self._without_files.add(observatory)
                    return rules_of(one.home)
        return None

    def rules(self, observatory: str, instrument: str) -> InstrumentRules:
        """Return the rules in force for an instrument."""
        return self.context(observatory).rules(instrument)

    def refuse_bad_rules(self, observatory: str, names: Iterable[str]) -> None:
        """Raise an error if rules are known to be wrong, unless that is allowed.

        Raises
        ------
        BadReferenceError
            If a name is in the list of bad files.
        """
        self._bad.refuse_rules(observatory, names)

    def read_mapping(self, name: str, observatory: str) -> tuple[str, str]:
        """Return the text of rules and their place, fetched if need be and as the lock pins it.

        Raises
        ------
        ConfigurationError
            If they are not to be had.
        CorruptFileError
            If they are not what the lock file pins.
        """
        if self.client is not None and not self.cache.mapping_path(name).exists():
            download([name], self.cache, self.client, observatory=observatory)
        text, place = self.cache.read_mapping(name)
        if self.lock:
            self.lock.check_mapping(name, place)
        return text, place

    # -- references -----------------------------------------------------------------------

    def choose(
        self, header: Mapping[str, Any], observatory: str, types: Iterable[str] | None = None
    ) -> dict[str, Selected | LightmillError]:
        """Return what the rules name for data; whether the files are there is not looked at.

        Parameters
        ----------
        header : mapping
            What the data say of themselves, under the names the rules use.
        observatory : str
            Whose data.
        types : iterable of str, optional
            Types of reference; by default all the instrument has.

        Returns
        -------
        answers : dict
            Type → the answer, without a path, or the error that says why there is none.
        """
        context = self.context(observatory)
        asked = None if types is None else list(types)
        instrument = instrument_of(header)
        if instrument is not None:
            self._bad.refuse_types(context, observatory, instrument, asked)
        found: Mapping[str, Any] = context.best_references(header, asked)
        return {
            reftype: self._answer(reftype, answer, context, observatory, header)
            for reftype, answer in found.items()
        }

    def select(
        self,
        header: Mapping[str, Any],
        observatory: str,
        types: Iterable[str] | None = None,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Selected | LightmillError]:
        """Return the references for data, verified, or why there is none.

        What the cache lacks is fetched, if there is a client. Header, observatory and
        types are as `choose` takes them.

        Parameters
        ----------
        progress : callable, optional
            Told the name of a file that is fetched, the bytes so far and those in all.

        Returns
        -------
        answers : dict
            Type → the answer, or the error that says why there is none. All that is
            wrong is found at once; see `raise_together`.
        """
        answers = self.choose(header, observatory, types)
        names = [one.name for one in answers.values() if isinstance(one, Selected) and one.is_file]
        instruments = dict.fromkeys(names, instrument_of(header))
        files = self.ensure(names, observatory, instruments=instruments, progress=progress)
        for reftype, one in answers.items():
            if isinstance(one, Selected) and one.is_file:
                file = files[one.name]
                answers[reftype] = (
                    file
                    if isinstance(file, LightmillError)
                    else replace(one, path=file[0], sha1=file[1])
                )
        return answers

    def _answer(
        self,
        reftype: str,
        answer: Any,
        context: Context,
        observatory: str,
        header: Mapping[str, Any],
    ) -> Selected | LightmillError:
        if isinstance(answer, LightmillError):
            return answer
        if not isinstance(answer, str):
            return NothingSelectedError(
                f"the rules name several files for {reftype} instead of one",
                place=context.name,
                found=answer,
                remedy=f"choose one: --override-{reftype}=FILE",
            )
        found = Selected(reftype, answer, None, None, context.name, (context, dict(header)))
        problem = self._refused(answer, observatory) if found.is_file else None
        return problem or found

    def _refused(self, name: str, observatory: str) -> LightmillError | None:
        if problem := self._bad.problem(name, observatory):
            return problem
        if self.lock and name not in self.lock.references:
            return MissingReferenceError(
                "the lock file does not have this reference",
                place=self.lock.path,
                found=name,
                remedy="write a new one with these data: lightmill refs lock",
            )
        return None

    def ensure(
        self,
        names: Iterable[str],
        observatory: str,
        *,
        instruments: Mapping[str, str] | Mapping[str, str | None] | None = None,
        progress: Progress | None = None,
        workers: int = 4,
    ) -> dict[str, Verified | LightmillError]:
        """Return where files are, fetched and repaired as far as there is a client.

        Parameters
        ----------
        names : iterable of str
            Names of rules or references.
        observatory : str
            Whose files.
        instruments : mapping, optional
            Name → instrument, where the name does not say it.
        progress : callable, optional
            Told the name of a file that is fetched, the bytes so far and those in all.
        workers : int
            Transfers at the same time.

        Returns
        -------
        files : dict
            Name → path and the SHA-1 it was verified against, or the error.
        """
        return self.files.ensure(
            names, observatory, instruments=instruments or {}, progress=progress, workers=workers
        )

    def refresh(self, observatory: str) -> None:
        """Ask the server for its contexts, bad files and checksums, and keep the answer.

        Raises
        ------
        ConfigurationError
            If there is no server, or it is another observatory's.
        """
        self.files.refresh(observatory)

    # -- what a context is made of --------------------------------------------------------

    def mappings_for(self, observatory: str, instruments: Iterable[str]) -> list[str]:
        """Return the names of the rules that some instruments need: all they are chosen by.

        Raises
        ------
        ConfigurationError
            If the rules are not files of the cache, but in the observatory's own folder.
        """
        context = self.context(observatory)
        if observatory in self._without_files:
            raise ConfigurationError(
                "these rules are not in a cache, so they cannot be bundled or locked",
                place=context.place,
                remedy="they travel with the observatory's own folder",
            )
        names = [Path(context.name).name]
        for instrument in instruments:
            rules = context.rules(instrument)
            names.append(Path(rules.name).name)
            names += [name for name in rules.types.values() if is_mapping(name)]
        return list(dict.fromkeys(names))


def instrument_of(header: Mapping[str, Any]) -> str | None:
    """Return the instrument a header names, lower case, whatever its keys are like."""
    for key, value in header.items():
        if key.upper().endswith("INSTRUMENT.NAME") or key.upper() == "INSTRUME":
            return str(value).lower()
    return None


class _Source:
    """Where a context's rules are read: beside it, if it was named by a path, and in the cache."""

    def __init__(self, library: Library, observatory: str, name: str) -> None:
        self.library, self.observatory = library, observatory
        self.folder = Path(name).parent if os.sep in name else None

    def read_mapping(self, name: str) -> tuple[str, str]:
        beside = self.folder / Path(name).name if self.folder else None
        if beside is not None and beside.is_file():
            text = beside.read_text(encoding="utf-8")
            if self.library.lock:
                self.library.lock.check_mapping(beside.name, beside)
            return text, str(beside)
        self.library.refuse_bad_rules(self.observatory, [name])
        return self.library.read_mapping(Path(name).name, self.observatory)

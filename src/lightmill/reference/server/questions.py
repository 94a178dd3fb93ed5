"""The questions of the CRDS protocol, answered from holdings.

One method of `Questions` is one question; its name, and the order of its
arguments, are those of the protocol.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import functools
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lightmill.errors import DataError, LightmillError, UnknownNameError
from lightmill.reference.cache import observatory_of
from lightmill.reference.config import FileInfo
from lightmill.reference.layout import is_mapping
from lightmill.reference.server.holdings import Holdings, NotHereError

if TYPE_CHECKING:
    from lightmill.reference.rules import Context

__all__ = ["Questions", "TooLargeError", "checked_header", "checked_types"]

_PROTOCOL = "14.0.3"  # release of the official client whose questions these are
_HEADERS = 1000  # headers one question may hold, as clients are told
_KEYS = 1000  # of one header
_ARCHIVE = (
    "get_aui_best_references",
    "get_best_references_by_ids",
    "get_dataset_headers_by_id",
    "get_dataset_headers_by_instrument",
    "get_dataset_ids",
    "get_affected_datasets",
    "get_sqlite_db",
    "get_remote_context",
    "push_remote_context",
    "jpoll_abort",
    "jpoll_pull_messages",
)


class TooLargeError(DataError):
    """A question is longer than this server reads."""

    code = "question-too-large"


class Questions:
    """What one client asks.

    Parameters
    ----------
    holdings : Holdings
        What there is.
    url : str
        Address of the server as the client knows it.
    observatory : str, optional
        The one the client's address names.
    version : str
        Ours, to be told.
    """

    def __init__(
        self, holdings: Holdings, url: str, observatory: str | None = None, version: str = ""
    ) -> None:
        self.holdings, self.url, self.version = holdings, url.rstrip("/"), version
        self.observatory = observatory

    def answer(self, method: Any, params: Any) -> Any:
        """Return the answer to a question.

        Parameters
        ----------
        method : str
            Its name.
        params : list
            What is asked about.

        Returns
        -------
        answer : object
            What JSON can spell.

        Raises
        ------
        LightmillError
            If there is no such question, or no answer to it.
        """
        if method in _ARCHIVE:
            raise UnknownNameError("question this server answers", method, questions())
        if method not in questions():
            raise UnknownNameError("question", str(method)[:80], questions())
        if not isinstance(params, list):
            raise DataError("the parameters of a question are a list", found=params)
        ask = getattr(self, method)
        try:
            inspect.signature(ask).bind(*params)
        except TypeError as error:
            raise DataError("the question has other parameters", found=str(error)) from error
        return ask(*params)

    # -- the server and its contexts ------------------------------------------------------

    def get_server_info(self) -> dict[str, Any]:
        """Return what a client keeps: contexts, places of files, their sizes and sums."""
        holdings, whose = self.holdings, self._whose(self.observatory)
        config = holdings.config(whose)
        told = config.facts if config else {}
        return {
            "observatory": whose,
            "operational_context": holdings.operational(whose),
            "latest_context": holdings.state(whose, "latest"),
            "edit_context": holdings.state(whose, "edit"),
            "versions_context": holdings.state(whose, "versions"),
            "mappings": sorted(holdings.mappings(whose)),
            "mapping_url": {whose: f"{self.url}/{whose}/mappings"},
            "reference_url": {whose: f"{self.url}/{whose}/references"},
            "bad_files_list": sorted(config.bad_files) if config else [],
            "bad_files": " ".join(sorted(config.bad_files)) if config else "",
            "context_history": [list(entry) for entry in (config.history if config else ())],
            "crds_version": told.get("crds_version") or {"str": _PROTOCOL},
            "server_version": f"lightmill {self.version}",
            "force_remote_mode": False,
            "max_bestrefs_per_rpc": _HEADERS,
            "max_headers_per_rpc": _HEADERS,
            "last_synced": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "download_metadata": holdings.metadata(whose),
        }

    def get_default_context(self, observatory: Any = None, state: Any = None) -> str:
        """Return the name of the context in use, or of that in a state."""
        return self.holdings.state(self._whose(observatory), None if state is None else str(state))

    def get_build_context(self, observatory: Any = None, version: Any = None) -> str:
        """Return the context for a version of software: that in use, as none is made for one."""
        del version
        return self.holdings.state(self._whose(observatory), "build")

    def get_context_by_date(self, date: Any, observatory: Any = None) -> str:
        """Return the context that was in use at a date."""
        return self.holdings.at_date(str(date), self._whose(observatory))

    def get_context_history(self, observatory: Any = None) -> list[list[str]]:
        """Return dates, contexts that came into use, and notes on them."""
        config = self.holdings.config(self._whose(observatory))
        return [[*entry, ""] for entry in (config.history if config else ())]

    def get_system_versions(self, master: Any = None, context: Any = None) -> dict[str, str]:
        """Return the versions of the software behind the server."""
        del master, context
        return {"crds": _PROTOCOL, "lightmill": self.version}

    # -- names ----------------------------------------------------------------------------

    def list_mappings(self, observatory: Any = None, glob: Any = "*") -> list[str]:
        """Return the names of rules that match a pattern."""
        return _matching(self.holdings.mappings(self._whose(observatory)), glob)

    def list_references(self, observatory: Any = None, glob: Any = "*") -> list[str]:
        """Return the names of references that match a pattern."""
        return _matching(self.holdings.references(self._whose(observatory)), glob)

    def is_known_mapping(self, name: Any) -> bool:
        """Say whether a rule file is here."""
        return any(name in self.holdings.mappings(one) for one in self.holdings.observatories())

    def get_mapping_names(self, context: Any) -> list[str]:
        """Return the names of all rules of a context."""
        return sorted(self._rules(context).mapping_names())

    def get_reference_names(self, context: Any) -> list[str]:
        """Return the names of all references of a context."""
        return sorted(self._rules(context).reference_names())

    def get_required_parkeys(self, context: Any) -> dict[str, list[str]]:
        """Return the header keys each instrument's rules look at."""
        rules = self._rules(context)
        found = {}
        for instrument, name in rules.instruments.items():
            if is_mapping(name):
                found[instrument] = list(rules.required_keys(instrument))
        return found

    # -- best references ------------------------------------------------------------------

    def get_best_references(self, context: Any, header: Any, types: Any = None) -> dict[str, Any]:
        """Return, by type, the name of the reference, or why there is none."""
        rules = self._rules(context)
        return _told(rules.best_references(checked_header(header), checked_types(types)))

    def get_best_references_by_header_map(
        self, context: Any, headers: Any, types: Any = None
    ) -> dict[str, list[Any]]:
        """Return the same for many headers: identifier → whether it went well, and the answers."""
        if not isinstance(headers, dict) or len(headers) > _HEADERS:
            raise DataError(
                "the headers are not a dict of identifier and header, or are too many",
                expected=f"at most {_HEADERS} headers",
            )
        rules, asked = self._rules(context), checked_types(types)
        found: dict[str, list[Any]] = {}
        for name, header in headers.items():
            try:
                found[name] = [True, _told(rules.best_references(checked_header(header), asked))]
            except LightmillError as error:
                found[name] = [False, error.story()]
        return found

    # -- files ----------------------------------------------------------------------------

    def get_url(self, context: Any, name: Any) -> str:
        """Return the address of a file."""
        whose = self._whose_file(name, context)
        self.holdings.path(name, whose)
        kind = "mappings" if is_mapping(name) else "references"
        return f"{self.url}/{whose}/{kind}/{quote(name)}"

    def get_mapping_url(self, context: Any, name: Any) -> str:
        """Return the address of a rule file."""
        return self.get_url(context, name)

    def get_reference_url(self, context: Any, name: Any) -> str:
        """Return the address of a reference file."""
        return self.get_url(context, name)

    def get_flex_uri(self, name: Any, observatory: Any = None) -> str:
        """Return the address of a file."""
        return self.get_url(observatory, name)

    def get_file_info(self, context: Any, name: Any) -> dict[str, str]:
        """Return what is known of a file."""
        return self._facts(str(name), self._whose_file(name, context))

    def get_file_info_map(
        self, observatory: Any = None, names: Any = None, fields: Any = None
    ) -> dict[str, Any]:
        """Return what is known of files: of those named, or of all.

        A name that is not here has a text instead of facts.
        """
        whose = self._whose(observatory)
        if names is None and fields is not None and set(fields) <= {"size", "sha1sum"}:
            infos = self.holdings.infos(whose)
            return {name: {k: _sizes(one)[k] for k in fields} for name, one in infos.items()}
        if names is None:
            names = [*self.holdings.mappings(whose), *self.holdings.references(whose)]
        found: dict[str, Any] = {}
        for name in names:
            try:
                facts = self._facts(str(name), whose)
            except NotHereError:
                found[name] = f"NOT FOUND: file {name!r} is not here"
            else:
                found[name] = {k: v for k, v in facts.items() if fields is None or k in fields}
        return found

    # -- what is behind -------------------------------------------------------------------

    def _whose(self, observatory: Any) -> str:
        """Return the observatory a question is about.

        The client's address counts more than the question: official clients ask servers
        they do not know in the name of an observatory they guess.
        """
        named = self.observatory
        if named is None and observatory:
            named = observatory_of(str(observatory))
            known = self.holdings.observatories()
            if named not in known and len(known) == 1:
                named = known[0]
        return self.holdings.require_observatory(named)

    def _whose_file(self, name: Any, context: Any) -> str:
        known = self.holdings.observatories()
        for text in (context, name):
            if isinstance(text, str) and observatory_of(text) in known:
                return observatory_of(text)
        for one in known:
            if name in self.holdings.references(one):
                return one
        return self._whose(None)

    def _rules(self, context: Any) -> Context:
        spec = None if context in (None, "", "None") else str(context)
        if spec is None or not spec.endswith(".pmap"):
            spec = self.holdings.resolve(spec, self.observatory)
        return self.holdings.rules(spec)

    def _facts(self, name: str, observatory: str) -> dict[str, str]:
        path = self.holdings.path(name, observatory)
        info = self.holdings.info(name, observatory)
        config = self.holdings.config(observatory)
        parts = path.stem.lower().split("_")
        named = len(parts) > 2 and parts[0] == observatory
        changed = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
        return {
            "name": name,
            "observatory": observatory,
            "type": "mapping" if is_mapping(name) else "reference",
            "instrument": parts[1] if named else "",
            "filekind": parts[2] if named else "",
            **_sizes(info),
            "state": "operational",
            "rejected": "true" if config and name in config.bad_files else "false",
            "blacklisted": "false",
            "delivery_date": changed.strftime("%Y-%m-%d %H:%M:%S"),
        }


@functools.cache
def questions() -> frozenset[str]:
    """Return the names of all questions."""
    return frozenset(
        name
        for name, _ in inspect.getmembers(Questions, inspect.isfunction)
        if name.startswith(("get_", "list_", "is_"))
    )


def checked_header(header: Any) -> Mapping[str, Any]:
    """Return a header as rules read it: names and single values.

    Raises
    ------
    DataError
        If it is anything else.
    """
    if not isinstance(header, dict) or len(header) > _KEYS:
        raise DataError(
            "this is no header",
            found=type(header).__name__,
            expected=f"a dict of at most {_KEYS} keywords and values",
        )
    for key, value in header.items():
        if not isinstance(value, str | int | float | bool | None):
            raise DataError("a header holds single values", place=key, found=value)
    return {str(key): value for key, value in header.items() if value is not None}


def checked_types(types: Any) -> list[str] | None:
    """Return the types of reference somebody asks for; None for all.

    Raises
    ------
    DataError
        If they are no list of names.
    """
    if types is None:
        return None
    if not isinstance(types, list) or not all(isinstance(one, str) for one in types):
        raise DataError("the types of reference are a list of names", found=types)
    return types or None


def _told(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return answers as the official client reads them: a name, or a text that begins NOT FOUND."""
    found: dict[str, Any] = {}
    for reftype, answer in answers.items():
        if isinstance(answer, LightmillError):
            found[reftype.lower()] = f"NOT FOUND {answer.story()}"
        elif answer == "N/A":
            found[reftype.lower()] = "NOT FOUND n/a"
        elif answer != "OMIT":
            found[reftype.lower()] = list(answer) if isinstance(answer, tuple) else answer
    return found


def _sizes(info: FileInfo) -> dict[str, str]:
    return {"size": str(info.size or 0), "sha1sum": info.sha1 or "none"}


def _matching(names: Mapping[str, Any], glob: Any) -> list[str]:
    if not isinstance(glob, str) or len(glob) > 200:
        raise DataError("this is no pattern of names", found=glob)
    return sorted(fnmatch.filter(names, glob))

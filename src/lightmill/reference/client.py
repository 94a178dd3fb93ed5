"""Ask a server of reference files: the questions a CRDS server answers.

Questions are JSON-RPC 1.0, posted to ``<server>/json/<method>/<id>/``. Nothing
here decides what is right for data: that is done from rules, here, offline. A
server is asked what there is and where it is.
"""

from __future__ import annotations

import functools
import html
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightmill.errors import ConfigurationError
from lightmill.reference.config import FileInfo, ServerConfig, decoded
from lightmill.reference.transport import Patience, ServerError, failure, is_passing, open_url

__all__ = ["Client", "is_serverless"]


def is_serverless(url: str | None) -> bool:
    """Say whether an address means that there is no server."""
    text = (url or "").strip().lower()
    return text in {"", "none", "n/a"} or "serverless" in text or "server-less" in text


class Client:
    """The questions one server answers.

    Parameters
    ----------
    url : str
        Address of the server, ``https://example.org/crds``.
    patience : Patience, optional
        Time-outs and retries; by default as the ``CRDS_CLIENT_*`` variables say.
    environ : mapping, optional
        The variables; by default those of this process.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: Patience | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if is_serverless(url):
            raise ConfigurationError(
                "this address means that there is no server",
                place="CRDS_SERVER_URL",
                found=url,
                remedy="set CRDS_SERVER_URL, or --server, to the address of one",
            )
        self.environ = os.environ if environ is None else environ
        self.url = url.rstrip("/")
        self.patience = patience or Patience.from_environment(self.environ)
        self._number = itertools.count(1)

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Client | None:
        """Return a client of the server ``CRDS_SERVER_URL`` names, or None without one."""
        environ = os.environ if environ is None else environ
        url = environ.get("CRDS_SERVER_URL", "")
        return None if is_serverless(url) else cls(url, environ=environ)

    def call(self, method: str, *params: Any) -> Any:
        """Ask a question and return the answer.

        Parameters
        ----------
        method : str
            Name of the question, ``get_server_info``.
        *params : object
            What JSON can spell.

        Returns
        -------
        answer : object
            As the server gave it, unwrapped.

        Raises
        ------
        ServerError
            If the server cannot be reached, or answers with an error or with nonsense.
        """
        number = f"{next(self._number):08x}"
        url = f"{self.url}/json/{method}/{number}/"
        question = {"jsonrpc": "1.0", "method": method, "params": list(params), "id": number}
        text = self._posted(url, json.dumps(question).encode())
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or "result" not in answer:
            raise ServerError(
                "the answer is not that of a reference server",
                place=url,
                found=text[:80].decode(errors="replace"),
                remedy="check CRDS_SERVER_URL (or --server)",
            )
        if answer.get("error"):
            error = answer["error"]
            said = error.get("message") if isinstance(error, dict) else error
            raise ServerError(
                f"the server refuses to answer {method}", place=url, found=_one_line(str(said))
            )
        return decoded(answer["result"], url)

    def _posted(self, url: str, question: bytes) -> bytes:
        for attempt in itertools.count(1):
            try:
                headers = {"Content-Type": "application/json"}
                with open_url(
                    url, data=question, headers=headers, timeout=self.patience.timeout
                ) as response:
                    return bytes(response.read())
            except Exception as error:
                if attempt >= self.patience.attempts or not is_passing(error):
                    raise failure(url, error, attempts=attempt) from error
                self.patience.pause(attempt)
        raise AssertionError  # the loop ends by return or raise

    # -- what there is --------------------------------------------------------------------

    def server_info(self) -> ServerConfig:
        """Return what the server says about itself; to be kept in a cache.

        Sizes and checksums of all files are asked for if the server leaves them out.
        """
        return self._info

    @functools.cached_property
    def _info(self) -> ServerConfig:
        facts = self.call("get_server_info")
        if not isinstance(facts, dict) or not facts.get("observatory"):
            raise ServerError(
                "the server does not say which observatory it serves",
                place=self.url,
                found=facts,
                remedy="check CRDS_SERVER_URL (or --server)",
            )
        facts = {**facts, "server": self.url, "status": "server", "connected": True}
        told = ServerConfig(facts, self.url)
        told.check_names()
        return told

    def for_observatory(self, observatory: str) -> ServerConfig:
        """Return the server's facts, if it is the server of this observatory.

        Raises
        ------
        ServerError
            If it serves another one.
        """
        info = self.server_info()
        if info.observatory != observatory:
            raise ServerError(
                f"this is not a server of {observatory!r}",
                place=self.url,
                found=info.observatory,
                expected=observatory,
                remedy="set CRDS_SERVER_URL (or --server) to the server of this observatory",
            )
        return info

    def default_context(self, observatory: str, state: str | None = None) -> str:
        """Return the name of the context in use, or of that in a state such as ``edit``."""
        return str(self.call("get_default_context", observatory, state))

    def build_context(self, observatory: str, version: str) -> str:
        """Return the context made for a version of the observatory's own software."""
        return str(self.call("get_build_context", observatory, version))

    def context_by_date(self, date: str, observatory: str) -> str:
        """Return the context that was in use at a date."""
        return str(self.call("get_context_by_date", date, observatory))

    def mapping_names(self, context: str) -> list[str]:
        """Return the names of all rules of a context."""
        return [str(name) for name in self.call("get_mapping_names", context)]

    def reference_names(self, context: str) -> list[str]:
        """Return the names of all references of a context."""
        return [str(name) for name in self.call("get_reference_names", context)]

    def required_parkeys(self, context: str) -> dict[str, list[str]]:
        """Return the header keys each instrument's rules need."""
        return {
            str(k): [str(one) for one in v]
            for k, v in self.call("get_required_parkeys", context).items()
        }

    def best_references(
        self, context: str, header: Mapping[str, str], types: Sequence[str] | None = None
    ) -> dict[str, tuple[bool, str]]:
        """Return, by type, whether the server found a reference, and its name or the reason."""
        found = self.call(
            "get_best_references", context, dict(header), list(types) if types else None
        )
        return {str(kind): _answer(answer) for kind, answer in found.items()}

    # -- files ----------------------------------------------------------------------------

    def file_info(self, observatory: str, names: Iterable[str]) -> dict[str, FileInfo]:
        """Return size and checksum of files.

        They are part of what a server says about itself; where it leaves some out they
        are asked for by name.

        Parameters
        ----------
        observatory : str
            Whose files.
        names : iterable of str
            File names.

        Returns
        -------
        infos : dict
            By name; a file the server does not know is absent.
        """
        config = self.server_info()
        found, unknown = {}, []
        for name in names:
            known = config.file_info(name)
            if known is None:
                unknown.append(name)
            else:
                found[name] = known
        if unknown:
            answer = self.call("get_file_info_map", observatory, unknown, ["size", "sha1sum"])
            for name, facts in answer.items() if isinstance(answer, dict) else ():
                if isinstance(facts, dict) and name in unknown:
                    found[name] = FileInfo.of(name, facts)
        return found

    def url_of(self, name: str, observatory: str) -> str:
        """Return the address of a file; ``CRDS_MAPPING_URI`` and ``CRDS_REFERENCE_URI`` come first."""
        from urllib.parse import quote

        mapping = name.endswith((".pmap", ".imap", ".rmap"))
        place = self.environ.get("CRDS_MAPPING_URI" if mapping else "CRDS_REFERENCE_URI")
        if place and place != "none":
            return place.rstrip("/") + "/" + quote(name)
        return self.server_info().url_of(quote(name), observatory)


def _one_line(said: str) -> str:
    """Return what a server says of a failure, whose lines would look like our own."""
    lines = (" ".join(line.split()) for line in html.unescape(said).splitlines())
    return "; ".join(line for line in lines if line) or "no reason"


def _answer(answer: Any) -> tuple[bool, str]:
    """Return whether there is an answer, and the name or the reason, in any of the known forms."""
    if isinstance(answer, (list, tuple)) and len(answer) == 2:
        return bool(answer[0]), str(answer[1])
    text = str(answer)
    if text.upper() == "NOT FOUND N/A":
        return True, "N/A"
    return not text.upper().startswith("NOT FOUND"), text

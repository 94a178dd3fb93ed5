"""Answers of the official client, for comparison: run by its own interpreter, never imported.

Reads one JSON request a line from the standard input, writes one JSON answer a line. The environment
must name a cache (``CRDS_PATH``) and turn the network off (``CRDS_SERVER_URL`` with "serverless").
"""

import json
import logging
import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
from crds.core import exceptions as ex  # noqa: E402
from crds.core import (  # noqa: E402
    log,
    rmap,
    timestamp,
    utils,
)

log.set_verbose(0)
log.set_exception_trap(False)
logging.getLogger("CRDS").setLevel(logging.CRITICAL)
for logger in logging.root.manager.loggerDict.values():
    if isinstance(logger, logging.Logger):
        logger.setLevel(logging.CRITICAL)

FAMILY = {
    "MatchingError": "lookup", "UseAfterError": "lookup", "VersionAfterError": "lookup", "CrdsLookupError": "lookup",
    "ValidationError": "validation", "InvalidDatetimeError": "validation", "AmbiguousMatchError": "ambiguous",
    "ChecksumError": "checksum", "MappingFormatError": "format", "MissingHeaderKeyError": "format", "SyntaxError": "format",
    "CrdsUnknownInstrumentError": "instrument", "CrdsError": "instrument",
}  # fmt: skip
LOADED = {}


def loaded(name):
    if name not in LOADED:
        try:
            LOADED[name] = (
                rmap.load_mapping(name, ignore_checksum=True)
                if Path(name).is_absolute()
                else rmap.get_cached_mapping(name)
            )
        except ex.ChecksumError:
            LOADED[name] = rmap.get_cached_mapping(name, ignore_checksum=True)
    return LOADED[name]


def plain(value):
    if value is None:
        return "OMIT"
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value


def failure(error):
    name = type(error).__name__
    return {"error": FAMILY.get(name, "crash"), "class": name, "message": str(error)[:300]}


def one(rules, header):
    try:
        return {"answer": plain(rules._get_best_ref(header))}  # noqa: SLF001 - as its public calls do, without files
    except ex.IrrelevantReferenceTypeError:
        return {"answer": "N/A"}
    except ex.OmitReferenceTypeError:
        return {"answer": "OMIT"}
    except Exception as error:  # noqa: BLE001 - every failure is an answer
        return failure(error)


def best(mapping, header):
    try:
        asked = utils.condition_header(mapping.minimize_header(header))
        if isinstance(mapping, rmap.ReferenceMapping):
            return one(mapping, asked)
        imap = (
            mapping.get_imap(mapping.get_instrument(asked))
            if isinstance(mapping, rmap.PipelineContext)
            else mapping
        )
        answers = {}
        for kind in sorted(imap.get_filekinds()):
            try:
                rules = imap.get_rmap(kind)
            except ex.IrrelevantReferenceTypeError:
                answers[kind] = {"answer": "N/A"}
            except ex.OmitReferenceTypeError:
                answers[kind] = {"answer": "OMIT"}
            else:
                answers[kind] = one(rules, asked)
        return {"answers": answers}
    except Exception as error:  # noqa: BLE001 - every failure is an answer
        return failure(error)


def from_text(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tobs_tinstr_probe_0001.rmap"
        path.write_text(text, "utf-8")
        return rmap.load_mapping(str(path), ignore_checksum=True)


def ask(request):
    mapping = loaded(request["mapping"])
    return [best(mapping, header) for header in request["headers"]]


def ask_text(request):
    try:
        mapping = from_text(request["text"])
    except Exception as error:  # noqa: BLE001 - every failure is an answer
        return {"load": failure(error)}
    return {"load": "OK", "answers": [best(mapping, header) for header in request["headers"]]}


def condition(request):
    return [utils.condition_value(value) for value in request["values"]]


def date(request):
    answers = []
    for text in request["values"]:
        try:
            answers.append({"answer": timestamp.reformat_date(text)})
        except Exception as error:  # noqa: BLE001 - every failure is an answer
            answers.append(failure(error))
    return answers


def load(request):
    """Return how long it took to load all rules of a context [CPU s], and the memory [MB]."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    mapping = rmap.get_cached_mapping(request["mapping"])
    names = len(mapping.reference_names())
    spent = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    LOADED[request["mapping"]] = mapping
    return {"seconds": spent, "mb_before": before / 1024, "mb": after / 1024, "references": names}


def duration(request):
    """Return the seconds of each selection from a raw header, the second time it is made."""
    spent = []
    for name, header in request["pairs"]:
        rules = loaded(name)
        best(rules, header)
        start = time.perf_counter()
        best(rules, header)
        spent.append(time.perf_counter() - start)
    return spent


OPERATIONS = {
    "bestref": ask,
    "text": ask_text,
    "condition": condition,
    "date": date,
    "load": load,
    "time": duration,
}


def main():
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the client prints must not end among the answers
    for line in sys.stdin:
        print(
            json.dumps(OPERATIONS[(request := json.loads(line))["op"]](request), default=repr),
            file=out,
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Answers of the official client, for comparison: run by its own interpreter, never imported.

Reads one JSON request a line from the standard input, writes one JSON answer a line. The environment
must name a cache (``CRDS_PATH``) and turn the network off (``CRDS_SERVER_URL`` with "serverless").
"""

import json
import logging
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
from crds.core import (  # noqa: E402
    constants,
    log,
    rmap,
    selectors,
    timestamp,
    utils,
)
from crds.core import exceptions as ex  # noqa: E402

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
            LOADED[name] = rmap.get_cached_mapping(name)
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
        return {"answer": plain(rules._get_best_ref(header))}
    except ex.IrrelevantReferenceTypeError:
        return {"answer": "N/A"}
    except ex.OmitReferenceTypeError:
        return {"answer": "OMIT"}
    except Exception as error:
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
    except Exception as error:
        return failure(error)


def from_text(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tobs_tinstr_probe_0001.rmap"
        path.write_text(text, "utf-8")
        return rmap.load_mapping(str(path), ignore_checksum=True)


def closure(mapping):
    """Load everything below a context."""
    count = 0
    for instrument in mapping.selections.values():
        for rules in instrument.selections.values():
            count += len(rules.reference_names()) if hasattr(rules, "reference_names") else 0
    return count


def answer(request):
    op = request["op"]
    if op == "bestref":
        mapping = loaded(request["mapping"])
        return [best(mapping, header) for header in request["headers"]]
    if op == "text":
        try:
            mapping = from_text(request["text"])
        except Exception as error:
            return {"load": failure(error)}
        return {"load": "OK", "answers": [best(mapping, header) for header in request["headers"]]}
    if op == "condition":
        return [utils.condition_value(value) for value in request["values"]]
    if op == "date":
        answers = []
        for text in request["values"]:
            try:
                answers.append({"answer": timestamp.reformat_date(text)})
            except Exception as error:
                answers.append(failure(error))
        return answers
    if op == "superset":
        return [
            [
                bool(selectors.match_superset(tuple(a), tuple(b))),
                bool(selectors.different_match_weight(tuple(a), tuple(b))),
            ]
            for a, b in request["pairs"]
        ]
    if op == "required":
        return sorted(loaded(request["mapping"]).get_required_parkeys())
    if op == "load":  # how long, in CPU seconds, and how much memory
        import resource

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        mapping = (
            rmap.load_mapping(request["mapping"])
            if request.get("alone")
            else rmap.get_cached_mapping(request["mapping"])
        )
        closure(mapping)
        spent = time.process_time() - start
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        LOADED[request["mapping"]] = mapping
        return {"seconds": spent, "mb_before": before / 1024, "mb_after": after / 1024}
    if op == "time":  # seconds of each selection, in order
        spent = []
        for name, header in request["pairs"]:
            rules = loaded(name)
            asked = utils.condition_header(rules.minimize_header(header))
            for _ in range(request.get("warm", 1)):
                one(rules, asked)
            start = time.perf_counter()
            one(rules, asked)
            spent.append(time.perf_counter() - start)
        return spent
    raise ValueError(op)


def main():
    if "tmt" not in constants.ALL_OBSERVATORIES:
        pass  # the client knows its own observatories only
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the client prints must not end among the answers
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line)), default=repr), file=out, flush=True)


if __name__ == "__main__":
    main()

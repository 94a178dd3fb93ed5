"""Run the peer's stages 2 and 3 of imaging on a folder of rate files; reports its time per step.

    python _peer_imaging.py CASE OUT REPORT.json [--only-3]

CASE holds `*_rate.fits` and `overrides.json` (stage → step → parameters). Run in the peer's own
environment; it imports nothing of ours.
"""

import argparse
import json
import logging
import resource
import time
import warnings
from pathlib import Path


def cpu():
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--only-3", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    began, spent = time.time(), cpu()
    from jwst.pipeline import Image2Pipeline, Image3Pipeline
    from stpipe import Step

    imported = {"wall": time.time() - began, "cpu": cpu() - spent}
    logging.disable(logging.INFO)
    rows = []
    original = Step.run

    def run(self, *args, **kw):
        wall, before = time.time(), cpu()
        result = original(self, *args, **kw)
        rows.append(
            {
                "step": self.name,
                "wall": time.time() - wall,
                "cpu": cpu() - before,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
                "top": self.parent is None,
            }
        )
        return result

    Step.run = run
    steps = json.loads((options.case / "overrides.json").read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    source = options.case
    if not options.only_3:
        for rate in sorted(options.case.glob("*_rate.fits")):
            Image2Pipeline.call(
                str(rate), save_results=True, output_dir=str(options.out), steps=steps["2"]
            )
        source = options.out
    members = [
        {"expname": str(path.resolve()), "exptype": "science"}
        for path in sorted(source.glob("*_cal.fits"))
    ]
    association = {
        "asn_type": "image3",
        "asn_rule": "Asn_Lv3Image",
        "asn_id": "a3001",
        "program": "01234",
        "asn_pool": "none",
        "products": [{"name": "peer", "members": members}],
    }
    path = options.out / "peer_image3_asn.json"
    path.write_text(json.dumps(association))
    Image3Pipeline.call(str(path), save_results=True, output_dir=str(options.out), steps=steps["3"])
    options.report.write_text(json.dumps({"import": imported, "steps": rows}, indent=1))


if __name__ == "__main__":
    main()

"""``lightmill iris play`` and ``lightmill iris live``."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.commands import argument, command
from lightmill.errors import UsageError

if TYPE_CHECKING:
    from lightmill.observatories.tmt.iris.live.watching import Report, Watch

__all__ = ["live", "play"]

_FAILED = 3  # exit status, as of other bad data
_path = click.Path(path_type=Path)


@command("play")
@argument("files", metavar="RAW...", nargs=-1, required=True, type=_path,
          help="Raw exposures, as lightmill iris simulate makes them.")  # fmt: skip
@click.option("--to", required=True, metavar="TARGET",
              help="Folder, tcp:PORT, tcp:HOST:PORT or unix:PATH.")  # fmt: skip
@click.option("--cadence", default=0.72, show_default=True, type=click.FloatRange(0), metavar="S",
              help="Time from read to read; 0: as fast as they are taken.")  # fmt: skip
@click.option("--detector", "detectors", multiple=True, metavar="NAME",
              help="Play every exposure on this detector; repeatable.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was played as JSON.")
def play(
    files: tuple[Path, ...], to: str, cadence: float, detectors: tuple[str, ...], as_json: bool
) -> int:
    """Play the reads of raw exposures, as a detector's program delivers them.

    Exposures of one detector follow each other; detectors play at the same time.
    """
    from lightmill.observatories.tmt.iris import playing

    played = playing.play(files, to, cadence=cadence, detectors=detectors or None, told=_said)
    if as_json:
        record = asdict(played) | {"errors": [str(one) for one in played.errors]}
        click.echo(json.dumps(record))
    else:
        click.echo(
            f"{len(played.due)} reads played, {len(played.dropped)} dropped;"
            f" taken at most {played.late:.2f} s after they were there"
        )
    if played.errors:
        raise played.errors[0]
    return _FAILED if played.dropped else 0


@command("live")
@argument("source", metavar="SOURCE",
          help="Folder that reads are written to, tcp:PORT, tcp:HOST:PORT or unix:PATH.")  # fmt: skip
@click.option("--output-dir", type=_path, default=Path(), show_default="here", metavar="DIR",
              help="Where frames are saved.")  # fmt: skip
@click.option("--crds-path", type=_path, metavar="DIR",
              help="Cache of rules and references.  [default: CRDS_PATH]")  # fmt: skip
@click.option("--context", metavar="NAME", help="Rules in force.  [default: CRDS_CONTEXT]")
@click.option("--override", "overrides", multiple=True, metavar="TYPE=FILE",
              help="Reference to use instead of what the rules choose; repeatable.")  # fmt: skip
@click.option("--sky", "skies", multiple=True, type=_path, metavar="FILE",
              help="Raw frame (rop) of the sky for the first exposures; repeatable.")  # fmt: skip
@click.option("--skies", "nskies", default=1, show_default=True, type=click.IntRange(1, 10),
              metavar="N", help="Frames of the sky that are subtracted: the last N.")  # fmt: skip
@click.option("--prepare", multiple=True, type=_path, metavar="RAW",
              help="Raw exposure like those to come: references are read before the first"
              " read comes; repeatable.")  # fmt: skip
@click.option("--detector", "detectors", multiple=True, metavar="NAME",
              help="Prepare for this detector, not for that of RAW; repeatable.")  # fmt: skip
@click.option("--patience", default=5.0, show_default=True, type=click.FloatRange(0.1),
              metavar="S", help="How long a read is waited for before it is lost.")  # fmt: skip
@click.option("--exposures", type=click.IntRange(1), metavar="N", help="End after N exposures.")
@click.option("--old", is_flag=True, help="Take the files that are in the folder already, too.")
@click.option("--anywhere", is_flag=True, help="Let other machines send reads, too.")
@click.option("--threads", default=0, type=click.IntRange(0), metavar="N",
              help="Of the reduction.  [default: all processors]")  # fmt: skip
@click.option("--ds9", is_flag=True, help="Send each frame to DS9, or who else listens, over SAMP.")
@click.option("--page/--no-page", default=True, help="Serve a page with the frames as they come.")
@click.option("--last", default=8, show_default=True, type=click.IntRange(1, 100), metavar="N",
              help="Frames that the page keeps.")  # fmt: skip
@click.option("--port", default=0, show_default=True, help="Of the page; 0: a free one.")
@click.option("--browser/--no-browser", default=False, help="Open the page in a browser.")
@click.option("--report", type=_path, metavar="FILE", help="Write what came of it, as JSON.")
def live(source: str, **given: Any) -> int:
    """Watch detectors: a frame while the reads come, a reduced one after the last.

    Reads that are missing, late, damaged or twice there are told, and flagged DROPOUT in the frame.
    Ctrl-C ends it; what has begun is finished with the reads there are.
    """
    from lightmill.observatories.tmt.iris.live.sources import FolderSource, source_of
    from lightmill.observatories.tmt.iris.live.watching import Settings, Watch

    names = ("output_dir", "crds_path", "context", "skies", "nskies", "patience", "exposures",
             "threads")  # fmt: skip
    settings = Settings(
        **{name: given[name] for name in names}, overrides=_overrides(given["overrides"])
    )
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    watch = Watch(settings, _said)
    for path in given["prepare"]:
        for detector in given["detectors"] or (None,):
            watch.prepare(path, detector)
    where = source_of(source, anywhere=given["anywhere"])
    if given["old"]:
        if not isinstance(where, FolderSource):
            raise UsageError("--old goes with a folder", found=source)
        where = FolderSource(where.folder, old=True)
    with _shown(watch, given):
        _said(f"watching {where.address}")
        with contextlib.suppress(KeyboardInterrupt):
            watch.run(where)
    _told(watch.report, given["report"])
    return _FAILED if watch.report.failed else 0


def _overrides(given: tuple[str, ...]) -> dict[str, str]:
    found = dict(one.partition("=")[::2] for one in given)
    if not all(name and file for name, file in found.items()):
        raise UsageError("--override names a type and a file", found=given, expected="TYPE=FILE")
    return found


@contextlib.contextmanager
def _shown(watch: Watch, given: dict[str, Any]) -> Iterator[None]:
    """Show frames while it lasts: on a page, and in DS9."""
    with contextlib.ExitStack() as stack:
        if given["ds9"]:
            from lightmill.observatories.tmt.iris.live.screen import Senders

            watch.shown.append(stack.enter_context(Senders(watch.tell)))
        if given["page"]:
            from lightmill.observatories.tmt.iris.live.screen import screen_of
            from lightmill.viewing.server import serving

            screen = screen_of(watch, given["last"])
            stack.callback(screen.end)
            server = stack.enter_context(serving(screen, given["port"]))
            click.echo(f"{server.url}  (Ctrl-C ends it)")
            sys.stdout.flush()
            if given["browser"]:
                import webbrowser

                webbrowser.open(server.url)
        yield


def _told(report: Report, path: Path | None) -> None:
    click.echo(
        f"{report.exposures} exposures, {report.reads} reads in their frames, {report.lost} lost,"
        f" {report.failed} products that could not be made"
    )
    if path is not None:
        record = {
            name: [str(one) if isinstance(one, Path) else one for one in value]
            if hasattr(value, "append")
            else value
            for name, value in vars(report).items()
        }
        path.write_text(json.dumps(record), encoding="utf-8")


def _said(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()

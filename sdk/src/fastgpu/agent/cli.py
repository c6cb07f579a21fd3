"""The agent's command line and its beat."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from fastgpu.agent.outbox import Courier, Letter, Outbox
from fastgpu.agent.readings import GpuReading

if TYPE_CHECKING:
    from fastgpu.agent.sampler import Sampler

logger = logging.getLogger(__name__)
TOKEN = "FASTGPU_AGENT_TOKEN"  # noqa: S105  # the name of the variable, not a token


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or Ctrl-C; 1 when it cannot start."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    try:
        from fastgpu.agent.sampler import Sampler
    except ImportError as error:
        return _fail(f"{error.name} is missing: install 'fastgpu-sdk[agent]'.")
    sampler = Sampler(options.placements, virtual_gpus=options.virtual_gpus)
    if options.once:
        _print_once(sampler, options.interval)
        return 0
    if not options.portal:
        return _fail("Say where the portal is: --portal https://gpu.example.org")
    try:
        token = _token()
        courier = Courier(options.portal, token)
    except (OSError, ValueError) as error:
        return _fail(f"{error}.")
    if not token:
        return _fail(f"Set {TOKEN} to the token the portal gives its agents.")
    outbox = Outbox(courier)
    outbox.start()
    _run(sampler, outbox, options.interval)
    return 0


def _run(sampler: Sampler, outbox: Outbox, interval: float) -> None:
    trouble = ""
    for at in beats(interval):
        try:
            readings = sampler.sample()
        except OSError as error:
            # Not a beat of zeros: what could not be measured is not sent.
            if str(error) != trouble:
                trouble = str(error)
                logger.warning("nothing can be measured: %s", error)
            continue
        outbox.put(Letter(at, letter_body(at, readings)))


def beats(interval: float) -> Iterator[float]:
    """Now, then every whole multiple of `interval` seconds of the epoch; late ones are skipped."""
    last = math.floor(time.time() / interval) * interval
    yield last
    while True:
        now = time.time()
        following = (math.floor(now / interval) + 1) * interval
        if 0 <= last - following < interval:
            # The clock was set back a little: the beat just given is not given twice.
            following = last + interval
        time.sleep(following - now)
        last = following
        yield following


def letter_body(at: float, readings: list[GpuReading]) -> bytes:
    """One beat as the portal takes it."""
    document = {
        "node": socket.gethostname(),
        "at": datetime.fromtimestamp(at, UTC).isoformat(),
        "gpus": [reading.as_sample() for reading in readings],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _print_once(sampler: Sampler, interval: float) -> None:
    sampler.sample()
    time.sleep(interval)
    gpus = [{**reading.as_sample(), "pids": reading.pids} for reading in sampler.sample()]
    document = {
        "node": socket.gethostname(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpus": gpus,
    }
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def _token() -> str:
    file = os.environ.get(f"{TOKEN}_FILE")
    return Path(file).read_text(encoding="utf-8").strip() if file else os.environ.get(TOKEN, "")


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _fail(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fastgpu.agent", description=__doc__)
    parser.add_argument("--portal", default="", metavar="URL", help="where the portal answers")
    parser.add_argument(
        "--placements", type=Path, required=True, metavar="DIR", help="the local backend's attempts"
    )
    parser.add_argument(
        "--interval", type=_seconds, default=1.0, metavar="S", help="seconds between samples"
    )
    parser.add_argument(
        "--virtual-gpus", type=int, default=0, metavar="N", help="report these also when idle"
    )
    parser.add_argument("--once", action="store_true", help="measure once, print JSON, end")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 60:
        raise argparse.ArgumentTypeError("from 0.1 to 60 seconds")
    return value

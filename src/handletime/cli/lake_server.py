"""What runs behind `handletime serve --lake`: a server over tables instead of a store, which writes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import Gauge

from handletime.api.app import make_app
from handletime.api.bearer import BearerAuthenticator
from handletime.api.prometheus import Meters
from handletime.api.serve import ListenSettings
from handletime.api.service import Service
from handletime.api.stopping import Signals
from handletime.api.unit_files import DatedFiles
from handletime.cli.server import api_settings, begin, connections_of, end_with, free, run_app, warm
from handletime.clock import SystemClock
from handletime.errors import InputError
from handletime.keys.keys_file import SharedKeys
from handletime.settings import ServerSettings
from handletime.web.labels import Labels
from handletime.web.page import Page
from handletime.web.routes import page_routes
from handletime.web.sessions import Sessions

if TYPE_CHECKING:
    from handletime.lake.lake import Lake

_log: Final = logging.getLogger(__name__)


def run(settings: ServerSettings, signals: Signals, listening: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; `listening` is told the address. Raises InputError, StoreError, OSError."""
    begun = time.monotonic()
    begin(settings)
    clock, meters = SystemClock(), Meters()
    with ExitStack() as stack:
        authenticator = BearerAuthenticator(SharedKeys(_required(settings.keys)), clock)
        lake = stack.enter_context(_opened(settings))
        _log.info("run %d is served", lake.run.number)
        _watch(meters, lake)
        host, port = free(settings.host, settings.port, stack)
        listen = ListenSettings(host=host, port=port, tls_cert=settings.tls_cert, tls_key=settings.tls_key)
        service = Service(lake, authenticator, clock, DatedFiles(lake), api_settings(settings))
        compiling = None if settings.events is None else warm(service, stack)
        sessions = stack.enter_context(Sessions())
        page = Page(service, sessions, Labels(settings.labels), with_now=False)
        app = make_app(
            service, more_routes=page_routes(page, with_now=False), meters=meters, nowhere=page.answer_to_nowhere
        )
        connections = connections_of(settings, meters)
        run_app(app, listen, connections, signals, begun, listening, page.stop)
    _log.info("stopped")
    end_with(compiling)


def _opened(settings: ServerSettings) -> Lake:
    """The open lake. Raises InputError where it cannot be read, or the package that reads it is not installed."""
    try:
        from handletime.lake.lake import Lake, LakeSettings
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "deltalake":
            raise
        raise InputError("--lake needs the package deltalake: pip install 'handletime[spark]'") from error
    events = settings.events
    return Lake(
        settings.folder,
        LakeSettings(settings.memory_bytes, settings.query_limit_s),
        events=None if events is None else partial(files_of, events),
        events_folder=events,
    )


def files_of(events: Path, account: str) -> Sequence[str]:
    """The files that may have events of an account: those in its folder, where accounts have folders."""
    from handletime.lake.spark.source import find

    own = events / f"accountId={account}"
    if not (events / "_delta_log").is_dir() and next(events.glob("accountId=*"), None) is not None:
        return [file.path for file in find(own).files] if own.is_dir() else []
    return [file.path for file in find(events).files if file.account in (None, account)]


def _watch(meters: Meters, lake: Lake) -> None:
    """Shows in `/metrics` which run is served."""
    number = Gauge("lake_run", "The run that is served.", namespace="handletime", registry=meters.registry)
    number.set_function(lambda: lake.run.number)
    finished = Gauge(
        "lake_run_finished_seconds", "When it was finished.", namespace="handletime", registry=meters.registry
    )
    finished.set_function(lambda: lake.run.finished / 1000)


def _required(keys: Path | None) -> Path:
    if keys is None:
        raise InputError("--lake needs --keys")
    return keys

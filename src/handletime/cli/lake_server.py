"""What `handletime serve --lake` serves: tables instead of a store. It writes nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import Gauge

from handletime.answers.labels import Labels
from handletime.api.bearer import BearerAuthenticator
from handletime.api.prometheus import Meters
from handletime.api.service import ApiSettings, Service
from handletime.api.unit_files import DatedFiles
from handletime.clock import SystemClock
from handletime.errors import InputError
from handletime.keys.keys_file import SharedKeys
from handletime.settings import ServerSettings
from handletime.targets.file import TargetsFile
from handletime.upkeep.export_folder import CONTENTS
from handletime.web.sessions import Sessions

if TYPE_CHECKING:
    from handletime.lake.lake import Lake

_log: Final = logging.getLogger(__name__)


def lake_service(
    settings: ServerSettings, api: ApiSettings, labels: Labels, targets: TargetsFile, meters: Meters, stack: ExitStack
) -> tuple[Service, Sessions]:
    """The API and the page's sessions over a lake, until the stack ends. Raises InputError, StoreError, OSError."""
    assert settings.keys is not None  # noqa: S101 - `serve` has checked it
    clock = SystemClock()
    authenticator = BearerAuthenticator(SharedKeys(settings.keys), clock)
    lake = stack.enter_context(_opened(settings))
    _log.info("run %d is served", lake.run.number)
    _watch(meters, lake)
    service = Service(lake, authenticator, clock, DatedFiles(lake), api, labels, targets)
    return service, stack.enter_context(Sessions())


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

    # Only an export is sure to mean the account by that.
    key = "account" if (events.parent / CONTENTS).exists() else "accountId"
    own = events / f"{key}={account}"
    if not (events / "_delta_log").is_dir() and next(events.glob(f"{key}=*"), None) is not None:
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

"""`handletime derive`: events to the derived tables, and what the data are worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from handletime.answers.words import count
from handletime.cli.console import account_option, memory_option, reading
from handletime.cli.quality import summary
from handletime.cli.spark import OF_SPARK, derive_there, refuse, spark_options

if TYPE_CHECKING:
    import pyarrow as pa

    from handletime.events.read import Block
    from handletime.segments.files import Format


@click.command(short_help="Derive segments and handle time, as Parquet, CSV or NDJSON; on Spark as Delta tables.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the tables.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["parquet", "csv", "ndjson"]),
    default="parquet",
    show_default=True,
    help="Format of the tables.",
)
@memory_option
@account_option()
@click.option(
    "--skip-invalid", is_flag=True, help="Set bad events aside, with reasons, in refused.ndjson; derive the rest."
)
@spark_options
@click.pass_context
def derive(ctx: click.Context, /, files: tuple[str, ...], out: Path, account: str, **given: Any) -> None:
    """Derive agent segments, skill segments, queue segments and handle-time units from events.

    Writes agent_segments, skill_segments, queue_segments and handle_time_units to a folder, and summary.json: what the
    data are worth. Files of an earlier run are replaced when everything is done, not before.

    With --spark the same is done on a Spark cluster, for more events than one machine can take. FILE is then one
    Parquet file, a folder of such (as `handletime export` writes) or a Delta table, and the tables are Delta tables,
    for `handletime serve --lake`. The workers see both under the same path and have handletime installed.
    """
    if given["spark"] is None:
        refuse(ctx, OF_SPARK, "--spark, which is not given")
        _derive_here(files, out, given["format_"], given["memory"], account, given["skip_invalid"])
    else:
        refuse(ctx, ("format_", "memory", "skip_invalid"), "one machine, not to --spark")
        if len(files) != 1:
            raise click.UsageError("with --spark, name one file, one folder or one Delta table of events")
        derive_there(Path(files[0]), out, account, given["spark"], given["since"], given["day"], given["conf"])


def _derive_here(
    files: tuple[str, ...], out: Path, format_: Format, memory: int, account: str, skip_invalid: bool
) -> None:
    from handletime.events.read import good_events
    from handletime.segments.derive import Quality, derive_prepared
    from handletime.segments.files import REFUSED, TableFiles
    from handletime.segments.parts import prepared_parts

    quality = Quality()
    rows = dict.fromkeys(_NAMES, 0)
    with reading(files, account) as (blocks, progress), TableFiles(out, format_) as tables:
        aside = _Aside(tables.staging / REFUSED) if skip_invalid else None
        events = aside.good(blocks) if aside else good_events(blocks)
        for part in prepared_parts(events, memory=memory, folder=tables.staging, progress=progress):
            derived = derive_prepared(part)
            tables.write(derived)
            quality += derived.quality
            rows = {name: total + getattr(derived, name).num_rows for name, total in rows.items()}
            del part, derived  # before the next part is made
        if aside:
            aside.close()
        tables.add("summary.json", quality.to_json(aside.refused if aside else 0))
    click.echo(f"{out}: {_rows(rows)}")
    if aside and aside.refused:
        click.echo(f"{out / REFUSED}: {count(aside.refused, 'event')} refused, with reasons")
    click.echo("\n".join(summary(quality)))


_NAMES: Final = {
    "agent_segments": "agent segment",
    "skill_segments": "skill segment",
    "queue_segments": "queue segment",
    "handle_time_units": "handle-time unit",
}


def _rows(rows: dict[str, int]) -> str:
    return ", ".join(count(number, _NAMES[table]) for table, number in rows.items())


class _Aside:
    """Writes refused events to a file: source, line, faults and the line itself."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb")
        self.refused = 0

    def good(self, blocks: Iterable[Block]) -> Iterator[pa.Table]:
        """The good events of blocks; the others are written down."""
        import msgspec

        for block in blocks:
            for refused in block.decoded.refused:
                line = {
                    "source": block.source,
                    "line": refused.line,
                    "causes": [str(fault) for fault in refused.faults],
                    "text": refused.text.decode(errors="replace"),
                }
                self._file.write(msgspec.json.encode(line) + b"\n")
                self.refused += 1
            yield block.decoded.events

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

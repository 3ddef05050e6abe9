"""When a conversation began and ended (liveperson-history.md: `info` and `dialogs`)."""

from __future__ import annotations

from typing import NamedTuple

from handletime.sources.liveperson.fields import (
    Dialog,
    Info,
    Placed,
    Span,
    Tell,
    integer,
    is_nobody,
    says,
    told_time,
    written,
    wrong,
)


class Close(NamedTuple):
    """When the conversation was closed and by whom, and the part of the record that says so."""

    place: str
    time: int
    by: str


def start_of(info: Info, main: Placed[Dialog], tell: Tell) -> int | None:
    """When the conversation was opened: `info.startTimeL`, else the MAIN dialog's."""
    start = told_time(info.start_time_l, info.start_time, "info.startTime", tell)
    if start is not None:
        return start
    starts = (told_time(dialog.start_time_l, dialog.start_time, f"{place}.startTime", tell) for place, dialog in main)
    return min((start for start in starts if start is not None), default=None)


def close_of(info: Info, main: Placed[Dialog], start: int | None, has_survey: bool, tell: Tell) -> Close | None:
    """The close, where the conversation has one that makes sense.

    A wrong close would stand in a store for good, a missing one comes with the next copy: so what is said to
    be open is not closed, whatever its end. (While only the survey runs, `info` is open and MAIN has ended.)
    """
    if not says(info.status, "open") and not says(info.status, "close"):
        tell(f"info.status: {wrong(info.status, 'OPEN or CLOSE')}; info.endTimeL decides")
    place, time, reason = _last_end(info, main, has_survey, tell)
    if time is None:
        return None
    if start is not None and time < start:
        tell(f"{place}.endTimeL: is before the conversation's start; no close is imported")
        return None
    if is_nobody(reason):
        tell(f"{place}.closeReason: is missing; closed by the system")
    by = written(reason).casefold()
    return Close(place, time, by if by in ("consumer", "agent") else "system")


def _last_end(info: Info, main: Placed[Dialog], has_survey: bool, tell: Tell) -> tuple[str, int | None, object]:
    """Place, time and reason of the end: the MAIN dialog's (the last one's), else the conversation's."""
    of_info = _end(info, "info", tell)
    ends = [(_end(dialog, place, tell), place, dialog) for place, dialog in main]
    ended = [(end, place, dialog) for end, place, dialog in ends if end is not None]
    if ended and len(ended) == len(main):
        if of_info is None and not has_survey:
            tell("info.endTimeL: is missing, though the MAIN dialog has ended; the dialog's end counts")
        end, place, dialog = max(ended, key=lambda ended: ended[0])
        return place, end, info.close_reason if is_nobody(dialog.close_reason) else dialog.close_reason
    if of_info is not None and main:
        tell("dialogs: no end of the MAIN dialog; info.endTimeL counts")
    return "info", of_info, info.close_reason


def _end(span: Span, place: str, tell: Tell) -> int | None:
    """The end of a conversation or dialog; None where it is open, or its end unknown."""
    is_open = says(span.status, "open")
    if integer(span.end_time_l) == -1 or (is_open and is_nobody(span.end_time_l)):
        if says(span.status, "close"):
            tell(f"{place}.endTimeL: is missing, though {place}.status is CLOSE")
        return None
    end = told_time(span.end_time_l, span.end_time, f"{place}.endTime", tell)
    if is_open and end is not None:
        tell(f"{place}.endTimeL: contradicts {place}.status OPEN, which counts")
        return None
    return end

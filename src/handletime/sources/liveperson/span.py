"""When a conversation began and ended (liveperson-history.md: `info` and `dialogs`)."""

from __future__ import annotations

from typing import Final, NamedTuple

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
    """When the conversation was closed and by whom, and the part of the record that says so.

    With `without_survey` it is `info.conversationEndTimeL`: what comes later belongs to a survey.
    """

    place: str
    time: int
    by: str
    without_survey: bool = False


class Open(NamedTuple):
    """The conversation is not closed, and the part of the record that says so."""

    place: str = "info"


def start_of(info: Info, main: Placed[Dialog], tell: Tell) -> int | None:
    """When the conversation was opened: `info.startTimeL`, else the MAIN dialog's."""
    start = told_time(info.start_time_l, info.start_time, "info.startTime", tell)
    if start is not None:
        return start
    starts = (told_time(dialog.start_time_l, dialog.start_time, f"{place}.startTime", tell) for place, dialog in main)
    return min((start for start in starts if start is not None), default=None)


def close_of(info: Info, main: Placed[Dialog], start: int | None, has_survey: bool, tell: Tell) -> Close | Open | None:
    """The close, or `Open`. None, with a report, where the record has no close that makes sense.

    A record that says it is open is not closed, whatever its end. (While only the survey runs, `info` is open and MAIN
    has ended, or `info.conversationEndTimeL` is there.)
    """
    if not says(info.status, "open") and not says(info.status, "close"):
        tell(f"info.status: {wrong(info.status, 'OPEN or CLOSE')}; info.endTimeL decides")
    end = _last_end(info, main, has_survey, tell)
    if not isinstance(end, _End):
        return end
    if start is not None and end.time < start:
        tell(f"{end.place}.{end.field}: is before the conversation's start; no close is imported")
        return None
    if is_nobody(end.reason):
        tell(f"{end.place}.closeReason: is missing; closed by the system")
    by = written(end.reason).casefold()
    return Close(end.place, end.time, by if by in ("consumer", "agent") else "system", end.field == _BEFORE_SURVEY)


_BEFORE_SURVEY: Final = "conversationEndTimeL"


class _End(NamedTuple):
    place: str
    time: int
    reason: object
    field: str = "endTimeL"


def _last_end(info: Info, main: Placed[Dialog], has_survey: bool, tell: Tell) -> _End | Open | None:
    """The MAIN dialog's end (the last one's), else the one without the survey, else the conversation's."""
    of_info = _end(info, "info", tell)
    ends = [(_end(dialog, place, tell), place, dialog) for place, dialog in main]
    ended = [(end, place, dialog) for end, place, dialog in ends if isinstance(end, int)]
    if ended and len(ended) == len(main):
        if not isinstance(of_info, int) and not has_survey:
            tell("info.endTimeL: is missing, though the MAIN dialog has ended; the dialog's end counts")
        end, place, dialog = max(ended, key=lambda ended: ended[0])
        return _End(place, end, info.close_reason if is_nobody(dialog.close_reason) else dialog.close_reason)
    before_survey = None if main and says(info.status, "open") else _end_before_survey(info, tell)
    field, time = ("endTimeL", of_info) if before_survey is None else (_BEFORE_SURVEY, before_survey)
    if not isinstance(time, int):
        return time
    if main:
        tell(f"dialogs: no end of the MAIN dialog; info.{field} counts")
    return _End("info", time, info.close_reason, field)


def _end_before_survey(info: Info, tell: Tell) -> int | None:
    """`info.conversationEndTimeL`, which many exports do not have."""
    millis, text = info.conversation_end_time_l, info.conversation_end_time
    if (is_nobody(millis) and is_nobody(text)) or integer(millis) == _NO_END:
        return None
    return told_time(millis, text, "info.conversationEndTime", tell)


_NO_END: Final = -1


def _end(span: Span, place: str, tell: Tell) -> int | Open | None:
    """The end of a conversation or dialog; None where it is unknown."""
    is_open = says(span.status, "open")
    millis = None if integer(span.end_time_l) == _NO_END else span.end_time_l
    if is_nobody(millis) and (is_open or is_nobody(span.end_time)):
        is_closed = says(span.status, "close")
        if is_open or (integer(span.end_time_l) == _NO_END and not is_closed):
            return Open(place)
        tell(f"{place}.endTimeL: is missing" + (f", though {place}.status is CLOSE" if is_closed else ""))
        return None
    end = told_time(millis, span.end_time, f"{place}.endTime", tell)
    if is_open and end is not None:
        tell(f"{place}.endTimeL: contradicts {place}.status OPEN, which counts")
        return Open(place)
    return end

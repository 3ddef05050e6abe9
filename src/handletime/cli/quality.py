"""What the data of a derivation are worth, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from handletime.answers.words import NO_EFFECT, begins_in_the_middle, count, duration, long_units, without_focus_data

if TYPE_CHECKING:
    from handletime.segments.derive import Quality


def _differing(quality: Quality) -> str:
    if not quality.differing_copies:
        return ""
    who = "which" if quality.duplicates == 1 else f"{quality.differing_copies:,} of them"
    return f", {who} {'says' if quality.differing_copies == 1 else 'say'} something else than the first"


def summary(quality: Quality) -> Iterator[str]:
    """What the data are worth, a line for each thing that is not zero."""
    yield f"{count(quality.events, 'event')} of {count(quality.conversations, 'conversation')}"
    if quality.duplicates:
        yield f"{count(quality.duplicates, 'duplicate')} left out{_differing(quality)}"
    if quality.corrected:
        yield f"{count(quality.corrected, 'copy', 'copies')} replaced by corrections"
    if quality.without_effect:
        yield f"{count(sum(quality.without_effect.values()), 'event')} without effect:"
        for reason, number in sorted(quality.without_effect.items(), key=lambda item: -item[1]):
            yield f"  {number:>12,}  {reason}: {NO_EFFECT[reason]}"
    if quality.begin_in_the_middle:
        yield begins_in_the_middle(count(quality.begin_in_the_middle, "conversation"), quality.begin_in_the_middle)
    blind = quality.agents_without_focus()
    if blind:
        some = ", ".join(str(agent) for _account, agent in blind[:8]) + (", …" if len(blind) > 8 else "")
        yield f"{without_focus_data(len(blind), len(quality.human_agents), 'human agent')}: {some}"
    if quality.long_units:
        share = 100 * quality.long_units_millis / quality.handle_time_millis
        more = f"{duration(quality.long_units_millis)} in all, {share:.1f} % of all handle time"
        yield long_units(quality.long_units, more=more)

"""LivePerson's messaging history becomes events (liveperson-history.md).

    fields       what is read of a record, and how single values are
    assignments  who had the conversation when
    span         when it began and ended
    record       one record as events
    processes    many records as events, on all processors
    files        many records, and one conversation out of all its copies

Texts, names and personal data are dropped at the door: only what `fields` names is ever decoded, and faults
name places and ids, never what stood in a field.
"""

from handletime.sources.liveperson.files import ConversationFault, History, read_history
from handletime.sources.liveperson.record import Conversation, events_of

__all__ = ["Conversation", "ConversationFault", "History", "events_of", "read_history"]

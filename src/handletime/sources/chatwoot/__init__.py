"""Chatwoot's webhooks and REST answers become events (docs/chatwoot.md).

    fields   what is read of them
    webhook  one delivery as events
    rest     a conversation of the REST API as events
    client   asks the REST API
    agents   whose id is whose: users, bots

Texts, names, addresses and tokens are dropped at the door: only what `fields` names is ever decoded.
"""

"""Sources in the settings file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from handletime.deliveries.proof import InAddress, Signature, Token
from handletime.deliveries.source import Source, described_source, sources_of
from handletime.errors import InputError

FILE = Path("/etc/handletime/settings.toml")
CHATWOOT = """
[source.chatwoot]
kind = "chatwoot"
account = "acme"
secret = "made-up-secret"
"""
SQL = """
[source.desk]
kind = "sql"
account = "acme"
secret = "made-up-secret"
mapping = "desk.sql"
proof = "token"
header = "X-Token"
"""


def read(text: str) -> list[Source]:
    return sources_of(tomllib.loads(text)["source"], FILE)


def test_a_chatwoot() -> None:
    (source,) = read(CHATWOOT)
    assert (source.kind, source.account, source.name, source.mapping) == ("chatwoot", "acme", "chatwoot", None)
    assert isinstance(source.proof, Signature)
    assert source.proof.timestamp_header == "X-Chatwoot-Timestamp"
    assert source.chatwoot is not None
    assert (source.chatwoot.skill, source.chatwoot.auto_resolve_minutes) == ("inbox", None)
    (source,) = read(CHATWOOT + 'skill = "team"\nauto-resolve-minutes = 60\nproof = "address"\n')
    assert source.proof == InAddress("made-up-secret")
    assert source.chatwoot is not None
    assert (source.chatwoot.skill, source.chatwoot.auto_resolve_minutes) == ("team", 60)


def test_a_mapping_lies_beside_the_file() -> None:
    (source,) = read(SQL + 'keep = ["subject_code"]\n')
    assert (source.kind, source.mapping) == ("sql", FILE.parent / "desk.sql")
    assert source.proof == Token("made-up-secret", "X-Token")
    assert source.keep == ("subject_code",)


def test_how_a_signature_is_written() -> None:
    signed = SQL.replace('"token"', '"signature"') + 'form = "{base64}"\nalgorithm = "sha1"\n'
    (source,) = read(signed + 'signed = "{timestamp}{body}"\ntimestamp-header = "X-Time"\n')
    assert source.proof == Signature("made-up-secret", "X-Token", "{base64}", "{timestamp}{body}", "X-Time", "sha1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[source]\nchatwoot = 3", "source.chatwoot: must be a table, [source.chatwoot]"),
        ("[source.Chat]\n", "source.Chat: the name must be"),
        ("[source.a]\nkind = 'chatwoot'\naccount = 'acme'", "source.a.secret: must be the secret"),
        ("[source.a]\nkind = 'mail'\n", "source.a.kind: must be chatwoot or sql"),
        (CHATWOOT.replace("acme", "a b"), "source.chatwoot.account: must be an account"),
        (CHATWOOT.replace("made-up-secret", "short"), "source.chatwoot.secret: must be the secret"),
        (CHATWOOT + "skil = 'inbox'", "source.chatwoot.skil: is no setting of a source; do you mean skill?"),
        (CHATWOOT + "skill = 'agent'", "source.chatwoot.skill: must be what counts as skill, inbox or team"),
        (CHATWOOT + "auto-resolve-minutes = 0", "source.chatwoot.auto-resolve-minutes: must be minutes"),
        (CHATWOOT + "auto-resolve-minutes = 'x'", "source.chatwoot.auto-resolve-minutes: must be minutes"),
        (CHATWOOT + "mapping = 'a.sql'", "source.chatwoot.mapping: belongs to another kind"),
        (CHATWOOT + "header = 'X'\nproof = 'address'", "source.chatwoot.header: means nothing where proof is address"),
        (SQL.replace("mapping", "#"), "source.desk.mapping: must be the file"),
        (SQL.replace("proof", "#"), "source.desk.proof: must be signature, token"),
        (SQL.replace("header", "#"), "source.desk.header: must be the header"),
        (SQL.replace("made-up-secret", "made-up-sécret"), "source.desk.secret: must be ASCII (no ä, no é)"),
        (SQL.replace("made-up-secret", "made-up-secret "), "source.desk.secret: must be ASCII (no ä, no é), without"),
        (SQL + "form = '{hex}'", "source.desk.form: means nothing where proof is token"),
        (SQL + "skill = 'inbox'", "source.desk.skill: belongs to another kind"),
        (SQL.replace('"token"', '"signature"') + "form = 'x'", "source.desk.form: must be how"),
        (SQL.replace('"token"', '"signature"') + "signed = '{timestamp}{body}'", "source.desk.signed: must be what"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(text: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        read(text)
    assert str(error.value).startswith(f"{FILE}: {told}")
    assert "made-up" not in str(error.value)


def test_a_source_that_was_kept_beside_the_keys() -> None:
    found = described_source("acme", "chatwoot", b'{"kind":"chatwoot","skill":"team"}', "made-up-secret")
    (written,) = read(CHATWOOT + 'skill = "team"\n')
    assert found == written
    with pytest.raises(InputError, match="does not know"):
        described_source("acme", "chatwoot", b"[]", "made-up-secret")

"""All settings: one object, read from ``POSTROOM_*`` variables, each documented where it is defined."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from postroom.errors import InvalidSettings
from postroom.redis_url import is_cluster

_MIB = 1024 * 1024


def _setting(default: Any, doc: str, least: int = 0) -> Any:
    return field(default=default, metadata={"doc": doc, "least": least})


def _secret(default: Any, doc: str) -> Any:
    """A setting that may hold a password: it is in no repr, and so in no log and no error report."""
    return field(default=default, metadata={"doc": doc}, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set. A field named ``retry_first_s`` is read from ``POSTROOM_RETRY_FIRST_S``."""

    redis_url: str = _secret(
        "redis://localhost:6379/0",
        "The ledger's Redis: `redis://`, `rediss://` or `unix://PATH?db=0`; or Sentinels, as "
        "`sentinel://HOST:PORT,HOST:PORT/0?master=NAME`; or a Redis Cluster, as `redis+cluster://HOST:PORT,HOST:PORT`, "
        "or `rediss+cluster://` ([scaling.md](scaling.md)).",
    )
    partitions: int = _setting(
        0,
        "Into how many partitions the ledger's letters are spread, from the first letter on; 0: 16 on a Redis Cluster, "
        "else 1.",
    )
    broker_url: str = _secret(
        "",
        "Celery's broker: another Redis, Sentinels, or RabbitMQ as `amqp://` or `amqps://`; empty means the ledger's "
        "Redis. It cannot be a Redis Cluster.",
    )
    durability: str = _setting(
        "",
        '`synced` waits, when a letter is accepted and before the window of one with `on_uncertain="hold"` opens, '
        "until it is on Redis's disk (WAITAOF: Redis 7.2 or later with an append-only file, or Valkey; with "
        "`appendfsync everysec` that takes up to a second, with `always` it is done at once); empty waits for nothing.",
    )
    replicas: int = _setting(0, "With `synced`: how many replicas have to have it on disk, too.")
    memory_part: float = _setting(
        0.85,
        "The part of Redis's `maxmemory` beyond which new letters are refused: outcomes need room. 1: none.",
    )
    from_: str = _setting("", "The From of letters that name none.")
    relay_url: str = _secret(
        "smtp://localhost:25",
        "The relay: `smtp://` (STARTTLS unless on loopback), `smtp+starttls://`, `smtps://`, "
        "or `smtp+plain://` (no TLS), as `user:password@host:port`; or `sendmail://` and the path of a program.",
    )
    relay_password_file: str = _setting("", "A file with the password of the relay's user, when its URL has none.")
    relay_token: str = _setting(
        "",
        "In place of a password, `package.module:function`: called with the relay's user for each session, it returns "
        "an access token (OAuth 2.0).",
    )
    relays: str = _setting(
        "",
        "A TOML file of relays, in order of failover ([relays.md](relays.md)); then the `POSTROOM_RELAY_` variables "
        "are not looked at.",
    )
    dkim: str = _setting(
        "", "A TOML file of the keys that letters are signed with (DKIM), by the domain of their From."
    )
    redirect_all: str = _setting(
        "",
        "For staging: the worker sends everything to this address; the recipients are named in `X-Original-To` fields.",
    )
    redirect_except: str = _setting(
        "", "Addresses and domains, separated by blanks, that get their letters whatever `POSTROOM_REDIRECT_ALL` says."
    )
    hold_all: bool = _setting(
        False, "For staging: whether the worker holds every letter until somebody lets it go (`postroom release`)."
    )
    ehlo_name: str = _setting("", "The name given in EHLO; empty means this machine's.")
    ca_file: str = _setting("", "A file of certificates that relays are verified against; empty means the system's.")
    certificate: str = _setting(
        "", "A PEM file of the certificate, and its key, that we show to relays that ask for one; empty shows none."
    )
    domain_literals: bool = _setting(
        False, "Whether addresses may have an IP address in brackets for a domain, such as `ann@[192.0.2.1]`."
    )
    redis_timeout_s: float = _setting(
        5.0, "Seconds to wait for an answer of Redis; then its connection is dropped, and it is asked again."
    )
    retry_first_s: float = _setting(
        60.0,
        "Seconds until the first retry, or down to half of that, lest letters come back together; each further one "
        "waits twice as long ([reliability.md](reliability.md#how-often-and-for-how-long)).",
    )
    retry_max_s: float = _setting(3600.0, "The longest wait between retries, in seconds.")
    give_up_s: float = _setting(172_800.0, "Seconds after which a letter that is still deferred is given up.")
    lease_s: float = _setting(60.0, "Seconds until the claim of a worker that died is taken over.")
    bell_s: float = _setting(900.0, "Seconds until a letter that no worker claimed is rung for again.")
    timer_s: float = _setting(1.0, "Seconds between two looks of a worker at the schedule.")
    keep_sent_s: float = _setting(604_800.0, "Seconds that the account of a sent or cancelled letter is kept.")
    keep_failed_s: float = _setting(
        0.0, "Seconds that a failed letter is kept, content and all; 0 keeps it until it is retried or purged."
    )
    uncertain_max: int = _setting(3, "Uncertain attempts after which even `resend` holds the letter.")
    deaths_max: int = _setting(5, "Worker deaths after which a letter is held.")
    events_max: int = _setting(
        10_000,
        "Events that the stream of all letters keeps, about (`postroom tail`), what happens to a chunk alike counted "
        "once; 0 for no stream.",
    )
    webhook_url: str = _secret(
        "",
        "Where the workers post what becomes of letters, signed ([webhooks.md](webhooks.md)): `https://` or `http://`; "
        "several, separated by blanks; empty: nowhere.",
    )
    webhook_secret: str = _secret(
        "",
        "What webhooks are signed with: `whsec_` and the base64 of 24 to 64 random octets; several, separated by "
        "blanks, all sign.",
    )
    webhook_secret_file: str = _setting("", "A file with POSTROOM_WEBHOOK_SECRET.")
    webhook_states: str = _setting(
        "sent partial failed cancelled rejected",
        "Which states of a letter are posted, when it comes to them; `deferred` and `held` may be among them.",
    )
    webhook_timeout_s: float = _setting(10.0, "Seconds that the receiver of a webhook may take, all in all.")
    pauses_max: int = _setting(3, "Pauses in a row, met by one letter, that cost it no attempt; the next one does.")
    refusals_max: int = _setting(
        20, "Letters in a row refused with one and the same answer about us, after which the relay is left alone."
    )
    slow_s: float = _setting(60.0, "Seconds in which the rate of a relay that asked for less doubles again.")
    pause_first_s: float = _setting(5.0, "Seconds that a relay that is down is left alone at first.")
    pause_max_s: float = _setting(300.0, "The longest pause of a relay that is down, in seconds.")
    connect_timeout_s: float = _setting(
        30.0, "Seconds to resolve the relay's name and connect, all its addresses together."
    )
    greeting_timeout_s: float = _setting(300.0, "Seconds to wait for the relay's greeting (RFC 5321 §4.5.3.2.1).")
    command_timeout_s: float = _setting(
        300.0, "Seconds to wait for the reply to EHLO, STARTTLS, AUTH and RSET, and for a TLS handshake."
    )
    mail_timeout_s: float = _setting(300.0, "Seconds to wait for the reply to MAIL (RFC 5321 §4.5.3.2.2).")
    rcpt_timeout_s: float = _setting(300.0, "Seconds to wait for the reply to each RCPT (RFC 5321 §4.5.3.2.3).")
    data_timeout_s: float = _setting(120.0, "Seconds to wait for the reply to DATA (RFC 5321 §4.5.3.2.4).")
    body_timeout_s: float = _setting(
        180.0, "Seconds that the relay may take for each 64 KiB of the content (RFC 5321 §4.5.3.2.5)."
    )
    content_timeout_s: float = _setting(
        600.0, "Seconds to wait for the reply to the end of the content (RFC 5321 §4.5.3.2.6)."
    )
    program_timeout_s: float = _setting(
        600.0, "Seconds that a program in place of a relay (`sendmail://`) may take for a letter."
    )
    session_idle_s: float = _setting(60.0, "Seconds after which an idle SMTP session is closed.")
    sessions: int = _setting(4, "SMTP sessions with a relay that one worker process uses at once for a chunk.", 1)
    session_letters: int = _setting(500, "Letters after which an SMTP session is closed.", 1)
    contents_over: int = _setting(
        64 * 1024, "Octets beyond which a part is stored once, by digest, beside the letters."
    )
    letter_max: int = _setting(25 * _MIB, "Octets of all parts of a letter together, at most.")
    header_max: int = _setting(64 * 1024, "Octets of the header fields of a letter, at most.")
    recipients_max: int = _setting(1000, "Recipients of a letter, at most.")
    parts_max: int = _setting(1000, "Parts of a letter, at most.")
    log_format: str = _setting(
        "text",
        "How a worker logs: `text`, or `json` for an object a line, Celery's lines too ([metrics.md](metrics.md)).",
    )
    metrics_address: str = _setting(
        "127.0.0.1", "The address that `postroom exporter` serves metrics at ([metrics.md](metrics.md))."
    )
    metrics_port: int = _setting(9464, "The port that `postroom exporter` serves metrics at.")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Return the settings that the environment gives; unset or empty variables leave the default.

        Raises:
            InvalidSettings: a variable cannot be read as its type; the message names it, never its value.
        """
        values = {}
        for each in fields(cls):
            # A secret mounted as a file or pasted in a console often ends in a newline.
            text = environment.get(variable(each.name), "").strip()
            if text:
                values[each.name] = _parsed(
                    variable(each.name), _PARSERS[str(each.type)], text, each.metadata.get("least", 0)
                )
        return cls(**values)

    @property
    def broker(self) -> str:
        """The broker's URL as Celery spells it; Sentinels as we do.

        Raises:
            InvalidSettings: it would be a cluster, which Celery cannot use.
        """
        url = self.broker_url or self.redis_url
        if is_cluster(url):
            raise InvalidSettings(
                "POSTROOM_BROKER_URL has to name one Redis, Sentinels, or RabbitMQ: Celery's queues cannot be in a "
                "Redis Cluster, only the ledger can"
            )
        if url.startswith("unix://"):
            path, _, query = url.removeprefix("unix://").partition("?")
            database = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair).get("db", "0")
            return f"redis+socket://{path}?virtual_host={database}"
        return url


def _truth(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError


_PARSERS: dict[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float, "bool": _truth}


def variable(name: str) -> str:
    """Return the environment variable that a field is read from."""
    return "POSTROOM_" + name.strip("_").upper()


def secret_variable(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the secret in an environment variable that a file of settings names, so that it stands in no file.

    Raises:
        InvalidSettings: the variable is not set, or empty.
    """
    secret = environment.get(name, "").strip()
    if not secret:
        raise InvalidSettings(f"the variable {name} is not set")
    return secret


def _parsed(name: str, parse: Callable[[str], Any], text: str, least: int) -> Any:
    try:
        value = parse(text)
    except ValueError:
        what = "true or false" if parse is _truth else "a number"
        raise InvalidSettings(f"{name} has to be {what}") from None
    if parse is not str and not least <= value < float("inf"):
        raise InvalidSettings(f"{name} has to be a number of {least} or more")
    return value


@lru_cache(maxsize=1)
def process_settings() -> Settings:
    """Return the settings of this process, read from its environment at first use."""
    return Settings.from_environment()


def table() -> str:
    """Return the table of all settings, in Markdown, for the docs."""
    rows = ["| variable | default | what |", "| --- | --- | --- |"]
    for each in fields(Settings):
        default = f"`{each.default}`" if each.default != "" else ""
        rows.append(f"| `{variable(each.name)}` | {default} | {each.metadata['doc']} |")
    return "\n".join(rows) + "\n"

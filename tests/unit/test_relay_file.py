"""The file of relays: read, or refused with the relay and the key, and without a secret."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from celery.signals import worker_init
from hypothesis import given
from hypothesis import strategies as st

from postroom import InvalidSettings, Settings
from postroom.settings import process_settings
from postroom_worker.app import app
from postroom_worker.relay import Limits, Relay, Security
from postroom_worker.relay_file import _Entry, _limits, read_relays

PAGE = (Path(__file__).parents[2] / "docs" / "relays.md").read_text("utf-8")
MAIN = '[relays.main]\nurl = "smtps://mail.example.org"\n'


def token(user: str) -> str:
    """What an organisation would name as the source of its tokens."""
    return f"token of {user}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the files are that a description may name."""
    (tmp_path / "password").write_text("pässwörd\n", "utf-8")
    (tmp_path / "ca.pem").write_text("")
    return tmp_path


def read(folder: Path, text: str) -> tuple[Relay, ...]:
    (folder / "relays.toml").write_text(text, "utf-8")
    return read_relays(Settings(relays=str(folder / "relays.toml")))


def problem(folder: Path, text: str) -> str:
    with pytest.raises(InvalidSettings) as refused:
        read(folder, text)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    message = str(refused.value)
    assert message.startswith(f"POSTROOM_RELAYS, {folder / 'relays.toml'}: ")
    assert "SECRET" not in message
    return message


def test_without_a_file_there_is_the_relay_of_the_url() -> None:
    assert read_relays(Settings(relay_url="smtps://mail.example.org")) == (Relay.from_url("smtps://mail.example.org"),)


def test_the_password_of_the_single_relay_may_be_in_a_file(folder: Path) -> None:
    settings = Settings(relay_url="smtps://us@mail.example.org", relay_password_file=str(folder / "password"))
    assert read_relays(settings)[0].password == "pässwörd"


def test_the_single_relay_may_be_given_tokens() -> None:
    settings = Settings(relay_url="smtps://us@mail.example.org", relay_token=f"{__name__}:token")
    assert read_relays(settings)[0].token == f"{__name__}:token"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POSTROOM_RELAY_PASSWORD_FILE", "/nowhere"),
        ("POSTROOM_RELAY_PASSWORD_FILE", "/dev/null"),
        ("POSTROOM_RELAY_TOKEN", "SECRET"),
        ("POSTROOM_RELAY_TOKEN", "nowhere:token"),
    ],
)
def test_what_is_wrong_beside_the_url_is_told_by_its_setting(variable: str, value: str) -> None:
    settings = Settings.from_environment({"POSTROOM_RELAY_URL": "smtps://us@mail.example.org", variable: value})
    with pytest.raises(InvalidSettings, match=f"{variable}: ") as refused:
        read_relays(settings)
    assert "SECRET" not in str(refused.value)


def test_the_order_of_the_file_is_the_order_of_failover(folder: Path) -> None:
    found = read(folder, "".join(MAIN.replace("main", name) for name in ("main", "Z", "a-b_9")))
    assert [each.name for each in found] == ["main", "Z", "a-b_9"]


def test_everything_can_be_said(folder: Path) -> None:
    found = read(
        folder,
        """
        [relays.primary]
        url = "smtp+starttls://user@smtp.example.org:587"
        password_file = "password"
        limits = { connections = 8, letters_per_s = 50 }
        senders = ["Bücher.example", "example.org"]
        tags = ["news"]
        ca_file = "ca.pem"
        certificate = "ca.pem"
        ehlo_name = "mail.example.org"
        [relays.primary.domains."GMail.com"]
        letters_per_s = 0.5
        [relays.primary.domains."*"]
        connections_per_s = 1
        letters_per_connection = 100
        recipients_per_transaction = 1
        """,
    )
    file = str(folder / "ca.pem")
    assert found == (
        Relay(
            "primary",
            "smtp.example.org",
            587,
            Security.STARTTLS,
            "user",
            "pässwörd",
            limits=Limits(connections=8, letters_per_s=50.0),
            domains={
                "gmail.com": Limits(letters_per_s=0.5),
                "*": Limits(connections_per_s=1.0, letters_per_connection=100, recipients_per_transaction=1),
            },
            senders=("xn--bcher-kva.example", "example.org"),
            tags=("news",),
            ca_file=file,
            certificate=file,
            ehlo_name="mail.example.org",
        ),
    )


def test_a_password_may_be_in_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_PASSWORD", "secret\n")
    [relay] = read(folder, '[relays.main]\nurl = "smtps://us@h"\npassword_env = "OUR_PASSWORD"')
    assert relay.password == "secret"


def test_a_token_is_given_by_a_function(folder: Path) -> None:
    [relay] = read(folder, f'[relays.main]\nurl = "smtps://us@h"\ntoken = "{__name__}:token"')
    assert (relay.user, relay.password, relay.token) == ("us", "", f"{__name__}:token")


@pytest.mark.parametrize(
    ("arguments", "found"), [("", ("-i",)), ("arguments = []", ()), ("arguments = ['-x']", ("-x",))]
)
def test_a_program_has_its_own_arguments(arguments: str, found: tuple[str, ...], folder: Path) -> None:
    [relay] = read(folder, f"[relays.local]\nurl = 'sendmail:///usr/sbin/sendmail'\n{arguments}")
    assert relay.program == ("/usr/sbin/sendmail", *found)


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ("port = 25", "port"),
        ("url = 'smtps://h'\nport = 25", "port"),
        ("ehlo_name = 'h'", "url"),
        ("url = 25", "url"),
        ("url = 'https://h'", "URL"),
        ("url = 'smtps://us:SECRET@h:SECRET'", "URL"),
        ("url = 'smtps://us@h'", "password"),
        ("url = 'smtps://us:SECRET@h'\npassword_file = 'password'", "password"),
        ("url = 'smtps://us@h'\npassword_file = 'password'\npassword_env = 'X'", "password_env"),
        ("url = 'smtps://us@h'\npassword_file = 'nowhere'", "password_file"),
        ("url = 'smtps://us@h'\npassword_file = 'ca.pem'", "password_file"),
        ("url = 'smtps://us@h'\npassword_env = 'OUR_NOTHING'", "password_env"),
        ("url = 'smtps://us@h'\ntoken = 'SECRET'", "token"),
        ("url = 'smtps://us@h'\ntoken = 'ya29.SECRET-SECRET'", "token"),
        ("url = 'smtps://us@h'\ntoken = 'os:nothing'", "token"),
        ("url = 'smtps://us@h'\ntoken = 'os:sep'", "token"),
        ("url = 'smtp+plain://us@h'\ntoken = 'os:getenv'", "token"),
        ("url = 'smtps://h'\narguments = []", "arguments"),
        ("url = 'sendmail:///bin/x'\narguments = ['-t']", "arguments"),
        ("url = 'sendmail:///bin/x'\narguments = ['--']", "arguments"),
        ("url = 'sendmail:///bin/x'\narguments = ['']", "arguments"),
        ("url = 'sendmail:///bin/x'\narguments = \"-i\"", "arguments"),
        ('url = "sendmail:///bin/x"\narguments = ["\\u0000"]', "arguments"),
        ("url = 'sendmail:///bin/x'\nlimits = { connections = 1 }", "limits"),
        ("url = 'sendmail:///bin/x'\ndomains = { 'example.com' = { connections_per_s = 1 } }", "limits"),
        ("url = 'sendmail:///bin/x'\nehlo_name = 'h'", "ehlo_name"),
        ("url = 'sendmail:///bin/x'\nca_file = 'ca.pem'", "ca_file"),
        ("url = 'smtps://h'\nlimits = 5", "limits"),
        ("url = 'smtps://h'\nlimits = { conections = 5 }", "conections"),
        ("url = 'smtps://h'\nlimits = { connections = 1.5 }", "connections"),
        ("url = 'smtps://h'\nlimits = { connections = -1 }", "connections"),
        ("url = 'smtps://h'\nlimits = { connections = true }", "connections"),
        ("url = 'smtps://h'\nlimits = { letters_per_s = nan }", "letters_per_s"),
        ("url = 'smtps://h'\nlimits = { letters_per_s = inf }", "letters_per_s"),
        ("url = 'smtps://h'\nlimits = { letters_per_s = '5' }", "letters_per_s"),
        ("url = 'smtps://h'\ndomains = { 'gmail.com' = 5 }", "domains.gmail.com"),
        ("url = 'smtps://h'\ndomains = { 'gmail.com' = { x = 5 } }", "domains.gmail.com: x"),
        ("url = 'smtps://h'\ndomains = { 'gmail com' = {} }", "domains"),
        ("url = 'smtps://h'\ndomains = { 'gmail.com' = {}, 'GMAIL.com' = {} }", "domains: gmail.com"),
        ("url = 'smtps://h'\nsenders = []", "senders"),
        ("url = 'smtps://h'\nsenders = 'example.org'", "senders"),
        ("url = 'smtps://h'\nsenders = ['ann@example.org']", "senders"),
        ("url = 'smtps://h'\ntags = []", "tags"),
        ("url = 'smtps://h'\ntags = ['two words']", "tags"),
        ("url = 'smtps://h'\nca_file = 'nowhere'", "ca_file"),
        ("url = 'smtps://h'\ncertificate = 'nowhere'", "certificate"),
        ("url = 'smtps://h'\nehlo_name = 'two words'", "ehlo_name"),
    ],
)
def test_what_cannot_be_read_is_refused_by_relay_and_key(lines: str, key: str, folder: Path) -> None:
    message = problem(folder, f"{MAIN.replace('main', 'good')}[relays.main]\n{lines}\n")
    told = message.removeprefix(f"POSTROOM_RELAYS, {folder / 'relays.toml'}: ")
    assert told.count("relay main") == 1
    assert key in told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[relays]\n",
        "relays = 5",
        "[relays]\nmain = 5",
        "[relay.main]\nurl = 'smtps://h'",
        MAIN + "[other]\n",
        MAIN + MAIN,
        MAIN + MAIN.replace("main", "MAIN"),
        MAIN.replace("main", "'a b'"),
        MAIN.replace("main", "''"),
        MAIN.replace("main", "x" * 41),
        MAIN.replace("main", "'bücher'"),
        MAIN + "password = 'SECRET",
        "SECRET",
    ],
)
def test_what_is_no_file_of_relays_is_refused(text: str, folder: Path) -> None:
    problem(folder, text)


def test_a_file_that_is_not_there_or_not_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="cannot be read"):
        read_relays(Settings(relays=str(tmp_path)))
    (tmp_path / "relays.toml").write_bytes(b"\xff")
    with pytest.raises(InvalidSettings, match="POSTROOM_RELAYS"):
        read_relays(Settings(relays=str(tmp_path / "relays.toml")))


def test_the_example_of_the_docs_can_be_read(folder: Path) -> None:
    example = PAGE.partition("```toml\n")[2].partition("```")[0]
    local = example.replace("/run/secrets/smtp", "password").replace("our_tokens:newsletter", f"{__name__}:token")
    assert [each.name for each in read(folder, local)] == ["primary", "newsletter", "spare"]


def test_the_docs_tell_of_every_key() -> None:
    told = set(re.findall(r"`(\w+)`", "".join(line for line in PAGE.splitlines() if line.startswith("| `"))))
    assert told >= {*_Entry.__struct_fields__, *(each.name for each in fields(Limits))}


def test_a_worker_whose_relays_cannot_be_read_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROOM_RELAY_URL", "smtps://us:SECRET@h:SECRET")
    assert app
    process_settings.cache_clear()
    try:
        with pytest.raises(SystemExit, match="postroom: the URL of relay default has a bad host or port"):
            worker_init.send(sender=None)
    finally:
        process_settings.cache_clear()


VALUES = st.recursive(
    st.one_of(st.text(max_size=5), st.integers(-9, 9), st.floats(), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["connections", "letters_per_s", "x"]), inner)
    ),
)


@given(VALUES)
def test_limits_are_numbers_that_can_be_kept_or_refused(value: object) -> None:
    try:
        limits = _limits(value, "limits")
    except InvalidSettings:
        return
    assert all(0 <= each < math.inf for each in (limits.connections, limits.letters_per_s))


@given(st.text(max_size=40))
def test_any_text_is_a_description_or_refused(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "relays.toml"
        path.write_text(MAIN + text, "utf-8", newline="")
        with contextlib.suppress(InvalidSettings):
            assert read_relays(Settings(relays=str(path)))[0].name == "main"

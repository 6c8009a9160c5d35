"""How webhooks are signed, and what describes their receiver."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import pytest

from postroom import InvalidSettings, Settings
from postroom.finding import Level
from postroom_worker.webhook.notice import headers, secrets_of
from postroom_worker.webhook.notifier import findings
from postroom_worker.webhook.receiver import Receiver
from webhook_docs import SECRET, documented


def test_the_signature_is_that_of_the_standard() -> None:
    # The example of the specification's own libraries.
    secret = secrets_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}', secret)
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_of_several_secrets_signs() -> None:
    other = base64.b64encode(b"x" * 24).decode()
    found = headers("id", int(time.time()), "{}", secrets_of(f"{SECRET} {other}\n"))
    for secret in (SECRET, other):
        documented()(found, b"{}", secret)
    with pytest.raises(ValueError, match="not signed"):
        documented()(found, b"{ }", SECRET)
    with pytest.raises(ValueError, match="too old"):
        documented()({**found, "webhook-timestamp": "1"}, b"{}", SECRET)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"webhook_secret": ""}, "POSTROOM_WEBHOOK_SECRET"),
        ({"webhook_secret": "whsec_not base64"}, "POSTROOM_WEBHOOK_SECRET"),
        ({"webhook_secret": "whsec_c2hvcnQ="}, "24 to 64"),
        ({"webhook_url": "ftp://app.example"}, "https://"),
        ({"webhook_url": "app.example/hook"}, "https://"),
        ({"webhook_url": "https://me:SECRET@app.example/"}, "without a user"),
        ({"webhook_url": "https://app.example:port/"}, "https://"),
        ({"webhook_url": "https://app..example/"}, "https://"),
        ({"webhook_url": "https://app.example/\r\nX-A: b"}, "POSTROOM_WEBHOOK_URL"),
        ({"webhook_states": "sent opened"}, "opened"),
        ({"webhook_states": "queued"}, "queued"),
        ({"events_max": 0}, "POSTROOM_EVENTS_MAX"),
        ({"webhook_secret": "", "webhook_secret_file": "/nowhere"}, "POSTROOM_WEBHOOK_SECRET_FILE"),
    ],
)
def test_settings_that_cannot_be_read_are_refused_by_name_and_show_no_secret(given: dict[str, Any], names: str) -> None:
    whole: dict[str, Any] = {"webhook_url": "https://app.example/hook", "webhook_secret": SECRET, **given}
    with pytest.raises(InvalidSettings, match=names) as wrong:
        Receiver.all_of(Settings(**whole))
    assert "SECRET@" not in str(wrong.value)
    assert SECRET not in str(wrong.value)
    (found,) = findings(Settings(**whole))
    assert found.level is Level.BAD


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    of_file = Settings(webhook_url="https://app.example", webhook_secret_file=str(tmp_path / "secret"))
    (found,) = Receiver.all_of(of_file)
    assert found.secrets == secrets_of(SECRET)
    assert "secrets" not in repr(found)


def test_without_a_url_there_are_no_webhooks() -> None:
    assert Receiver.all_of(Settings()) == ()
    assert list(findings(Settings())) == []

"""Files that a worker was started with, and that somebody spoils meanwhile: it goes on with what it has read."""

from __future__ import annotations

from pathlib import Path

from house import NewHouse


def test_a_worker_that_connects_to_the_broker_anew_reads_none_of_them_again(
    new_house: NewHouse, tmp_path: Path
) -> None:
    relays, secret = tmp_path / "relays.toml", tmp_path / "secret"
    here = new_house(
        POSTROOM_RELAYS=str(relays),
        POSTROOM_WEBHOOK_URL="http://127.0.0.1:1/",
        POSTROOM_WEBHOOK_SECRET_FILE=str(secret),
    )
    relays.write_text(f'[relays.default]\nurl = "{here.relay.url}"\n')
    secret.write_text("whsec_" + 32 * "A")
    here.worker("worker", "--concurrency=1")
    here.postroom.send_letter("ann@example.com", "hi").wait()
    relays.write_text("[relays.default]\nurl =\n")
    secret.unlink()
    here.ledger.redis.client_kill_filter(_type="normal", skipme=True)
    receipt = here.postroom.send_letter("ben@example.com", "hi")
    receipt.wait()
    assert here.accepted(receipt) == {"ben@example.com": 1}

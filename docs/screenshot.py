"""Takes the README's picture of Flower: a worker, a relay that misbehaves, letters, and Chromium without a screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from postroom import Letter, Postroom, Settings
from postroom_worker.dev import fleet
from postroom_worker.dev.capture import capture, greylisted, refused
from postroom_worker.dev.dev import flower
from postroom_worker.dev.server import ledger_url, wait_until

PICTURE = Path(__file__).parent / "images/flower.png"
ANSWERS = {"nobody@example.com": refused, "newcomer@example.net": greylisted(99)}
SINGLE = ["ann@example.org", "nobody@example.com", "newcomer@example.net", ["ann@example.org", "nobody@example.com"]]


def main() -> int:
    """Take it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        print("needs chromium")
        return 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.chdir(folder)
        relay = stack.enter_context(capture(folder / "mail", answers=ANSWERS))
        environment = {
            "POSTROOM_REDIS_URL": stack.enter_context(ledger_url(folder)),
            "POSTROOM_RELAY_URL": relay.url,
            "POSTROOM_FROM": "shop@example.org",
        }
        stack.enter_context(fleet.worker(folder, environment, "mail", "--concurrency=2"))
        url = stack.enter_context(flower(folder, environment))
        wait_until(lambda: is_up(url), "Flower is up", 60)
        send(Postroom(Settings.from_environment(environment)))
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]
        options += ["--disable-background-networking", "--no-first-run", f"--user-data-dir={folder / 'browser'}"]
        PICTURE.parent.mkdir(exist_ok=True)
        shot = [f"--screenshot={PICTURE}", "--window-size=1900,620", f"{url}/tasks"]
        subprocess.run([browser, *options, *shot], check=True, timeout=120)
    print(f"{PICTURE}: {PICTURE.stat().st_size // 1024} kB")
    return 0


def send(postroom: Postroom) -> None:
    """Send letters that fare differently, and wait until all have been tried."""
    readers = [f"reader{number}@example.org" for number in range(97)]
    news = [Letter(to, "News", settings=postroom.settings) for to in [*readers, *ANSWERS, "nobody@example.com"]]
    receipts = postroom.send_letters(news)
    receipts += [postroom.send_letter(to, "Your table is booked.") for to in SINGLE]
    wait_until(lambda: all(each.status().attempts for each in receipts), "all have been tried", 60)


def is_up(url: str) -> bool:
    """True once Flower answers."""
    try:
        with urlopen(Request(f"http://{url.rpartition('@')[2]}/healthcheck"), timeout=2):
            return True
    except (URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(main())

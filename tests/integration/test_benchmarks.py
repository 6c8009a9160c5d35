"""A short form of the benchmarks runs, though its numbers mean nothing; the null server and the line can be trusted."""

from __future__ import annotations

import json
import smtplib
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import trustme

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what letters cost is read from /proc")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CONTENT = "Subject: dots\r\n\r\n.\r\n..\r\n" + "long\r\n" * 20_000


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks' modules can be imported, as their programs import them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def ran(tmp_path: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """Run the benchmarks once, with the null server in Python, and return what they print and what they keep."""
    kept = tmp_path / "run.json"
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--turns=1", "--python-sink", f"--json={kept}", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(kept.read_text())


def test_a_row_of_ours_sends_its_letters_and_is_kept_with_its_command_line(tmp_path: Path) -> None:
    shown, kept = ran(tmp_path, "--letters=3", "bulk")
    (row,) = kept["rows"]
    assert row["left out"] is None
    assert row["client"] == "python ours.py bulk"
    (turn,) = row["turns"]
    assert turn["letters"] == 48
    assert turn["letters_per_s"] > 0
    assert turn["worker_cpu_us"] > 0
    assert turn["redis_commands"] > 1
    assert turn["sink"] == "null_server.py"
    assert "run.py" in kept["environment"]["command"]
    assert "| bulk | Postroom: `send_letters` | " in shown


def test_a_row_that_lacks_something_is_left_out_and_says_what(tmp_path: Path) -> None:
    from measure import measure
    from rows import SMALL, Row
    from run import Results, tables

    row = Row("lacking", SMALL, "who lacks", "python none.py", variables={"POSTROOM_NONE": "1"})
    results = Results([row], {row.name: []}, {})
    results.take_turn(lambda row: measure(row, 5, tmp_path, python_sink=True, limit_s=5))
    assert "| lacking | who lacks | left out: this Postroom has no setting POSTROOM_NONE | " in tables(results)


def test_a_row_fails_when_other_letters_arrive_than_it_was_to_send(tmp_path: Path) -> None:
    from measure import Failed, measure
    from rows import Row, Table

    row = Row("eager", Table("Nothing", delivers=False), "who sends all the same", "python smtplib_kept.py")
    with pytest.raises(Failed, match="0 letters had to arrive, and 7 did"):
        measure(row, 5, tmp_path, python_sink=True, limit_s=30)


def test_the_null_server_counts_what_it_takes_and_nothing_else(tmp_path: Path) -> None:
    from sink import sink

    with sink(tmp_path, python=True) as null, smtplib.SMTP("127.0.0.1", null.port) as smtp:
        for _ in range(2):
            smtp.sendmail("bob@example.org", ["ann@example.com", "ben@example.com"], CONTENT)
        smtp.docmd("MAIL FROM:<bob@example.org>")
        smtp.docmd("RSET")
        assert smtp.docmd("NOOP")[0] == 250
        assert null.accepted() == 2
        smtp.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nBDAT 6\r\nDATA\r\nBDAT 5 LAST\r\n\r\n.\r\n")
        assert [smtp.getreply()[0] for _ in range(4)] == [250] * 4
        assert null.accepted() == 3


def test_the_null_server_speaks_tls(tmp_path: Path) -> None:
    from sink import sink

    authority = trustme.CA()
    certificate = tmp_path / "sink.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with sink(tmp_path, certificate=certificate) as null, smtplib.SMTP("localhost", null.port) as smtp:
        smtp.starttls(context=trusting)
        smtp.sendmail("bob@example.org", ["ann@example.com"], CONTENT)
        assert not smtp.has_extn("starttls")
        assert null.accepted() == 1


def test_the_line_holds_what_is_said_each_way_and_lets_it_all_through(tmp_path: Path) -> None:
    from sink import slow_line

    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        slow_line(tmp_path, listening.getsockname()[1], 50) as port,
    ):
        # The line was tried out when it was started.
        listening.accept()[0].close()
        began_s = monotonic()
        with socket.create_connection(("127.0.0.1", port)) as near, listening.accept()[0] as far:
            assert monotonic() - began_s >= 0.15
            asked_s = monotonic()
            near.sendall(b"?")
            assert far.recv(1) == b"?"
            assert monotonic() - asked_s >= 0.05
            far.sendall(b"!" * 100_000)
            far.shutdown(socket.SHUT_WR)
            with near.makefile("rb") as answer:
                assert answer.read() == b"!" * 100_000
            assert monotonic() - asked_s >= 0.1

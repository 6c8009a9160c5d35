"""Writes the pages of the docs that are made from the code: settings, states, replies. ``--check``: is one stale?"""

from __future__ import annotations

import json
import sys
from logging import makeLogRecord
from pathlib import Path

import msgspec
from command_page import command_page

from postroom import Letter, letter_json, metrics, settings, states
from postroom_worker import outcome
from postroom_worker.json_log import JsonFormatter

DOCS = Path(__file__).parent
_NOTE = "<!-- made by docs/generate.py: change the code, then `make docs` -->\n\n"


_SHORT = '{"schema": 1, "from": "bob@example.org", "to": "ann@example.org", "message": "Your table is booked."}'


def settings_page() -> str:
    """Every setting."""
    intro = "All settings are environment variables, and each has a default. Times are in seconds.\n\n"
    return f"# Settings\n\n{_NOTE}{intro}{settings.table()}"


def states_page() -> str:
    """Every state, and the edges between them."""
    letters = [f"| `{each}` | {states.LETTER_STATES[each]} | {_next(each)} |" for each in states.LetterState]
    recipients = [f"| `{each}` | {states.RECIPIENT_STATES[each]} |" for each in states.RecipientState]
    head = ["| state | what it means |", "| --- | --- |"]
    return "\n".join(
        [
            f"# States\n\n{_NOTE}## Of a letter\n",
            "| state | what it means | what may be next |",
            "| --- | --- | --- |",
            *letters,
            "\n## Of a recipient\n",
            *head,
            *recipients,
            "",
        ]
    )


def _next(state: states.LetterState) -> str:
    return ", ".join(f"`{each}`" for each in states.LetterState if each in states.EDGES[state])


def replies_page() -> str:
    """Every row of the table of outcomes."""
    rows = [
        f"| {row.phase} | {row.code} | {row.enhanced} | {row.outcome} | {row.scope} | {'yes' if row.alert else ''} "
        f"| {row.hint} | {row.why} |"
        for row in outcome.table()
    ]
    intro = (
        "What a relay's reply, or its absence, means. Read from the top; the first row that fits decides. "
        "`x` is any digit, `*` anything. Hints: `less`, the rate is lowered for a while; `us`, it is about us, and "
        "too many alike in a row (`POSTROOM_REFUSALS_MAX`) leave the relay alone.\n"
    )
    head = [
        "| phase | code | enhanced | outcome | scope | alert | hint | why |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([f"# Replies and outcomes\n\n{_NOTE}{intro}", *head, *rows, ""])


def letter_json_page() -> str:
    """The JSON of a letter, for applications that publish it themselves."""
    example = Letter(
        "Ann <ann@example.org>",
        "Your table is booked.\n",
        from_="bob@example.org",
        subject="See you at eight",
        id="01m8550vsnwsymh6fes1t8v721",
        date_ms=1_795_469_372_000,
    )
    schema = json.dumps(msgspec.json.schema(letter_json.LetterJson), indent=2, ensure_ascii=False)
    return "\n".join(
        [
            f"# A letter as JSON\n\n{_NOTE}An application without the library publishes the Celery task "
            "`postroom.accept`, with one argument: a letter as JSON, as text or as an object. The worker checks it "
            "as strictly as `send_letter` does, and records it. A malformed one is put aside in the state `rejected`, "
            "with the reason: `postroom list --state rejected`.\n",
            "The keys are the keywords of `Letter`. Only `schema`, a recipient, a body and (unless POSTROOM_FROM is "
            "set) `from` are needed; `message` and `html` may be plain strings. Give an `id`, or an `idempotency_key`, "
            "and publishing twice sends once. Each letter names the oldest schema that it can be read by: 1, or 2 for "
            "one of a [mail-merge](mail-merge.md) in the ledger, whose `template` is stored there; a worker leaves "
            "what is newer than itself to others. Of a key that is there twice the last one counts. `to_json()` "
            "writes the long form:\n",
            f"```json\n{json.dumps(json.loads(example.to_json()), indent=2)}\n```\n\nThe short form:\n",
            f"```json\n{_SHORT}\n```\n\n## Schema\n",
            f"```json\n{schema}\n```\n",
        ]
    )


def metrics_page() -> str:
    """Every metric, and how they, logs and traces are had."""
    return f"""# Metrics, logs and traces

{_NOTE}## Metrics

    pip install 'postroom[metrics]'
    postroom exporter

serves metrics for Prometheus at `http://127.0.0.1:9464/metrics` (`POSTROOM_METRICS_ADDRESS`, `POSTROOM_METRICS_PORT`).
One exporter is enough for a ledger, on any machine that reaches it; it needs `POSTROOM_REDIS_URL` and nothing else.

Workers have no port. What their processes count they add to the ledger, once a second: so it does not matter how many
there are, on which machines, and when they are killed. A process that is killed loses what it counted in its last
second; counts go on over restarts. A scrape reads sizes and a sample of the ledger's letters, never all of them.

The values of labels are few: states, outcomes, relays by their names, classes of replies; never an address, a domain,
or what a relay said.

`deploy/prometheus/` has a configuration and alerts, `deploy/grafana/postroom.json` a dashboard to import.

{metrics.table()}
## Logs

With `POSTROOM_LOG_FORMAT=json` a worker logs an object a line, Celery's own lines too: `time`, `level`, `logger`,
`process`, `message`. A line about a task has `task` and `task_id`, one about a letter or a relay names it, and one
about a fault has the traceback as `error`. Each attempt is one line, at the level INFO, in text as well:

```json
{json.dumps(json.loads(JsonFormatter().format(makeLogRecord(_LOGGED))), indent=2)}
```

`outcome` is the worst that any recipient met, and `reply` what was said then ([replies.md](replies.md)). No address is
logged, but for its domain, and nothing of what a letter says.

## Traces

Where OpenTelemetry (`pip install 'postroom[otel]'`) has a tracer provider in the process, yours or that of
`opentelemetry-instrument`, Postroom tells it of three spans: `postroom accept` is the call that accepts a letter,
`postroom attempt` a worker's attempt, in the same trace, and within it `postroom transaction` what was exchanged with
the relay. The context travels with the letter in the ledger. A retry is a trace of its own that links to the first one:
it may come days later. Letters of a bulk that were accepted together share a span. Where nobody traces, or the trace is
not sampled, nothing is kept.
"""


_LOGGED = {
    "created": 1_795_511_564.012,
    "levelname": "INFO",
    "name": "postroom",
    "process": 117,
    "msg": "letter 01m8550vsnwsymh6fes1t8v721: attempt 1 through default: deferred: 451 4.7.1 Greylisted",
    "letter": "01m8550vsnwsymh6fes1t8v721",
    "attempt": 1,
    "relay": "default",
    "outcome": "deferred",
    "state": "deferred",
    "reply": "451 4.7.1 Greylisted",
    "recipients": 1,
    "took_ms": 24,
}


PAGES = {
    "command.md": lambda: command_page(_NOTE),
    "metrics.md": metrics_page,
    "settings.md": settings_page,
    "states.md": states_page,
    "replies.md": replies_page,
    "letter-json.md": letter_json_page,
}


def main() -> int:
    """Write the pages, or check them."""
    stale = []
    for name, page in PAGES.items():
        path = DOCS / name
        text = page()
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            stale.append(name)
    if stale:
        print(f"stale: {', '.join(stale)}; run `make docs`")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

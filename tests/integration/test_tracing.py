"""Traces, from the call that accepts a letter to the relay's reply: as OpenTelemetry's own SDK receives them."""

from __future__ import annotations

import sys
from itertools import count

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from house import Desk, desk
from postroom import InvalidLetter, Letter, LetterState, Postroom, Receipt, tracing
from postroom_worker.delivery import deliver
from postroom_worker.dev.scripted_relay import Session, say, scripted_relay
from postroom_worker.dev.server import wait_until

ACCEPT, ATTEMPT, TRANSACTION = "postroom accept", "postroom attempt", "postroom transaction"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What a process that traces tells, as long as the test lasts."""
    return provide(monkeypatch, TracerProvider())


def provide(monkeypatch: pytest.MonkeyPatch, provider: TracerProvider) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [each for each in spans.get_finished_spans() if each.name == name]


def send(here: Desk, to: str, **keywords: str) -> Receipt:
    """Send a letter as an application does."""
    return Postroom(here.office.settings, ledger=here.ledger).send_letter(to, "geheim: the text", **keywords)


def test_one_trace_goes_from_the_call_to_the_reply(redis_url: str, spans: InMemorySpanExporter) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        receipt = send(here, "anna.geheim@example.com", subject="geheim: the subject")
        assert here.deliver(receipt).state is LetterState.SENT
    (accept,), (attempt,), (transaction,) = (named(spans, each) for each in (ACCEPT, ATTEMPT, TRANSACTION))
    assert {each.context.trace_id for each in (accept, attempt, transaction)} == {accept.context.trace_id}
    assert attempt.parent is not None
    assert attempt.parent.span_id == accept.context.span_id
    assert transaction.parent == attempt.context
    assert [each.kind for each in (accept, attempt, transaction)] == [
        SpanKind.PRODUCER,
        SpanKind.CONSUMER,
        SpanKind.CLIENT,
    ]
    assert accept.attributes == {"postroom.letters": 1, "postroom.letter": receipt.id}
    assert attempt.attributes == {
        "postroom.letter": receipt.id,
        "postroom.attempt": 1,
        "postroom.state": "sent",
        "postroom.queue": "postroom",
        "postroom.worker": "desk",
    }
    assert transaction.attributes is not None
    assert transaction.attributes["postroom.relay"] == "default"
    assert str(transaction.attributes["postroom.reply"]).startswith("250 2.0.0")
    assert transaction.status.is_ok
    assert accept.end_time is not None
    assert attempt.start_time is not None
    assert transaction.start_time is not None
    assert accept.end_time <= attempt.start_time + 2_000_000, "the wall clock tells milliseconds"
    assert attempt.start_time <= transaction.start_time
    assert attempt.end_time == transaction.end_time


def test_a_retry_is_a_trace_of_its_own_that_links_to_the_first(redis_url: str, spans: InMemorySpanExporter) -> None:
    answers = count()

    def at_first(session: Session) -> None:
        say("250 2.1.5 ok" if next(answers) else "451 4.7.1 <anna.geheim@example.com>: greylisted")(session)

    with scripted_relay({"rcpt": at_first}) as relay, desk(redis_url, relay.url) as here:
        receipt = send(here, "anna.geheim@example.com")
        assert here.deliver(receipt).state is LetterState.DEFERRED
        wait_until(lambda: here.ledger.release_due(1), "it is due again")
        assert here.deliver(receipt).state is LetterState.SENT
    (accept,), (first, retry) = named(spans, ACCEPT), named(spans, ATTEMPT)
    assert first.context.trace_id == accept.context.trace_id
    assert (first.status.status_code, first.status.description) == (
        StatusCode.ERROR,
        "451 4.7.1 <…@example.com>: greylisted",
    )
    assert retry.parent is None
    assert retry.context.trace_id != accept.context.trace_id
    assert [link.context.span_id for link in retry.links] == [accept.context.span_id]
    told = "".join(each.to_json() for each in spans.get_finished_spans())
    assert "geheim" not in told


def test_letters_of_a_bulk_are_accepted_in_one_span(redis_url: str, spans: InMemorySpanExporter) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        letters = [Letter(f"{name}@example.com", "hi", settings=here.office.settings) for name in ("ann", "ben")]
        for receipt in Postroom(here.office.settings, ledger=here.ledger).send_letters(letters):
            here.deliver(receipt)
    (accept,) = named(spans, ACCEPT)
    assert accept.attributes == {"postroom.letters": 2}
    attempts = named(spans, ATTEMPT)
    assert {each.parent.span_id for each in attempts if each.parent} == {accept.context.span_id}
    assert len(attempts) == 2


def test_a_letter_that_is_not_accepted_fails_its_span_without_a_word(
    redis_url: str, spans: InMemorySpanExporter
) -> None:
    with desk(redis_url, "smtp://127.0.0.1:1") as here:
        send(here, "ann@example.com", idempotency_key="k")
        with pytest.raises(InvalidLetter):
            send(here, "anna.geheim@example.com", idempotency_key="k")
    _, failed = named(spans, ACCEPT)
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "InvalidLetter")
    assert "geheim" not in failed.to_json()


def test_what_is_not_sampled_leaves_nothing_with_the_letter(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = provide(monkeypatch, TracerProvider(sampler=ALWAYS_OFF))
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        receipt = send(here, "ann@example.com")
        assert not here.ledger.redis.hexists(here.ledger.keys.letter(receipt.id), "trace")
        here.deliver(receipt)
    assert spans.get_finished_spans() == ()


def test_a_trace_that_cannot_be_read_is_none(redis_url: str, spans: InMemorySpanExporter) -> None:
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        receipt = here.accept("ann@example.com")
        here.ledger.redis.hset(here.ledger.keys.letter(receipt.id), "trace", "garbage")
        assert here.deliver(receipt).state is LetterState.SENT
    assert spans.get_finished_spans() == ()


def test_a_process_whose_traces_go_wrong_delivers_all_the_same(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if span.name == ATTEMPT:
                raise ValueError("a fault of whoever is told of spans")

    provider = TracerProvider()
    provider.add_span_processor(Faulty())
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        receipts = [send(here, f"a-{number}@example.com") for number in range(3)]
        deliver(here.office, [each.id for each in receipts])
        assert {each.status().state for each in receipts} == {LetterState.SENT}


@pytest.mark.parametrize("is_there", [False, True], ids=["not installed", "without a provider"])
def test_where_nobody_traces_nothing_is_kept_of_it(
    is_there: bool, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = "00-11111111111111111111111111111111-2222222222222222-01"
    for name in [name for name in sys.modules if name.startswith("opentelemetry") and not is_there]:
        monkeypatch.delitem(sys.modules, name)
    with scripted_relay() as relay, desk(redis_url, relay.url) as here:
        receipt = send(here, "ann@example.com")
        assert tracing.api() is None
        assert not here.ledger.redis.hexists(here.ledger.keys.letter(receipt.id), "trace")
        here.ledger.redis.hset(here.ledger.keys.letter(receipt.id), "trace", traced)
        assert here.deliver(receipt).state is LetterState.SENT, "an application that traces, and a worker that does not"
    assert is_there or not [name for name in sys.modules if name.startswith("opentelemetry")]

"""The spans of an attempt, told when it is over: the first continues the letter's trace, a retry links to it.

A retry may come days later: a trace that waited for it would never be whole.
"""

from __future__ import annotations

from postroom import clock, tracing
from postroom.ledger import Finish
from postroom_worker.outcome import Outcome
from postroom_worker.parcel import Parcel
from postroom_worker.settlement import Attempt

_NS = 1_000_000_000


def tell(parcel: Parcel, attempt: Attempt, finish: Finish, met: Outcome, reply: str) -> None:
    """Trace an attempt, and its transactions with the relay in it, if the letter was accepted in a trace.

    Args:
        parcel: the letter in hand.
        attempt: what was met.
        finish: what it came to.
        met: the worst that any recipient met.
        reply: what the relay said then, without addresses.
    """
    claim = parcel.claim
    accepted = tracing.kept_context(claim.trace)
    if accepted is None:
        return
    trace = tracing.api()
    tracer, now_ns, now_s = trace.get_tracer("postroom"), 1_000_000 * clock.wall_ms(), clock.steady_s()
    is_retry = bool(claim.attempts or claim.pauses or claim.uncertain)
    span = tracer.start_span(
        "postroom attempt",
        trace.set_span_in_context(trace.INVALID_SPAN if is_retry else trace.NonRecordingSpan(accepted)),
        kind=trace.SpanKind.CONSUMER,
        links=[trace.Link(accepted)] if is_retry else None,
        start_time=now_ns - int(_NS * (now_s - parcel.began_s)),
        attributes={
            "postroom.letter": claim.letter_id,
            "postroom.attempt": finish.attempts,
            "postroom.state": str(finish.state),
            "postroom.queue": claim.queue,
            "postroom.worker": attempt.worker,
        },
    )
    transactions = tracer.start_span(
        "postroom transaction",
        trace.set_span_in_context(span),
        kind=trace.SpanKind.CLIENT,
        start_time=now_ns - int(_NS * (now_s - (parcel.submitted_s or parcel.began_s))),
        attributes={"postroom.relay": attempt.relay, "postroom.outcome": str(met), "postroom.reply": reply},
    )
    for each in (transactions, span):
        if met is not Outcome.ACCEPTED:
            each.set_status(trace.StatusCode.ERROR, reply)
        each.end(now_ns)

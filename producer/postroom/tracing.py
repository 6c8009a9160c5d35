"""Traces (OpenTelemetry), from the call that accepts a letter to the relay's reply, where the process has set them up.

Nothing is imported for it: who traces has imported OpenTelemetry, and given it a provider of tracers, long before.
For all others it costs a look.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext

_TRACE = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01", re.ASCII)


def api() -> Any:
    """Return OpenTelemetry's module ``trace``, or None where nobody traces: it is not there, or has no provider."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return trace


@contextmanager
def accepting(letter_ids: Sequence[str]) -> Iterator[str]:
    """Trace the acceptance of letters.

    Args:
        letter_ids: which; of one the span carries the id, of several how many they are.

    Yields:
        the span as `traceparent` (W3C Trace Context), to be kept with the letters; empty where nothing is recorded.
    """
    trace = api()
    if trace is None:
        yield ""
        return
    alone = {"postroom.letter": letter_ids[0]} if len(letter_ids) == 1 else {}
    with trace.get_tracer("postroom").start_as_current_span(
        "postroom accept",
        kind=trace.SpanKind.PRODUCER,
        attributes={"postroom.letters": len(letter_ids), **alone},
        record_exception=False,  # what is wrong with a letter may name an address
        set_status_on_exception=False,
    ) as span:
        try:
            yield _kept(span)
        except BaseException as error:
            span.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


def _kept(span: Span) -> str:
    context = span.get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def kept_context(kept: str) -> SpanContext | None:
    """Return the span that a letter was accepted in; None when there is none, or nobody traces here."""
    trace, found = api(), _TRACE.fullmatch(kept)
    if trace is None or found is None:
        return None
    context: SpanContext = trace.SpanContext(
        int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED)
    )
    return context

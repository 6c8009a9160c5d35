"""Names of header fields, by what their values are (RFC 5322 §3.6, RFC 2045, RFC 2369, RFC 4021)."""

ADDRESS = frozenset(
    {
        "from",
        "sender",
        "reply-to",
        "to",
        "cc",
        "bcc",
        "resent-from",
        "resent-sender",
        "resent-reply-to",
        "resent-to",
        "resent-cc",
        "resent-bcc",
        "disposition-notification-to",
        "return-receipt-to",
        "errors-to",
        "mail-followup-to",
        "mail-reply-to",
    }
)
"""Fields that hold addresses, in lower case."""

STRUCTURED = frozenset(
    {
        "date",
        "message-id",
        "in-reply-to",
        "references",
        "resent-date",
        "resent-message-id",
        "return-path",
        "received",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "content-id",
        "content-disposition",
        "content-language",
        "content-location",
        "content-md5",
        "list-id",
        "list-help",
        "list-subscribe",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "list-post",
        "list-owner",
        "list-archive",
        "auto-submitted",
        "precedence",
        "priority",
        "importance",
        "sensitivity",
        "x-priority",
        "x-msmail-priority",
        "expires",
        "dkim-signature",
        "authentication-results",
        "arc-seal",
        "arc-message-signature",
        "arc-authentication-results",
        "autocrypt",
        "feedback-id",
        "require-recipient-valid-since",
        "tls-required",
    }
)
"""Fields that programs read, in lower case: never encoded words, never a word torn (RFC 2047 §5)."""

TEXT = frozenset({"subject", "comments", "content-description", "organization", "thread-topic"})
"""Fields that people read, in lower case."""

SINGLE = frozenset(
    {
        "date",
        "from",
        "sender",
        "reply-to",
        "to",
        "cc",
        "bcc",
        "message-id",
        "in-reply-to",
        "references",
        "subject",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "content-id",
        "content-description",
        "content-disposition",
        "list-id",
        "list-help",
        "list-subscribe",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "list-post",
        "list-owner",
        "list-archive",
    }
)
"""Fields that a header has once at most, in lower case (RFC 5322 §3.6, RFC 2045 §3, RFC 2369 §4)."""

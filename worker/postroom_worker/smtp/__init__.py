"""SMTP: sessions and transactions (RFC 5321). Knows no ledger and no letter: an envelope, octets, and answers."""

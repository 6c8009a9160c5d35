"""What callers are told when Redis is away."""

from __future__ import annotations

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from postroom import LedgerUnavailable
from postroom.ledger.availability import available


def test_who_finds_no_redis_is_told_the_setting_that_says_where_it_is() -> None:
    with pytest.raises(LedgerUnavailable, match=r"127\.0\.0\.1:1\b.*start it, or see POSTROOM_REDIS_URL"), available():
        Redis(port=1, host="127.0.0.1", retry=Retry(NoBackoff(), 0)).ping()

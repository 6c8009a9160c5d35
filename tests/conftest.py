"""What all tests share: how hypothesis looks for examples, and an environment without settings."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Other examples each time: so few are enough for one run. For many: pytest --hypothesis-profile=thorough.
settings.register_profile("exploring", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=1000)
# What a change is judged by must not depend on luck: the same examples each time.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable" if os.environ.get("CI") else "exploring")


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_developer() -> Iterator[None]:
    """Whatever POSTROOM_ variables the shell holds, tests do not see them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("POSTROOM_")]:
            patch.delenv(name)
        yield

"""What a letter asks of the ledger's Redis, command by command: ``python benchmarks/commands.py [--letters N]``.

Counted by Redis itself (INFO commandstats), from the first call until all letters are sent; what idle workers ask is in
it, the look that waits for the end too: so with more letters the numbers come down a little.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import usage
from machine import environment
from post import Post, post

_LETTERS = 3_000
_LEAST = 0.005
"""Commands a letter; below, a command is not shown."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a letter cost."""

    commands: dict[str, float]
    octets_in: float
    octets_out: float
    octets_written: float
    """To the append-only file."""
    redis_us: float
    worker_us: float
    """CPU of the worker's processes."""


def main() -> None:
    """Measure both ways to send, and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--letters", type=int, default=_LETTERS)
    number = options.parse_args().letters
    with post() as here, here.worker() as worker:
        alone = _asked(here, worker, number // 3, here.deliver_alone)
        bulk = _asked(here, worker, number, here.deliver)
    print(*(f"{name}: {value}" for name, value in environment("redis", "celery").items()), sep="\n", end="\n\n")
    _print(alone, bulk)


def _asked(here: Post, worker: int, number: int, send: Callable[[int], object]) -> Asked:
    redis = here.ledger_server.process.pid
    here.ledger.redis.config_resetstat()
    written, redis_s, worker_s = _written(here), usage.cpu_s(redis), usage.cpu_s(worker)
    send(number)
    stats, found = here.info("stats"), here.info("commandstats")
    us = 1e6 / number
    return Asked(
        {name.removeprefix("cmdstat_"): float(each["calls"]) / number for name, each in found.items()},
        stats["total_net_input_bytes"] / number,
        stats["total_net_output_bytes"] / number,
        (_written(here) - written) / number,
        (usage.cpu_s(redis) - redis_s) * us,
        (usage.cpu_s(worker) - worker_s) * us,
    )


def _written(here: Post) -> int:
    return int(here.info("persistence")["aof_current_size"])


def _print(alone: Asked, bulk: Asked) -> None:
    names = sorted(set(alone.commands) | set(bulk.commands), key=lambda name: -bulk.commands.get(name, 0))
    print("| a letter | sent alone | in bulk |\n| --- | ---: | ---: |")
    for name in names:
        both = (alone.commands.get(name, 0), bulk.commands.get(name, 0))
        if max(both) >= _LEAST:
            print(f"| `{name}` | {both[0]:.2f} | {both[1]:.2f} |")
    print(f"| commands | {sum(alone.commands.values()):.1f} | {sum(bulk.commands.values()):.1f} |")
    for name, attribute in (
        ("octets to Redis", "octets_in"),
        ("octets from Redis", "octets_out"),
        ("octets to its append-only file", "octets_written"),
        ("CPU of Redis, µs", "redis_us"),
        ("CPU of the worker, µs", "worker_us"),
    ):
        print(f"| {name} | {getattr(alone, attribute):,.0f} | {getattr(bulk, attribute):,.0f} |")


if __name__ == "__main__":
    main()

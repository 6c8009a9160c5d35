"""Everything a newcomer needs on one machine: a Redis-protocol server, a relay that captures, a worker, a demo."""

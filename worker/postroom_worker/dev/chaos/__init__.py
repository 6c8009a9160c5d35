"""The chaos run: many letters, a seeded script of faults, and at the end three accounts that have to agree."""

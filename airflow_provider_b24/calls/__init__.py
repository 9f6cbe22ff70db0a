"""The life of a call, from its first byte to its answer: one table, what fills it, and what works on it."""

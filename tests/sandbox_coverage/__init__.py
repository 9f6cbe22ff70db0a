"""How much of the documented methods the sandbox portal has: `python -m tests.sandbox_coverage` writes the page."""

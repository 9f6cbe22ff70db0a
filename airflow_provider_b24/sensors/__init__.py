"""Tasks that wait: for external results, for what a REST method says, for processes and people."""

"""Migrations of the provider's tables, one file for each change under ``versions/``."""

"""Data out of Bitrix24 to where it is wanted."""

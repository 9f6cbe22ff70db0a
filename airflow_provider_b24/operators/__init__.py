"""Tasks that call Bitrix24."""

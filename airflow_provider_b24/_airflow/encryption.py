"""Encryption at rest with Airflow's Fernet key, as Airflow encrypts its connections. The same in 3.0 to 3.4."""

from __future__ import annotations


class WrongKeyError(ValueError):
    """What was encrypted cannot be read with the Fernet key of this Airflow."""


def encrypt(text: str) -> str:
    """Encrypt a text; as it is where Airflow has no Fernet key."""
    from airflow.models.crypto import get_fernet

    encrypted: str = get_fernet().encrypt(text.encode()).decode()
    return encrypted


def decrypt(text: str) -> str:
    """Read what :func:`encrypt` wrote.

    :raises WrongKeyError: when the Fernet key is another one now.
    """
    from airflow.models.crypto import get_fernet
    from cryptography.fernet import InvalidToken

    try:
        decrypted: str = get_fernet().decrypt(text.encode()).decode()
    except (InvalidToken, UnicodeDecodeError):
        raise WrongKeyError(
            "it cannot be decrypted: Airflow's Fernet key was changed. Put the old key behind the new one in "
            "[core] fernet_key, with a comma between them"
        ) from None
    return decrypted

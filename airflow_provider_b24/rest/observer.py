"""What a client tells whoever counts: one hook for metrics, which by default does nothing."""

from __future__ import annotations


class Observer:
    """Override what you want to know. The methods are called in the thread or event loop of the call.

    They must be quick and must not raise.
    """

    def on_request(
        self,
        method: str,
        portal: str,
        duration: float,
        attempt: int,
        status: int | None,
        operating: float | None,
    ) -> None:
        """Take note of an HTTP request.

        :param method: the REST method, ``batch`` for a batch.
        :param portal: host of the portal.
        :param duration: seconds from sending to the end of the answer.
        :param attempt: 1 for the first time this call was sent.
        :param status: HTTP status, ``None`` when no answer came.
        :param operating: the method's operating time in seconds, if the portal reported it.
        """

    def on_retry(self, cause: str) -> None:
        """Take note that a call will be sent again.

        :param cause: ``rate_limit``, ``operating_time``, ``transport``, ``server``, ``locked``,
            ``expired_token``, ``credentials`` (they were replaced) or ``moved``.
        """

    def on_wait(self, seconds: float, cause: str) -> None:
        """Take note that a call waits.

        :param cause: ``rate_limit``, ``operating_time``, or ``retry`` for the delay between attempts.
        """

    def on_refresh(self) -> None:
        """Take note that a new pair of tokens was fetched from the authorization server."""

    def on_batch(self, size: int) -> None:
        """Take note that a batch is sent.

        :param size: number of calls in it.
        """

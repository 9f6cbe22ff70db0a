"""A list of Bitrix24, written to object storage."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import IO, TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_b24.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_b24.operators._base import Bitrix24BaseOperator
from airflow_provider_b24.operators._failing import fail_at_once_unless_retryable
from airflow_provider_b24.operators._values import read_mapping
from airflow_provider_b24.transfers._formats import FORMATS

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context, ObjectStoragePath

_SECONDS_BETWEEN_LINES = 10.0


class Bitrix24ToObjectStorageOperator(Bitrix24BaseOperator):
    """Read a list and write it to a file in object storage, or on a disk, in constant memory.

    The file has its name only when it is whole: until then it is called ``.NAME.….part``, in the same folder. A file
    that is there already is replaced, so a retry begins anew and leaves one file.

    :param method: a list method, such as ``crm.deal.list``. (templated)
    :param path: where to write: ``s3://bucket/deals.jsonl``, ``file:///data/deals.jsonl``, anything that Airflow's
        ``ObjectStoragePath`` takes, or such a path. (templated)
    :param path_conn_id: the Airflow connection of the storage. (templated)
    :param parameters: the method's parameters, such as ``filter`` and ``select``, or a template that gives them.
        (templated)
    :param file_format: ``jsonl``, a JSON value in each line; or ``parquet``, which needs pyarrow
        (``airflow-provider-b24[parquet]``) and keeps the records in a temporary file of the worker until the last.
    :param id_field: the field that the list is ordered by.
    :param limit: stop after so many records.
    :param bitrix24_conn_id: the Airflow connection of the portal. (templated)
    :return: ``{"path": ..., "rows": ...}``: where the file is, and how many records are in it.
    :raises AirflowFailException: when an error cannot be overcome by repeating.
    :raises Bitrix24Error: when a retry may help.

    Source: https://apidocs.bitrix24.com/settings/performance/huge-data.html
    """

    template_fields: Sequence[str] = ("method", "parameters", "path", "path_conn_id", "bitrix24_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json"}

    def __init__(
        self,
        *,
        method: str,
        path: str | ObjectStoragePath,
        path_conn_id: str | None = None,
        parameters: Mapping[str, Any] | str | None = None,
        file_format: str = "jsonl",
        id_field: str = "ID",
        limit: int | None = None,
        bitrix24_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        if file_format not in FORMATS:
            raise ValueError(f"{self.task_id}: file_format is {' or '.join(FORMATS)}, not {file_format!r}")
        self.method = method
        self.path = path
        self.path_conn_id = path_conn_id
        self.parameters = parameters
        self.file_format = file_format
        self.id_field = id_field
        self.limit = limit
        self._rows: int | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Read and write."""
        target = self._target()
        parameters = self._parameters()
        with fail_at_once_unless_retryable(), self.hook as hook, _whole_or_nothing(target) as file:
            pages = hook.pages(self.method, parameters, id_field=self.id_field, limit=self.limit)
            rows = self._write(pages, file)
        self._rows = rows
        self.log.info("%s holds %d records of %s.", target, rows, self.method)
        return {"path": self.path if isinstance(self.path, str) else str(target), "rows": rows}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Tell OpenLineage what was read, and where it is now.

        What was read is called by its method, in the namespace ``bitrix24://PORTAL``; with ``entityTypeId`` behind it
        where the method needs that to know what is meant. Of a task that has failed nothing was written.
        """
        from airflow.providers.common.compat.openlineage.facet import (
            Dataset,
            OutputDataset,
            OutputStatisticsOutputDatasetFacet,
        )
        from airflow.providers.openlineage.extractors import OperatorLineage

        from airflow_provider_b24.rest.credentials import portal_host

        target = self._target()
        kinds = [str(value) for name, value in self._parameters().items() if name.lower() == "entitytypeid"]
        source = Dataset(
            namespace=f"bitrix24://{portal_host(self.hook.connection.portal_url)}",
            name="/".join([self.method, *kinds]),
        )
        output = OutputDataset(
            namespace=target.namespace,
            name=target.key if target.bucket else target.path,
            outputFacets={"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=self._rows)},
        )
        return OperatorLineage(inputs=[source], outputs=[] if self._rows is None else [output])

    def _target(self) -> ObjectStoragePath:
        from airflow.sdk import ObjectStoragePath

        if isinstance(self.path, str):
            return ObjectStoragePath(self.path, conn_id=self.path_conn_id)
        return self.path

    def _parameters(self) -> dict[str, Any]:
        try:
            return read_mapping(self.parameters, "parameters")
        except ValueError as error:
            raise AirflowFailException(f"Nothing was read: {error}") from None

    def _write(self, pages: Iterable[Sequence[Any]], file: IO[bytes]) -> int:
        try:
            writer = FORMATS[self.file_format](file)
        except ImportError as error:
            raise AirflowFailException(
                f"Nothing was read: {self.file_format} needs pyarrow, which the worker does not have ({error}). "
                "Install airflow-provider-b24[parquet]."
            ) from error
        rows, began = 0, time.monotonic()
        said = began
        for page in pages:
            try:
                writer.write(page)
            except ValueError as error:
                raise AirflowFailException(f"{self.method}: {error}") from error
            rows += len(page)
            now = time.monotonic()
            if now - said >= _SECONDS_BETWEEN_LINES:
                said = now
                self.log.info("%d records of %s in %.0f s.", rows, self.method, now - began)
        writer.finish()
        return rows


@contextmanager
def _whole_or_nothing(target: ObjectStoragePath) -> Iterator[IO[bytes]]:
    """Open a file that gets its name when everything is written, and is removed when something fails."""
    storage, path = target.fs, target.path
    folder, slash, name = path.rpartition("/")
    # The beginning of the name: with the whole of it this one could be longer than a file system allows.
    part = f"{folder}{slash}.{name[:40]}.{token_hex(4)}.part"
    is_local = "file" in storage.protocol
    if is_local and folder:
        storage.makedirs(folder, exist_ok=True)
    try:
        with storage.open(part, "wb") as file:
            yield file
        if is_local:
            os.replace(part, path)
        else:
            storage.cp_file(part, path)
    finally:
        # Nobody takes it for the file: it may stay where a storage fails.
        with suppress(Exception):
            storage.rm_file(part)

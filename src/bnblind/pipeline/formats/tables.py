"""Tables as Parquet files."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bnblind.errors import BadInput


def table_bytes(table: pd.DataFrame | list[dict[str, Any]]) -> bytes:
    """Parquet, without pandas' own metadata (it names versions), of a table or its rows."""
    buffer = io.BytesIO()
    plain = pa.Table.from_pandas(pd.DataFrame(table), preserve_index=False)
    plain = plain.replace_schema_metadata(None)
    pq.write_table(plain, buffer, compression="zstd", version="2.6")
    return buffer.getvalue()


def read_table(path: Path) -> pd.DataFrame:
    """A Parquet table.

    Raises:
        BadInput: the file is truncated or not a Parquet file.
    """
    if not path.is_file():
        raise BadInput(f"there is no table {path}")
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path} cannot be read: {error}; delete it to have it made again"
        ) from error

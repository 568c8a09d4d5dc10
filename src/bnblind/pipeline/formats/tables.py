"""Tables as Parquet files."""

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bnblind.errors import BadInput


def table_bytes(table: pd.DataFrame) -> bytes:
    """Parquet, without pandas' own metadata (it names versions)."""
    buffer = io.BytesIO()
    plain = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
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

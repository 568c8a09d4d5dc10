"""Tables as sealed Parquet files."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bnblind.errors import BadInput
from bnblind.pipeline.formats.seal import BLANK, KEY, check_seal, sealed


def table_bytes(table: pd.DataFrame | list[dict[str, Any]]) -> bytes:
    """Parquet, sealed, without pandas' own metadata (it names versions), of a table or its rows."""
    buffer = io.BytesIO()
    plain = pa.Table.from_pandas(pd.DataFrame(table), preserve_index=False)
    plain = plain.replace_schema_metadata(None)
    with pq.ParquetWriter(buffer, plain.schema, compression="zstd", version="2.6") as writer:
        writer.write_table(plain)
        writer.add_key_value_metadata({KEY: BLANK})
    return sealed(buffer.getvalue())


def read_table(path: str | Path) -> pd.DataFrame:
    """A table, as :func:`table_bytes` wrote it; integers, some of which are missing, stay integers.
    Raises BadInput if there is none, or it was altered.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"there is no table {path}")
    check_seal(path)
    try:
        stored = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise BadInput(f"{path} is not a table: {error}; delete it") from error
    whole = [field.name for field in stored.schema if pa.types.is_integer(field.type)]
    partly = [name for name in whole if stored[name].null_count]
    return stored.to_pandas().astype(dict.fromkeys(partly, "Int64"))

"""A Parquet file that has columns of a shot table, and is read within limits."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from shotwatch_tables.parquet import require_small_description
from shotwatch_tables.ranges import ColumnRange

MOST_IN_LIST = 256
"""Most elements in the list of a row, on average."""


class ParquetPiece:
    """A Parquet file that has some or all columns of a table."""

    def __init__(self, file: pa.NativeFile, described: pq.FileMetaData | None = None) -> None:
        """Open a file; read its description, unless it is given.

        Raises:
            ValueError: it is not such a file, or its description is too large.
        """
        if described is None:
            require_small_description(file)
            described = pq.read_metadata(file)
        leaves = [described.schema.column(n) for n in range(described.num_columns)]
        self._paths = [leaf.path for leaf in leaves]
        """Where the values of each column of the file belong: a list of texts is a column of texts there."""
        # A text that repeats is in memory once, whatever the file declares.
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        self._file = pq.ParquetFile(file, metadata=described, read_dictionary=texts, pre_buffer=True)
        self.rows: Sequence[int] = [described.row_group(n).num_rows for n in range(described.num_row_groups)]
        """Number of rows of each row group."""

    def range_of(self, group: int, column: str) -> ColumnRange | None:
        """Return the range of a column; None if the file does not state it."""
        if column not in self._paths:
            return None
        leaf = self._paths.index(column)
        is_flat = self._file.metadata.schema.column(leaf).name == column
        statistics = self._described(group, leaf).statistics if is_flat else None
        return None if statistics is None else ColumnRange.of(statistics)

    def bytes_of(self, group: int, columns: Sequence[str]) -> int:
        """Return how many bytes these columns take, as the file describes them.

        Raises:
            ValueError: values have a type that shots do not have, or a row has more than MOST_IN_LIST.
        """
        read = [self._described(group, leaf) for name in columns for leaf in self._leaves(name)]
        if any(each.physical_type == "FIXED_LEN_BYTE_ARRAY" for each in read):
            raise ValueError("its values have a type that shots do not have")
        if any(each.num_values > self.rows[group] * MOST_IN_LIST for each in read):
            raise ValueError(f"its lists have more than {MOST_IN_LIST} elements in each row")
        return sum(max(each.total_compressed_size, each.total_uncompressed_size) for each in read)

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Return those of these columns that the file has; texts are dictionaries."""
        return self._file.read_row_group(group, list(columns), use_threads=False)

    def _leaves(self, column: str) -> list[int]:
        """Return the columns of the file that a column consists of: names of columns may have points, too."""
        return [n for n, path in enumerate(self._paths) if path == column or path.startswith(f"{column}.")]

    def _described(self, group: int, leaf: int) -> pq.ColumnChunkMetaData:
        return self._file.metadata.row_group(group).column(leaf)

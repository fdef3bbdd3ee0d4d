"""Every table of the lake, in the order of its layers; run as a module it prints the data dictionary."""

from bronze import tables as bronze
from gold import tables as gold
from lakehouse.tables.data_dictionary import markdown
from silver import tables as silver

TABLES = (*bronze.TABLES, *silver.TABLES, *gold.TABLES)
MERGED = (silver.OUTCOMES,)  # by the queries; to all others they only append

if __name__ == "__main__":
    print(markdown(TABLES), end="")

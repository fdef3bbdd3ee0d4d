"""All tables of the lake, layer by layer; running this module prints the data dictionary."""

from bronze import tables as bronze
from gold import tables as gold
from lakehouse.tables.data_dictionary import markdown
from silver import tables as silver

TABLES = (*bronze.TABLES, *silver.TABLES, *gold.TABLES)
MERGED = (silver.OUTCOMES,)  # the queries merge into these; to all others they only append

if __name__ == "__main__":
    print(markdown(TABLES), end="")

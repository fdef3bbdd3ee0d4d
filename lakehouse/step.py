"""A step: a DataFrame-to-DataFrame function, chained with `.transform`."""

from collections.abc import Callable

from pyspark.sql import DataFrame

Step = Callable[[DataFrame], DataFrame]

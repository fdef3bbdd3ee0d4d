"""A step: what every layer is made of, and what `.transform` composes."""

from collections.abc import Callable

from pyspark.sql import DataFrame

Step = Callable[[DataFrame], DataFrame]

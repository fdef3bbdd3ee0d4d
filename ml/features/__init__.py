"""Features from intake text and fields: the Spark ML pipeline and its optional parts."""

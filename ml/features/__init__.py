"""From the text and fields of an intake to features: the Spark ML pipeline and its optional parts."""

"""The Spark session, and the only modules that use private APIs of Spark and Delta."""

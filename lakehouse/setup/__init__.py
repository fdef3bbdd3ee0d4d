"""Local setup: the virtual environment, Java, the jars and the shared class archives."""

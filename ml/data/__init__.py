"""The complaints to learn from and to judge by, and how they are split by time."""

"""The lake's Delta tables: declared once, written exactly once, erased from, and kept small in files."""

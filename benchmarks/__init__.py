"""What is measured, on the real path and in a lake of its own."""

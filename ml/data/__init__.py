"""Labeled complaints for training and evaluation, and how they are split by time."""

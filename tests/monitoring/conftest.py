"""Fixtures for the tests of monitoring."""

from tests.complaints.conftest import run

__all__ = ["run"]

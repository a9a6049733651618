"""Fixtures of all tests of onboarding."""

from support.projects import project

__all__ = ["project"]

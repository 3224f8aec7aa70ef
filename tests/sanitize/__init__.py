"""Runs the tests on builds with the compiler's sanitisers: see __main__.py."""

"""Lets ``pytest bench`` find the cases: files here are named bench_<family>.py."""

import pytest


def pytest_collect_file(file_path, parent):
    if file_path.name.startswith("bench_") and file_path.suffix == ".py":
        # A file named on the command line is collected by pytest already.
        if file_path not in {argument.path for argument in _arguments(parent.config)}:
            return pytest.Module.from_parent(parent, path=file_path)
    return None


def _arguments(config):
    from _pytest.main import resolve_collection_argument

    for text in config.args:
        yield resolve_collection_argument(config.invocation_params.dir, text, 0)

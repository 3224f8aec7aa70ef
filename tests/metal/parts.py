"""Runs one of several equal parts of a file's tests: pytest -p parts --part 2/4.

Rules: tests are dealt like cards, so that parts take about the same time; together they are all.
"""


def pytest_addoption(parser):
    parser.addoption("--part", default="1/1", help="the second of four: 2/4")


def pytest_collection_modifyitems(config, items):
    number, count = map(int, config.getoption("part").split("/"))
    left_out = [item for i, item in enumerate(items) if i % count != number - 1]
    items[:] = items[number - 1 :: count]
    config.hook.pytest_deselected(items=left_out)

"""Options of the tests on machines."""


def pytest_addoption(parser):
    parser.addoption("--keep", action="store_true",
                     help="leave the machines until Enter, with -s")

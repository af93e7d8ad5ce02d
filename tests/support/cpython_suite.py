"""Run classes of CPython's own test_socket on our sockets, over the loopback of the default driver.

A request is read from the standard input, {"classes": […], "excluded": [class.method, …]}; the answer has what failed.
"""

from __future__ import annotations

import json
import sys
import unittest


def without(suite: unittest.TestSuite, excluded: set[str]) -> unittest.TestSuite:
    """The tests that are not named `class.method` in `excluded`."""
    kept = [test for test in suite if ".".join(test.id().split(".")[-2:]) not in excluded]
    return unittest.TestSuite(kept)


def main() -> None:
    import test.support.socket_helper as helper
    import test.test_socket as cpython

    from ustack import current_driver, socket

    current_driver().start()  # here, for the tests count threads
    cpython.socket = helper.socket = socket
    request = json.load(sys.stdin)
    suite = unittest.TestSuite()
    for name in request["classes"]:
        tests = unittest.defaultTestLoader.loadTestsFromTestCase(getattr(cpython, name))
        suite.addTests(without(tests, set(request["excluded"])))
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite)
    failed = {".".join(test.id().split(".")[-2:]): trace for test, trace in result.failures + result.errors}
    json.dump({"run": result.testsRun, "failed": failed}, sys.stdout)


if __name__ == "__main__":
    main()

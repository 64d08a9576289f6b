"""Before a block in Python: the orders, and what the client believes
delivered goes to the file $DELIVERED as {order: nanoseconds of its time, or
null}."""

import atexit
import json
import os
import time

FIRST, COUNT = int(os.environ["FIRST"]), int(os.environ["COUNT"])
delivered = {}


def numbers():
    """Over some seconds."""
    for n in range(FIRST, FIRST + COUNT):
        yield n
        time.sleep(0.003)


def keep(message, ns=None):
    delivered[int(message.split()[1])] = ns


@atexit.register
def tell():
    if delivered:
        with open(os.environ["DELIVERED"], "w") as out:
            json.dump(delivered, out)

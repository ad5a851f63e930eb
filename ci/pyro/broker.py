"""Kombu's Pyro broker: python broker.py NAME_SERVER_PORT PORT [HMAC_KEY]

This is `python -m kombu.transport.pyro`, which would choose a port itself, sign nothing, and end without a name server.
"""

import runpy
import sys
import time

import Pyro4
from Pyro4.errors import NamingError

name_server, port = map(int, sys.argv[1:3])
key = sys.argv[3] if len(sys.argv) > 3 else None
locate = Pyro4.locateNS


class Daemon(Pyro4.Daemon):
    """A daemon on the port, with the key."""

    def __init__(self):
        super().__init__(port=port)
        self._pyroHmacKey = key


def locate_when_there():
    """Waits for the name server."""
    while True:
        try:
            return locate(host=Pyro4.config.NS_HOST, port=name_server, hmac_key=key)
        except NamingError:
            time.sleep(0.05)


Pyro4.Daemon = Daemon
Pyro4.locateNS = locate_when_there
runpy.run_module("kombu.transport.pyro", run_name="__main__")

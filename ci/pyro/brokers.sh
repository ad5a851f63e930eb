#!/bin/sh
# Starts two of Kombu's Pyro brokers in one container, each with a name server, the second with the HMAC key `pyropw`.
# Clients outside reach them at 127.0.0.1 and the same ports, which name servers tell.
set -eu
export PYRO_THREADPOOL_SIZE=400 PYRO_NS_HOST=127.0.0.1
python -m Pyro4.naming -n 0.0.0.0 -p "$PLAIN" -x &
python -m Pyro4.naming -n 0.0.0.0 -p "$HMAC" -k pyropw -x &
export PYRO_HOST=0.0.0.0 PYRO_NATHOST=127.0.0.1
python -u /etc/pyro/broker.py "$PLAIN" "$DAEMON" &
python -u /etc/pyro/broker.py "$HMAC" "$HMAC_DAEMON" pyropw &
wait

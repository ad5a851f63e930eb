#!/bin/sh
# Starts the nodes of a Redis cluster at the ports in NODES, all in one container; clients outside reach them at
# 127.0.0.1 and the same ports.
set -eu
addresses=
for port in $NODES; do
  mkdir -p "/data/$port"
  redis-server /etc/redis/common.conf --port "$port" --dir "/data/$port" --protected-mode no \
    --cluster-enabled yes --cluster-announce-ip 127.0.0.1 --cluster-node-timeout 2000 &
  addresses="$addresses 127.0.0.1:$port"
done
for port in $NODES; do
  until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.1; done
done
# shellcheck disable=SC2086 # several arguments
[ -n "$(find /data -name formed)" ] || redis-cli --cluster create $addresses --cluster-yes && touch /data/formed
wait

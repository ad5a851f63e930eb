#!/bin/sh
# Starts the Redis servers at the ports in SERVERS, the first of them the master, and the sentinels at those in
# SENTINELS, all in one container; clients outside reach them at 127.0.0.1 and the same ports.
set -eu
master=${SERVERS%% *}
for port in $SERVERS; do
  mkdir -p "/data/$port"
  follow=
  [ "$port" = "$master" ] || follow="--replicaof 127.0.0.1 $master --repl-diskless-sync-delay 0"
  # shellcheck disable=SC2086 # several arguments
  redis-server /etc/redis/common.conf --port "$port" --dir "/data/$port" --protected-mode no $follow &
done
for port in $SENTINELS; do
  mkdir -p "/data/$port"
  {
    echo "port $port"
    echo "dir /data/$port"
    echo "protected-mode no"
    echo "sentinel monitor mymaster 127.0.0.1 $master 2"
    echo "sentinel down-after-milliseconds mymaster 1000"
    echo "sentinel failover-timeout mymaster 5000"
  } >"/data/$port/sentinel.conf"
  redis-server "/data/$port/sentinel.conf" --sentinel &
done
wait

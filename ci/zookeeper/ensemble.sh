#!/bin/sh
# Starts three ZooKeeper servers at the ports in CLIENTS, all in one container, which agree among themselves at the
# ports from 28880 on; clients outside reach them at 127.0.0.1 and the same ports.
set -eu
number=0
for port in $CLIENTS; do
  number=$((number + 1))
  folder=/data/$number
  mkdir -p "$folder/data"
  echo "$number" >"$folder/data/myid"
  {
    cat /etc/zookeeper/common.cfg
    echo "dataDir=$folder/data"
    echo "clientPort=$port"
    for other in 1 2 3; do
      echo "server.$other=127.0.0.1:$((28880 + other)):$((28890 + other))"
    done
  } >"$folder/zoo.cfg"
  ZOO_LOG_DIR=$folder zkServer.sh start-foreground "$folder/zoo.cfg" &
done
wait

#!/bin/sh
# Starts three etcd members at the ports in CLIENTS, all in one container, which agree among themselves at the ports
# from 23801 on; clients outside reach them at 127.0.0.1 and the same ports.
set -eu
members=first=http://127.0.0.1:23801,second=http://127.0.0.1:23802,third=http://127.0.0.1:23803
set -- $CLIENTS
for name in first second third; do
  case $name in
    first) peer=23801 ;;
    second) peer=23802 ;;
    third) peer=23803 ;;
  esac
  etcd --name "$name" --data-dir "/data/$name" \
    --listen-client-urls "http://0.0.0.0:$1" --advertise-client-urls "http://127.0.0.1:$1" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "$members" &
  shift
done
wait

#!/bin/sh
# Starts PostgreSQL once nothing works in its folder any more: after a crash its workers take a
# moment to notice, and until then no other may serve the same data. The locks that are left then
# are nobody's, even if the process that they name has not been collected yet.
#
#     start.sh FOLDER PROGRAM ARGUMENT…
folder=$1
shift
while ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -q -- "-> $folder\$"; do
    sleep 0.05
done
rm -f "$folder/postmaster.pid" "$folder"/../.s.PGSQL.*.lock
exec "$@"

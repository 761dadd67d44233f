"""Programs that are run as processes of their own, to be killed, forked and stopped."""

EMITTER = """
import mmap, os, struct, sys
import otel_audit
with open(sys.argv[1], "r+b") as file:
    counter = mmap.mmap(file.fileno(), 8)
otel_audit.configure()
audit = otel_audit.get_audit_logger("test")
accepted = 0
most = int(sys.argv[2])
while accepted < most:
    target = otel_audit.Target(f"{sys.argv[3]}-{accepted}", "item")
    receipt = audit.emit("item.update", action="UPDATE", target=target)
    assert receipt.recorded
    accepted += 1
    struct.pack_into("q", counter, 0, accepted)
print("emitted", flush=True)
sys.stdin.readline()
"""
"""Emits as fast as it can and says in shared memory how many it was; then waits to be told to go."""

FORKING = """
import os, sys
import otel_audit
otel_audit.configure()
audit = otel_audit.get_audit_logger("test")
assert audit.emit("item.read", action="READ", target=otel_audit.Target("parent", "item")).wait_delivered(60)
child = os.fork()
if child == 0:
    delivered = audit.emit("item.read", action="READ", target=otel_audit.Target("child", "item")).wait_delivered(60)
    os._exit(0 if delivered else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert audit.emit("item.read", action="READ", target=otel_audit.Target("parent again", "item")).wait_delivered(60)
otel_audit.shutdown()
"""

HOARDING = """
import sys
import otel_audit
otel_audit.configure()
audit = otel_audit.get_audit_logger("test")

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

def emit(count):
    for number in range(count):
        audit.emit("item.read", action="READ", target=otel_audit.Target("x" * 400 + str(number), "item"))

emit(5000)
print("began", flush=True)
sys.stdin.readline()
before = resident()
emit(60000)
print(resident() - before, flush=True)
"""
"""Emits 50 MB while nothing can be delivered, and says by how many KiB it has grown."""

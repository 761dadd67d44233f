"""Events from wherever CPython lets Python code in: signals at 1 kHz, finalisers, hooks of all kinds."""

from __future__ import annotations

import os

import pytest

from tests.autoload.servers import Spool, Start
from tests.faults.emitting import run

SECONDS = 0.5 * int(os.environ.get("OTEL_AUDIT_TEST_ROUNDS", "1"))

BUSY = f"""
import gc, logging, weakref
accepted = []
def note(name):
    accepted.append(emit(name))
def busy():
    until = time.monotonic() + {SECONDS}
    while time.monotonic() < until:
        note("main.read")
def finish():
    lost = [receipt for receipt in accepted if not receipt.recorded]
    assert not lost, lost[:3]
    print(len(accepted), len({{receipt.record_id for receipt in accepted}}))
"""

STORMS = {
    "SIGALRM at 1 kHz": """
signal.signal(signal.SIGALRM, lambda *_: note("alarm.read"))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
busy()
signal.setitimer(signal.ITIMER_REAL, 0)
""",
    "SIGPROF at 1 kHz beside threads": """
signal.signal(signal.SIGPROF, lambda *_: note("profile.read"))
signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads: thread.start()
busy()
for thread in threads: thread.join()
signal.setitimer(signal.ITIMER_PROF, 0)
""",
    "finalisers of cycles": """
class Litter:
    def __init__(self): self.me = self
    def __del__(self): note("litter.read")
gc.set_threshold(20)
def litter(original=note):
    Litter()
    original("main.read")
for _ in range(300): litter()
gc.collect()
gc.set_threshold(700)
""",
    "callbacks of weak references": """
class Thing: pass
for _ in range(300):
    thing = Thing()
    reference = weakref.ref(thing, lambda _: note("weak.read"))
    del thing
    note("main.read")
""",
    "a handler of all logging": """
class Auditing(logging.Handler):
    def emit(self, record): note("log.read")
logging.basicConfig(level=logging.DEBUG, handlers=[Auditing()])
for _ in range(100): logging.getLogger("shop").info("hello"); note("main.read")
""",
    "an audit hook for files that are opened": """
def hook(name, arguments):
    if name == "open" and not is_inside:
        is_inside.append(1)
        try: note("file.read")
        finally: is_inside.clear()
is_inside = []
sys.addaudithook(hook)
for _ in range(50): open(os.devnull).close(); note("main.read")
is_inside.append(1)
""",
    "a profiler": """
def profile(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "work": note("call.read")
def work(): note("main.read")
sys.setprofile(profile)
for _ in range(100): work()
sys.setprofile(None)
""",
}


@pytest.mark.parametrize("storm", STORMS)
def test_events_from_everywhere_are_each_recorded_once(storm: str, launch: Start, state: Spool) -> None:
    process = run(launch, f"{BUSY}\n{STORMS[storm]}\nfinish()\n")
    assert process.wait() == 0, process.log
    count, distinct = map(int, process.log.split())
    assert count == distinct
    assert len(state.records()) >= count > 0
    assert state.ends() == ["shutdown"]
    state.assert_verified()


def test_a_storm_of_interrupts_that_the_program_survives_never_spoils_the_chain(
    launch: Start, state: Spool
) -> None:
    """An event whose `emit` was interrupted may be recorded or not; one that was answered is there."""
    process = run(
        launch,
        f"""{BUSY}
def interrupt(*_):
    raise KeyboardInterrupt
emit()
signal.signal(signal.SIGALRM, interrupt)
until = time.monotonic() + {SECONDS}
while time.monotonic() < until:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        while True:
            receipt = emit()
            accepted += (receipt,)
    except KeyboardInterrupt:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
print(*(receipt.record_id for receipt in accepted if receipt.recorded))
""",
    )
    assert process.wait() == 0, process.log
    accepted = process.log.splitlines()[-1].split()
    assert len(accepted) > 10
    assert run(launch, "emit()").wait() == 0
    assert set(accepted) <= {f"{record['stream']}-{record['seq']}" for record in state.records()}
    state.assert_verified()

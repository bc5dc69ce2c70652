"""The OpenAI Python client through `lethe proxy` with two nodes, one of which is killed in mid-run.

usage: two_nodes.py PROXY_URL MODEL PID_OF_A_NODE

Every second answer streams. A stream of which a part has come may break, and then says so; whatever has not begun is answered by the
other node.
"""

import json
import os
import signal
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import openai

proxy, model, pid = sys.argv[1:4]
client = openai.OpenAI(base_url=f"{proxy}/v1", api_key="unused", max_retries=0, timeout=120)
AT_ONCE, QUESTIONS, BEFORE = 16, 64, 20
answered = threading.Semaphore(0)


def whole(**question):
    """Asks for an answer in one piece; an error ends the run."""
    return "whole" if client.chat.completions.create(**question).usage.completion_tokens > 0 else "nothing"


def streamed(**question):
    """Asks for a stream; an error before it begins ends the run, an end without a reason is none."""
    stream, reason, begun = client.chat.completions.create(**question, stream=True), None, False
    try:
        for chunk in stream:
            begun = True
            reason = chunk.choices[0].finish_reason or reason if chunk.choices else reason
    except openai.APIError:
        return "broken" if begun else "unstarted"
    return "streamed" if reason else "cut off"


def ask(number):
    """Asks one question and says what came of it."""
    how = streamed if number % 2 else whole
    outcome = how(model=model, messages=[{"role": "user", "content": f"Count from {number}."}], max_tokens=24, temperature=0)
    answered.release()
    return outcome


def kill():
    """Kills the node once some questions are answered."""
    for _ in range(BEFORE):
        answered.acquire()
    os.kill(int(pid), signal.SIGKILL)


killer = threading.Thread(target=kill, daemon=True)
killer.start()
with ThreadPoolExecutor(AT_ONCE) as pool:
    outcomes = list(pool.map(ask, range(QUESTIONS)))
killer.join()
status = json.load(urllib.request.urlopen(f"{proxy}/lethe/status"))
failed = sum(node["failed"] + node["broken"] for node in status["nodes"])
shares = [node["forwarded"] for node in status["nodes"]]
count = {name: outcomes.count(name) for name in sorted(set(outcomes))}
half = QUESTIONS // 2
good = count.get("whole") == half and count.get("streamed", 0) + count.get("broken", 0) == half
if not good or count.get("broken", 0) > AT_ONCE // 2 or min(shares) == 0 or failed == 0:
    sys.exit(f"failed: {count}, shares {shares}, failed attempts {failed}")
print(f"two nodes, one killed: {count} of {QUESTIONS}, {shares[0]} and {shares[1]}, {failed} attempts failed", file=sys.stderr)

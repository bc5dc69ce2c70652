"""The OpenAI Python client through `lethe proxy` with two nodes, one of which is killed in mid-run.

usage: two_nodes.py PROXY_URL MODEL PID_OF_A_NODE
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


def ask(number):
    """Asks one question; an error ends the run."""
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": f"Count from {number}."}], max_tokens=24, temperature=0)
    answered.release()
    return answer.usage.completion_tokens > 0


def kill():
    """Kills the node once some questions are answered."""
    for _ in range(BEFORE):
        answered.acquire()
    os.kill(int(pid), signal.SIGKILL)


killer = threading.Thread(target=kill)
killer.start()
with ThreadPoolExecutor(AT_ONCE) as pool:
    good = list(pool.map(ask, range(QUESTIONS)))
killer.join()
status = json.load(urllib.request.urlopen(f"{proxy}/lethe/status"))
failed = sum(node["failed"] + node["broken"] for node in status["nodes"])
shares = [node["forwarded"] for node in status["nodes"]]
if not all(good) or min(shares) == 0 or failed == 0:
    sys.exit(f"failed: answers {sum(good)} of {QUESTIONS}, shares {shares}, failed attempts {failed}")
print(f"two nodes, one killed: {QUESTIONS} of {QUESTIONS} answered, {shares[0]} and {shares[1]}, {failed} attempts failed", file=sys.stderr)

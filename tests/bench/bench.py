"""Benchmarks of host mode and of the emulated machine; called by scripts/bench, prints Markdown."""

import argparse
import http.client
import json
import math
import os
import pathlib
import platform
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

CONTEXT, PARALLEL, ROUNDS = 2048, 4, 7
WIRE_ROUNDS, FIRST_ROUNDS = 41, 151
# What the proxy with OHTTP and receipts is to reach beside plain TLS: share of its tokens a second, seconds more to a first token.
LEAST_RATIO, MOST_EXTRA = 0.98, 0.003


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=300)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def document(model, work, threads, repack=True, parallel=PARALLEL):
    """Writes a deployment document open to anyone, as our own tool makes it."""
    path = work / "lethe.toml"
    path.unlink(missing_ok=True)
    subprocess.run(["lethe-image", "config", "new", "--model", model, "--name", "bench", "--anyone", "--out", path],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    text = path.read_text()
    for key, value in {"context_tokens": CONTEXT, "parallel_sequences": parallel, "threads": threads, "repack": str(repack).lower()}.items():
        text, found = re.subn(rf"(?m)^#?\s*{key}\s*=.*$", f"{key} = {value}", text, count=1)
        if not found:
            sys.exit(f"the document has no line for {key}")
    path.write_text(text)
    return path


def memory(pid):
    """Resident set in bytes, exact (the counters in /proc/PID/status are kept for each processor and lag behind)."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(size) * 1024 for name, size in re.findall(r"(?m)^(Rss|Anonymous):\s+(\d+) kB", text)}


class Server:
    """A host-mode server on a UNIX socket."""

    def __init__(self, model, work, threads, repack=True):
        self.socket = str(work / "lethe.sock")
        config = document(model, work, threads, repack)
        self.log = open(work / "server.log", "w")
        self.process = subprocess.Popen(["lethe-appliance", "serve", "--config", config, "--model", model,
                                         "--listen", f"unix:{self.socket}", "--insecure-host"], stdout=self.log, stderr=self.log)
        for _ in range(600):
            try:
                connection = UnixConnection(self.socket)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                time.sleep(0.05)
        else:
            sys.exit("the server does not start; see its log")

    def decode(self, tokens):
        """Tokens a second from the first to the last token of one stream."""
        connection = UnixConnection(self.socket)
        connection.request("POST", "/v1/completions", json.dumps({
            "model": "bench", "prompt": "Once upon a time", "max_tokens": tokens, "temperature": 0,
            "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        first = last = None
        count = 0
        for line in answer:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if event.get("choices") and event["choices"][0].get("text"):
                    last = time.perf_counter()
                    first = first or last
                if event.get("usage"):
                    count = event["usage"]["completion_tokens"]
        if answer.status != 200 or count != tokens:
            sys.exit(f"status {answer.status}, {count} of {tokens} tokens")
        return (count - 1) / (last - first)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def llama_bench(peer, model, threads):
    """tg128 of llama-bench, one repetition, tokens a second."""
    out = subprocess.run([f"{peer}/llama-bench", "-m", model, "-t", str(threads), "-p", "0", "-n", "128", "-r", "1", "-o", "json"],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out)[0]["avg_ts"]


def llama_server_memory(peer, model, threads):
    """Resident memory of an idle llama-server that has answered once, on the file's own layout of weights.

    Where a hypervisor announces AMX and does not run it, llama-server dies at its first prompt on the other layout.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([f"{peer}/llama-server", "-m", model, "-t", str(threads), "-c", str(CONTEXT * PARALLEL),
                                "-np", str(PARALLEL), "--port", str(port), "--host", "127.0.0.1", "--no-repack"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("POST", "/completion", json.dumps({"prompt": "Once upon a time", "n_predict": 16}))
                if connection.getresponse().status == 200:
                    return memory(process.pid)
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)
        sys.exit("llama-server ended")
    finally:
        process.terminate()
        process.wait(30)


def kv_bytes():
    """SmolLM2-135M: 30 layers, 3 KV heads of 64, keys and values, 16 bit."""
    return 30 * 3 * 64 * 2 * 2 * CONTEXT * PARALLEL


def host(arguments, work):
    threads = os.cpu_count()
    ours, theirs, ratios = [], [], []
    # memory is compared on the file's own layout, which llama-server can be told to use everywhere
    server = Server(arguments.model, work, threads, repack=False)
    try:
        server.decode(16)
        plain = memory(server.process.pid)
    finally:
        server.stop()
    peers = llama_server_memory(arguments.peer, arguments.model, threads)
    server = Server(arguments.model, work, threads)
    try:
        server.decode(16)
        for _ in range(ROUNDS):
            ours.append(server.decode(128))
            theirs.append(llama_bench(arguments.peer, arguments.model, threads))
            ratios.append(ours[-1] / theirs[-1])
        repacked = memory(server.process.pid)
    finally:
        server.stop()
    weights = os.path.getsize(arguments.model)
    print("## Host mode, one stream, decode\n")
    print(f"`scripts/bench host`; {ROUNDS} alternating rounds, {threads} threads, SmolLM2-135M Q4_1, 128 tokens\n")
    print("| | minimum | median | maximum |\n|---|---|---|---|")
    for name, values in (("lethe-appliance, tokens/s through its socket", ours), ("llama-bench tg128, tokens/s", theirs), ("ratio", ratios)):
        print(f"| {name} | {min(values):.2f} | {statistics.median(values):.2f} | {max(values):.2f} |")
    print("\n## Host mode, resident memory\n")
    print(f"Both after answering once, context {CONTEXT} × {PARALLEL}; beyond = resident − weights ({weights / 2**20:.1f} MiB) − KV cache ({kv_bytes() / 2**20:.1f} MiB)\n")
    print("| | resident MiB | of it anonymous | beyond MiB |\n|---|---|---|---|")
    for name, parts in (("lethe-appliance, repack = false", plain), ("llama-server --no-repack", peers), ("lethe-appliance, repack = true", repacked)):
        beyond = parts["Rss"] - weights - kv_bytes()
        cells = [parts["Rss"] / 2**20, parts["Anonymous"] / 2**20, beyond / 2**20]
        print(f"| {name} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    print()


def boot(arguments, work, model, name):
    """Boots once; seconds from QEMU's start to each stage, as the console tells, and to the first answered token."""
    config = document(model, work, os.cpu_count())
    machine = f"bench-{os.getpid()}-{name}"
    start = time.perf_counter()
    subprocess.run(["lethe-image", "boot", "--image", arguments.image, "--model", model, "--config", config, "--name", machine,
                    "--detach", "--no-check"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ready = time.perf_counter() - start
        listed = subprocess.run(["lethe-image", "list", "--json"], check=True, capture_output=True).stdout
        url = next(entry["url"] for entry in json.loads(listed) if entry["name"] == machine)
        answer = subprocess.run(["lethe", "chat", url, "--allow-no-tee", "--ask", "What is the capital of France? Answer in one sentence.",
                                 "--max-tokens", "1", "--temperature", "0"], check=True, capture_output=True, text=True)
        first = time.perf_counter() - start
        console = subprocess.run(["lethe-image", "logs", machine], check=True, capture_output=True, text=True).stdout
    finally:
        subprocess.run(["lethe-image", "delete", machine, "--force"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stages = re.findall(r"(?m)^lethe: (stage \w+|ready).*?\bms=(\d+)", console)
    return ready, first, stages, answer.stdout.strip()


class Listener:
    """A host-mode server on a TLS port, and proxies in front of it."""

    def __init__(self, model, work, threads, parallel):
        self.port, self.processes = free_port(), []
        config = document(model, work, threads, parallel=parallel)
        self.log = open(work / "wires.log", "w")
        self.run(["lethe-appliance", "serve", "--config", config, "--model", model, "--listen", f"127.0.0.1:{self.port}", "--insecure-host"])
        self.certificates = ssl._create_unverified_context()
        wait_for(self.direct, "the server")

    def run(self, command):
        self.processes.append(subprocess.Popen(command, stdout=self.log, stderr=self.log))

    def direct(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=300, context=self.certificates)

    def proxy(self, *options):
        """Starts a proxy and gives what connects to it."""
        port = free_port()
        self.run(["lethe", "proxy", f"https://127.0.0.1:{self.port}", "--allow-no-tee", "--listen", f"127.0.0.1:{port}", *options])
        connect = lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        wait_for(connect, "the proxy")
        return connect

    def ways(self):
        """What is compared: no proxy, and two in front of the server."""
        return {
            "plain TLS to the server": self.direct,
            "lethe proxy, TLS, receipts off": self.proxy("--wire", "tls", "--receipts", "off"),
            "lethe proxy, OHTTP, receipts required": self.proxy("--wire", "ohttp", "--receipts", "require"),
        }

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(connect, what):
    for _ in range(600):
        try:
            connection = connect()
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"{what} does not start; see its log")


def stream(connection, tokens, seed):
    """Asks on an open connection; seconds to the first token and to the end, which is [DONE]."""
    body = json.dumps({"model": "bench", "prompt": f"Once upon a time, number {seed}", "max_tokens": tokens, "temperature": 0,
                       "ignore_eos": True, "stream": True})
    start, first, done = time.perf_counter(), None, False
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    for line in connection.getresponse():
        first = first or (time.perf_counter() - start if line.startswith(b"data: {") else None)
        if b'"error"' in line:
            sys.exit(line.decode())
        done = done or line.startswith(b"data: [DONE]")
    if not done:
        sys.exit("a stream without its end")
    return first, time.perf_counter() - start


def opened(connect, streams):
    """Connections over which something was asked already."""
    connections = [connect() for _ in range(streams)]
    for connection in connections:
        connection.request("GET", "/health")
        connection.getresponse().read()
    return connections


def burst(connections, tokens):
    """A stream on each connection at once: seconds to the end of the last, and seconds to the first token of each."""
    found = []
    work = lambda index: found.append(stream(connections[index], tokens, index))
    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(connections))]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    if len(found) != len(connections):
        sys.exit("a stream failed")
    return seconds, [first for first, _ in found]


def crowd(connect, streams, tokens):
    """Tokens a second of several streams at once, and the median time to a first token, over connections that are open."""
    seconds, firsts = burst(opened(connect, streams), tokens)
    return streams * tokens / seconds, statistics.median(firsts)


def short(ratio, extra):
    """What a row says of a way that stays behind: tokens a second beside plain TLS, seconds more to the first token."""
    missed = [f"ratio below {LEAST_RATIO}"] if ratio < LEAST_RATIO else []
    missed += [f"over {MOST_EXTRA * 1000:g} ms more"] if extra > MOST_EXTRA else []
    return "short: " + ", ".join(missed) if missed else "reached"


def in_turns(ways, rounds, measure):
    """What is measured of each way in each round, the order turned round from one to the next."""
    found = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways) if number % 2 == 0 else list(reversed(ways)):
            found[name].append(measure(ways[name]))
            time.sleep(0.2)
    return found


def median(values):
    """The median between the bounds of its 95 % interval, whatever the distribution is (order statistics of the binomial)."""
    values = sorted(values)
    apart = 0.98 * len(values) ** 0.5
    low, high = math.floor((len(values) - 1) / 2 - apart), math.ceil((len(values) - 1) / 2 + apart)
    return values[max(low, 0)], statistics.median(values), values[min(high, len(values) - 1)]


def spent(pid, thread=""):
    """Seconds of processor time that a process used, or its threads of one name, to the nanosecond (schedstat)."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if not thread or task.joinpath("comm").read_text().strip() == thread:
            total += int(task.joinpath("schedstat").read_text().split()[0])
    return total / 1e9


def costs(ways, processes, streams, tokens=256, rounds=4):
    """Processor time of each way beside the engine's, over connections that are open: microseconds a token, milliseconds a request of one
    token."""
    server = processes[0].pid
    print("| way | proxy, µs a token | server, µs a token | proxy, ms a request | server, ms a request |\n|---|---|---|---|---|")
    for name, proxy in zip(ways, [None, *processes[1:]]):
        connections, cells = opened(ways[name], streams), []
        for length, times, unit in ((tokens, rounds, 1e6 / tokens), (1, 25 * rounds, 1e3)):
            used = lambda: [spent(proxy.pid) if proxy else 0, spent(server, "lethe-server")]
            before = used()
            for _ in range(times):
                burst(connections, length)
            cells += [(now - then) / times / streams * unit for now, then in zip(used(), before)]
        print(f"| {name} | {cells[0]:.0f} | {cells[1]:.0f} | {cells[2]:.2f} | {cells[3]:.2f} |")
    print()


def wires(arguments, work):
    """The proxy with OHTTP and receipts beside plain TLS to the same server, in turns."""
    tokens, most = 96, 8
    engine = arguments.threads or os.cpu_count()
    server = Listener(arguments.model, work, engine, most)
    try:
        ways = server.ways()
        print("## Wires: the proxy beside plain TLS\n")
        print(f"`scripts/bench wires`; SmolLM2-135M Q4_1, {engine} threads on {os.cpu_count()} cores, proxy and clients on the same ones. Throughput: {WIRE_ROUNDS} rounds in "
              f"turns, {tokens} tokens a stream; first token: {FIRST_ROUNDS} rounds of two tokens. Medians, and the medians of each round's ratio to, and difference "
              f"from, plain TLS of the same round; in brackets the 95 % interval of that median. To reach: a ratio of {LEAST_RATIO}, {MOST_EXTRA * 1000:g} ms more to the first "
              "token\n")
        print("| streams | way | tokens/s | ratio | first token, ms | more than plain TLS, ms | |\n|---|---|---|---|---|---|---|")
        compared = {name: connect for name, connect in ways.items() if "receipts off" not in name}
        for streams in (1, 4, most):
            for connect in compared.values():
                crowd(connect, streams, 16)
            speeds = in_turns(compared, WIRE_ROUNDS, lambda connect: crowd(connect, streams, tokens)[0])
            firsts = in_turns(compared, FIRST_ROUNDS, lambda connect: crowd(connect, streams, 2)[1] * 1000)
            plain = "plain TLS to the server"
            for name in compared:
                ratios = median(ours / theirs for ours, theirs in zip(speeds[name], speeds[plain]))
                extras = median(ours - theirs for ours, theirs in zip(firsts[name], firsts[plain]))
                cells = ["", "", ""] if name == plain else ["{1:.3f} ({0:.2f} to {2:.2f})".format(*ratios), "{1:+.1f} ({0:+.0f} to {2:+.0f})".format(*extras),
                                                            short(ratios[1], extras[1] / 1000)]
                print(f"| {streams} | {name} | {statistics.median(speeds[name]):.1f} | {cells[0]} | {statistics.median(firsts[name]):.1f} | {cells[1]} | {cells[2]} |")
        print(f"\nProcessor time beside the engine's, of a tiny model's {most} streams at once (a request is one of one token):\n")
        server.stop()
        server = Listener(arguments.tiny, work, 1, most)
        costs(server.ways(), server.processes, most)
    finally:
        server.stop()


def vm(arguments, work):
    print("## Emulated machine (QEMU -kernel, TCG)\n\n`scripts/bench vm`\n")
    print("| model | run | `lethe-image boot` to ready, s | to the first answered token, s | guest's clock at each stage, ms |\n|---|---|---|---|---|")
    for name, model, runs in (("tiny-random-llama", arguments.tiny, 3), ("SmolLM2-135M Q4_1", arguments.model, 1)):
        for run in range(runs):
            ready, first, stages, _ = boot(arguments, work, model, f"{run}-{pathlib.Path(model).stem[:4].lower()}")
            print(f"| {name} | {run + 1} | {ready:.2f} | {first:.2f} | " + ", ".join(f"{s.removeprefix('stage ')} {ms}" for s, ms in stages) + " |")
    print()


def main():
    parser = argparse.ArgumentParser()
    for name in ("model", "tiny", "image"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--peer", help="folder of llama.cpp's own programs, for `host`")
    parser.add_argument("--threads", type=int, help="of the engine, in `wires`; without it as many as there are cores")
    parser.add_argument("what", nargs="+", choices=["host", "wires", "vm", "all"])
    arguments = parser.parse_args()
    if {"host", "all"} & set(arguments.what) and not arguments.peer:
        parser.error("`host` compares with --peer")
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    print(f"# Benchmarks, {time.strftime('%Y-%m-%d')}\n\n{os.cpu_count()} cores of {cpu}, Linux {platform.release().split('-')[0]}\n")
    work = pathlib.Path(tempfile.mkdtemp())
    try:
        if {"host", "all"} & set(arguments.what):
            host(arguments, work)
        if {"wires", "all"} & set(arguments.what):
            wires(arguments, work)
        if {"vm", "all"} & set(arguments.what):
            vm(arguments, work)
    finally:
        shutil.rmtree(work)


main()

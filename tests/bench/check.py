"""Wall time and peak memory of each `lethe check`, on captured evidence: LETHE_CORPUS=DIR python3 tests/bench/check.py

Fails where the best of a command's times is over what it is to reach: the rest are what else ran on the machine."""

import os, pathlib, statistics, subprocess, sys, time

ROUNDS = 50
corpus = pathlib.Path(os.environ.get("LETHE_CORPUS") or sys.exit("LETHE_CORPUS names no directory")) / "evidence"
snp, milan, tdx, tpm, azure, gpu = (corpus / name for name in (
    "snp/turin-v5-oak", "snp/milan-v3-oak-oc-release", "tdx/v5-uptodate-90c06f", "tpm/gce-cos-85-nonce9009", "azure/snp-genoa-a", "gpu/hgx-gpu0"))
CASES = {
    "sev-snp": ["--report", snp / "report.bin", "--vek", snp / "leaf.der", "--policy", "hardware"],
    "sev-snp, with a revocation list": ["--report", milan / "report.bin", "--vek", milan / "leaf.der", "--crl", corpus / "crl/amd-milan/crl.der", "--policy", "hardware"],
    "tdx": ["--quote", tdx / "quote.bin", "--collateral", corpus / "collateral/90c06f-2026-03/collateral.json", "--at", "2026-03-20T00:00:00Z",
            "--policy", "hardware"],
    "tpm2": ["--quote", tpm / "quote_sha256.msg", "--signature", tpm / "quote_sha256.sig", "--ak", tpm / "ak_spki.der", "--event-log", tpm / "eventlog.bin",
             "--pcrs", tpm / "pcrs_sha256.json", "--policy", "hardware"],
    "azure": ["--hcl-report", azure / "hcl_report.bin", "--vek", azure / "vcek.der", "--quote", azure / "tpm_quote.msg", "--signature",
              azure / "tpm_quote.sig", "--pcrs", azure / "pcrs.json", "--policy", "hardware"],
    "nvidia": ["--report", gpu / "report.bin", "--chain", gpu / "chain.pem"],
}
# Milliseconds, where there is a target.
MOST = {"sev-snp": 20, "sev-snp, with a revocation list": 20, "tdx": 60}


def run(words):
    """Seconds and peak resident KiB of one whole command."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(map(str, words))}\n{said.decode()}")
    return seconds, usage.ru_maxrss


late = []
print("| `lethe check` | target, ms | best, ms | median, ms | peak memory, MiB |\n|---|---|---|---|---|")
for name, words in CASES.items():
    times, memory = zip(*(run(["lethe", "check", name.split(",")[0], *words]) for _ in range(ROUNDS)))
    best = min(times) * 1e3
    late += [name] if best > MOST.get(name, best) else []
    print(f"| {name} | {MOST.get(name, '')} | {best:.1f} | {statistics.median(times) * 1e3:.1f} | {max(memory) / 1024:.1f} |")
if late:
    sys.exit(f"over the target: {', '.join(late)}")

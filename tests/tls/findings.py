"""findings.py REPORT SAID : fails unless testssl has come to its end and has found nothing of any severity, from low upwards."""

import json
import sys

# What it finds fault with and is meant so. The client's order of ciphers counts: all of them are strong, and a client without
# hardware for AES knows best (Mozilla's "intermediate" configuration says the same).
MEANT = {"cipher_order"}

# What it says of the openssl that it works with.
OF_ITSELF = {"engine_problem"}

# Its client may close before the tickets of TLS 1.3 have come, and then has none to show (our own tests resume sessions).
RACES = {("sessionresumption_ticket", "WARN"), ("sessionresumption_ID", "WARN")}

with open(sys.argv[1], encoding="utf-8") as file:
    findings = json.load(file)
with open(sys.argv[2], encoding="utf-8") as file:
    said = file.read()

faults = [
    f"{finding['id']}: {finding['severity']}: {finding['finding']}"
    for finding in findings
    if finding["id"] not in MEANT | OF_ITSELF and (finding["id"], finding["severity"]) not in RACES
]
# the last of the tests that were asked for
if "RC4 (CVE-2013-2566, CVE-2015-2808)" not in said:
    faults.append("testssl did not come to its end")

if faults:
    sys.exit("\n".join(faults))

"""judge.py REPORT : fails unless sslyze has looked at everything and found nothing weak."""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    server = json.load(file)["server_scan_results"][0]
scans = server["scan_result"]


def found(scan, member):
    """What a scan says; a scan that was not done says nothing good."""
    if scans[scan]["status"] != "COMPLETED":
        return scans[scan]["status"]
    return scans[scan]["result"][member]


def suites(version):
    return [suite["cipher_suite"]["name"] for suite in found(version, "accepted_cipher_suites")]


EXPECTED = [
    ("ssl_2_0_cipher_suites", "is_tls_version_supported", False),
    ("ssl_3_0_cipher_suites", "is_tls_version_supported", False),
    ("tls_1_0_cipher_suites", "is_tls_version_supported", False),
    ("tls_1_1_cipher_suites", "is_tls_version_supported", False),
    ("tls_1_2_cipher_suites", "is_tls_version_supported", True),
    ("tls_1_3_cipher_suites", "is_tls_version_supported", True),
    ("tls_compression", "supports_compression", False),
    ("tls_1_3_early_data", "supports_early_data", False),
    ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", False),
    ("tls_fallback_scsv", "supports_fallback_scsv", True),
    ("heartbleed", "is_vulnerable_to_heartbleed", False),
    ("robot", "robot_result", "NOT_VULNERABLE_RSA_NOT_SUPPORTED"),
    ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", False),
    ("session_renegotiation", "supports_secure_renegotiation", True),
    ("tls_extended_master_secret", "supports_ems_extension", True),
    ("elliptic_curves", "supports_ecdh_key_exchange", True),
]

faults = [
    f"{scan}.{member} is {found(scan, member)}, not {expected}"
    for scan, member, expected in EXPECTED
    if found(scan, member) != expected
]
for name in suites("tls_1_2_cipher_suites"):
    # forward secrecy and authenticated encryption (RFC 9325 section 4.2)
    if not (name.startswith("TLS_ECDHE_") and ("_GCM_" in name or "_POLY1305_" in name)):
        faults.append(f"{name} is weak")
for deployment in found("certificate_info", "certificate_deployments"):
    if not any(result["verified_certificate_chain"] for result in deployment["path_validation_results"]):
        faults.append("the certificate is not trusted")
    if not deployment["received_chain_has_valid_order"]:
        faults.append("the chain is out of order")

if faults:
    sys.exit("\n".join(faults))

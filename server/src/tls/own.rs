//! The self-signed certificate of a first start, for a server that was given none.

use super::problem;
use harper_config::{Config, Problem, TlsEntry, TlsListener};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// For how long it is valid: ten years, as Harper's.
const LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// Clocks of clients may be late by this much.
const LATE: Duration = Duration::from_secs(24 * 60 * 60);

/// The three files: authority, certificate, key.
const FILES: [&str; 3] = ["ca.pem", "certificate.pem", "privateKey.pem"];

/// Whether an entry takes the files in the directory of keys.
fn is_default(entry: &TlsEntry) -> bool {
    entry.certificate.is_none() && entry.private_key.is_none()
}

/// Whether a start would make a certificate: an entry of a listener takes the files in `keys`, and neither is there.
pub(super) fn is_wanted(config: &Config, keys: &Path) -> bool {
    let [_, certificate, key] = FILES;
    let mut entries =
        TlsListener::ALL.into_iter().filter_map(|one| config.certificates(one)).flatten();
    entries.any(is_default) && !keys.join(certificate).exists() && !keys.join(key).exists()
}

/// Makes a certificate when one is wanted.
pub(super) fn ensure(config: &Config, keys: &Path) -> Result<(), Problem> {
    if !is_wanted(config, keys) {
        return Ok(());
    }
    make(keys)?;
    tracing::warn!(
        "made a self-signed certificate in {}; clients must be told to trust its ca.pem",
        keys.display()
    );
    Ok(())
}

/// Makes them anew.
pub(super) fn renew(config: &Config, keys: &Path) -> Result<(), Problem> {
    if !config.tls.iter().chain(&config.operations_api.tls).any(is_default) {
        let message = "certificates are configured, and they are not made here".to_owned();
        return Err(problem(
            "configuration",
            "tls.certificate".into(),
            message,
            "renew them where they come from",
        ));
    }
    make(keys)
}

/// Makes authority, certificate and key anew. The authority's own key is thrown away, so that nothing else can be signed with it.
fn make(keys: &Path) -> Result<(), Problem> {
    let refuse = |message: String| problem(&keys.display().to_string(), "tls".into(), message, "");
    let [authority, certificate, key] = generate().map_err(|error| refuse(error.to_string()))?;
    let written = fs::create_dir_all(keys).and_then(|()| {
        let [authority_file, certificate_file, key_file] = FILES;
        write(&keys.join(key_file), &key, 0o600)?;
        write(&keys.join(certificate_file), &certificate, 0o644)?;
        write(&keys.join(authority_file), &authority, 0o644)
    });
    written.map_err(|error| refuse(error.to_string()))
}

/// Authority, certificate with its authority behind it, and key, as PEM.
fn generate() -> Result<[String; 3], rcgen::Error> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut authority = CertificateParams::default();
    authority.distinguished_name = named(&format!("Harper authority of {host}"));
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    set_life(&mut authority);
    let authority_pem = authority.self_signed(&authority_key)?.pem();

    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let is_name =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    if is_name && !names.contains(&host) {
        names.push(host.clone());
    }
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name = named(if is_name { &host } else { "localhost" });
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    set_life(&mut leaf);
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &Issuer::new(authority, &authority_key))?.pem();
    Ok([authority_pem.clone(), certificate + &authority_pem, key.serialize_pem()])
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn set_life(certificate: &mut CertificateParams) {
    let now = SystemTime::now();
    certificate.not_before = (now - LATE).into();
    certificate.not_after = (now + LIFE).into();
}

/// Puts a file in its place whole.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

//! `renew-certs`: a new self-signed certificate.

use super::sources::{self, Command, Keys};
use super::{Failed, Options, say};
use crate::tls;

/// Makes the certificate anew and says where.
pub(super) fn renew(options: &Options, keys: Keys) -> Result<(), Failed> {
    let settings = sources::read(options, Command::Run, keys)?;
    let (report, _) = sources::report(&settings.loaded.problems);
    let Some(mut config) = settings.loaded.config else { return Err(Failed::Usage(report)) };
    config.root_path = sources::at_home(&config.root_path);
    let folder = tls::renew(&config).map_err(|error| Failed::Usage(error.to_string()))?;
    say(&format!("made ca.pem, certificate.pem and privateKey.pem in {}\n", folder.display()))
}

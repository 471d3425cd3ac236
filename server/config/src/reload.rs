//! A configuration that is read anew while the server runs: what takes effect now, and what waits for the next start.

use crate::config::Config;
use crate::keys::Reload;
use crate::layers::{Effective, Loaded};
use crate::table::KEYS;

/// What a new reading changes.
#[derive(Debug)]
pub struct Change {
    /// The configuration from now on: the new values of live keys, and the running values of all others.
    pub config: Config,
    /// The same key by key; what the next reading is compared with.
    pub running: Loaded,
    /// Live keys with a new value.
    pub applied: Vec<&'static str>,
    /// Other keys whose value in the sources is not the running one.
    pub waiting: Vec<&'static str>,
}

impl Loaded {
    /// Compares a new reading with the running one. `None` when the new one has errors.
    #[must_use]
    pub fn change(mut self, running: &Self) -> Option<Change> {
        self.config.as_ref()?;
        let (mut applied, mut waiting) = (Vec::new(), Vec::new());
        for (new, old) in self.effective.iter_mut().zip(&running.effective) {
            let differs = new.value != old.value;
            match new.key.reload {
                Reload::Live if differs => applied.push(new.key.name),
                Reload::Restart if differs => waiting.push(new.key.name),
                Reload::Live | Reload::Restart => {}
            }
            if new.key.reload == Reload::Restart {
                *new = Effective::clone(old);
            }
        }
        // a section whose keys all wait does, too: its mere presence means something
        self.sections.retain(|section| is_live(section));
        self.sections.extend(running.sections.iter().filter(|name| !is_live(name)).cloned());
        let config = Config::from_effective(&self.effective, &self.sections);
        self.config = Some(config.clone());
        Some(Change { config, running: self, applied, waiting })
    }
}

/// Whether a key of a section is followed.
fn is_live(section: &str) -> bool {
    let is_below =
        |name: &str| name.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
    KEYS.iter().any(|key| key.reload == Reload::Live && is_below(key.name))
}

#[cfg(test)]
mod tests {
    use crate::{Loaded, Sources, load};

    fn read(yaml: &str) -> Loaded {
        load(&Sources { file: Some(("f", yaml)), ..Sources::default() })
    }

    #[test]
    fn live_keys_change_and_others_wait() {
        let running = read("http: {port: 1, timeout: 5}");
        let change = read("http: {port: 2, timeout: 6}").change(&running).unwrap();
        assert_eq!(change.applied, ["http.timeout"]);
        assert_eq!(change.waiting, ["http.port"]);
        assert_eq!(change.config.http.port.as_ref().unwrap().port, 1);
        assert_eq!(change.config.http.timeouts.request.as_millis(), 6);
        let again = read("http: {port: 2, timeout: 6}").change(&change.running).unwrap();
        assert_eq!((again.applied.len(), again.waiting.len()), (0, 1), "it still waits");
        let back = read("http: {port: 1, timeout: 6}").change(&again.running).unwrap();
        assert!(back.waiting.is_empty());
    }

    #[test]
    fn a_reading_with_an_error_changes_nothing() {
        let running = read("");
        assert!(read("http: {timeout: soon}").change(&running).is_none());
    }

    #[test]
    fn a_section_of_keys_that_wait_waits() {
        let (with, without) = (read("http: {mtls: {required: true}}"), read(""));
        let change = read("").change(&with).unwrap();
        assert!(change.config.http.client_certificates.is_some_and(|clients| clients.required));
        let change = read("http: {mtls: {required: true}}").change(&without).unwrap();
        assert!(change.config.http.client_certificates.is_none());
    }

    #[test]
    fn a_section_that_appears_is_a_change() {
        let running = read("");
        let change = read("http:\n  logging:\n").change(&running).unwrap();
        assert!(change.config.http.logging.is_some());
    }
}

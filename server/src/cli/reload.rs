//! Following the configuration while the server runs: a changed file, or SIGHUP, has all sources read anew.

use super::sources::{self, Command, Keys, Settings};
use super::{Failed, Options};
use crate::app::App;
use crate::telemetry::NOTIFY;
use harper_config::{Change, Loaded};
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::Signal;

/// How often the file is looked at. Its text is compared: that follows any way of writing it, the exchanged symbolic
/// link of a Kubernetes volume included, and costs no more than a notification.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What was read, and how to read it again.
pub(super) struct Followed<'a> {
    options: &'a Options,
    command: Command,
    keys: Keys,
    running: Loaded,
    path: PathBuf,
    text: Option<String>,
    /// A new text seen at the last look; it is read when the next look finds the same, so that no half is.
    unsettled: Option<Option<String>>,
}

impl<'a> Followed<'a> {
    /// Follows the sources of `settings`, which the server runs with.
    #[must_use]
    pub(super) fn new(
        options: &'a Options,
        command: Command,
        keys: Keys,
        settings: Settings,
    ) -> Self {
        let Settings { loaded, app: _, path, text } = settings;
        Self { options, command, keys, running: loaded, path, text, unsettled: None }
    }

    /// Applies every change, of the pod's CPUs too; never returns.
    pub(super) async fn follow(&mut self, app: &App, hangup: &mut Signal) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_due = tokio::select! {
                _ = looks.tick() => self.has_changed(),
                _ = hangup.recv() => true,
            };
            if is_due {
                self.reload(app);
            }
            app.keep_workers();
            app.keep_certificates();
        }
    }

    fn has_changed(&mut self) -> bool {
        let text = std::fs::read_to_string(&self.path).ok();
        if text == self.text {
            self.unsettled = None;
            return false;
        }
        if self.unsettled.as_ref() != Some(&text) {
            self.unsettled = Some(text);
            return false;
        }
        // taken or refused, it is not news again
        self.text = text;
        true
    }

    fn reload(&mut self, app: &App) {
        match self.read() {
            Ok(change) => self.take(change, app),
            Err(why) => refuse(app, &why),
        }
    }

    /// The change, or every problem.
    fn read(&mut self) -> Result<Change, String> {
        let settings =
            sources::read(self.options, self.command, self.keys.clone()).map_err(|failed| {
                match failed {
                    Failed::Usage(why) | Failed::Error(why) => why,
                }
            })?;
        self.text = settings.text;
        for problem in &settings.loaded.problems {
            tracing::warn!("{problem}");
        }
        let (report, _) = sources::report(&settings.loaded.problems);
        settings.loaded.change(&self.running).ok_or(report)
    }

    fn take(&mut self, change: Change, app: &App) {
        let Change { mut config, running, applied, waiting } = change;
        config.root_path = sources::at_home(&config.root_path);
        if let Err(error) = app.reconfigure(config) {
            return refuse(app, &error.to_string());
        }
        self.running = running;
        app.reloads.taken(&waiting);
        let applied = if applied.is_empty() { "no new value".into() } else { applied.join(", ") };
        tracing::info!(target: NOTIFY, "configuration read anew: {applied}");
        if !waiting.is_empty() {
            let keys = waiting.join(", ");
            tracing::warn!("changed in the configuration, takes effect at the next start: {keys}");
        }
    }
}

fn refuse(app: &App, why: &str) {
    tracing::error!("the changed configuration is refused, the one before goes on: {why}");
    app.reloads.refused(why);
}

//! Reading a table's change log as events: from a cursor, from a time, or the last few.
//!
//! An entry that has no body gets it from the record, if that is still as the entry left it; else
//! the entry is left out, since a later one tells the newer state.

use bytes::Bytes;

use crate::database::ReadTxn;
use crate::entry::Entry;
use crate::error::Error;
use crate::hlc;
use crate::key::Key;
use crate::log;
use crate::observer::{Event, Operation};
use crate::record;
use crate::table::Table;

/// How much of the log is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Entries read at most, whether they are wanted or not; at least one is.
    pub entries_max: usize,
    /// No further event is added to so many bytes.
    pub bytes_max: usize,
}

/// What a stretch of the log told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// Sequence number up to which all is told: where to go on from.
    pub reached: u64,
    /// The table's last sequence number in this transaction.
    pub last: u64,
}

impl Table {
    /// What happened after a sequence number, as far as the key is wanted. A subscriber that goes
    /// on from [`Events::reached`] misses nothing.
    ///
    /// # Errors
    /// [`Error::LogTruncated`] when the log no longer reaches back that far, or never came as far
    /// as `after`, as when the database was replaced by an older one: read the table anew and go on
    /// from [`Table::last_sequence`] in the same transaction.
    pub fn events_after(
        &self,
        txn: &ReadTxn<'_>,
        after: u64,
        stretch: Stretch,
        mut wants: impl FnMut(&Key) -> bool,
    ) -> Result<Events, Error> {
        let last = self.last_sequence(txn)?;
        if after > last {
            return Err(Error::LogTruncated);
        }
        let mut told = Events { events: Vec::new(), reached: after, last };
        let mut bytes = 0;
        let entries = log::after(txn.inner(), self.shared().log, self.id(), after)?;
        for item in entries.take(stretch.entries_max.max(1)) {
            let (place, value) = item?;
            let entry = Entry::read(place, value)?;
            if entry.sequence != told.reached + 1 {
                return Err(Error::LogTruncated);
            }
            if let Some(event) = self.event(txn, &entry, &mut wants)? {
                if bytes > 0 && bytes + event.bytes() > stretch.bytes_max {
                    return Ok(told);
                }
                bytes += event.bytes();
                told.events.push(event);
            }
            told.reached = entry.sequence;
        }
        if told.reached == after && after < last {
            return Err(Error::LogTruncated);
        }
        Ok(told)
    }

    /// The last events that are wanted, at most `count`, as far as they are still in the log and
    /// within the stretch. [`Events::reached`] is the table's last sequence number.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn last_events(
        &self,
        txn: &ReadTxn<'_>,
        count: usize,
        stretch: Stretch,
        mut wants: impl FnMut(&Key) -> bool,
    ) -> Result<Events, Error> {
        let last = self.last_sequence(txn)?;
        let mut events = Vec::new();
        let mut bytes = 0;
        let entries = log::backward(txn.inner(), self.shared().log, self.id())?;
        for item in entries.take(stretch.entries_max.max(1)) {
            let (place, value) = item?;
            if events.len() == count {
                break;
            }
            if let Some(event) = self.event(txn, &Entry::read(place, value)?, &mut wants)? {
                bytes += event.bytes();
                if !events.is_empty() && bytes > stretch.bytes_max {
                    break;
                }
                events.push(event);
            }
        }
        events.reverse();
        Ok(Events { events, reached: last, last })
    }

    /// Sequence number of the first write at or after a time in milliseconds since 1970; the one
    /// after the last if there is none.
    ///
    /// # Errors
    /// [`Error::LogTruncated`] when writes at or after the time may have left the log.
    pub fn sequence_at(&self, txn: &ReadTxn<'_>, time_ms: u64) -> Result<u64, Error> {
        let last = self.last_sequence(txn)?;
        let time = |sequence| -> Result<u64, Error> {
            let entry = log::get(txn.inner(), self.shared().log, self.id(), sequence)?;
            entry.map(|entry| hlc::ms(entry.version)).ok_or(Error::LogTruncated)
        };
        let first = log::after(txn.inner(), self.shared().log, self.id(), 0)?.next().transpose()?;
        let Some((place, value)) = first else {
            return if last == 0 { Ok(1) } else { Err(Error::LogTruncated) };
        };
        let first = Entry::read(place, value)?;
        if first.sequence > 1 && hlc::ms(first.version) >= time_ms {
            return Err(Error::LogTruncated);
        }
        let (mut low, mut high) = (first.sequence, last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if time(middle)? < time_ms {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The event with this sequence number, whether it has expired or not; none when it is in the log no more, or was overtaken
    /// by another.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn event_at(&self, txn: &ReadTxn<'_>, sequence: u64) -> Result<Option<Event>, Error> {
        let Some(after) = sequence.checked_sub(1) else { return Ok(None) };
        let mut entries = log::after(txn.inner(), self.shared().log, self.id(), after)?;
        let Some(item) = entries.next() else { return Ok(None) };
        let (place, value) = item?;
        let entry = Entry::read(place, value)?;
        if entry.sequence != sequence {
            return Ok(None);
        }
        self.whole_event(txn, &entry, Key::from_stored(entry.key))
    }

    /// The event of an entry, unless it is not wanted, has expired, or was overtaken by another.
    fn event(
        &self,
        txn: &ReadTxn<'_>,
        entry: &Entry<'_>,
        wants: &mut impl FnMut(&Key) -> bool,
    ) -> Result<Option<Event>, Error> {
        let key = Key::from_stored(entry.key);
        if !wants(&key) || (entry.expires_ms != 0 && entry.expires_ms <= hlc::now_ms()) {
            return Ok(None);
        }
        self.whole_event(txn, entry, key)
    }

    fn whole_event(
        &self,
        txn: &ReadTxn<'_>,
        entry: &Entry<'_>,
        key: Key,
    ) -> Result<Option<Event>, Error> {
        let mut event = Event {
            table: self.identity(),
            sequence: entry.sequence,
            version: entry.version,
            origin: entry.origin,
            operation: entry.operation,
            key,
            body: entry.body.map(Bytes::copy_from_slice),
            is_content: entry.is_content,
            expires_ms: entry.expires_ms,
            extra: Bytes::copy_from_slice(entry.extra),
        };
        if entry.operation == Operation::Put && entry.body.is_none() {
            let Some(value) = self.records().get(txn.inner(), entry.key)? else { return Ok(None) };
            let record = record::read_live(value)?;
            let record = record.filter(|record| record.meta.version == entry.version);
            let Some(record) = record else { return Ok(None) };
            event.body = Some(Bytes::copy_from_slice(record.body));
            event.is_content = record.meta.is_content();
            event.expires_ms = record.meta.expires_ms;
            event.extra = Bytes::copy_from_slice(record.extra);
        }
        Ok(Some(event))
    }
}

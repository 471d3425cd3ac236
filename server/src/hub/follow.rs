//! Reading for subscriptions: the records that are there, and the change log. A small part is read in place, the rest on
//! the pool, in slices that wait until the connection has taken most of what came before.

use super::filter::Filter;
use super::local::{Feed, Local};
use super::outbox::{End, What};
use super::subscription::{Mode, Overflow, Seat, Start};
use super::told::{Told, Way};
use bytes::Bytes;
use harper_store::{
    Budget, Database, Error, Event, Events, Key, Operation, QueryRun, Record, Step, Stretch, Table,
    TableSchema,
};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::SemaphorePermit;
use tokio::task::spawn_local;

/// Entries of the log that are read in place.
const HERE_ENTRIES_MAX: u64 = 64;
/// What the first page of records may cost: it is read in place.
const FIRST: Budget = Budget { rows_max: 128, bytes_max: 16 * 1024 };
/// Records of a later page; those are read on the pool.
const PAGE_ROWS_MAX: usize = 10_000;
/// Entries of the log that are read at once on the pool.
const ENTRIES_MAX: usize = 8192;
/// Bytes of events that are read at once.
const SLICE_BYTES_MAX: usize = 256 * 1024;

/// Where reading goes on.
enum Source {
    /// With the records that are there.
    Records,
    /// With the last changes.
    Last(usize),
    /// In the log, after a sequence number.
    Log(u64),
}

/// Why reading cannot go on.
enum Stop {
    /// The log begins later.
    Truncated,
    /// The store or the pool failed.
    Failed(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::LogTruncated => Self::Truncated,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Begins a subscription: at once where little is to be read, else with a task.
pub(super) fn begin(local: &Rc<Local>, feed: &Rc<Feed>, seat: &Rc<Seat>, start: Start) {
    match first(local, feed, seat, start) {
        Ok(None) => {}
        Ok(Some(from)) => spawn(local, feed, seat, from),
        Err(Stop::Truncated) => reset(local, feed, seat),
        Err(Stop::Failed(why)) => fail(local, seat, &why),
    }
}

/// Has a live subscription go back to the log, after a sequence number.
pub(super) fn from_log(local: &Rc<Local>, feed: &Rc<Feed>, seat: &Rc<Seat>, cursor: u64) {
    spawn(local, feed, seat, Source::Log(cursor));
}

/// What can be done at once, and what is left to be read.
fn first(
    local: &Rc<Local>,
    feed: &Rc<Feed>,
    seat: &Rc<Seat>,
    start: Start,
) -> Result<Option<Source>, Stop> {
    let txn = feed.database.read()?;
    let last = feed.table.last_sequence(&txn)?;
    match (start, &seat.filter) {
        (Start::Now, _) => {}
        (Start::Current, Filter::Key(key)) => {
            if let Some(record) = feed.table.get(&txn, key)? {
                let event = event(&feed.table, key.clone(), record);
                tell(local, seat, event, Way::Current);
            }
            local.put(seat, What::Complete(last));
        }
        (Start::Current, _) => return Ok(Some(Source::Records)),
        (Start::After { epoch, .. }, _) if epoch != feed.database.epoch() => {
            return Err(Stop::Truncated);
        }
        (Start::After { sequence, .. }, _) if sequence > last => return Err(Stop::Truncated),
        (Start::After { sequence, .. }, _) => return Ok(Some(Source::Log(sequence))),
        (Start::Since(time_ms), _) => {
            let next = feed.table.sequence_at(&txn, time_ms)?;
            return Ok(Some(Source::Log(next.saturating_sub(1))));
        }
        (Start::Last(count), _) => return Ok(Some(Source::Last(count))),
    }
    seat.live(last);
    Ok(None)
}

/// What the subscriber knows is worth nothing: it is told, and begins with the records that are there.
fn reset(local: &Rc<Local>, feed: &Rc<Feed>, seat: &Rc<Seat>) {
    local.metrics.realtime.resets.add(1);
    local.put(seat, What::Reset);
    spawn(local, feed, seat, Source::Records);
}

fn fail(local: &Local, seat: &Seat, why: &str) {
    tracing::error!(why, "a subscription cannot go on");
    local.end(seat, End::Failed);
    local.wake();
}

fn spawn(local: &Rc<Local>, feed: &Rc<Feed>, seat: &Rc<Seat>, from: Source) {
    seat.mode.set(Mode::Reading);
    if seat.overflow.get() == Overflow::Disconnect {
        seat.keeper.replace(Some(local.hub.keep(feed.id)));
    }
    let task = spawn_local(read(Rc::clone(local), Rc::clone(feed), Rc::clone(seat), from));
    seat.reading.replace(Some(task.abort_handle()));
}

/// Reads until the subscription is live.
async fn read(local: Rc<Local>, feed: Rc<Feed>, seat: Rc<Seat>, mut from: Source) {
    loop {
        let read = match from {
            Source::Records => records(&local, &feed, &seat).await,
            Source::Last(count) => last(&local, &feed, &seat, count).await,
            Source::Log(cursor) => log(&local, &feed, &seat, cursor).await.map(|()| None),
        };
        local.wake();
        match read {
            Ok(Some(cursor)) => from = Source::Log(cursor),
            Ok(None) => return,
            Err(Stop::Truncated) => {
                local.metrics.realtime.resets.add(1);
                local.put(&seat, What::Reset);
                from = Source::Records;
            }
            Err(Stop::Failed(why)) => return fail(&local, &seat, &why),
        }
    }
}

/// Tells the records that are there; the sequence number after which changes follow.
async fn records(local: &Rc<Local>, feed: &Feed, seat: &Seat) -> Result<Option<u64>, Stop> {
    let mut run = feed.table.query(seat.query.clone())?;
    let mut cursor = None;
    loop {
        let _turn = room(local, seat).await;
        let (table, database) = (feed.table.clone(), Arc::clone(&feed.database));
        let read = match cursor {
            None => page(run, &table, &database, FIRST)?,
            Some(_) => {
                let bytes_max = SLICE_BYTES_MAX.min(seat.outbox.bytes_max() / 2);
                let budget = Budget { rows_max: PAGE_ROWS_MAX, bytes_max };
                let page = local.pool.go_on(move || page(run, &table, &database, budget)).await;
                page.map_err(|error| Stop::Failed(error.to_string()))??
            }
        };
        let Page { run: next, events, last, is_last } = read;
        local.check_rights();
        run = next;
        let cursor = *cursor.get_or_insert(last);
        for (event, sequence) in events {
            if !seat.filter.matches(&event.key) {
                continue;
            }
            if sequence > cursor {
                seat.newer.borrow_mut().note(&event.key, sequence);
            }
            tell(local, seat, event, Way::Current);
        }
        if is_last {
            local.put(seat, What::Complete(cursor));
            return Ok(Some(cursor));
        }
        local.wake();
    }
}

/// Tells the last changes.
async fn last(
    local: &Rc<Local>,
    feed: &Feed,
    seat: &Seat,
    count: usize,
) -> Result<Option<u64>, Stop> {
    let _turn = room(local, seat).await;
    let (table, database) = (feed.table.clone(), Arc::clone(&feed.database));
    let filter = seat.filter.clone();
    let stretch = Stretch { entries_max: ENTRIES_MAX, bytes_max: seat.outbox.bytes_max() / 2 };
    let work = move || {
        let txn = database.read()?;
        table.last_events(&txn, count, stretch, |key| filter.matches(key))
    };
    let read = local.pool.go_on(work).await;
    let Events { events, reached, .. } =
        read.map_err(|error| Stop::Failed(error.to_string()))??;
    local.check_rights();
    for event in events {
        tell(local, seat, event, Way::Change);
    }
    Ok(Some(reached))
}

/// Tells what the log has after `cursor`, until the subscription has come as far as the live ones of its table.
async fn log(local: &Rc<Local>, feed: &Feed, seat: &Seat, mut cursor: u64) -> Result<(), Stop> {
    loop {
        let _turn = room(local, seat).await;
        let bytes_max = SLICE_BYTES_MAX.min(seat.outbox.bytes_max() / 2);
        let read = slice(local, feed, cursor, seat.filter.clone(), bytes_max).await?;
        local.check_rights();
        for event in read.events {
            tell(local, seat, event, Way::Change);
        }
        cursor = read.reached;
        if cursor >= feed.position.get() {
            if seat.mode.get() == Mode::Reading {
                seat.live(cursor);
            }
            return Ok(());
        }
        local.wake();
    }
}

/// Reads the log for all live subscriptions of a table, until what is told by the writer follows on it.
pub(super) async fn feed(local: Rc<Local>, feed: Rc<Feed>) {
    while !feed.is_deserted() {
        let position = feed.position.get();
        match slice(&local, &feed, position, Filter::All, SLICE_BYTES_MAX).await {
            Ok(read) => {
                local.check_rights();
                feed.position.set(read.reached);
                feed.known.set(feed.known.get().max(read.last));
                for event in read.events {
                    local.tell(&feed, Arc::new(event), None);
                }
            }
            Err(Stop::Truncated) => {
                feed.position.set(feed.known.get());
                feed.each(|seat| {
                    if let Mode::Live(after) = seat.mode.get() {
                        from_log(&local, &feed, seat, after.max(position));
                    }
                });
            }
            Err(Stop::Failed(why)) => {
                feed.is_reading.set(false);
                return feed.each(|seat| fail(&local, seat, &why));
            }
        }
        local.wake();
        if feed.position.get() >= feed.known.get() {
            feed.is_reading.set(false);
            return;
        }
    }
}

/// Waits until the connection has taken most of what waits; all of it, when the worker holds too much. One reads at a time.
async fn room<'s>(local: &Local, seat: &'s Seat) -> Option<SemaphorePermit<'s>> {
    seat.outbox.room(|| local.is_full()).await
}

fn tell(local: &Local, seat: &Seat, event: Event, way: Way) {
    if seat.mode.get() != Mode::Ended {
        local.select(seat, &Told::new(Arc::new(event), None, &local.held), way);
    }
}

/// A part of the log.
async fn slice(
    local: &Local,
    feed: &Feed,
    after: u64,
    filter: Filter,
    bytes_max: usize,
) -> Result<Events, Stop> {
    if feed.known.get().saturating_sub(after) <= HERE_ENTRIES_MAX {
        let stretch = Stretch { entries_max: HERE_ENTRIES_MAX as usize, bytes_max };
        let txn = feed.database.read()?;
        let read = feed.table.events_after(&txn, after, stretch, |key| filter.matches(key));
        return Ok(read?);
    }
    let (table, database) = (feed.table.clone(), Arc::clone(&feed.database));
    let stretch = Stretch { entries_max: ENTRIES_MAX, bytes_max };
    let work = move || {
        let txn = database.read()?;
        table.events_after(&txn, after, stretch, |key| filter.matches(key))
    };
    let read = local.pool.go_on(work).await;
    Ok(read.map_err(|error| Stop::Failed(error.to_string()))??)
}

/// Some of the records that are there.
struct Page {
    run: QueryRun,
    /// As events, with the sequence number of the last write of each.
    events: Vec<(Event, u64)>,
    /// The table's last sequence number.
    last: u64,
    is_last: bool,
}

fn page(
    mut run: QueryRun,
    table: &Table,
    database: &Database,
    budget: Budget,
) -> Result<Page, Stop> {
    let schema = table.schema();
    let txn = database.read()?;
    let last = table.last_sequence(&txn)?;
    let (mut events, mut unreadable) = (Vec::new(), false);
    let step = run.step(&txn, budget, &mut |record| match key_of(&schema, record.body) {
        Some(key) => events.push((event(table, key, record), record.meta.sequence)),
        None => unreadable = true,
    })?;
    if unreadable {
        return Err(Stop::Failed(format!("a record of {} cannot be read", table.name())));
    }
    Ok(Page { run, events, last, is_last: step == Step::Done })
}

fn key_of(schema: &TableSchema, body: &[u8]) -> Option<Key> {
    let members = harper_store::members(body).ok()?;
    let name = &schema.key_attribute().name;
    let (_, value) = members.iter().find(|(member, _)| member == name)?;
    Key::from_json(schema, value.get()).ok()
}

/// A record that is there, as an event.
fn event(table: &Table, key: Key, record: Record<'_>) -> Event {
    let Record { meta, body, extra } = record;
    Event {
        table: table.identity(),
        sequence: meta.sequence,
        version: meta.version,
        origin: meta.origin,
        operation: Operation::Put,
        key,
        body: Some(Bytes::copy_from_slice(body)),
        is_content: meta.is_content(),
        expires_ms: meta.expires_ms,
        extra: Bytes::copy_from_slice(extra),
    }
}

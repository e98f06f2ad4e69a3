use super::{Log, Seen};
use crate::config::History;
use crate::frame::GapReason;
use crate::limits;
use crate::message::{Message, MessageId, Payload};
use crate::position::Epoch;
use crate::store::{FollowerRow, MemoryStore, Row, RowHead, Store, StoreError};

const KEEP_100: History = History { size: 100, ttl: 600 };
const EPHEMERAL: History = History { size: 0, ttl: 600 };

fn text(body: &str, id: Option<&str>) -> Message {
    Message::new(None, Payload::Text(body.into()), id.map(str::to_owned))
}

fn id(body: &str, id: &str) -> MessageId {
    text(body, Some(id)).id.unwrap()
}

fn log(store: &mut impl Store, history: History, now: u64) -> Log {
    Log::load(store, history, now, 7).unwrap()
}

fn bodies(log: &mut Log, store: &mut impl Store, now: u64) -> Vec<(u64, String)> {
    let first = log.first_available(now);
    let read = log.read(store, first, usize::MAX, u64::MAX).unwrap();
    read.into_iter().map(|(seq, _, message)| (seq, format!("{:?}", message.payload))).collect()
}

#[test]
fn rows_are_replaced_in_place_and_one_is_written_per_message() {
    let mut store = MemoryStore::default();
    let mut log = log(&mut store, KEEP_100, 0);
    for nth in 0..1000 {
        log.append(&mut store, &[text(&nth.to_string(), None)], nth).unwrap();
    }
    assert_eq!((store.rows.len(), store.written), (100, 1000));
    assert_eq!(bodies(&mut log, &mut store, 1000).len(), 100);
}

#[test]
fn what_is_loaded_again_is_what_was_there() {
    let mut store = MemoryStore::default();
    let mut log = log(&mut store, History { size: 5, ttl: 60 }, 0);
    for nth in 0..40 {
        let messages: Vec<Message> =
            (0..=nth % 4).map(|at| text(&format!("{nth}.{at}"), Some(&format!("{nth}.{at}")))).collect();
        log.append(&mut store, &messages, nth * 1000).unwrap();
        let mut again = Log::load(&mut store, History { size: 5, ttl: 60 }, nth * 1000, 99).unwrap();
        assert_eq!(again.position(), log.position());
        assert_eq!(bodies(&mut again, &mut store, nth * 1000), bodies(&mut log, &mut store, nth * 1000));
        assert_eq!(
            again.seen(&mut store, &id("0.0", "0.0")).unwrap(),
            log.seen(&mut store, &id("0.0", "0.0")).unwrap()
        );
    }
}

#[test]
fn ids_outlive_the_history_by_ten_minutes() {
    let mut store = MemoryStore::default();
    let mut log = log(&mut store, History { size: 2, ttl: 1 }, 0);
    log.append(&mut store, &[text("a", Some("first"))], 0).unwrap();
    for nth in 0..500 {
        log.append(&mut store, &[text("b", None)], nth * 1000).unwrap();
    }
    assert_eq!(log.seen(&mut store, &id("a", "first")).unwrap(), Seen::At(log.epoch().at(1)));
    assert_eq!(log.seen(&mut store, &id("other", "first")).unwrap(), Seen::Otherwise);
    assert_eq!(log.seen(&mut store, &id("a", "second")).unwrap(), Seen::Never);
    let rows = store.rows.len();
    log.append(&mut store, &[text("c", None)], limits::ID_WINDOW_MS).unwrap();
    assert_eq!((log.seen(&mut store, &id("a", "first")).unwrap(), store.rows.len()), (Seen::Never, rows));
}

#[test]
fn an_id_that_is_used_again_after_its_time_counts_from_then() {
    let mut store = MemoryStore::default();
    // The first row is still there when the second comes, and goes after it.
    let mut log = log(&mut store, History { size: 100, ttl: 3600 }, 0);
    log.append(&mut store, &[text("a", Some("x"))], 0).unwrap();
    log.append(&mut store, &[text("a", Some("x"))], limits::ID_WINDOW_MS).unwrap();
    for nth in 0..100 {
        log.append(&mut store, &[text("b", None)], limits::ID_WINDOW_MS + nth).unwrap();
    }
    assert_eq!(log.seen(&mut store, &id("a", "x")).unwrap(), Seen::At(log.epoch().at(2)));
}

#[test]
fn an_ephemeral_channel_counts_and_remembers_ids_and_nothing_else() {
    let mut store = MemoryStore::default();
    let mut log = log(&mut store, EPHEMERAL, 0);
    for nth in 0..50 {
        log.append(&mut store, &[text("secret", None)], nth).unwrap();
    }
    assert_eq!((log.position().seq, store.rows.len()), (50, 1));
    assert!(store.rows.values().all(|row| row.body.len() < 4 && row.head.bytes == 0));
    log.append(&mut store, &[text("b", None), text("a", Some("x"))], 60).unwrap();
    let mut again = Log::load(&mut store, EPHEMERAL, 60, 1).unwrap();
    assert_eq!(again.seen(&mut store, &id("a", "x")).unwrap(), Seen::At(log.epoch().at(52)));
    assert_eq!(again.resume(log.epoch().at(51), 60).gap.unwrap().position, log.epoch().at(52));
    assert_eq!(again.resume(log.epoch().at(52), 60).gap, None);
}

#[test]
fn a_rule_that_changes_leaves_no_hole() {
    let mut store = MemoryStore::default();
    for (nth, history) in [KEEP_100, KEEP_100, EPHEMERAL, KEEP_100, KEEP_100].into_iter().enumerate() {
        let mut log = log(&mut store, history, 0);
        log.append(&mut store, &[text(&nth.to_string(), None), text("x", Some(&nth.to_string()))], 0).unwrap();
    }
    let mut log = log(&mut store, KEEP_100, 0);
    assert_eq!(bodies(&mut log, &mut store, 0).iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [7, 8, 9, 10]);
    assert_eq!(log.resume(log.epoch().at(1), 0).gap.unwrap().position.seq, 6);
    assert_eq!(log.seen(&mut store, &id("x", "2")).unwrap(), Seen::At(log.epoch().at(6)));
}

#[test]
fn a_write_that_fails_changes_nothing() {
    let mut store = MemoryStore::default();
    let mut log = log(&mut store, History { size: 2, ttl: 600 }, 0);
    for nth in 0..20 {
        store.failing = [Some(StoreError::Full), Some(StoreError::Failed), None][nth % 3];
        let before = (log.position(), bodies(&mut log, &mut store, 0), store.rows.clone());
        let result = log.append(&mut store, &[text(&nth.to_string(), Some(&nth.to_string()))], 0);
        if let Some(error) = store.failing {
            assert_eq!(result, Err(error));
            assert_eq!((log.position(), bodies(&mut log, &mut store, 0), store.rows.clone()), before);
            assert_eq!(log.seen(&mut store, &id(&nth.to_string(), &nth.to_string())).unwrap(), Seen::Never);
        }
    }
    assert_eq!(log.position().seq, 6);
}

#[test]
fn readers_go_on_where_they_were_or_are_told() {
    let mut store = MemoryStore::default();
    let mut log = log(&mut store, History { size: 3, ttl: 600 }, 0);
    for nth in 0..10 {
        log.append(&mut store, &[text(&nth.to_string(), None)], nth).unwrap();
    }
    let (epoch, other) = (log.epoch(), Epoch::new(8));
    let mut resume = |position| {
        let start = log.resume(position, 10);
        (start.position.seq, start.gap.map(|gap| gap.reason))
    };
    assert_eq!(resume(epoch.at(10)), (10, None));
    assert_eq!(resume(epoch.at(7)), (7, None));
    assert_eq!(resume(epoch.at(6)), (7, Some(GapReason::Expired)));
    assert_eq!(resume(epoch.at(0)), (7, Some(GapReason::Expired)));
    assert_eq!(resume(epoch.at(11)), (10, Some(GapReason::Ahead)));
    assert_eq!(resume(epoch.at((1 << 53) - 1)), (10, Some(GapReason::Ahead)));
    assert_eq!(resume(other.at(10)), (7, Some(GapReason::Lost)));
    assert_eq!((log.newest(2, 10).seq, log.newest(99, 10).seq, log.newest(0, 10).seq), (8, 7, 10));
    assert_eq!(log.resume(epoch.at(9), 1_000_000).gap.unwrap().reason, GapReason::Expired, "its time is over");
}

/// Keeps heads only: bounds in bytes are tested without having them.
#[derive(Default)]
struct Heads {
    /// The first `seq` and the bytes of each slot.
    slots: std::collections::BTreeMap<u32, (u64, u64)>,
}

impl Store for Heads {
    fn load(&mut self) -> Result<Vec<RowHead>, StoreError> {
        Ok(Vec::new())
    }
    fn read(&mut self, _slot: u32) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
    fn write(&mut self, row: &Row) -> Result<(), StoreError> {
        self.slots.insert(row.head.slot, (row.head.first, row.body.len() as u64));
        Ok(())
    }
    fn remove_before(&mut self, first: u64) -> Result<(), StoreError> {
        self.slots.retain(|_, (at, _)| *at >= first);
        Ok(())
    }
    fn remembered_epoch(&mut self) -> Option<Epoch> {
        None
    }
    fn followers(&mut self) -> Result<Vec<(String, FollowerRow)>, StoreError> {
        Ok(Vec::new())
    }
    fn follow(&mut self, _hub: &str, _row: FollowerRow) -> Result<(), StoreError> {
        Err(StoreError::Failed)
    }
    fn unfollow(&mut self, _hub: &str) -> Result<(), StoreError> {
        Err(StoreError::Failed)
    }
    crate::store::without_members!();
}

#[test]
fn bytes_are_bounded_in_the_history_and_on_the_disk() {
    let mut store = Heads::default();
    let mut log = log(&mut store, History { size: 10_000, ttl: 600 }, 0);
    for nth in 0..3_000 {
        log.append(&mut store, &[text("small", Some(&nth.to_string()))], 0).unwrap();
    }
    let large = "x".repeat(limits::MESSAGE_BYTES_MAX);
    for nth in 0..4_000 {
        log.append(&mut store, &[text(&large, Some(&format!("l{nth}")))], 0).unwrap();
        let first = log.first_available(0);
        assert!(log.bytes_from(first) <= limits::HISTORY_BYTES_MAX);
    }
    let on_disk: u64 = store.slots.values().map(|(_, bytes)| bytes).sum();
    assert!(on_disk <= limits::LOG_BYTES_MAX + 2 * limits::MESSAGE_BYTES_MAX as u64, "{on_disk}");
    assert_eq!(log.position().seq, 7_000);
}

#[test]
fn ids_and_rows_are_bounded_in_number() {
    let mut store = Heads::default();
    let mut log = log(&mut store, History { size: 10, ttl: 600 }, 0);
    for nth in 0..limits::SEGMENTS_MAX + 100 {
        log.append(&mut store, &[text("", Some(&nth.to_string()))], 0).unwrap();
    }
    assert_eq!(store.slots.len(), limits::SEGMENTS_MAX);
    for nth in 0..500 {
        let messages: Vec<Message> = (0..1000).map(|at| text("", Some(&format!("{nth}.{at}")))).collect();
        log.append(&mut store, &messages, 0).unwrap();
    }
    assert!(log.ids.len() <= limits::IDS_MAX, "{}", log.ids.len());
    let newest = id("", "499.999");
    assert!(log.ids.contains_key(&super::segment::fingerprint(&newest.id)));
}

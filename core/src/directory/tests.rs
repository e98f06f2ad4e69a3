use super::store::MemoryDirectory;
use super::{
    ClosedUser, Directory, DirectoryStore, Entry, Input, List, Output, Report, Reported, Row, Strike, directory_name,
    parse_directory_name,
};
use crate::call::VERSION;
use crate::channel::ChannelName;
use crate::close::{Closed, Holder};
use crate::limits;
use crate::link::hub_name;
use crate::occupancy::Occupancy::{self, Followed, Held, Vacant};
use crate::refusal::{Code, Refusal};
use crate::store::StoreError;
use std::collections::BTreeSet;

const T: u64 = 1_763_760_000_000;

fn name(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn room(channel: &str) -> Holder {
    Holder::Channel(name(channel))
}

fn hub(nth: u32) -> Holder {
    Holder::Hub(hub_name("1", "weur", nth))
}

fn report(of: &Holder, state: Occupancy, at: u64) -> Report {
    Report { version: VERSION, of: of.clone(), state, at }
}

fn directory() -> (Directory, MemoryDirectory) {
    (Directory::wake("1".into()), MemoryDirectory::default())
}

#[test]
fn a_directory_is_named_after_its_app() {
    assert_eq!(parse_directory_name(&directory_name("a_1-x")), Some("a_1-x"));
    for name in ["", "v1:", "v2:1", "v1:1:a", "1"] {
        assert_eq!(parse_directory_name(name), None, "{name}");
    }
}

#[test]
fn each_report_is_one_row() {
    let (mut directory, mut store) = directory();
    let a = room("a");
    for (state, at, written) in
        [(Vacant, 1, 0), (Held, 2, 1), (Held, 3, 2), (Followed, 4, 3), (Vacant, 5, 4), (Vacant, 6, 4)]
    {
        directory.report(&report(&a, state, at), &mut store).unwrap();
        assert_eq!(store.written, written, "{state:?} {at}");
    }
    assert!(store.rows.is_empty());
}

#[test]
fn a_report_that_was_overtaken_is_ignored() {
    let (mut directory, mut store) = directory();
    for of in [room("a"), hub(0)] {
        let held = directory.report(&report(&of, Held, 20), &mut store).unwrap();
        assert_eq!(held, Reported { at: 20 });
        // Who sent an earlier one learns the later number, and can tell that its clock is behind.
        assert_eq!(directory.report(&report(&of, Vacant, 10), &mut store).unwrap(), Reported { at: 20 });
        assert!(store.rows.contains_key(&of));
        directory.report(&report(&of, Vacant, 30), &mut store).unwrap();
        assert_eq!(directory.report(&report(&of, Held, 25), &mut store).unwrap(), Reported { at: 30 });
        assert!(!store.rows.contains_key(&of), "what has gone came back");
        directory.report(&report(&of, Held, 31), &mut store).unwrap();
        assert_eq!(store.rows.get(&of), Some(&Row { at: 31, sockets: true }));
    }
}

#[test]
fn what_was_said_before_it_was_repeated_takes_nothing_away() {
    let (mut directory, mut store) = directory();
    for of in [room("a"), hub(0)] {
        directory.report(&report(&of, Held, 10), &mut store).unwrap();
        // It went, and came back; before it had said so a trap ended it, and it repeated what there is.
        directory.report(&report(&of, Held, 30), &mut store).unwrap();
        directory = Directory::wake("1".into());
        directory
            .strike(
                Strike {
                    version: VERSION,
                    channels: vec![Entry { channel: ChannelName::parse("a").unwrap(), at: 10 }],
                },
                &mut store,
            )
            .unwrap();
        assert_eq!(directory.report(&report(&of, Vacant, 20), &mut store).unwrap(), Reported { at: 30 });
        assert!(store.rows.contains_key(&of));
        directory.report(&report(&of, Vacant, 31), &mut store).unwrap();
        assert!(!store.rows.contains_key(&of));
    }
}

#[test]
fn what_is_struck_out_is_what_was_listed_and_nothing_later() {
    let (mut directory, mut store) = directory();
    for (channel, at) in [("a", 1), ("b", 2), ("c", 3)] {
        directory.report(&report(&room(channel), Held, at), &mut store).unwrap();
    }
    let listed = list(&directory, &mut store, "", None, 100).0;
    directory.report(&report(&room("b"), Held, 9), &mut store).unwrap();
    directory.strike(Strike { version: VERSION, channels: listed }, &mut store).unwrap();
    assert_eq!(store.rows.keys().collect::<Vec<_>>(), [&room("b")]);
    // One that was on its way all the time.
    directory.report(&report(&room("a"), Held, 1), &mut store).unwrap();
    assert!(!store.rows.contains_key(&room("a")));
}

#[test]
fn what_is_remembered_of_those_that_went_is_bounded() {
    let (mut directory, mut store) = directory();
    for nth in 0..3 * limits::STRUCK_MAX {
        directory.report(&report(&room(&format!("c{nth}")), Vacant, 1), &mut store).unwrap();
        assert!(directory.struck.len() <= limits::STRUCK_MAX);
    }
}

#[test]
fn a_hub_of_another_app_is_no_hub_here() {
    let (mut directory, mut store) = directory();
    let long = format!("v1:1:{}:0", "x".repeat(limits::HUB_NAME_MAX));
    for name in ["", "v1:2:weur:0", "v1:1:weur", long.as_str()] {
        let refused = directory.report(&report(&Holder::Hub(name.into()), Held, 1), &mut store);
        assert_eq!(refused.map_err(|refusal| refusal.code), Err(Code::InvalidField), "{name}");
    }
    assert_eq!(store.written, 0);
}

fn list(
    directory: &Directory,
    store: &mut MemoryDirectory,
    prefix: &str,
    after: Option<&str>,
    limit: u64,
) -> (Vec<Entry>, bool) {
    let list = List { version: VERSION, prefix: prefix.into(), after: after.map(name), limit };
    let listed = directory.list(&list, store).unwrap();
    (listed.channels, listed.more)
}

#[test]
fn pages_are_in_order_and_every_channel_is_on_one_of_them() {
    let (mut directory, mut store) = directory();
    let names: Vec<String> =
        (0..1_250).map(|nth| format!("{}{nth:04}", if nth % 2 == 0 { "x" } else { "y" })).collect();
    for name in &names {
        directory.report(&report(&room(name), Followed, 1), &mut store).unwrap();
    }
    directory.report(&report(&hub(1), Held, 1), &mut store).unwrap();
    for (prefix, expected) in [("", 1_250), ("x", 625), ("x00", 50), ("z", 0)] {
        for limit in [7, 100, 1_000] {
            let (mut after, mut found) = (None::<String>, Vec::new());
            loop {
                let (page, more) = list(&directory, &mut store, prefix, after.as_deref(), limit);
                assert!(page.len() as u64 <= limit && (!more || page.len() as u64 == limit));
                found.extend(page.iter().map(|entry| entry.channel.to_string()));
                after = found.last().cloned();
                if !more {
                    break;
                }
            }
            assert_eq!(found.len(), expected, "{prefix} {limit}");
            assert!(found.is_sorted() && found.iter().all(|name| name.starts_with(prefix)));
        }
    }
    // Whatever the caller says, a page has its bound.
    assert_eq!(list(&directory, &mut store, "", None, u64::MAX - 1).0.len() as u64, limits::CHANNELS_NAMED_MAX);
}

/// A Directory whose calls are answered by hand.
struct Desk {
    directory: Directory,
    store: MemoryDirectory,
    now: u64,
    calls: Vec<(u64, Holder, String)>,
    answers: Vec<(u64, Result<ClosedUser, Code>)>,
    alarm: Option<u64>,
    gave_up: usize,
}

impl Desk {
    fn new(rooms: usize, hubs: u32) -> Self {
        let (directory, mut store) = directory();
        for nth in 0..rooms {
            store.put(&room(&format!("r{nth:05}")), Row { at: 7, sockets: true }).unwrap();
            store.put(&room(&format!("followed{nth:05}")), Row { at: 7, sockets: false }).unwrap();
        }
        for nth in 0..hubs {
            store.put(&hub(nth), Row { at: 7, sockets: true }).unwrap();
        }
        let (calls, answers) = (Vec::new(), Vec::new());
        Self { directory, store, now: T, calls, answers, alarm: None, gave_up: 0 }
    }

    fn handle(&mut self, input: Input) {
        let mut out = Vec::new();
        self.directory.handle(input, self.now, &mut self.store, &mut out);
        for output in out {
            match output {
                Output::Call { call, holder, user } => self.calls.push((call, holder, user)),
                Output::Answer { ticket, result } => {
                    self.answers.push((ticket, result.map_err(|refusal| refusal.code)));
                }
                Output::WakeAt(at) => self.alarm = Some(at),
                Output::GaveUp { .. } => self.gave_up += 1,
            }
        }
        assert!(self.calls.len() <= limits::ORDER_CALLS_AT_ONCE);
    }

    fn place(&mut self, ticket: u64, user: &str) {
        self.handle(Input::Close { ticket, user: user.into() });
    }

    /// Answers the call that has waited longest; those that `fails` fail.
    fn serve(&mut self, fails: impl Fn(&Holder) -> bool) -> Option<Holder> {
        if self.calls.is_empty() {
            return None;
        }
        let (call, holder, _) = self.calls.remove(0);
        let result = if fails(&holder) {
            Err(Refusal::new(Code::Overloaded, ""))
        } else {
            Ok(Closed { closed: 1, state: Held })
        };
        self.handle(Input::Called { call, result });
        Some(holder)
    }

    fn serve_all(&mut self, fails: impl Fn(&Holder) -> bool) -> Vec<Holder> {
        core::iter::from_fn(|| self.serve(&fails)).collect()
    }

    fn ring(&mut self) {
        self.now = self.now.max(self.alarm.take().unwrap());
        self.handle(Input::Alarm);
    }

    fn crash(&mut self) {
        self.directory = Directory::wake("1".into());
        self.directory.armed(self.alarm);
        self.calls.clear();
    }
}

#[test]
fn every_hub_and_every_room_with_sockets_is_called_once() {
    let mut desk = Desk::new(600, 300);
    let before = desk.store.written;
    desk.place(1, "u");
    assert_eq!(desk.calls.len(), limits::ORDER_CALLS_AT_ONCE);
    let called = desk.serve_all(|_| false);
    assert_eq!(called.len(), 900);
    assert_eq!(called.iter().collect::<BTreeSet<_>>().len(), 900);
    assert_eq!(desk.answers, [(1, Ok(ClosedUser { closed: 900, done: true }))]);
    assert_eq!(desk.store.written - before, 2, "one row for the order, and one when it was done");
    assert!(desk.store.orders.is_empty());
    // The alarm that was for a crash finds nothing, and is the last.
    desk.ring();
    assert_eq!((desk.calls.len(), desk.alarm), (0, None));
}

#[test]
fn where_there_is_nobody_it_is_done_at_once() {
    let mut desk = Desk::new(0, 0);
    desk.place(1, "u");
    assert_eq!(desk.answers, [(1, Ok(ClosedUser { closed: 0, done: true }))]);
}

#[test]
fn who_does_not_answer_is_called_again_after_longer_and_longer_pauses() {
    let mut desk = Desk::new(3, 2);
    desk.place(1, "u");
    let bad = room("r00001");
    assert_eq!(desk.serve_all(|holder| *holder == bad).len(), 5);
    assert_eq!(desk.answers, [(1, Ok(ClosedUser { closed: 4, done: false }))]);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let before = desk.now;
        desk.ring();
        pauses.push(desk.now - before);
        assert_eq!(desk.serve_all(|_| true), vec![bad.clone()], "the others had answered");
    }
    let ms = limits::ORDER_RETRY_MS;
    assert_eq!(pauses, [ms, 2 * ms, 4 * ms]);
    while desk.calls.is_empty() {
        desk.ring();
    }
    assert_eq!(desk.serve_all(|_| false), [bad]);
    assert!(desk.store.orders.is_empty() && desk.answers.len() == 1);
}

#[test]
fn an_order_survives_a_crash_and_begins_anew() {
    let mut desk = Desk::new(3, 0);
    desk.place(1, "u");
    desk.serve(|_| false);
    desk.crash();
    desk.ring();
    assert_eq!(desk.serve_all(|_| false).len(), 3);
    assert!(desk.store.orders.is_empty() && desk.answers.is_empty());
}

#[test]
fn an_order_that_takes_long_is_answered_and_goes_on() {
    let mut desk = Desk::new(100, 0);
    desk.place(1, "u");
    desk.serve(|_| false);
    desk.now += limits::ORDER_ANSWER_MS - 1;
    desk.handle(Input::Tick);
    assert_eq!(desk.answers, []);
    desk.now += 1;
    desk.handle(Input::Tick);
    desk.handle(Input::Tick);
    assert_eq!(desk.answers, [(1, Ok(ClosedUser { closed: 1, done: false }))]);
    assert_eq!(desk.serve_all(|_| false).len(), 99);
    assert!(desk.store.orders.is_empty() && desk.answers.len() == 1);
}

#[test]
fn an_order_that_nobody_can_carry_out_is_given_up() {
    let mut desk = Desk::new(3, 1);
    desk.place(1, "u");
    let mut rings = 0;
    desk.serve_all(|_| true);
    while desk.alarm.is_some() {
        desk.ring();
        desk.serve_all(|_| true);
        rings += 1;
    }
    assert_eq!((desk.gave_up, desk.store.orders.len()), (1, 0));
    assert!(desk.now - T >= limits::ORDER_AGE_MAX_MS && rings < 100, "{rings}");
}

#[test]
fn many_that_fail_hold_the_others_back_and_are_not_all_remembered() {
    let mut desk = Desk::new(3 * limits::ORDER_TARGETS, 0);
    desk.place(1, "u");
    let called = desk.serve_all(|_| true).len();
    assert!(called <= 2 * limits::ORDER_TARGETS, "{called}");
    let mut closed = BTreeSet::new();
    for _ in 0..10 {
        if desk.store.orders.is_empty() {
            break;
        }
        desk.ring();
        closed.extend(desk.serve_all(|_| false));
    }
    assert_eq!((closed.len(), desk.store.orders.len()), (3 * limits::ORDER_TARGETS, 0));
}

#[test]
fn the_same_user_again_begins_anew_and_the_number_of_users_is_bounded() {
    let mut desk = Desk::new(50, 0);
    desk.place(1, "u");
    desk.serve(|_| false);
    desk.place(2, "u");
    assert_eq!(desk.answers, [(1, Ok(ClosedUser { closed: 1, done: false }))]);
    desk.serve_all(|_| false);
    // What was under way for the first does not count for the second, and is not called for twice at a time.
    assert_eq!(desk.answers.last(), Some(&(2, Ok(ClosedUser { closed: 50, done: true }))));
    for nth in 0..limits::ORDERS_MAX as u64 {
        desk.place(10 + nth, &format!("u{nth}"));
    }
    desk.place(7, "one too many");
    assert_eq!(desk.answers.last(), Some(&(7, Err(Code::Overloaded))));
    desk.place(8, "u0");
    assert_eq!(desk.answers.last(), Some(&(10, Ok(ClosedUser { closed: 0, done: false }))));
    desk.serve_all(|_| false);
    assert!(desk.store.orders.is_empty());
}

#[test]
fn an_order_that_cannot_be_stored_is_refused() {
    let mut desk = Desk::new(1, 0);
    for (error, code) in [(StoreError::Full, Code::StorageFull), (StoreError::Failed, Code::Internal)] {
        desk.store.failing = Some(error);
        desk.place(1, "u");
        assert_eq!(desk.answers.pop(), Some((1, Err(code))));
    }
    assert!(desk.calls.is_empty());
}

#[test]
fn what_turns_out_to_have_less_is_corrected_unless_it_has_reported_since() {
    let mut desk = Desk::new(3, 1);
    desk.place(1, "u");
    desk.directory.report(&report(&room("r00002"), Held, T * 1000), &mut desk.store).unwrap();
    for (call, holder, _) in core::mem::take(&mut desk.calls) {
        let state = if holder == room("r00001") { Followed } else { Vacant };
        desk.handle(Input::Called { call, result: Ok(Closed { closed: 0, state }) });
    }
    assert_eq!(desk.store.rows.get(&room("r00000")), None);
    assert_eq!(desk.store.rows.get(&room("r00001")), Some(&Row { at: 7, sockets: false }));
    assert_eq!(desk.store.rows.get(&room("r00002")), Some(&Row { at: T * 1000, sockets: true }));
    assert_eq!(desk.store.rows.get(&hub(0)), None);
}

#[test]
fn what_was_set_before_the_alarm_was_known_stands_if_it_is_earlier() {
    let (mut directory, mut store) = directory();
    let wakes = |directory: &mut Directory, store: &mut MemoryDirectory, user: &str, now: u64| {
        let mut out = Vec::new();
        directory.handle(Input::Close { ticket: 1, user: user.into() }, now, store, &mut out);
        out.iter().find_map(|output| if let Output::WakeAt(at) = output { Some(*at) } else { None })
    };
    store.put(&hub(0), Row { at: 1, sockets: true }).unwrap();
    assert_eq!(wakes(&mut directory, &mut store, "a", T), Some(T + limits::ORDER_LEASE_MS));
    directory.armed(Some(T + 3_600_000));
    assert_eq!(wakes(&mut directory, &mut store, "b", T + 1), None);
}

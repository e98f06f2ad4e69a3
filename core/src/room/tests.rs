use super::{Input, Output, Room, Turn};
use crate::call::{Connect, Outcome, VERSION};
use crate::channel::ChannelName;
use crate::config::{History, Rule};
use crate::frame::Frame;
use crate::limits;
use crate::message::{Message, NewMessage, Payload};
use crate::position::Epoch;
use crate::refusal::Code;
use crate::session::{Format, Session};
use crate::store::{FollowerRow, MemoryStore, Row, RowHead, Store, StoreError};

const TURN: Turn = Turn { now: 1_000_000, random: 7 };

fn room(rule: Rule) -> Room {
    Room::wake(ChannelName::parse("lobby").unwrap(), rule, None)
}

fn text(body: &str, id: Option<&str>) -> NewMessage {
    let message = Message::new(None, Payload::Text(body.into()), id.map(str::to_owned));
    NewMessage::from(message)
}

fn handle(room: &mut Room, store: &mut impl Store, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    room.handle(input, TURN, store, &mut out);
    out
}

fn publish(room: &mut Room, store: &mut impl Store, ticket: u64, messages: Vec<NewMessage>) -> Vec<Output> {
    handle(room, store, Input::Publish { ticket, messages })
}

/// The places of the broadcasts, and the outcomes of the answers, in order.
fn told(outputs: &[Output]) -> (Vec<u64>, Vec<Result<u64, Code>>) {
    let broadcasts = outputs.iter().filter_map(|output| match output {
        Output::Broadcast { position, .. } => Some(position.seq),
        _ => None,
    });
    let outcomes = outputs.iter().flat_map(|output| match output {
        Output::Answer { outcomes, .. } => outcomes.clone(),
        _ => Vec::new(),
    });
    let outcome = |outcome| match outcome {
        Outcome::Stored { position, .. } => Ok(position.seq),
        Outcome::Refused { error } => Err(error.code),
    };
    (broadcasts.collect(), outcomes.map(outcome).collect())
}

/// Fails at one write only.
struct FailingAt {
    rows: MemoryStore,
    nth: u64,
    error: StoreError,
}

impl Store for FailingAt {
    fn load(&mut self) -> Result<Vec<RowHead>, StoreError> {
        self.rows.load()
    }
    fn read(&mut self, slot: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.read(slot)
    }
    fn write(&mut self, row: &Row) -> Result<(), StoreError> {
        self.nth = self.nth.wrapping_sub(1);
        if self.nth == u64::MAX { Err(self.error) } else { self.rows.write(row) }
    }
    fn remove_before(&mut self, first: u64) -> Result<(), StoreError> {
        self.rows.remove_before(first)
    }
    fn remembered_epoch(&mut self) -> Option<Epoch> {
        None
    }
    fn followers(&mut self) -> Result<Vec<(String, FollowerRow)>, StoreError> {
        self.rows.followers()
    }
    fn follow(&mut self, hub: &str, row: FollowerRow) -> Result<(), StoreError> {
        self.rows.follow(hub, row)
    }
    fn unfollow(&mut self, hub: &str) -> Result<(), StoreError> {
        self.rows.unfollow(hub)
    }
    crate::store::without_members!();
}

#[test]
fn a_write_that_fails_at_any_step_is_neither_answered_nor_announced() {
    let large = "x".repeat(limits::MESSAGE_BYTES_DEFAULT);
    for nth in 0..5 {
        for (error, code) in [(StoreError::Full, Code::StorageFull), (StoreError::Failed, Code::Internal)] {
            let mut store = FailingAt { rows: MemoryStore::default(), nth, error };
            let mut room = room(Rule::default());
            // 30 messages of 64 KiB are four rows; the first goes alone.
            let mut outputs = publish(&mut room, &mut store, 0, vec![text("first", Some("first"))]);
            for ticket in 1..=30 {
                outputs.extend(publish(&mut room, &mut store, ticket, vec![text(&large, Some(&ticket.to_string()))]));
            }
            outputs.extend(handle(&mut room, &mut store, Input::Flushed(Ok(()))));
            let (broadcasts, outcomes) = told(&outputs);
            let good: Vec<u64> = outcomes.iter().filter_map(|outcome| outcome.ok()).collect();
            assert_eq!((outcomes.len(), &broadcasts), (31, &good));
            assert_eq!(good, (1..=good.len() as u64).collect::<Vec<_>>());
            let failed = outcomes.iter().filter(|outcome| **outcome == Err(code)).count();
            assert_eq!(failed + good.len(), 31, "{outcomes:?}");
            assert!(failed > 0, "write {nth} was never tried");
            // It works afterwards, from where it was; what was refused may be repeated.
            handle(&mut room, &mut store, Input::Flushed(Ok(())));
            publish(&mut room, &mut store, 99, vec![text("after", None)]);
            let again = handle(&mut room, &mut store, Input::Flushed(Ok(())));
            assert_eq!(told(&again).1, [Ok(good.len() as u64 + 1)]);
        }
    }
}

#[test]
fn what_comes_during_a_write_shares_the_next_row() {
    let mut store = MemoryStore::default();
    let mut room = room(Rule::default());
    let first = publish(&mut room, &mut store, 0, vec![text("0", None)]);
    assert_eq!((told(&first), first.contains(&Output::Flush)), ((vec![1], vec![Ok(1)]), true));
    for ticket in 1..=50 {
        assert_eq!(publish(&mut room, &mut store, ticket, vec![text("x", None)]), []);
    }
    let rest = handle(&mut room, &mut store, Input::Flushed(Ok(())));
    assert_eq!(told(&rest), ((2..=51).collect(), (2..=51).map(Ok).collect()));
    assert_eq!(store.written, 2);
    assert_eq!(handle(&mut room, &mut store, Input::Flushed(Ok(()))), []);
    // Hot: one turn's wait for company; it did not come, so the next is calm again.
    assert_eq!(publish(&mut room, &mut store, 60, vec![text("x", None)]), [Output::Flush]);
    assert_eq!(told(&handle(&mut room, &mut store, Input::Flushed(Ok(())))).1, [Ok(52)]);
    handle(&mut room, &mut store, Input::Flushed(Ok(())));
    assert_eq!(told(&publish(&mut room, &mut store, 61, vec![text("calm", None)])).1, [Ok(53)]);
}

#[test]
fn the_queue_before_a_row_is_bounded() {
    let mut store = MemoryStore::default();
    let mut room = room(Rule::default());
    publish(&mut room, &mut store, 0, vec![text("0", None)]);
    for ticket in 0..limits::PENDING_MAX as u64 {
        assert_eq!(publish(&mut room, &mut store, ticket, vec![text("x", None)]), []);
    }
    assert_eq!(told(&publish(&mut room, &mut store, 0, vec![text("x", None)])).1, [Err(Code::Overloaded)]);
    assert_eq!(told(&handle(&mut room, &mut store, Input::Flushed(Ok(())))).1.len(), limits::PENDING_MAX);
}

#[test]
fn within_one_row_an_id_counts_as_well() {
    let mut store = MemoryStore::default();
    let mut room = room(Rule::default());
    publish(&mut room, &mut store, 0, vec![text("0", None)]);
    for (ticket, (body, id)) in [("a", "1"), ("a", "1"), ("b", "1"), ("b", "2")].into_iter().enumerate() {
        publish(&mut room, &mut store, ticket as u64 + 1, vec![text(body, Some(id))]);
    }
    let outputs = handle(&mut room, &mut store, Input::Flushed(Ok(())));
    assert_eq!(told(&outputs), (vec![2, 3], vec![Ok(2), Ok(2), Err(Code::IdConflict), Ok(3)]));
}

#[test]
fn of_two_that_race_for_a_position_one_gets_it() {
    let mut store = MemoryStore::default();
    let mut room = room(Rule::default());
    publish(&mut room, &mut store, 0, vec![text("0", None)]);
    let expecting = |seq| NewMessage { if_position: Some(Epoch::new(7).at(seq)), ..text("x", None) };
    for (ticket, seq) in [(1, 1), (2, 1), (3, 2)] {
        publish(&mut room, &mut store, ticket, vec![expecting(seq)]);
    }
    let outputs = handle(&mut room, &mut store, Input::Flushed(Ok(())));
    assert_eq!(told(&outputs), (vec![2, 3], vec![Ok(2), Err(Code::PositionChanged), Ok(3)]));
}

#[test]
fn a_flush_that_failed_makes_the_index_be_read_again() {
    let mut store = MemoryStore::default();
    let mut room = room(Rule::default());
    publish(&mut room, &mut store, 0, vec![text("lost", None)]);
    store.rows.clear();
    handle(&mut room, &mut store, Input::Flushed(Err(StoreError::Full)));
    assert_eq!(told(&publish(&mut room, &mut store, 1, vec![text("kept", None)])).1, [Ok(1)]);
}

#[test]
fn slow_readers_are_looked_for_now_and_then() {
    let mut store = MemoryStore::default();
    let mut room = room(Rule::default());
    let large = "x".repeat(limits::MESSAGE_BYTES_DEFAULT);
    let looks: usize = (0..8)
        .map(|ticket| {
            let outputs = publish(&mut room, &mut store, ticket, vec![text(&large, None)]);
            handle(&mut room, &mut store, Input::Flushed(Ok(())));
            outputs.iter().filter(|output| matches!(output, Output::CloseSlow { .. })).count()
        })
        .sum();
    assert_eq!(looks, 8 * limits::MESSAGE_BYTES_DEFAULT / limits::UNSENT_LOOK_BYTES);
}

#[test]
fn refusals_make_slow_readers_be_looked_for_and_of_a_row_one_is_answered() {
    let mut store = MemoryStore::default();
    let mut room = room(Rule::default());
    let mut says = |now: u64| {
        let input = Input::Frame { session: session(None), frame: Frame::Text("{".into()) };
        let mut out = Vec::new();
        room.handle(input, Turn { now, random: 7 }, &mut store, &mut out);
        let count = |is: fn(&Output) -> bool| out.iter().filter(|output| is(output)).count();
        [
            count(|output| matches!(output, Output::Send { .. })),
            count(|output| matches!(output, Output::CloseSlow { .. })),
        ]
    };
    let answers = limits::UNSENT_LOOK_BYTES / limits::FRAME_COST_BYTES;
    let all: Vec<[usize; 2]> = (0..answers).map(|nth| says(nth as u64 * 1000)).collect();
    assert!(all.iter().all(|[sent, _]| *sent == 1));
    assert_eq!(all.iter().map(|[_, looks]| looks).sum::<usize>(), 1);
    let burst = 2 * limits::CLIENT_RATE_DEFAULT;
    let sent: usize = (0..burst + limits::RATE_STRIKES_MAX).map(|_| says(answers as u64 * 1000)[0]).sum();
    assert_eq!(sent, burst as usize + 1);
}

fn connect() -> Connect {
    Connect {
        version: VERSION,
        format: Format::Json,
        user: None,
        expires_at: None,
        may_publish: true,
        from: None,
        data: None,
    }
}

#[test]
fn a_full_object_refuses() {
    for (connections, sockets) in [(limits::ROOM_SOCKETS_DEFAULT, limits::ROOM_SOCKETS_DEFAULT), (0, 0), (3, 4)] {
        let rule = Rule { connections, ..Rule::default() };
        let connecting = |sockets| Input::Connect { connect: connect(), connection: "c".into(), sockets };
        let outputs = handle(&mut room(rule.clone()), &mut MemoryStore::default(), connecting(sockets));
        assert!(matches!(outputs.as_slice(), [Output::Refuse(refusal)] if refusal.code == Code::Full), "{outputs:?}");
        if connections > 0 {
            let outputs = handle(&mut room(rule), &mut MemoryStore::default(), connecting(connections - 1));
            assert!(matches!(outputs.first(), Some(Output::Accept(_))), "{outputs:?}");
        }
    }
}

fn session(expires_at: Option<u64>) -> Session {
    Session {
        connection: "c".into(),
        format: Format::Json,
        user: None,
        expires_at,
        may_publish: true,
        epoch: Epoch::new(7),
        behind: None,
        data: None,
        told: None,
    }
}

#[test]
fn the_alarm_is_set_for_what_comes_first_and_never_later() {
    let mut store = MemoryStore::default();
    let mut room = room(Rule { history: History { size: 10, ttl: 1 }, ..Rule::default() });
    let alarms = |outputs: &[Output]| -> Vec<u64> {
        outputs
            .iter()
            .filter_map(|output| if let Output::WakeAt(at) = output { Some(at - TURN.now) } else { None })
            .collect()
    };
    let expiring = |ms| Input::Connect {
        connect: Connect { expires_at: Some(TURN.now + ms), ..connect() },
        connection: "c".into(),
        sockets: 0,
    };
    assert_eq!(alarms(&publish(&mut room, &mut store, 0, vec![text("0", None)])), [limits::ID_WINDOW_MS]);
    assert_eq!(alarms(&handle(&mut room, &mut store, expiring(90_000))), [90_000]);
    assert_eq!(alarms(&handle(&mut room, &mut store, expiring(95_000))), [0; 0]);
    handle(&mut room, &mut store, Input::Flushed(Ok(())));
    assert_eq!(alarms(&publish(&mut room, &mut store, 0, vec![text("0", None)])), [0; 0]);
    let sessions = vec![session(Some(TURN.now)), session(Some(TURN.now + 5_000)), session(None)];
    let outputs = handle(&mut room, &mut store, Input::Alarm { sessions });
    assert_eq!(alarms(&outputs), [5_000]);
    let closed = outputs.iter().filter(|output| matches!(output, Output::Close { code: 4401, .. })).count();
    assert_eq!(closed, 1);
}

#[test]
fn a_binary_frame_on_a_json_socket_is_answered_in_words() {
    let input = Input::Frame { session: session(None), frame: Frame::Binary(vec![1]) };
    let outputs = handle(&mut room(Rule { publish: true, ..Rule::default() }), &mut MemoryStore::default(), input);
    assert!(
        matches!(outputs.as_slice(), [Output::Send { frame: Frame::Text(text), .. }] if text.contains("invalid_json"))
    );
}

/// The payloads that a connection is sent while it catches up.
fn replayed(room: &mut Room, store: &mut MemoryStore, connection: &str) -> Vec<String> {
    let mut session = Session { connection: connection.into(), behind: Some(1), ..session(None) };
    let mut heard = Vec::new();
    while session.behind.is_some() {
        for output in handle(room, store, Input::Replay { session: session.clone() }) {
            match output {
                Output::SendAll { frames, .. } => heard.extend(frames.iter().map(|frame| match frame {
                    Frame::Text(text) => text.split_once(r#""data":""#).unwrap().1[..1].to_owned(),
                    Frame::Binary(bytes) => panic!("{bytes:?}"),
                })),
                Output::Remember(next) => session = next,
                other => panic!("{other:?}"),
            }
        }
    }
    heard
}

#[test]
fn a_message_is_kept_from_who_is_behind_and_from_nobody_else() {
    // One batch is for several readers where it is the same for all of them, and only there. Large ones make several batches.
    for size in [1, limits::REPLAY_BATCH_BYTES / 2] {
        let mut store = MemoryStore::default();
        let mut room = room(Rule::default());
        for (nth, except) in [Some("c"), None, Some("d"), Some("c"), None].into_iter().enumerate() {
            let mut new = text(&nth.to_string().repeat(size), None);
            new.message.except = except.map(str::to_owned);
            publish(&mut room, &mut store, 0, vec![new]);
            handle(&mut room, &mut store, Input::Flushed(Ok(())));
        }
        let epoch = room.log(TURN, &mut store).unwrap().epoch();
        assert_eq!(epoch, Epoch::new(7));
        for asleep in [false, true] {
            for (connection, expected) in [("c", "124"), ("d", "0134"), ("e", "01234"), ("c", "124")] {
                assert_eq!(replayed(&mut room, &mut store, connection).concat(), expected, "{size}");
                if asleep {
                    room = Room::wake(ChannelName::parse("lobby").unwrap(), Rule::default(), None);
                }
            }
        }
    }
}

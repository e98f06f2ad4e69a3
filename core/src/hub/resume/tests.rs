use crate::call::{Begin, Outcome, VERSION};
use crate::channel::ChannelName;
use crate::frame::{Frame, Gap, GapReason};
use crate::hub::tests::{at, delivery, hub};
use crate::hub::{Hub, HubConnect, HubSession, Input, Output, Slot};
use crate::limits;
use crate::link::Delivery;
use crate::message::{Message, Payload};
use crate::pusher::words;
use crate::refusal::{Code, Refusal};
use crate::resume::{Claim, Held, ResumeId, TakeOver};
use crate::room::Turn;
use crate::session::Format;
use crate::token::Grants;

mod members;
mod replay;

const ID: &str = "0b6f0f5e-3a54-4a3c-9d3b-6b1f4f9d2a10";

fn id() -> ResumeId {
    ResumeId::parse(ID).unwrap()
}

fn pointer() -> ChannelName {
    ChannelName::pointer(&id())
}

fn news() -> ChannelName {
    ChannelName::parse("news").unwrap()
}

/// A Hub, and when it is.
struct Side {
    hub: Hub,
    now: u64,
    connections: u64,
}

impl Side {
    fn new() -> Self {
        Self { hub: hub(), now: 1_763_760_000_000, connections: 0 }
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.hub.handle(input, Turn { now: self.now, random: 7 }, &mut out);
        out
    }

    fn comes(&mut self, held: Option<Held>) -> (Slot, Vec<Output>) {
        self.comes_as(Some(id()), held)
    }

    fn comes_as(&mut self, resume: Option<ResumeId>, held: Option<Held>) -> (Slot, Vec<Output>) {
        self.connections += 1;
        let connect = HubConnect {
            version: VERSION,
            format: Format::Pusher,
            user: None,
            expires_at: None,
            grants: Grants::default(),
            info: None,
            resume,
            wants: Vec::new(),
        };
        let out = self.handle(Input::Connect { connect, connection: format!("3.{}", self.connections), held });
        let slot = |output: &Output| if let Output::Accept { slot, .. } = output { Some(*slot) } else { None };
        (out.iter().find_map(slot).unwrap(), out)
    }

    /// What the pointer says.
    fn points(&mut self, to: Option<&str>) -> Vec<Output> {
        let message = |to: &str| Message::new(None, Payload::Json(format!("\"{to}\"")), None);
        let messages = to.map(message).into_iter().collect();
        let result = Ok(Delivery { channel: pointer(), after: at(4), messages, gap: None, members: None, count: None });
        self.handle(Input::Missed { channel: pointer(), from: Begin::Last(1), result })
    }

    fn pointer_moved(&mut self) -> Vec<Output> {
        let result = Ok(vec![Outcome::Stored { position: at(6), duplicate: false }]);
        self.handle(Input::Published { channel: pointer(), result })
    }

    fn says(&mut self, slot: Slot, text: &str) -> Vec<Output> {
        self.handle(Input::Frame { slot, frame: Frame::Text(text.into()) })
    }

    fn subscribes(&mut self, slot: Slot) -> Vec<Output> {
        self.says(slot, r#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#)
    }

    fn followed(&mut self, seq: u64) -> Vec<Output> {
        let call = self.hub.channels.get(&news()).and_then(|known| known.following).unwrap();
        self.handle(Input::Followed { channel: news(), at: call, result: Ok(at(seq)) })
    }

    /// A tab that is live in the channel, which is there.
    fn live(&mut self, seq: u64) -> Slot {
        let (slot, _) = self.comes(None);
        self.points(None);
        self.pointer_moved();
        self.subscribes(slot);
        self.followed(seq);
        slot
    }

    /// Somebody who does not resume has the channel, which is there.
    fn is_at(&mut self, seq: u64) {
        let (slot, _) = self.comes_as(None, None);
        self.subscribes(slot);
        self.followed(seq);
    }

    /// It comes back with what is known of it.
    fn back(&mut self, held: Held) -> (Slot, Vec<Output>) {
        let tag = held.tag.clone();
        let (slot, _) = self.comes(Some(held));
        self.points(Some(&tag));
        let out = self.subscribes(slot);
        (slot, out)
    }

    fn delivers(&mut self, after: u64, count: u64) -> Vec<Output> {
        self.handle(Input::Deliver { ticket: 1, delivery: delivery("news", after, count) })
    }

    fn missed(&mut self, from: Begin, result: Delivery) -> Vec<Output> {
        self.handle(Input::Missed { channel: news(), from, result: Ok(result) })
    }

    /// The timer rings that is waited for.
    fn looks(&mut self) -> Vec<Output> {
        let at = self.hub.tabs.look_at.unwrap_or_default();
        self.handle(Input::Look { at })
    }

    fn pongs(&mut self, slot: Slot) -> Vec<Output> {
        self.says(slot, words::PONG)
    }

    /// As after a sleep, or a trap.
    fn sleeps(&mut self) {
        let sessions: Vec<HubSession> = self.hub.sessions.iter().flatten().cloned().collect();
        self.hub = hub();
        for session in sessions {
            self.hub.restore(HubSession::decode(&session.encode()).unwrap());
        }
        let mut out = Vec::new();
        self.hub.restored(None, Turn { now: self.now, random: 7 }, &mut out);
    }
}

fn heard(out: &[Output], to: Slot) -> Vec<String> {
    let frames = out.iter().filter_map(|output| match output {
        Output::Send { slots, frames } if slots.contains(&to) => Some(frames),
        _ => None,
    });
    let text = |frame: &Frame| if let Frame::Text(text) = frame { text.clone() } else { String::new() };
    frames.flat_map(|frames| frames.iter().map(text)).collect()
}

/// The events that a socket hears, each with its data.
fn events(out: &[Output], to: Slot) -> Vec<(String, String)> {
    let event = |text: String| {
        let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
        let data = frame["data"].as_str().unwrap_or_default().to_owned();
        (frame["event"].as_str().unwrap().to_owned(), data)
    };
    heard(out, to).into_iter().map(event).collect()
}

fn names(out: &[Output], to: Slot) -> Vec<String> {
    events(out, to).into_iter().map(|(name, _)| name).collect()
}

fn held(out: &[Output]) -> Option<(&Held, bool)> {
    let held = |output: &'_ Output| matches!(output, Output::Hold { .. });
    match out.iter().rfind(|output| held(output))? {
        Output::Hold { held, open, .. } => Some((held, *open)),
        _ => None,
    }
}

fn claim(acked: u64, sent: Option<u64>, follows: bool) -> Claim {
    Claim { channel: news(), acked: at(acked), sent: sent.map(at), follows }
}

fn away(acked: u64, sent: Option<u64>) -> Held {
    Held { was: vec!["3.9".into()], tag: "3.9".into(), claims: vec![claim(acked, sent, false)], lost: false }
}

#[test]
fn what_was_answered_is_had_and_what_was_sent_since_is_uncertain() {
    let mut side = Side::new();
    let slot = side.live(7);
    let out = side.delivers(7, 1);
    assert_eq!(names(&out, slot), ["message", "pusher:ping"]);
    side.pongs(slot);
    // The next ping is not at once, and not without a message.
    let out = side.delivers(8, 2);
    assert_eq!(names(&out, slot), ["message", "message"]);
    side.now += 200;
    assert!(out.contains(&Output::LookAt(side.now)), "{out:?}");
    assert_eq!(names(&side.looks(), slot), ["pusher:ping"]);
    side.delivers(10, 1);
    side.pongs(slot);
    let out = side.handle(Input::Left { slot });
    let kept =
        Held { was: vec!["3.1".into()], tag: "3.1".into(), claims: vec![claim(10, Some(11), false)], lost: false };
    assert_eq!(held(&out), Some((&kept, false)));
}

#[test]
fn where_nothing_is_sent_nobody_is_asked() {
    let mut side = Side::new();
    let slot = side.live(7);
    side.delivers(7, 1);
    side.pongs(slot);
    for _ in 0..5 {
        side.now += 1_000;
        let out = side.looks();
        assert!(out.iter().all(|output| matches!(output, Output::Reached { .. })), "{out:?}");
    }
    assert!(side.hub.tabs.pings.is_empty() && side.hub.tabs.saves.is_empty());
}

#[test]
fn a_row_is_written_before_what_it_makes_true_is_sent() {
    let mut side = Side::new();
    let (slot, _) = side.comes(None);
    side.points(None);
    side.pointer_moved();
    side.subscribes(slot);
    let out = side.followed(7);
    let row = out.iter().position(|output| matches!(output, Output::Hold { open: true, .. })).unwrap();
    let answer = out.iter().position(|output| matches!(output, Output::Send { .. })).unwrap();
    assert!(row < answer, "{out:?}");
    assert_eq!(held(&out).unwrap().0.claims, [claim(7, None, true)]);
}

#[test]
fn what_is_uncertain_is_a_gap_and_what_was_not_sent_comes() {
    let mut side = Side::new();
    side.is_at(9);
    let (slot, out) = side.back(away(5, Some(7)));
    let from = Begin::After(at(7));
    assert!(out.contains(&Output::Missed { channel: news(), from }), "{out:?}");
    let out = side.missed(from, delivery("news", 7, 2));
    let events = events(&out, slot);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["pusher_internal:subscription_succeeded", "dormouse:gap", "message", "message", "pusher:ping"]);
    assert_eq!(events[1].1, r#"{"after":"9f2c41d07ab3:5","position":"9f2c41d07ab3:7","reason":"unconfirmed"}"#);
    assert_eq!((events[2].1.as_str(), events[3].1.as_str()), ("8", "9"));
}

#[test]
fn who_has_everything_goes_on_without_a_gap_or_a_question() {
    let mut side = Side::new();
    side.is_at(9);
    let (slot, out) = side.back(away(9, Some(9)));
    assert_eq!(names(&out, slot), ["pusher_internal:subscription_succeeded", "pusher:ping"]);
    assert!(!out.iter().any(|output| matches!(output, Output::Missed { .. })), "{out:?}");
}

#[test]
fn what_cannot_be_had_and_what_is_uncertain_are_one_gap() {
    let mut side = Side::new();
    side.is_at(30);
    let (slot, _) = side.back(away(5, Some(7)));
    let gap = Some(Gap { after: at(7), position: at(28), reason: GapReason::Expired });
    let out = side.missed(Begin::After(at(7)), Delivery { gap, ..delivery("news", 28, 2) });
    let gaps: Vec<String> =
        events(&out, slot).into_iter().filter(|(name, _)| name == "dormouse:gap").map(|(_, data)| data).collect();
    assert_eq!(gaps, [r#"{"after":"9f2c41d07ab3:5","position":"9f2c41d07ab3:28","reason":"expired"}"#]);
}

#[test]
fn where_it_is_not_known_what_was_sent_everything_up_to_now_is_uncertain() {
    let mut side = Side::new();
    side.is_at(9);
    let (slot, out) = side.back(away(5, None));
    assert!(out.contains(&Output::Missed { channel: news(), from: Begin::Last(0) }), "{out:?}");
    // The Room is further than this Hub: another one may have sent that.
    let out = side.missed(Begin::Last(0), delivery("news", 11, 0));
    assert!(heard(&out, slot)[1].contains(r#"\"position\":\"9f2c41d07ab3:11\""#), "{out:?}");
    side.pongs(slot);
    let out = side.delivers(9, 3);
    let out: Vec<Output> = out.into_iter().chain(side.missed(Begin::After(at(11)), delivery("news", 11, 1))).collect();
    let messages: Vec<String> =
        events(&out, slot).into_iter().filter(|(name, _)| name == "message").map(|(_, data)| data).collect();
    assert_eq!(messages, ["12"]);
}

#[test]
fn who_does_not_answer_is_sent_nothing_more_until_it_does() {
    let mut side = Side::new();
    let slot = side.live(7);
    side.delivers(7, 1);
    side.now += 500;
    assert_eq!(names(&side.delivers(8, 1), slot), ["message"]);
    side.now += 500;
    let out = side.delivers(9, 1);
    assert_eq!(heard(&out, slot), [""; 0]);
    // Nobody else is there: the Hub has it all the same.
    assert_eq!(
        held(&out),
        Some((
            &Held { was: vec!["3.1".into()], tag: "3.1".into(), claims: vec![claim(7, Some(9), false)], lost: false },
            true
        ))
    );
    side.sleeps();
    side.now += 60_000;
    side.followed(10);
    let out = side.pongs(slot);
    assert_eq!(held(&out).unwrap().0.claims, [claim(7, None, false)]);
    assert_eq!(names(&out, slot), ["pusher:ping"]);
    let out = side.pongs(slot);
    assert!(out.contains(&Output::Missed { channel: news(), from: Begin::After(at(9)) }), "{out:?}");
    let out = side.missed(Begin::After(at(9)), delivery("news", 9, 1));
    assert_eq!(names(&out, slot), ["message"]);
}

#[test]
fn an_answer_to_a_ping_before_a_sleep_is_not_one_to_the_next() {
    let mut side = Side::new();
    let slot = side.live(7);
    side.delivers(7, 1);
    side.sleeps();
    side.now += 300;
    // One is under way: there is no other.
    assert_eq!(names(&side.delivers(8, 1), slot), ["message"]);
    let out = side.pongs(slot);
    assert_eq!(names(&out, slot), ["pusher:ping"]);
    let out = side.handle(Input::Left { slot });
    assert_eq!(held(&out).unwrap().0.claims, [claim(7, Some(9), false)]);
}

#[test]
fn what_all_have_is_saved_once_a_second_and_who_is_behind_does_not_hold_it_back() {
    let mut side = Side::new();
    let slot = side.live(7);
    let mut saved = Vec::new();
    for seq in 7..27 {
        side.now += 200;
        let out = [side.looks(), side.delivers(seq, 1), side.pongs(slot)];
        saved.extend(out.into_iter().flatten().filter_map(|output| match output {
            Output::Reached { acked, .. } => Some(acked.seq),
            _ => None,
        }));
    }
    assert!((3..=5).contains(&saved.len()) && saved.is_sorted(), "{saved:?}");
}

#[test]
fn a_timer_that_is_not_waited_for_sets_no_other() {
    let mut side = Side::new();
    let slot = side.live(7);
    side.delivers(7, 1);
    side.pongs(slot);
    let due = side.now + 200;
    let set = |out: Vec<Output>| out.into_iter().filter(|one| matches!(one, Output::LookAt(_))).collect::<Vec<_>>();
    assert_eq!(set(side.delivers(8, 1)), [Output::LookAt(due)]);
    // One in whose place an earlier one was set.
    side.now += 100;
    assert_eq!(set(side.handle(Input::Look { at: due + 800 })), []);
    // The one that is waited for, a moment too early: else it would be waited for in vain.
    side.now = due - 1;
    assert_eq!(set(side.handle(Input::Look { at: due })), [Output::LookAt(due)]);
    side.now = due;
    let out = side.handle(Input::Look { at: due });
    assert_eq!(names(&out, slot), ["pusher:ping"]);
}

#[test]
fn a_second_connection_takes_the_place_of_the_first() {
    let mut side = Side::new();
    let first = side.live(7);
    side.delivers(7, 2);
    let (second, out) = side.comes(None);
    let closed = |output: &Output| matches!(output, Output::Close { slot, code: 4100, .. } if *slot == first);
    assert!(out.iter().any(closed), "{out:?}");
    assert_eq!(held(&out).unwrap().0.claims, [claim(7, Some(9), false)]);
    side.points(Some("3.1"));
    let out = side.subscribes(second);
    assert_eq!(names(&out, second), ["pusher_internal:subscription_succeeded", "dormouse:gap", "pusher:ping"]);
    assert_eq!(heard(&side.delivers(9, 1), first), [""; 0]);
    assert!(held(&side.handle(Input::Left { slot: first })).is_none());
}

#[test]
fn what_was_kept_from_its_last_connection_is_kept_from_it() {
    let mut side = Side::new();
    side.is_at(9);
    let (slot, _) = side.back(away(7, Some(7)));
    let mut missed = delivery("news", 7, 2);
    missed.messages[0].except = Some("3.9".into());
    let out = side.missed(Begin::After(at(7)), missed);
    let data: Vec<String> = events(&out, slot).into_iter().map(|(_, data)| data).collect();
    assert!(!data.contains(&"8".into()) && data.contains(&"9".into()), "{data:?}");
}

#[test]
fn nothing_is_answered_before_the_pointer_means_this_connection() {
    let mut side = Side::new();
    let (slot, out) = side.comes(None);
    assert!(out.contains(&Output::Missed { channel: pointer(), from: Begin::Last(1) }), "{out:?}");
    side.subscribes(slot);
    assert_eq!(heard(&side.followed(7), slot), [""; 0]);
    let out = side.points(None);
    let moves =
        |output: &Output| matches!(output, Output::Publish { messages, .. } if messages[0].message.id.is_some());
    assert!(out.iter().any(moves), "{out:?}");
    let out = side.pointer_moved();
    assert_eq!(names(&out, slot), ["pusher_internal:subscription_succeeded"]);
}

#[test]
fn a_row_that_the_pointer_does_not_mean_is_of_the_past() {
    for said in [None, Some("3.8")] {
        let mut side = Side::new();
        let (slot, _) = side.comes(Some(away(5, Some(7))));
        let out = side.points(said);
        // It is moved only from where it was.
        let from = said.map(|_| at(5));
        let moves =
            |output: &Output| matches!(output, Output::Publish { messages, .. } if messages[0].if_position == from);
        assert!(out.iter().any(moves), "{out:?}");
        side.pointer_moved();
        side.subscribes(slot);
        side.followed(9);
        let out = side.missed(Begin::Last(0), delivery("news", 9, 0));
        let gap = events(&out, slot).remove(1);
        assert_eq!(gap.1, r#"{"after":"000000000000:0","position":"9f2c41d07ab3:9","reason":"lost"}"#);
    }
}

#[test]
fn another_hub_is_asked_for_what_it_has() {
    let mut side = Side::new();
    side.live(9);
    side.handle(Input::Left { slot: 0 });
    let (slot, _) = side.comes(None);
    // The second Hub of that region.
    let out = side.points(Some("12.5"));
    let asks =
        |output: &Output| matches!(output, Output::Fetch { hub, tag, .. } if hub.ends_with(":1") && tag == "12.5");
    assert!(out.iter().any(asks), "{out:?}");
    let known = Held { tag: "12.5".into(), ..away(9, Some(9)) };
    side.handle(Input::Fetched { id: id(), tag: "12.5".into(), result: Ok(Some(known)) });
    side.pointer_moved();
    let out = side.subscribes(slot);
    assert_eq!(names(&out, slot), ["pusher_internal:subscription_succeeded", "pusher:ping"]);
}

#[test]
fn a_tab_is_handed_over_only_to_who_knows_its_tag() {
    let mut side = Side::new();
    let slot = side.live(9);
    side.delivers(9, 1);
    let mut ask = |tag: &str| {
        let mut out = Vec::new();
        let asked = TakeOver { version: VERSION, id: id(), tag: tag.into() };
        let now = side.now;
        (side.hub.hand_over(&asked, None, now, &mut out), out)
    };
    assert_eq!(ask("3.7").0, None);
    let (held, out) = ask("3.1");
    assert_eq!(held.unwrap().claims, [claim(9, Some(10), false)]);
    assert!(out.contains(&Output::LetGo { id: id() }), "{out:?}");
    assert!(out.iter().any(|output| matches!(output, Output::Close { slot: other, .. } if *other == slot)), "{out:?}");
    assert_eq!(ask("3.1").0, None);
}

#[test]
fn where_the_pointer_cannot_be_asked_the_client_comes_back() {
    let mut side = Side::new();
    let (slot, _) = side.comes(Some(away(5, Some(7))));
    // What an app may not do closes its clients for good, and this is none of that.
    let result = Err(Refusal::new(Code::Forbidden, "not now"));
    let out = side.handle(Input::Missed { channel: pointer(), from: Begin::Last(1), result });
    assert!(out.iter().any(|output| matches!(output, Output::Close { code: 4100, .. })), "{out:?}");
    let out = side.handle(Input::Left { slot });
    assert_eq!(held(&out).unwrap().0.claims, away(5, Some(7)).claims);
}

#[test]
fn what_does_not_fit_the_attachment_is_said_to_be_lost() {
    let name = |nth: usize| ChannelName::parse(&format!("{nth:x>164}")).unwrap();
    let claims = (0..100).map(|nth| Claim { channel: name(nth), ..claim(5, Some(7), false) }).collect();
    let mut side = Side::new();
    let (slot, _) = side.comes(Some(Held { tag: "3.9".into(), claims, ..Held::default() }));
    let session = side.hub.session(slot).unwrap();
    assert!(session.encode().len() <= limits::ATTACHMENT_BYTES);
    assert!(session.tab.as_ref().is_some_and(|tab| tab.lost && tab.claims.len() >= 25), "{session:?}");
}

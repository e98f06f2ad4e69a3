use super::{Hub, HubConnect, HubSession, Input, Output, Slot, Stage, Subscription, Want};
use crate::call::{Begin, Outcome, VERSION};
use crate::channel::ChannelName;
use crate::config::Config;
use crate::frame::Frame;
use crate::limits;
use crate::link::{Delivery, Receipt};
use crate::message::{Message, Payload};
use crate::position::{Epoch, Position};
use crate::refusal::{Code, Refusal};
use crate::room::Turn;
use crate::session::Format;
use crate::token::Grants;

mod readers;

const TURN: Turn = Turn { now: 1_763_760_000_000, random: 7 };

pub(super) fn hub() -> Hub {
    let apps = r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"hub_connections":3,
        "channels":[{"prefix":"","client_rate":2},{"prefix":"chat","publish":true,"message_bytes":20,"client_rate":2}]}]"#;
    Hub::wake(Config::parse(apps).unwrap().app(None).unwrap().clone())
}

fn name(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

pub(super) fn at(seq: u64) -> Position {
    Epoch::new(0x9f2c_41d0_7ab3).at(seq)
}

/// The answer to the call to follow that is on its way.
fn followed(hub: &mut Hub, channel: &str, result: Result<Position, Refusal>) -> Vec<Output> {
    let at = hub.channels.get(&name(channel)).and_then(|known| known.following).unwrap();
    handle(hub, Input::Followed { channel: name(channel), at, result })
}

pub(super) fn handle(hub: &mut Hub, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    hub.handle(input, TURN, &mut out);
    out
}

fn connect_as(hub: &mut Hub, format: Format, wants: Vec<Want>) -> (Slot, Vec<Output>) {
    let (user, expires_at, grants) = (None, None, Grants::default());
    let connect = HubConnect { version: VERSION, format, user, expires_at, grants, info: None, resume: None, wants };
    let connection = format!("c{}", hub.sessions.len());
    let mut out = handle(hub, Input::Connect { connect, connection, held: None });
    match out.remove(0) {
        Output::Accept { slot, .. } => (slot, out),
        other => panic!("{other:?}"),
    }
}

fn connect(hub: &mut Hub) -> Slot {
    connect_as(hub, Format::Many, Vec::new()).0
}

fn says(hub: &mut Hub, slot: Slot, text: &str) -> Vec<Output> {
    handle(hub, Input::Frame { slot, frame: Frame::Text(text.into()) })
}

/// A socket that is live in a channel.
pub(super) fn live(hub: &mut Hub, channel: &str, have: u64) -> Slot {
    let slot = connect(hub);
    says(hub, slot, &format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#));
    followed(hub, channel, Ok(at(have)));
    slot
}

pub(super) fn delivery(channel: &str, after: u64, count: u64) -> Delivery {
    let message = |nth: u64| Message::new(None, Payload::Json(format!("{nth}")), None);
    let messages = (after + 1..=after + count).map(message).collect();
    Delivery { channel: name(channel), after: at(after), messages, gap: None, members: None, count: None }
}

fn deliver(hub: &mut Hub, delivery: Delivery) -> (Receipt, Vec<Output>) {
    let mut out = handle(hub, Input::Deliver { ticket: 1, delivery });
    let place = out.iter().position(|output| matches!(output, Output::Receipt { .. })).unwrap();
    match out.remove(place) {
        Output::Receipt { receipt, .. } => (receipt, out),
        other => panic!("{other:?}"),
    }
}

/// What a socket was sent.
fn sent(outputs: &[Output], to: Slot) -> Vec<String> {
    let frames = outputs.iter().filter_map(|output| match output {
        Output::Send { slots, frames } if slots.contains(&to) => Some(frames),
        _ => None,
    });
    let text = |frame: &Frame| match frame {
        Frame::Text(text) => text.clone(),
        Frame::Binary(bytes) => format!("{bytes:?}"),
    };
    frames.flat_map(|frames| frames.iter().map(text)).collect()
}

pub(super) fn positions(outputs: &[Output], to: Slot) -> Vec<u64> {
    let seq = |text: String| text.split_once(r#""position":"9f2c41d07ab3:"#)?.1.split('"').next()?.parse().ok();
    sent(outputs, to).into_iter().filter_map(seq).collect()
}

#[test]
fn the_first_who_wants_a_channel_makes_the_hub_follow_and_nobody_else() {
    let mut hub = hub();
    let (one, other) = (connect(&mut hub), connect(&mut hub));
    let out = says(&mut hub, one, r#"{"type":"subscribe","channel":"a"}"#);
    assert!(matches!(out.as_slice(), [Output::Remember { .. }, Output::Follow { .. }]), "{out:?}");
    let out = says(&mut hub, other, r#"{"type":"subscribe","channel":"a"}"#);
    assert!(matches!(out.as_slice(), [Output::Remember { .. }]), "{out:?}");
    let out = followed(&mut hub, "a", Ok(at(7)));
    for slot in [one, other] {
        assert_eq!(sent(&out, slot), [r#"{"type":"subscribed","channel":"a","position":"9f2c41d07ab3:7"}"#]);
    }
    let third = connect(&mut hub);
    let out = says(&mut hub, third, r#"{"type":"subscribe","channel":"a","position":"9f2c41d07ab3:7"}"#);
    assert!(matches!(out.as_slice(), [Output::Remember { .. }, Output::Send { .. }]), "{out:?}");
    assert!(sent(&out, third)[0].contains(r#""resumed":true"#));
}

#[test]
fn a_delivery_is_sent_once_whatever_comes_of_it_before() {
    let mut hub = hub();
    let slot = live(&mut hub, "a", 7);
    let (receipt, out) = deliver(&mut hub, delivery("a", 7, 2));
    assert_eq!((receipt.have, positions(&out, slot)), (Some(at(9)), vec![8, 9]));
    let (receipt, out) = deliver(&mut hub, delivery("a", 6, 4));
    assert_eq!((receipt.have, positions(&out, slot)), (Some(at(10)), vec![10]));
    let (receipt, out) = deliver(&mut hub, delivery("a", 11, 1));
    assert_eq!((receipt.have, out.len()), (Some(at(10)), 0), "{out:?}");
    let (receipt, _) = deliver(&mut hub, delivery("b", 1, 1));
    assert_eq!(receipt, Receipt::UNWANTED);
}

/// A delivery in which every message is kept from somebody, or from nobody.
fn kept_from(channel: &str, after: u64, except: &[Option<&str>]) -> Delivery {
    let mut delivery = delivery(channel, after, except.len() as u64);
    for (message, except) in delivery.messages.iter_mut().zip(except) {
        message.except = except.map(str::to_owned);
    }
    Delivery::decode(&delivery.encode()).unwrap()
}

#[test]
fn a_message_is_kept_from_one_connection_whatever_the_others_speak() {
    let mut hub = hub();
    let one = live(&mut hub, "a", 7);
    let other = connect(&mut hub);
    says(&mut hub, other, r#"{"type":"subscribe","channel":"a"}"#);
    let want = Want { channel: name("a"), from: None, may_publish: false, data: None };
    let (stream, _) = connect_as(&mut hub, Format::ManyStream, vec![want]);
    let except = [None, Some("c0"), Some("c1"), Some("somewhere-else"), Some("c0"), None];
    let (receipt, out) = deliver(&mut hub, kept_from("a", 7, &except));
    assert_eq!((receipt.have, positions(&out, one)), (Some(at(13)), vec![8, 10, 11, 13]));
    assert_eq!(positions(&out, other), [8, 9, 11, 12, 13]);
    assert_eq!(sent(&out, stream).len(), 6);
    // It goes on where everybody is.
    let (_, out) = deliver(&mut hub, kept_from("a", 13, &[Some("c1")]));
    assert_eq!((positions(&out, one), positions(&out, other)), (vec![14], Vec::new()));
    let (_, out) = deliver(&mut hub, kept_from("a", 14, &[None]));
    assert_eq!((positions(&out, one), positions(&out, other)), (vec![15], vec![15]));
}

#[test]
fn a_message_is_kept_from_who_catches_up_too() {
    let mut hub = hub();
    live(&mut hub, "a", 12);
    let late = connect(&mut hub);
    says(&mut hub, late, r#"{"type":"subscribe","channel":"a","position":"9f2c41d07ab3:8"}"#);
    let from = Begin::After(at(8));
    let missed = kept_from("a", 8, &[Some("c1"), None, Some("c0"), Some("c1")]);
    let out = handle(&mut hub, Input::Missed { channel: name("a"), from, result: Ok(missed.clone()) });
    assert_eq!(positions(&out[1..], late), [10, 11], "{out:?}");
    // Whoever waits for the same gets what is for it.
    let (one, two) = (connect(&mut hub), "9f2c41d07ab3:8");
    says(&mut hub, one, &format!(r#"{{"type":"subscribe","channel":"a","position":"{two}"}}"#));
    let out = handle(&mut hub, Input::Missed { channel: name("a"), from, result: Ok(missed) });
    assert_eq!(positions(&out[1..], one), [9, 10, 11, 12], "{out:?}");
    let (_, out) = deliver(&mut hub, kept_from("a", 12, &[Some("c1"), None]));
    assert_eq!((positions(&out, late), positions(&out, one)), (vec![14], vec![13, 14]));
}

#[test]
fn the_attachment_of_one_socket_says_what_the_hub_has() {
    let mut hub = hub();
    let (one, other) = (live(&mut hub, "a", 7), connect(&mut hub));
    says(&mut hub, other, r#"{"type":"subscribe","channel":"a"}"#);
    let (_, out) = deliver(&mut hub, delivery("a", 7, 2));
    let kept = out.iter().filter_map(|output| match output {
        Output::Remember { slot, session } => Some((*slot, session.subscriptions[0].stage)),
        _ => None,
    });
    assert_eq!(kept.collect::<Vec<_>>(), [(one, Stage::Live(at(9)))]);
    let sessions: Vec<HubSession> = [other, one].iter().map(|slot| hub.session(*slot).unwrap().clone()).collect();
    // Asleep and awake again, in whatever order its sockets are found.
    for order in [sessions.clone(), sessions.into_iter().rev().collect()] {
        let mut woken = super::tests::hub();
        for session in order {
            woken.restore(HubSession::decode(&session.encode()).unwrap());
        }
        let (receipt, out) = deliver(&mut woken, delivery("a", 8, 2));
        assert_eq!((receipt.have, positions(&out, 0), positions(&out, 1)), (Some(at(10)), vec![10], vec![10]));
    }
    let out = handle(&mut hub, Input::Left { slot: one });
    let handed_on = |output: &Output| matches!(output, Output::Remember { slot, session } if *slot == other && session.subscriptions[0].stage == Stage::Live(at(9)));
    assert!(out.iter().any(handed_on), "{out:?}");
}

#[test]
fn who_missed_something_gets_it_and_goes_on_where_the_hub_is() {
    let mut hub = hub();
    live(&mut hub, "a", 9);
    let late = connect(&mut hub);
    let from = Begin::After(at(5));
    let out = says(&mut hub, late, r#"{"type":"subscribe","channel":"a","position":"9f2c41d07ab3:5"}"#);
    assert!(out.contains(&Output::Missed { channel: name("a"), from }), "{out:?}");
    // The Room is further than the Hub: the tenth will be delivered to everyone.
    let (_, out) = deliver(&mut hub, delivery("a", 9, 0));
    assert_eq!(positions(&out, late), [0; 0]);
    let out = handle(&mut hub, Input::Missed { channel: name("a"), from, result: Ok(delivery("a", 5, 5)) });
    assert_eq!(positions(&out, late), [5, 6, 7, 8, 9]);
    let (_, out) = deliver(&mut hub, delivery("a", 9, 1));
    assert_eq!(positions(&out, late), [10]);
}

#[test]
fn what_the_room_cannot_give_is_a_gap_for_all() {
    let mut hub = hub();
    let slot = live(&mut hub, "a", 7);
    let gap = Some(crate::frame::Gap { after: at(7), position: at(20), reason: crate::frame::GapReason::Expired });
    let (receipt, out) = deliver(&mut hub, Delivery { gap, ..delivery("a", 20, 1) });
    assert_eq!(receipt.have, Some(at(21)));
    assert_eq!(
        sent(&out, slot)[0],
        r#"{"type":"gap","channel":"a","after":"9f2c41d07ab3:7","position":"9f2c41d07ab3:20","reason":"expired"}"#
    );
    assert_eq!(positions(&out, slot), [20, 21]);
}

#[test]
fn a_new_epoch_begins_with_the_rooms_own_words() {
    let mut hub = hub();
    let slot = live(&mut hub, "a", 7);
    let new = |seq| Epoch::new(1).at(seq);
    let (receipt, out) = deliver(&mut hub, Delivery { after: new(0), ..delivery("a", 0, 1) });
    assert_eq!(receipt, Receipt { wanted: true, have: None, members: None, reporting: false, tally: None });
    assert!(out.iter().any(|output| matches!(output, Output::Follow { .. })), "{out:?}");
    let out = followed(&mut hub, "a", Ok(new(1)));
    let from = Begin::After(at(7));
    assert!(out.contains(&Output::Missed { channel: name("a"), from }), "{out:?}");
    let gap = Some(crate::frame::Gap { after: at(7), position: new(0), reason: crate::frame::GapReason::Lost });
    let result = Ok(Delivery { after: new(0), gap, ..delivery("a", 0, 1) });
    let out = handle(&mut hub, Input::Missed { channel: name("a"), from, result });
    assert!(sent(&out, slot)[0].contains(r#""reason":"lost""#));
    assert!(sent(&out, slot)[1].contains(r#""position":"000000000001:1""#));
}

#[test]
fn what_one_may_not_have_is_refused_before_anything_is_asked() {
    let mut hub = hub();
    let slot = connect(&mut hub);
    let long = format!(r#"{{"type":"subscribe","channel":"{}"}}"#, "x".repeat(165));
    for (text, code) in [
        (r#"{"type":"subscribe","channel":"private-a"}"#, "unauthorized"),
        (r#"{"type":"subscribe","channel":"presence-a"}"#, "unauthorized"),
        (r#"{"type":"subscribe","channel":"private-a","token":"a.b.c"}"#, "unauthorized"),
        (r#"{"type":"publish","channel":"chat","data":1}"#, "forbidden"),
        (r#"{"type":"history","channel":"a"}"#, "invalid_field"),
        (&long, "invalid_channel"),
        ("{", "invalid_json"),
    ] {
        let out = says(&mut hub, slot, text);
        assert!(matches!(out.as_slice(), [Output::Send { .. }]), "{text}: {out:?}");
        assert!(sent(&out, slot)[0].contains(&format!(r#""code":"{code}""#)), "{text}: {out:?}");
    }
    says(&mut hub, slot, r#"{"type":"subscribe","channel":"a"}"#);
    let out = says(&mut hub, slot, r#"{"type":"subscribe","channel":"a"}"#);
    assert!(sent(&out, slot)[0].contains(r#""code":"invalid_field""#), "twice: {out:?}");
}

#[test]
fn a_connection_has_so_many_channels_as_fit() {
    let (mut short, mut long) = (hub(), hub());
    let count = |hub: &mut Hub, name: &dyn Fn(usize) -> String| {
        let slot = connect(hub);
        let refused = (0..=limits::SUBSCRIPTIONS_MAX).position(|nth| {
            let out = says(hub, slot, &format!(r#"{{"type":"subscribe","channel":"{}"}}"#, name(nth)));
            sent(&out, slot).first().is_some_and(|text| text.contains("too_large"))
        });
        (refused, hub.session(slot).unwrap().encode().len())
    };
    assert_eq!(count(&mut short, &|nth| format!("channel-{nth}")).0, Some(limits::SUBSCRIPTIONS_MAX));
    let (refused, bytes) = count(&mut long, &|nth| format!("{nth:0>164}"));
    assert!(refused.is_some_and(|refused| (70..100).contains(&refused)), "{refused:?}");
    assert!(bytes <= limits::ATTACHMENT_BYTES, "{bytes}");
}

#[test]
fn a_full_hub_refuses_and_has_room_again() {
    let mut hub = hub();
    let slots: Vec<Slot> = (0..3).map(|_| connect(&mut hub)).collect();
    let (user, expires_at, grants, wants) = (None, None, Grants::default(), Vec::new());
    let connect_frame = HubConnect {
        version: VERSION,
        format: Format::Many,
        user,
        expires_at,
        grants,
        info: None,
        resume: None,
        wants,
    };
    let out = handle(&mut hub, Input::Connect { connect: connect_frame, connection: "d".into(), held: None });
    assert!(matches!(out.as_slice(), [Output::Refuse(refusal)] if refusal.code == Code::Full), "{out:?}");
    handle(&mut hub, Input::Left { slot: slots[1] });
    assert!(hub.check_room(2).is_ok() && hub.check_room(3).is_err_and(|refusal| refusal.code == Code::Full));
    assert_eq!(connect(&mut hub), slots[1]);
}

#[test]
fn a_connection_of_one_channel_hears_what_it_would_in_the_room() {
    let mut hub = hub();
    let want = Want { channel: name("chat"), from: None, may_publish: true, data: None };
    let (json, out) = connect_as(&mut hub, Format::Json, vec![want.clone()]);
    assert_eq!(sent(&out, json), [""; 0]);
    let (raw, _) = connect_as(&mut hub, Format::Raw, vec![want]);
    let out = followed(&mut hub, "chat", Ok(at(7)));
    assert_eq!(
        sent(&out, json),
        [r#"{"type":"welcome","connection":"c0","channel":"chat","position":"9f2c41d07ab3:7"}"#]
    );
    assert_eq!(sent(&out, raw), [""; 0]);
    let (_, out) = deliver(&mut hub, delivery("chat", 7, 1));
    assert_eq!(sent(&out, json), [r#"{"type":"message","channel":"chat","position":"9f2c41d07ab3:8","data":8}"#]);
    assert_eq!(sent(&out, raw), ["8"]);
    let out = says(&mut hub, json, r#"{"type":"publish","data":1,"id":"7"}"#);
    assert!(matches!(out.as_slice(), [Output::Publish { .. }]), "{out:?}");
    let result = Ok(vec![Outcome::Stored { position: at(9), duplicate: false }]);
    let out = handle(&mut hub, Input::Published { channel: name("chat"), result });
    assert_eq!(sent(&out, json), [r#"{"type":"ack","id":"7","position":"9f2c41d07ab3:9"}"#]);
    let out = says(&mut hub, raw, &"x".repeat(21));
    assert!(matches!(out.last(), Some(Output::Close { code: 1009, .. })), "{out:?}");
}

#[test]
fn publishes_keep_their_order_and_share_the_next_call() {
    let mut hub = hub();
    let slot = live(&mut hub, "chat", 0);
    let publish = |nth: u32| format!(r#"{{"type":"publish","channel":"chat","data":{nth},"id":"{nth}"}}"#);
    let calls = |out: &[Output]| -> Vec<usize> {
        let calls = out.iter().filter_map(|output| match output {
            Output::Publish { messages, .. } => Some(messages.len()),
            _ => None,
        });
        calls.collect()
    };
    assert_eq!(calls(&says(&mut hub, slot, &publish(1))), [1]);
    assert_eq!(calls(&says(&mut hub, slot, &publish(2))), [0; 0]);
    assert_eq!(calls(&says(&mut hub, slot, &publish(3))), [0; 0]);
    let stored = |seq| Outcome::Stored { position: at(seq), duplicate: false };
    let out = handle(&mut hub, Input::Published { channel: name("chat"), result: Ok(vec![stored(1)]) });
    assert_eq!((calls(&out), sent(&out, slot).len()), (vec![2], 1));
    let refusal = Refusal::new(Code::Overloaded, "later");
    let out = handle(&mut hub, Input::Published { channel: name("chat"), result: Err(refusal) });
    let told = sent(&out, slot);
    assert!(told[0].contains(r#""id":"2","code":"overloaded""#) && told[1].contains(r#""id":"3""#), "{told:?}");
    says(&mut hub, slot, &publish(4));
    let out = says(&mut hub, slot, &publish(5));
    let expected = r#"{"type":"error","channel":"chat","id":"5","code":"rate_limited","message":"2 publishes per second; this one is not published"}"#;
    assert_eq!(sent(&out, slot), [expected], "two a second, four at once");
    let again = says(&mut hub, slot, &publish(6));
    assert!(sent(&again, slot)[0].contains(r#""id":"6","code":"rate_limited""#), "each of them: {again:?}");
}

#[test]
fn a_stream_of_many_says_where_it_is_in_all_of_them() {
    let mut hub = hub();
    let want =
        |channel| Want { channel: name(channel), from: Some(Begin::After(at(3))), may_publish: false, data: None };
    let (slot, _) = connect_as(&mut hub, Format::ManyStream, vec![want("a"), want("b")]);
    followed(&mut hub, "a", Ok(at(3)));
    let (_, out) = deliver(&mut hub, delivery("a", 3, 1));
    let expected = "id: a=9f2c41d07ab3:4,b=9f2c41d07ab3:3\ndata: {\"type\":\"message\",\"channel\":\"a\"";
    assert!(sent(&out, slot)[0].starts_with(expected), "{out:?}");
}

#[test]
fn what_nobody_wants_is_followed_a_little_longer() {
    let mut hub = hub();
    let slot = live(&mut hub, "a", 7);
    handle(&mut hub, Input::Left { slot });
    assert!(deliver(&mut hub, delivery("a", 7, 1)).0.wanted);
    let mut out = Vec::new();
    hub.handle(Input::Alarm { kept: Vec::new() }, Turn { now: TURN.now + limits::UNFOLLOW_MS, ..TURN }, &mut out);
    assert!(out.iter().any(|output| matches!(output, Output::Unfollow { .. })), "{out:?}");
    assert!(!deliver(&mut hub, delivery("a", 8, 1)).0.wanted);
}

/// The alarm rings so much later.
fn rings(hub: &mut Hub, later: u64) -> Vec<Output> {
    let mut out = Vec::new();
    hub.handle(Input::Alarm { kept: Vec::new() }, Turn { now: TURN.now + later, ..TURN }, &mut out);
    out
}

#[test]
fn what_nobody_wants_and_waits_for_an_answer_sets_no_alarm_until_that_has_come() {
    let has_alarm = |out: &[Output]| out.iter().any(|output| matches!(output, Output::WakeAt(_)));
    let ends = |out: &[Output]| out.iter().any(|output| matches!(output, Output::Unfollow { .. }));
    let mut hub = hub();
    let slot = live(&mut hub, "chat", 7);
    says(&mut hub, slot, r#"{"type":"publish","channel":"chat","data":1}"#);
    handle(&mut hub, Input::Left { slot });
    for later in [limits::UNFOLLOW_MS, limits::UNFOLLOW_MS + 1000] {
        let out = rings(&mut hub, later);
        assert!(!has_alarm(&out) && !ends(&out), "{out:?}");
    }
    let refusal = Refusal::new(Code::Overloaded, "later");
    let out = handle(&mut hub, Input::Published { channel: name("chat"), result: Err(refusal) });
    assert!(has_alarm(&out), "{out:?}");
    assert!(ends(&rings(&mut hub, limits::UNFOLLOW_MS + 2000)));

    let slot = connect(&mut hub);
    says(&mut hub, slot, r#"{"type":"subscribe","channel":"a"}"#);
    handle(&mut hub, Input::Left { slot });
    let out = rings(&mut hub, limits::UNFOLLOW_MS + 3000);
    assert!(!has_alarm(&out) && !ends(&out), "{out:?}");
    assert!(has_alarm(&followed(&mut hub, "a", Ok(at(1)))));
    assert!(ends(&rings(&mut hub, limits::UNFOLLOW_MS + 4000)));
}

#[test]
fn a_token_ends_its_connection_and_a_failed_call_only_the_subscription() {
    let mut hub = hub();
    let (user, grants, wants) = (None, Grants::default(), Vec::new());
    let expires_at = Some(TURN.now + 1000);
    let connect = HubConnect {
        version: VERSION,
        format: Format::Many,
        user,
        expires_at,
        grants,
        info: None,
        resume: None,
        wants,
    };
    let out = handle(&mut hub, Input::Connect { connect, connection: "c".into(), held: None });
    assert!(out.contains(&Output::WakeAt(TURN.now + 1000)), "{out:?}");
    says(&mut hub, 0, r#"{"type":"subscribe","channel":"a"}"#);
    let refusal = Refusal::new(Code::Overloaded, "later");
    let out = followed(&mut hub, "a", Err(refusal));
    assert_eq!(sent(&out, 0), [r#"{"type":"error","channel":"a","code":"overloaded","message":"later"}"#]);
    assert_eq!(hub.session(0).unwrap().subscriptions, [] as [Subscription; 0]);
    let mut out = Vec::new();
    hub.handle(Input::Alarm { kept: Vec::new() }, Turn { now: TURN.now + 1000, ..TURN }, &mut out);
    assert!(out.iter().any(|output| matches!(output, Output::Close { code: 4401, .. })), "{out:?}");
}

#[test]
fn what_waits_to_be_asked_is_bounded() {
    let mut hub = hub();
    live(&mut hub, "a", 1);
    let ask = |hub: &mut Hub, seq: usize| {
        hub.ask(&name("a"), Begin::After(at(seq as u64 + 10)), super::channel::Reader::History(9, String::new()));
    };
    (0..limits::HUB_CALLS_MAX).for_each(|seq| ask(&mut hub, seq));
    let slot = connect(&mut hub);
    let under_way = limits::HUB_CALLS_AT_ONCE;
    assert!(hub.calls.check().is_ok(), "so many have been started");
    (0..under_way).for_each(|seq| ask(&mut hub, limits::HUB_CALLS_MAX + seq));
    let out = says(&mut hub, slot, r#"{"type":"subscribe","channel":"b"}"#);
    assert!(sent(&out, slot)[0].contains("overloaded"), "{out:?}");
}

#[test]
fn what_was_set_before_the_alarm_was_known_stands_if_it_is_earlier() {
    let (mut hub, mut out) = (hub(), Vec::new());
    hub.wake_at(3, &mut out);
    hub.armed(Some(3_600));
    hub.wake_at(600, &mut out);
    assert_eq!((hub.armed, out.len()), (Some(3), 1), "{out:?}");
    hub.armed(Some(2));
    assert_eq!(hub.armed, Some(2));
}

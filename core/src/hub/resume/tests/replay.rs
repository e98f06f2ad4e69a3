use super::{Side, away, claim, events, held, names, news};
use crate::call::Begin;
use crate::channel::ChannelName;
use crate::config::Config;
use crate::hub::tests::{at, delivery};
use crate::hub::{Hub, Input, Output, Slot};
use crate::limits;
use crate::link::Delivery;
use crate::message::{Message, Payload};
use crate::resume::{Held, ResumeId};

const WINDOW: u64 = limits::RESUME_WINDOW_MESSAGES;

/// The messages that a socket hears.
fn messages(out: &[Output], to: Slot) -> Vec<u64> {
    let messages = events(out, to).into_iter().filter(|(name, _)| name == "message");
    messages.map(|(_, data)| data.parse().unwrap()).collect()
}

/// Where the Room is asked from.
fn asks(out: &[Output]) -> Vec<Begin> {
    let from = |output: &Output| match output {
        Output::Missed { channel, from } if *channel == news() => Some(*from),
        _ => None,
    };
    out.iter().filter_map(from).collect()
}

fn gaps(out: &[Output], to: Slot) -> usize {
    names(out, to).iter().filter(|name| *name == "dormouse:gap").count()
}

/// What is kept of it when its socket has gone.
fn kept(side: &mut Side, slot: Slot) -> Held {
    let out = side.handle(Input::Left { slot });
    held(&out).unwrap().0.clone()
}

impl Side {
    /// The Room answers with all that there is up to `head`.
    fn replays(&mut self, after: u64, head: u64) -> Vec<Output> {
        self.missed(Begin::After(at(after)), delivery("news", after, head - after))
    }
}

#[test]
fn the_next_window_is_asked_for_when_the_one_before_is_acknowledged() {
    let mut side = Side::new();
    side.is_at(307);
    let (slot, out) = side.back(away(7, Some(7)));
    assert_eq!(asks(&out), [Begin::After(at(7))]);
    let mut has = 7;
    while has + WINDOW < 307 {
        let out = side.replays(has, 307);
        assert_eq!(messages(&out, slot), (has + 1..=has + WINDOW).collect::<Vec<u64>>());
        // At once, though the last one was not 200 ms ago.
        assert_eq!(names(&out, slot).last().map(String::as_str), Some("pusher:ping"), "{has}");
        assert_eq!(asks(&out), []);
        side.now += 20;
        has += WINDOW;
        assert_eq!(asks(&side.pongs(slot)), [Begin::After(at(has))]);
    }
    let out = side.replays(has, 307);
    assert_eq!((messages(&out, slot), asks(&out)), ((has + 1..=307).collect(), Vec::new()));
    // It is live.
    assert_eq!(messages(&side.delivers(307, 1), slot), [308]);
}

#[test]
fn a_cut_makes_one_window_uncertain() {
    let mut side = Side::new();
    side.is_at(307);
    let (slot, _) = side.back(away(7, Some(7)));
    side.replays(7, 307);
    side.pongs(slot);
    side.replays(7 + WINDOW, 307);
    // What comes meanwhile asks for nothing, and is for later.
    let out = side.delivers(307, 1);
    assert_eq!((messages(&out, slot), asks(&out)), (Vec::new(), Vec::new()));
    assert_eq!(kept(&mut side, slot).claims, [claim(7 + WINDOW, Some(7 + 2 * WINDOW), false)]);
}

#[test]
fn what_is_uncertain_does_not_grow_with_each_cut() {
    let mut side = Side::new();
    side.is_at(307);
    let mut known = away(7, Some(17));
    for sent in [7 + WINDOW, 7 + WINDOW, 7 + WINDOW] {
        let from = known.claims[0].sent.unwrap().seq;
        let (slot, _) = side.back(known);
        let out = side.replays(from, 307);
        assert_eq!((gaps(&out, slot), messages(&out, slot)), (1, (from + 1..=sent).collect()));
        known = kept(&mut side, slot);
        assert_eq!(known.claims, [claim(7, Some(sent), false)]);
    }
    // Who hears of the gap and says so goes on.
    let (slot, _) = side.back(known);
    let out = side.replays(7 + WINDOW, 307);
    assert_eq!((gaps(&out, slot), asks(&out)), (1, Vec::new()));
    assert_eq!(asks(&side.pongs(slot)), [Begin::After(at(7 + WINDOW))]);
    assert_eq!(messages(&side.replays(7 + WINDOW, 307), slot).len() as u64, WINDOW);
}

#[test]
fn a_window_has_its_bytes() {
    let mut side = Side::new();
    side.is_at(27);
    let (slot, _) = side.back(away(7, Some(7)));
    let message = || Message::new(None, Payload::Json("1".repeat(10_000)), None);
    let large = Delivery { messages: (0..20).map(|_| message()).collect(), ..delivery("news", 7, 0) };
    let out = side.missed(Begin::After(at(7)), large);
    assert_eq!(messages_sent(&out, slot), 7);
    // One that is larger than that comes by itself.
    assert_eq!(asks(&side.pongs(slot)), [Begin::After(at(14))]);
    let message = Message::new(None, Payload::Json("1".repeat(2 * limits::RESUME_WINDOW_BYTES)), None);
    let huge = Delivery { messages: vec![message.clone(), message], ..delivery("news", 14, 0) };
    let out = side.missed(Begin::After(at(14)), huge);
    assert_eq!(messages_sent(&out, slot), 1);
}

fn messages_sent(out: &[Output], to: Slot) -> usize {
    names(out, to).iter().filter(|name| *name == "message").count()
}

#[test]
fn a_sleep_in_the_middle_changes_nothing() {
    let mut side = Side::new();
    side.is_at(307);
    let (slot, _) = side.back(away(7, Some(7)));
    side.replays(7, 307);
    side.sleeps();
    // The answer to a ping before the sleep says nothing.
    let out = side.pongs(slot);
    assert_eq!((asks(&out), names(&out, slot)), (Vec::new(), vec!["pusher:ping".to_owned()]));
    side.sleeps();
    side.pongs(slot);
    assert_eq!(asks(&side.pongs(slot)), [Begin::After(at(7 + WINDOW))]);
    let out = side.replays(7 + WINDOW, 307);
    assert_eq!(messages(&out, slot).first(), Some(&(8 + WINDOW)));
}

#[test]
fn who_does_not_answer_gets_no_other_window_until_it_does() {
    let mut side = Side::new();
    side.is_at(307);
    let (slot, _) = side.back(away(7, Some(7)));
    side.replays(7, 307);
    for seq in 307..327 {
        side.now += 1_000;
        let out = side.delivers(seq, 1);
        assert_eq!((names(&out, slot), asks(&out)), (Vec::new(), Vec::new()));
    }
    assert_eq!(asks(&side.pongs(slot)), [Begin::After(at(7 + WINDOW))]);
}

#[test]
fn who_does_not_resume_gets_all_at_once() {
    let mut side = Side::new();
    side.is_at(7);
    let (slot, _) = side.back(away(7, Some(7)));
    side.pongs(slot);
    // The Hub hears late that the Room is further.
    side.now += limits::HUB_REVIEW_MS;
    side.handle(Input::Alarm { kept: Vec::new() });
    let out = side.followed(107);
    assert_eq!(asks(&out), [Begin::After(at(7))]);
    let out = side.replays(7, 107);
    assert_eq!((messages(&out, 0).len(), messages(&out, slot).len() as u64), (100, WINDOW));
}

#[test]
fn many_that_catch_up_take_turns_and_get_more_at_a_time() {
    const TABS: u64 = 300;
    let apps = r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"]}]"#;
    let mut side = Side::new();
    side.hub = Hub::wake(Config::parse(apps).unwrap().app(None).unwrap().clone());
    side.is_at(1_007);
    let ids: Vec<ResumeId> = (0..TABS).map(|nth| ResumeId::parse(&format!("tab-{nth:0>16}")).unwrap()).collect();
    for id in &ids {
        let (slot, _) = side.comes_as(Some(id.clone()), Some(away(7, Some(7))));
        side.settles(id);
        side.subscribes(slot);
    }
    let out = side.replays(7, 1_007);
    // The pause between two pings of one tab is 600 ms here, three times as long as with few.
    assert_eq!(messages(&out, 1).len() as u64, 3 * WINDOW);
    let pinged = |out: &[Output]| {
        let sent = out.iter().map(|output| match output {
            Output::Send { slots, frames } if frames.iter().any(|frame| format!("{frame:?}").contains("ping")) => {
                slots.len()
            }
            _ => 0,
        });
        sent.sum::<usize>()
    };
    for slot in 1..=300 {
        side.pongs(slot);
    }
    let mut at_once = pinged(&side.replays(7 + 3 * WINDOW, 1_007));
    for _ in 0..100 {
        side.now += 1;
        at_once += pinged(&side.looks());
    }
    assert_eq!(at_once, 26);
    side.now += 500;
    assert_eq!(at_once + pinged(&side.looks()), 300);
}

impl Side {
    /// The pointer of a tab means its row.
    fn settles(&mut self, id: &ResumeId) {
        let channel = ChannelName::pointer(id);
        let message = Message::new(None, Payload::Json("\"3.9\"".to_owned()), None);
        let result = Ok(Delivery {
            channel: channel.clone(),
            after: at(4),
            messages: vec![message],
            gap: None,
            members: None,
            count: None,
        });
        self.handle(Input::Missed { channel, from: Begin::Last(1), result });
    }
}

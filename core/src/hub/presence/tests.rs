use crate::call::{Begin, VERSION};
use crate::channel::ChannelName;
use crate::config::Config;
use crate::frame::Frame;
use crate::hub::{Hub, HubConnect, HubSession, Input, Output, Slot, Want};
use crate::limits;
use crate::link::{Delivery, Receipt};
use crate::position::{Epoch, Position};
use crate::presence::{Changes, Joined, Left, Member, MemberData, Report};
use crate::refusal::{Code, Refusal};
use crate::room::Turn;
use crate::session::Format;
use crate::token::Grants;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::BTreeMap;

const NOW: u64 = 1_763_760_000_000;

fn room() -> ChannelName {
    ChannelName::parse("presence-a").unwrap()
}

fn at(seq: u64) -> Position {
    Epoch::new(7).at(seq)
}

/// A Hub with its sockets and its rows, and what it has asked of the Room.
struct Side {
    hub: Hub,
    now: u64,
    /// Whether it sleeps whenever it may.
    sleepy: bool,
    sleeps: u32,
    attachments: BTreeMap<String, (Slot, String)>,
    rows: BTreeMap<ChannelName, bool>,
    armed: Option<u64>,
    calls: Vec<Output>,
    /// What each was told since it was last asked, and who was closed.
    heard: BTreeMap<String, Vec<String>>,
    closed: Vec<String>,
    /// Rows that were written or deleted; attachments that were written.
    written: u32,
    remembered: u32,
}

fn fresh() -> Hub {
    let apps = r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"]}]"#;
    Hub::wake(Config::parse(apps).unwrap().app(None).unwrap().clone())
}

impl Side {
    fn new(sleepy: bool) -> Self {
        let mut side = Self {
            hub: fresh(),
            now: NOW,
            sleepy,
            sleeps: 0,
            attachments: BTreeMap::new(),
            rows: BTreeMap::new(),
            armed: None,
            calls: Vec::new(),
            heard: BTreeMap::new(),
            closed: Vec::new(),
            written: 0,
            remembered: 0,
        };
        side.wakes(false);
        side
    }

    fn kept(&self) -> Vec<(ChannelName, bool)> {
        self.rows.iter().map(|(channel, marked)| (channel.clone(), *marked)).collect()
    }

    fn wakes(&mut self, trapped: bool) {
        self.hub = fresh();
        self.hub.armed(self.armed);
        self.calls.clear();
        for (slot, text) in self.attachments.values_mut() {
            *slot = self.hub.restore(HubSession::decode(text).unwrap());
        }
        let lost = (trapped || self.attachments.is_empty()).then(|| self.kept());
        let mut out = Vec::new();
        self.hub.restored(lost, Turn { now: self.now, random: 7 }, &mut out);
        self.performs(out, None);
    }

    fn drive(&mut self, input: Input) {
        let connection = match &input {
            Input::Connect { connection, .. } => Some(connection.clone()),
            _ => None,
        };
        let mut out = Vec::new();
        self.hub.handle(input, Turn { now: self.now, random: 7 }, &mut out);
        self.performs(out, connection);
        if self.sleepy && self.calls.is_empty() {
            self.sleeps += 1;
            self.wakes(false);
        }
    }

    fn performs(&mut self, out: Vec<Output>, arriving: Option<String>) {
        let mut arriving = arriving;
        for output in out {
            match output {
                Output::Accept { slot, session } => {
                    self.attachments.insert(arriving.take().unwrap(), (slot, session.encode()));
                }
                Output::Send { slots, frames } => {
                    for slot in slots {
                        let texts = frames.iter().map(|frame| match frame {
                            Frame::Text(text) => text.clone(),
                            Frame::Binary(bytes) => format!("{bytes:?}"),
                        });
                        self.heard.entry(self.who(slot)).or_default().extend(texts);
                    }
                }
                Output::Remember { slot, session } => {
                    self.remembered += 1;
                    let who = self.who(slot);
                    self.attachments.insert(who, (slot, session.encode()));
                }
                Output::Close { slot, .. } => self.closed.push(self.who(slot)),
                Output::WakeAt(at) => self.armed = Some(at),
                Output::Receipt { .. } | Output::CloseSlow { .. } => {}
                Output::Keep { channel } => {
                    self.written += u32::from(!self.rows.contains_key(&channel));
                    self.rows.entry(channel).or_insert(false);
                }
                Output::Doubt { channel } => {
                    self.written += 1;
                    self.rows.insert(channel, true);
                }
                Output::Trust { channel } => {
                    self.written += u32::from(self.rows.get(&channel) == Some(&true));
                    self.rows.entry(channel).and_modify(|marked| *marked = false);
                }
                Output::Drop { channel } => {
                    if self.rows.get(&channel) == Some(&false) {
                        self.written += 1;
                        self.rows.remove(&channel);
                    }
                }
                call => self.calls.push(call),
            }
        }
    }

    fn who(&self, slot: Slot) -> String {
        self.attachments.iter().find(|(_, (other, _))| *other == slot).map(|(who, _)| who.clone()).unwrap()
    }

    fn slot(&self, who: &str) -> Slot {
        self.attachments[who].0
    }

    fn connects(&mut self, who: &str, user: &str, format: Format, wants: Vec<Want>) {
        let grants: Grants = serde_json::from_str(r#"{"presence-*":["sub"]}"#).unwrap();
        let (user, expires_at, info) = (Some(user.to_owned()), None, None);
        let connect = HubConnect { version: VERSION, format, user, expires_at, grants, info, wants };
        self.drive(Input::Connect { connect, connection: who.into() });
    }

    fn says(&mut self, who: &str, text: &str) {
        let slot = self.slot(who);
        self.drive(Input::Frame { slot, frame: Frame::Text(text.into()) });
    }

    /// Connects and subscribes; what was asked of the Room before the report has been answered.
    fn comes(&mut self, who: &str, user: &str) {
        self.connects(who, user, Format::Many, Vec::new());
        self.says(who, &format!(r#"{{"type":"subscribe","channel":"presence-a","data":"{who}"}}"#));
        self.followed();
    }

    fn comes_alone(&mut self, who: &str, user: &str, format: Format) {
        let want = Want { channel: room(), from: None, may_publish: false, data: None };
        self.connects(who, user, format, vec![want]);
        self.followed();
    }

    fn goes(&mut self, who: &str) {
        let (slot, _) = self.attachments.remove(who).unwrap();
        self.drive(Input::Left { slot });
    }

    fn followed(&mut self) {
        self.followed_at(at(0));
    }

    fn followed_at(&mut self, position: Position) {
        let is_follow = |call: &Output| matches!(call, Output::Follow { .. });
        if let Some(nth) = self.calls.iter().position(is_follow)
            && let Output::Follow { channel, at: nth } = self.calls.remove(nth)
        {
            self.drive(Input::Followed { channel, at: nth, result: Ok(position) });
        }
    }

    /// The report that is on its way, if there is one.
    fn report(&self) -> Option<Report> {
        let mut reports = self.calls.iter().filter_map(|call| match call {
            Output::Report { report, .. } => Some(report.clone()),
            _ => None,
        });
        let report = reports.next();
        assert!(reports.next().is_none(), "one at a time: {:?}", self.calls);
        report
    }

    /// The Room answers the report; what it said.
    fn answered(&mut self, result: Result<Changes, Refusal>) -> Said {
        let report = self.report().unwrap();
        self.calls.retain(|call| !matches!(call, Output::Report { .. }));
        let at = report.at;
        self.drive(Input::Reported { channel: room(), at, result });
        Said::of(&report)
    }

    /// The same, with changes that go on where the Hub is.
    fn agreed(&mut self, revision: u64, list: &[&str]) -> Said {
        let report = self.report().unwrap();
        let list = report.list.then(|| list.iter().map(|user| member(user)).collect());
        self.answered(Ok(Changes { after: report.have, revision, count: 3, list, ..Changes::default() }))
    }

    fn delivers(&mut self, members: Changes) -> Receipt {
        let (channel, after) = (room(), at(0));
        let delivery = Delivery { channel, after, messages: Vec::new(), gap: None, members: Some(members) };
        let mut out = Vec::new();
        self.hub.handle(Input::Deliver { ticket: 1, delivery }, Turn { now: self.now, random: 7 }, &mut out);
        let receipt = out.iter().find_map(|output| match output {
            Output::Receipt { receipt, .. } => Some(*receipt),
            _ => None,
        });
        self.performs(out, None);
        if self.sleepy && self.calls.is_empty() {
            self.wakes(false);
        }
        receipt.unwrap()
    }

    fn rings(&mut self) {
        self.now = self.armed.take().unwrap();
        let kept = self.kept();
        self.drive(Input::Alarm { kept });
    }

    fn rings_until_there_is_a_report(&mut self) {
        while self.report().is_none() {
            self.rings();
        }
    }

    /// What somebody was told of members since the last time.
    fn heard(&mut self, who: &str) -> Vec<String> {
        let heard = self.heard.remove(who).unwrap_or_default();
        heard.into_iter().filter(|text| text.contains("members") || text.contains("presence\",\"channel")).collect()
    }
}

/// What a report says.
#[derive(PartialEq, Eq, Debug)]
struct Said {
    whole: bool,
    joined: Vec<String>,
    left: Vec<String>,
    have: Option<u64>,
    list: bool,
}

impl Said {
    fn of(report: &Report) -> Self {
        let joined = report.joined.iter().map(|member| member.user.clone()).collect();
        Self { whole: report.whole, joined, left: report.left.clone(), have: report.have, list: report.list }
    }
}

fn said(joined: &[&str], left: &[&str], have: Option<u64>, list: bool) -> Said {
    let owned = |users: &[&str]| users.iter().map(|user| (*user).to_owned()).collect();
    Said { whole: false, joined: owned(joined), left: owned(left), have, list }
}

fn whole(joined: &[&str], have: Option<u64>, list: bool) -> Said {
    Said { whole: true, ..said(joined, &[], have, list) }
}

fn member(user: &str) -> Member {
    Member { user: user.into(), data: None }
}

fn joins(after: Option<u64>, at: u64, user: &str) -> Changes {
    Changes { after, revision: at, count: 9, joined: vec![Joined { at, member: member(user) }], ..Changes::default() }
}

fn members(users: &[&str]) -> String {
    let list: Vec<String> = users.iter().map(|user| format!(r#"{{"user":"{user}"}}"#)).collect();
    let more = if users.len() < 3 { r#","more":true"# } else { "" };
    format!(r#"{{"type":"members","channel":"presence-a","count":3,"members":[{}]{more}}}"#, list.join(","))
}

fn joined(user: &str) -> String {
    format!(r#"{{"type":"presence","channel":"presence-a","count":9,"joined":[{{"user":"{user}"}}]}}"#)
}

fn overloaded() -> Refusal {
    Refusal::new(Code::Overloaded, "later")
}

/// With a sleep wherever there may be one, and without.
fn both(story: impl Fn(&mut Side)) {
    for sleepy in [false, true] {
        let mut side = Side::new(sleepy);
        story(&mut side);
        assert_eq!(side.sleeps > 0, sleepy, "a story in which it never slept shows nothing of sleep");
    }
}

#[test]
fn a_user_comes_once_and_goes_once_however_many_tabs_there_are() {
    both(|side| {
        side.comes("a1", "a");
        assert_eq!(side.report().unwrap().joined[0].data, Some(MemberData::parse("\"a1\"").unwrap()));
        assert_eq!(side.agreed(10, &["a"]), said(&["a"], &[], None, true));
        assert_eq!(side.heard("a1"), [members(&["a"])]);
        side.comes("a2", "a");
        assert_eq!(side.agreed(11, &["a"]), said(&[], &[], Some(10), true));
        assert_eq!((side.heard("a1"), side.heard("a2")), (Vec::new(), vec![members(&["a"])]));
        side.goes("a1");
        assert_eq!(side.report(), None, "one of two tabs");
        side.says("a2", r#"{"type":"unsubscribe","channel":"presence-a"}"#);
        assert_eq!(side.agreed(12, &[]), said(&[], &["a"], None, false));
        assert!(side.rows.is_empty() && side.written == 2, "one row, written and deleted: {}", side.written);
    });
}

#[test]
fn who_comes_while_a_report_is_under_way_rides_in_the_next() {
    both(|side| {
        side.comes("a", "a");
        side.comes("b", "b");
        side.comes("c", "c");
        side.goes("b");
        side.comes("d", "d");
        side.goes("d");
        assert_eq!(side.agreed(10, &["a"]), said(&["a"], &[], None, true));
        assert_eq!((side.heard("a").len(), side.heard("c").len()), (1, 0));
        assert_eq!(side.agreed(11, &["a", "c"]), said(&["c"], &["b", "d"], Some(10), true));
        assert_eq!((side.heard("a").len(), side.heard("c")), (0, vec![members(&["a", "c"])]));
        assert_eq!(side.report(), None);
    });
}

#[test]
fn those_who_know_are_told_what_changes_and_one_of_them_remembers() {
    both(|side| {
        for (who, revision) in [("a", 10), ("b", 11), ("c", 12)] {
            side.comes(who, who);
            side.agreed(revision, &[]);
            side.heard(who);
        }
        let remembered = side.remembered;
        assert_eq!(side.delivers(joins(Some(12), 20, "x")).members, Some(20));
        assert_eq!(side.remembered - remembered, 1);
        assert_eq!(side.delivers(joins(Some(12), 20, "x")).members, Some(20));
        // What comes again beside something new is not told again.
        let mut more = joins(Some(5), 30, "y");
        more.joined.insert(0, Joined { at: 20, member: member("x") });
        more.left.push(Left { at: 19, user: "z".into() });
        assert_eq!(side.delivers(more).members, Some(30));
        for who in ["a", "b", "c"] {
            assert_eq!(side.heard(who), [joined("x"), joined("y")]);
        }
        assert_eq!(side.delivers(joins(Some(31), 40, "w")).members, Some(30), "something is missing before it");
        let list = Some(vec![member("a"), member("b"), member("c")]);
        let anew = Changes { after: None, revision: 50, count: 3, list, ..Changes::default() };
        assert_eq!(side.delivers(anew.clone()).members, Some(50));
        assert_eq!(side.delivers(anew).members, Some(50));
        for who in ["a", "b", "c"] {
            assert_eq!(side.heard(who), [members(&["a", "b", "c"])]);
        }
    });
}

#[test]
fn whoever_keeps_the_revision_goes_and_it_is_kept() {
    both(|side| {
        for (who, revision) in [("a", 10), ("b", 11), ("c", 12)] {
            side.comes(who, who);
            side.agreed(revision, &[]);
        }
        for nth in 20..24 {
            side.delivers(joins(Some(nth - 1).filter(|after| *after > 20).or(Some(12)), nth, "x"));
        }
        for who in ["c", "a"] {
            side.goes(who);
            assert_eq!(side.agreed(24, &[]).have, Some(23).filter(|_| who == "c").or(Some(24)));
            side.wakes(false);
        }
        assert_eq!(side.delivers(joins(Some(24), 25, "x")).members, Some(25));
        side.goes("b");
        assert_eq!(side.report().unwrap().have, None, "nobody knows anything any more");
    });
}

#[test]
fn what_is_delivered_during_a_report_waits_for_its_answer() {
    both(|side| {
        side.comes("a", "a");
        side.agreed(10, &["a"]);
        side.heard("a");
        side.comes("b", "b");
        assert_eq!(side.delivers(joins(Some(10), 20, "x")).members, Some(10));
        assert_eq!(side.heard("a").len(), 0);
        let list = Some(vec![member("a"), member("b"), member("x")]);
        let changes = Changes { count: 3, list, revision: 21, ..joins(Some(10), 20, "x") };
        side.answered(Ok(changes));
        assert_eq!(side.heard("a"), [joined("x").replace('9', "3")]);
        assert_eq!(side.heard("b"), [members(&["a", "b", "x"])]);
        assert_eq!(side.delivers(joins(Some(10), 20, "x")).members, Some(21));
        assert_eq!(side.heard("a").len() + side.heard("b").len(), 0);
    });
}

#[test]
fn where_what_has_changed_cannot_be_said_all_are_told_the_list() {
    both(|side| {
        side.comes("a", "a");
        side.agreed(10, &["a"]);
        side.heard("a");
        side.comes("b", "b");
        let list = Some(vec![member("b")]);
        side.answered(Ok(Changes { after: None, revision: 20, count: 3, list, ..Changes::default() }));
        assert_eq!((side.heard("a"), side.heard("b")), (vec![members(&["b"])], vec![members(&["b"])]));
    });
}

#[test]
fn a_report_that_fails_ends_the_newcomers_and_everything_is_said_again() {
    both(|side| {
        side.comes("a", "a");
        side.agreed(10, &["a"]);
        side.comes("b", "b");
        side.comes_alone("one", "c", Format::Json);
        side.heard("b");
        // The one that came alone waits for the next report.
        side.answered(Err(overloaded()));
        let told = side.heard.remove("b").unwrap();
        assert!(told[0].contains("unsubscribed") && told[0].contains("overloaded"), "{told:?}");
        assert_eq!((side.rows[&room()], side.written), (true, 2));
        let again = Said { left: vec!["b".into()], ..whole(&["a", "c"], Some(10), true) };
        assert_eq!(side.answered(Err(overloaded())), again);
        assert_eq!((side.closed.as_slice(), side.written), (["one".to_owned()].as_slice(), 2));
        if side.sleepy {
            // It has forgotten that this one was dismissed.
            assert_eq!(side.agreed(15, &[]), said(&[], &[], Some(10), true));
            side.goes("one");
            assert_eq!(side.agreed(15, &[]), said(&[], &["c"], Some(15), false));
            assert!(side.rows[&room()]);
        } else {
            assert_eq!(side.report(), None, "it is not repeated at once");
            side.goes("one");
            assert_eq!(side.report(), None);
        }
        side.rings_until_there_is_a_report();
        let have = Some(if side.sleepy { 15 } else { 10 });
        let left = if side.sleepy { Vec::new() } else { vec!["c".into()] };
        assert_eq!(side.agreed(20, &[]), Said { left, ..whole(&["a"], have, false) });
        assert_eq!((side.rows[&room()], side.written), (false, 3));
        side.rings();
        assert_eq!(side.report(), None);
    });
}

#[test]
fn a_leave_that_is_not_heard_is_repeated_until_it_is() {
    both(|side| {
        side.comes("a", "a");
        side.agreed(10, &["a"]);
        side.goes("a");
        assert_eq!(side.answered(Err(overloaded())), said(&[], &["a"], None, false));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let failed_at = side.now;
            // Also when nobody is there any more to keep the Hub awake.
            side.rings_until_there_is_a_report();
            pauses.push(side.now - failed_at);
            assert_eq!(side.answered(Err(overloaded())), whole(&[], None, false));
            if side.sleepy {
                // It wakes without a socket: its row says what there is to do.
                assert!(side.report().is_some());
            }
        }
        if !side.sleepy {
            assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
            side.rings_until_there_is_a_report();
        }
        assert_eq!(side.agreed(20, &[]), whole(&[], None, false));
        assert_eq!((side.rows.len(), side.written), (0, 4), "kept, marked, trusted and dropped");
    });
}

#[test]
fn sockets_that_vanished_without_a_word_are_reported() {
    let mut side = Side::new(false);
    side.comes("a", "a");
    side.agreed(10, &["a"]);
    side.attachments.clear();
    side.wakes(false);
    assert_eq!(side.report().map(|report| Said::of(&report)), Some(whole(&[], None, false)));
    // One who is back before the Room has answered is in the next.
    side.comes("a", "a");
    side.agreed(11, &[]);
    assert_eq!(side.agreed(12, &["a"]), said(&["a"], &[], None, true));
    assert_eq!(side.rows.get(&room()), Some(&false));
    side.attachments.clear();
    side.wakes(false);
    side.agreed(13, &[]);
    assert!(side.rows.is_empty());
    side.wakes(false);
    assert_eq!(side.report(), None);
}

#[test]
fn a_hub_whose_calls_were_lost_says_everything_again() {
    let mut side = Side::new(false);
    side.comes("a", "a");
    side.agreed(10, &["a"]);
    side.heard("a");
    side.comes("b", "b");
    side.comes("c", "c");
    side.goes("c");
    side.wakes(true);
    assert_eq!(side.agreed(20, &["a", "b"]), whole(&["a", "b"], Some(10), true));
    assert_eq!((side.heard("a").len(), side.heard("b")), (0, vec![members(&["a", "b"])]));
    side.wakes(false);
    assert_eq!(side.report(), None, "a sleep loses nothing");
}

#[test]
fn the_lease_finds_what_no_memory_has() {
    both(|side| {
        side.comes("a", "a");
        side.agreed(10, &["a"]);
        let due = side.now + limits::PRESENCE_LEASE_MS;
        assert_eq!(side.armed, Some(due));
        // A row of a channel in which nobody is.
        let other = ChannelName::parse("presence-b").unwrap();
        side.rows.insert(other.clone(), false);
        side.rings();
        assert_eq!((side.now, side.armed), (due, Some(due + limits::PRESENCE_LEASE_MS)));
        let reported = |call: &Output| matches!(call, Output::Report { channel, .. } if *channel == other);
        assert!(side.calls.len() == 1 && side.calls.iter().any(reported), "{:?}", side.calls);
        let at = side.report().unwrap().at;
        assert_eq!(Said::of(&side.report().unwrap()), whole(&[], None, false));
        side.calls.clear();
        side.drive(Input::Reported { channel: other, at, result: Ok(Changes::default()) });
        assert_eq!(side.kept(), [(room(), false)]);
        side.rows.insert(room(), true);
        side.rings();
        assert_eq!(side.agreed(20, &[]), whole(&["a"], Some(10), false));
        side.rings();
        assert_eq!((side.calls.len(), side.rows[&room()]), (0, false));
    });
}

#[test]
fn a_room_that_lost_its_log_is_told_everybody() {
    both(|side| {
        side.comes("a", "a");
        side.agreed(10, &["a"]);
        side.comes("b", "b");
        side.agreed(11, &["a"]);
        let new = |seq| Epoch::new(8).at(seq);
        let (channel, members) = (room(), Some(joins(Some(11), 20, "x")));
        let delivery = Delivery { channel, after: new(0), messages: Vec::new(), gap: None, members };
        side.drive(Input::Deliver { ticket: 1, delivery });
        assert_eq!(side.report(), None, "first it has to be a follower");
        side.followed_at(new(0));
        assert_eq!(side.agreed(30, &[]), whole(&["a", "b"], Some(20), false));
        // The same, when it is found out while following again.
        side.calls.clear();
        if !side.sleepy {
            side.now += limits::HUB_REVIEW_MS;
            side.drive(Input::Alarm { kept: Vec::new() });
            assert_eq!(side.agreed(31, &[]), whole(&["a", "b"], Some(30), false));
            side.followed_at(Epoch::new(9).at(0));
            assert_eq!(side.agreed(32, &[]), whole(&["a", "b"], Some(31), false));
        }
    });
}

#[test]
fn once_a_day_and_not_more_often_everything_is_asked_anew() {
    both(|side| {
        side.comes("a", "a");
        side.agreed(10, &["a"]);
        side.comes("b", "b");
        side.agreed(11, &["a"]);
        side.goes("a");
        side.agreed(12, &[]);
        let (mut alarms, mut follows) = (0, 0);
        while side.now < NOW + 3 * limits::HUB_REVIEW_MS {
            side.rings();
            alarms += 1;
            if !side.calls.is_empty() {
                follows += 1;
                assert!(
                    matches!(side.calls.as_slice(), [Output::Report { .. }, Output::Follow { .. }])
                        || matches!(side.calls.as_slice(), [Output::Follow { .. }, Output::Report { .. }]),
                    "{:?}",
                    side.calls
                );
                side.agreed(13 + follows, &[]);
                side.followed();
            }
        }
        assert_eq!((alarms > 3000, follows), (true, 3));
    });
}

#[test]
fn raw_sockets_are_members_and_are_told_nothing() {
    both(|side| {
        side.comes_alone("raw", "a", Format::Raw);
        assert_eq!(side.agreed(10, &[]), said(&["a"], &[], None, false));
        assert_eq!(side.delivers(joins(Some(10), 20, "x")).members, None);
        side.comes_alone("stream", "a", Format::RawStream);
        assert_eq!(side.report(), None, "of that user it has been said");
        side.comes_alone("json", "b", Format::Json);
        side.agreed(21, &["a"]);
        assert_eq!(side.delivers(joins(Some(21), 22, "x")).members, Some(22));
        assert_eq!(side.heard("json"), [members(&["a"]), joined("x")]);
        assert!(side.heard("raw").is_empty() && side.heard("stream").is_empty());
        for who in ["raw", "stream"] {
            assert_eq!(side.report(), None);
            side.goes(who);
        }
        assert_eq!(side.agreed(23, &[]), said(&[], &["a"], Some(22), false));
    });
}

#[test]
fn connections_that_a_full_room_sent_here_are_members_and_hear_in_their_own_words() {
    both(|side| {
        let data = MemberData::parse(r#"{"name":"A"}"#).unwrap();
        let want = Want { channel: room(), from: None, may_publish: false, data: Some(data.clone()) };
        side.connects("json", "a", Format::Json, vec![want.clone()]);
        side.connects("stream", "b", Format::Stream, vec![want.clone()]);
        side.followed();
        let report = side.report().unwrap();
        assert_eq!(report.joined, ["a", "b"].map(|user| Member { user: user.into(), data: Some(data.clone()) }));
        side.agreed(10, &["a"]);
        side.connects("many", "c", Format::ManyStream, vec![want]);
        side.agreed(11, &["a"]);
        side.delivers(joins(Some(11), 12, "x"));
        assert_eq!(side.heard("json"), [members(&["a"]), joined("x")]);
        let event = |name: &str, data: &str| format!("event: {name}\ndata: {data}\n\n");
        for who in ["stream", "many"] {
            let expected = [event("members", &members(&["a"])), event("presence", &joined("x"))];
            assert_eq!(side.heard(who), expected, "{who}");
        }
    });
}

#[test]
fn who_resumes_is_a_member_when_it_has_been_answered() {
    both(|side| {
        side.connects("a", "a", Format::Many, Vec::new());
        side.says("a", r#"{"type":"subscribe","channel":"presence-a","position":"000000000007:3"}"#);
        side.followed_at(at(5));
        assert_eq!(side.report(), None, "nothing of a channel comes before `subscribed`");
        let from = Begin::After(at(3));
        let missed = Delivery { channel: room(), after: at(5), messages: Vec::new(), gap: None, members: None };
        side.calls.clear();
        side.drive(Input::Missed { channel: room(), from, result: Ok(missed) });
        assert_eq!(side.agreed(10, &["a"]), said(&["a"], &[], None, true));
        let told = &side.heard["a"];
        assert!(told[1].contains("subscribed") && told[2].contains("members"), "{told:?}");
    });
}

#[test]
fn the_slot_of_one_who_left_during_a_report_is_not_told_its_list() {
    both(|side| {
        side.comes("a", "a");
        side.goes("a");
        side.connects("b", "b", Format::Many, Vec::new());
        side.agreed(10, &["a"]);
        assert!(side.heard("b").is_empty());
        assert_eq!(side.agreed(11, &[]), said(&[], &["a"], None, false));
        assert!(side.rows.is_empty());
    });
}

#[test]
fn so_many_who_come_and_go_during_a_report_are_said_by_saying_who_is_there() {
    let mut side = Side::new(false);
    side.comes("a", "a");
    for nth in 0..=limits::REPORT_CHANGES_MAX {
        side.comes("x", &format!("x{nth}"));
        side.goes("x");
    }
    side.agreed(10, &["a"]);
    let report = side.report().unwrap();
    assert_eq!((report.whole, report.joined.len(), report.left.len()), (true, 1, 1));
}

#[test]
fn an_answer_without_the_list_that_was_asked_for_is_a_failure() {
    both(|side| {
        side.comes("a", "a");
        side.answered(Ok(Changes { revision: 10, count: 1, ..Changes::default() }));
        let told = side.heard.remove("a").unwrap();
        assert!(told.last().unwrap().contains(r#""code":"internal""#), "{told:?}");
        assert!(side.rows[&room()]);
    });
}

#[test]
fn who_shows_what_is_said_by_the_token_or_else_by_the_client() {
    let refused = |ask: &str, info: Option<&str>, user: Option<&str>| {
        let mut side = Side::new(false);
        let grants: Grants = serde_json::from_str(r#"{"presence-*":["sub"]}"#).unwrap();
        let info = info.map(|info| MemberData::parse(info).unwrap());
        let (user, format) = (user.map(str::to_owned), Format::Many);
        let connect = HubConnect { version: VERSION, format, user, expires_at: None, grants, info, wants: Vec::new() };
        side.drive(Input::Connect { connect, connection: "a".into() });
        side.says("a", ask);
        side.followed();
        let shown = side.report().map(|report| report.joined[0].data.as_ref().map(|data| data.as_str().to_owned()));
        shown.ok_or_else(|| side.heard.remove("a").unwrap().remove(1))
    };
    let subscribe = |data: &str| format!(r#"{{"type":"subscribe","channel":"presence-a"{data}}}"#);
    assert_eq!(refused(&subscribe(""), None, Some("a")), Ok(None));
    assert_eq!(refused(&subscribe(r#","data":{"n" : 1}"#), None, Some("a")), Ok(Some(r#"{"n" : 1}"#.into())));
    assert_eq!(refused(&subscribe(""), Some("1"), Some("a")), Ok(Some("1".into())));
    let large = subscribe(&format!(r#","data":"{}""#, "x".repeat(limits::MEMBER_DATA_BYTES)));
    for (ask, info, user, code) in [
        (subscribe(r#","data":1"#), Some("1"), Some("a"), "invalid_field"),
        (large, None, Some("a"), "too_large"),
        (subscribe(""), None, None, "forbidden"),
        (r#"{"type":"subscribe","channel":"a","data":1}"#.to_owned(), None, Some("a"), "invalid_field"),
    ] {
        let answer = refused(&ask, info, user);
        assert!(answer.as_ref().is_err_and(|text| text.contains(code)), "{ask}: {answer:?}");
    }
}

#[test]
fn a_token_in_a_subscribe_makes_the_connection_that_users() {
    both(|side| {
        let (user, expires_at, grants, info, wants) = (None, None, Grants::default(), None, Vec::new());
        let connect = HubConnect { version: VERSION, format: Format::Many, user, expires_at, grants, info, wants };
        side.drive(Input::Connect { connect, connection: "c".into() });
        let subscribe = |channel: &str, user: &str| {
            let info = if channel == "presence-b" { r#","info":"b""# } else { "" };
            let claims = format!(r#"{{"sub":"{user}","exp":{},"channels":{{"presence-*":["sub"]}}{info}}}"#, NOW / 500);
            let token = sign(&claims);
            format!(r#"{{"type":"subscribe","channel":"{channel}","token":"{token}"}}"#)
        };
        side.says("c", &subscribe("presence-a", "a"));
        side.followed();
        assert_eq!(side.agreed(10, &["a"]), said(&["a"], &[], None, true));
        side.says("c", &subscribe("presence-b", "other"));
        assert!(side.heard["c"].last().unwrap().contains(r#""code":"forbidden""#), "{:?}", side.heard);
        side.says("c", &subscribe("presence-b", "a"));
        side.followed();
        assert_eq!(side.report().unwrap().joined[0].data, Some(MemberData::parse("\"b\"").unwrap()));
    });
}

fn sign(claims: &str) -> String {
    let text = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#), BASE64.encode(claims));
    let mac = Hmac::<Sha256>::new_from_slice(b"0123456789abcdef").unwrap().chain_update(&text);
    format!("{text}.{}", BASE64.encode(mac.finalize().into_bytes()))
}

//! A Hub with its sockets and rows, as its driver sees it, and a Room that is spoken for.

use crate::call::VERSION;
use crate::channel::ChannelName;
use crate::config::Config;
use crate::frame::Frame;
use crate::hub::{Hub, HubConnect, HubSession, Input, Output, Slot, Want};
use crate::link::{Delivery, Receipt};
use crate::position::{Epoch, Position};
use crate::presence::{Changes, Joined, Member, Report};
use crate::refusal::{Code, Refusal};
use crate::room::Turn;
use crate::session::Format;
use crate::token::Grants;
use std::collections::BTreeMap;

pub(super) const NOW: u64 = 1_763_760_000_000;

pub(super) fn room() -> ChannelName {
    ChannelName::parse("presence-a").unwrap()
}

pub(super) fn at(seq: u64) -> Position {
    Epoch::new(7).at(seq)
}

/// A Hub with its sockets and its rows, and what it has asked of the Room.
pub(super) struct Side {
    pub(super) hub: Hub,
    pub(super) now: u64,
    /// Whether it sleeps whenever it may.
    pub(super) sleepy: bool,
    pub(super) sleeps: u32,
    pub(super) attachments: BTreeMap<String, (Slot, String)>,
    pub(super) rows: BTreeMap<ChannelName, bool>,
    pub(super) armed: Option<u64>,
    pub(super) calls: Vec<Output>,
    /// What each was told since it was last asked, and who was closed.
    pub(super) heard: BTreeMap<String, Vec<String>>,
    pub(super) closed: Vec<String>,
    /// Rows that were written or deleted; attachments that were written.
    pub(super) written: u32,
    pub(super) remembered: u32,
}

fn fresh() -> Hub {
    let apps = r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"directory":false}]"#;
    Hub::wake(Config::parse(apps).unwrap().app(None).unwrap().clone())
}

impl Side {
    pub(super) fn new(sleepy: bool) -> Self {
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

    pub(super) fn kept(&self) -> Vec<(ChannelName, bool)> {
        self.rows.iter().map(|(channel, marked)| (channel.clone(), *marked)).collect()
    }

    pub(super) fn wakes(&mut self, trapped: bool) {
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

    pub(super) fn drive(&mut self, input: Input) {
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

    pub(super) fn performs(&mut self, out: Vec<Output>, arriving: Option<String>) {
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

    pub(super) fn who(&self, slot: Slot) -> String {
        self.attachments.iter().find(|(_, (other, _))| *other == slot).map(|(who, _)| who.clone()).unwrap()
    }

    pub(super) fn slot(&self, who: &str) -> Slot {
        self.attachments[who].0
    }

    pub(super) fn connects(&mut self, who: &str, user: &str, format: Format, wants: Vec<Want>) {
        let grants: Grants = serde_json::from_str(r#"{"presence-*":["sub"]}"#).unwrap();
        let (user, expires_at, info) = (Some(user.to_owned()), None, None);
        let connect = HubConnect { version: VERSION, format, user, expires_at, grants, info, resume: None, wants };
        self.drive(Input::Connect { connect, connection: who.into(), held: None });
    }

    pub(super) fn says(&mut self, who: &str, text: &str) {
        let slot = self.slot(who);
        self.drive(Input::Frame { slot, frame: Frame::Text(text.into()) });
    }

    /// Connects and subscribes; what was asked of the Room before the report has been answered.
    pub(super) fn comes(&mut self, who: &str, user: &str) {
        self.connects(who, user, Format::Many, Vec::new());
        self.says(who, &format!(r#"{{"type":"subscribe","channel":"presence-a","data":"{who}"}}"#));
        self.followed();
    }

    pub(super) fn comes_alone(&mut self, who: &str, user: &str, format: Format) {
        let want = Want { channel: room(), from: None, may_publish: false, data: None };
        self.connects(who, user, format, vec![want]);
        self.followed();
    }

    pub(super) fn goes(&mut self, who: &str) {
        let (slot, _) = self.attachments.remove(who).unwrap();
        self.drive(Input::Left { slot });
    }

    pub(super) fn followed(&mut self) {
        self.followed_at(at(0));
    }

    pub(super) fn followed_at(&mut self, position: Position) {
        let is_follow = |call: &Output| matches!(call, Output::Follow { .. });
        if let Some(nth) = self.calls.iter().position(is_follow)
            && let Output::Follow { channel, at: nth, .. } = self.calls.remove(nth)
        {
            self.drive(Input::Followed { channel, at: nth, result: Ok(position) });
        }
    }

    /// The report that is on its way, if there is one.
    pub(super) fn report(&self) -> Option<Report> {
        let mut reports = self.calls.iter().filter_map(|call| match call {
            Output::Report { report, .. } => Some(report.clone()),
            _ => None,
        });
        let report = reports.next();
        assert!(reports.next().is_none(), "one at a time: {:?}", self.calls);
        report
    }

    /// The Room answers the report; what it said.
    pub(super) fn answered(&mut self, result: Result<Changes, Refusal>) -> Said {
        let report = self.report().unwrap();
        self.calls.retain(|call| !matches!(call, Output::Report { .. }));
        let at = report.at;
        self.drive(Input::Reported { channel: room(), at, result });
        Said::of(&report)
    }

    /// The same, with changes that go on where the Hub is.
    pub(super) fn agreed(&mut self, revision: u64, list: &[&str]) -> Said {
        let report = self.report().unwrap();
        let list = report.list.then(|| list.iter().map(|user| member(user)).collect());
        self.answered(Ok(Changes { after: report.have, revision, count: 3, list, ..Changes::default() }))
    }

    pub(super) fn delivers(&mut self, members: Changes) -> Receipt {
        let (channel, after) = (room(), at(0));
        let delivery =
            Delivery { channel, after, messages: Vec::new(), gap: None, members: Some(members), count: None };
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

    pub(super) fn rings(&mut self) {
        self.now = self.armed.take().unwrap();
        let kept = self.kept();
        self.drive(Input::Alarm { kept });
    }

    pub(super) fn rings_until_there_is_a_report(&mut self) {
        while self.report().is_none() {
            self.rings();
        }
    }

    /// What somebody was told of members since the last time.
    pub(super) fn heard(&mut self, who: &str) -> Vec<String> {
        let heard = self.heard.remove(who).unwrap_or_default();
        heard.into_iter().filter(|text| text.contains("members") || text.contains("presence\",\"channel")).collect()
    }
}

/// What a report says.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Said {
    pub(super) whole: bool,
    pub(super) joined: Vec<String>,
    pub(super) left: Vec<String>,
    pub(super) have: Option<u64>,
    pub(super) list: bool,
}

impl Said {
    pub(super) fn of(report: &Report) -> Self {
        let joined = report.joined.iter().map(|member| member.user.clone()).collect();
        Self { whole: report.whole, joined, left: report.left.clone(), have: report.have, list: report.list }
    }
}

pub(super) fn said(joined: &[&str], left: &[&str], have: Option<u64>, list: bool) -> Said {
    let owned = |users: &[&str]| users.iter().map(|user| (*user).to_owned()).collect();
    Said { whole: false, joined: owned(joined), left: owned(left), have, list }
}

pub(super) fn whole(joined: &[&str], have: Option<u64>, list: bool) -> Said {
    Said { whole: true, ..said(joined, &[], have, list) }
}

pub(super) fn member(user: &str) -> Member {
    Member { user: user.into(), data: None }
}

pub(super) fn joins(after: Option<u64>, at: u64, user: &str) -> Changes {
    Changes { after, revision: at, count: 9, joined: vec![Joined { at, member: member(user) }], ..Changes::default() }
}

pub(super) fn members(users: &[&str]) -> String {
    let list: Vec<String> = users.iter().map(|user| format!(r#"{{"user":"{user}"}}"#)).collect();
    let more = if users.len() < 3 { r#","more":true"# } else { "" };
    format!(r#"{{"type":"members","channel":"presence-a","count":3,"members":[{}]{more}}}"#, list.join(","))
}

pub(super) fn joined(user: &str) -> String {
    format!(r#"{{"type":"presence","channel":"presence-a","count":9,"joined":[{{"user":"{user}"}}]}}"#)
}

pub(super) fn overloaded() -> Refusal {
    Refusal::new(Code::Overloaded, "later")
}

/// With a sleep wherever there may be one, and without.
pub(super) fn both(story: impl Fn(&mut Side)) {
    for sleepy in [false, true] {
        let mut side = Side::new(sleepy);
        story(&mut side);
        assert_eq!(side.sleeps > 0, sleepy, "a story in which it never slept shows nothing of sleep");
    }
}

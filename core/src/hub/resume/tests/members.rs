//! Members of presence channels who are tabs.

use super::{Side, id};
use crate::call::VERSION;
use crate::channel::ChannelName;
use crate::hub::tests::at;
use crate::hub::{Input, Output, Slot};
use crate::presence::{Changes, Member, Report};
use crate::resume::TakeOver;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;

fn team() -> ChannelName {
    ChannelName::parse("presence-team").unwrap()
}

fn sign(text: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(b"0123456789abcdef").unwrap().chain_update(text);
    format!("k:{}", hex::encode(mac.finalize().into_bytes()))
}

fn reports(out: &[Output]) -> Vec<&Report> {
    out.iter().filter_map(|one| if let Output::Report { report, .. } = one { Some(report) } else { None }).collect()
}

impl Side {
    fn connection(&self, slot: Slot) -> String {
        self.hub.session(slot).unwrap().connection.clone()
    }

    /// As the member with that id; what comes of it in the end.
    fn is_member(&mut self, slot: Slot, user: &str) -> Vec<Output> {
        let data = json!({ "user_id": user }).to_string();
        let auth = sign(&format!("{}:presence-team:{data}", self.connection(slot)));
        let ask = json!({ "channel": "presence-team", "auth": auth, "channel_data": data });
        let out = self.says(slot, &json!({ "event": "pusher:subscribe", "data": ask }).to_string());
        let Some(call) = self.hub.channels.get(&team()).and_then(|known| known.following) else { return out };
        self.handle(Input::Followed { channel: team(), at: call, result: Ok(at(7)) })
    }

    fn signs_in(&mut self, slot: Slot, user: &str) {
        let data = json!({ "id": user }).to_string();
        let auth = sign(&format!("{}::user::{data}", self.connection(slot)));
        let ask = json!({ "auth": auth, "user_data": data });
        self.says(slot, &json!({ "event": "pusher:signin", "data": ask }).to_string());
        assert_eq!(self.hub.session(slot).unwrap().user.as_deref(), Some(user));
    }

    fn reported(&mut self, report: &Report, users: &[&str]) -> Vec<Output> {
        let members = users.iter().map(|user| Member { user: (*user).into(), data: None }).collect();
        let (joined, left) = (Vec::new(), Vec::new());
        let (revision, count) = (5, users.len() as u64);
        let changes = Changes { revision, count, joined, left, list: Some(members), ..Changes::default() };
        self.handle(Input::Reported { channel: team(), at: report.at, result: Ok(changes) })
    }

    /// A tab that is user 7 there, and may have signed in as somebody else.
    fn member(&mut self, signed_in: Option<&str>) -> Slot {
        let (slot, _) = self.comes(None);
        self.points(None);
        self.pointer_moved();
        if let Some(user) = signed_in {
            self.signs_in(slot, user);
        }
        let out = self.is_member(slot, "7");
        let report = reports(&out)[0];
        assert_eq!(report.joined.iter().map(|member| member.user.as_str()).collect::<Vec<_>>(), ["7"]);
        self.reported(report, &["7"]);
        slot
    }
}

#[test]
fn a_member_who_comes_back_while_its_last_connection_is_listed_leaves_with_the_new_one() {
    for signed_in in [None, Some("8")] {
        let mut side = Side::new();
        let first = side.member(signed_in);
        let (second, out) = side.comes(None);
        // Its last connection has gone from there; nobody else was that user.
        let report = reports(&out)[0];
        assert_eq!((report.left.as_slice(), report.joined.len()), (["7".to_owned()].as_slice(), 0), "{signed_in:?}");
        side.reported(report, &[]);
        side.points(Some("3.1"));
        let out = side.is_member(second, "7");
        let report = reports(&out)[0];
        assert_eq!(report.joined.len(), 1, "{report:?}");
        side.reported(report, &["7"]);
        assert!(reports(&side.handle(Input::Left { slot: first })).is_empty());
        let out = side.handle(Input::Left { slot: second });
        assert_eq!(reports(&out)[0].left, ["7"], "{signed_in:?}");
    }
}

#[test]
fn a_member_who_is_handed_over_is_no_member_here() {
    for signed_in in [None, Some("8")] {
        let mut side = Side::new();
        side.member(signed_in);
        let asked = TakeOver { version: VERSION, id: id(), tag: "3.1".into() };
        let mut out = Vec::new();
        assert!(side.hub.hand_over(&asked, None, side.now, &mut out).is_some());
        assert_eq!(reports(&out)[0].left, ["7"], "{signed_in:?}");
    }
}

mod lost;
mod side;

use crate::call::{Begin, VERSION};
use crate::hub::{HubConnect, Input, Want};
use crate::limits;
use crate::link::Delivery;
use crate::presence::{Changes, Joined, Left, Member, MemberData};
use crate::session::Format;
use crate::token::Grants;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use side::{NOW, Side, at, both, joined, joins, member, members, room, said};

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
        for (who, revision) in [("c", 10), ("b", 11), ("a", 12)] {
            side.comes(who, who);
            side.agreed(revision, &[]);
        }
        for nth in 20..24 {
            side.delivers(joins(Some(nth - 1).filter(|after| *after > 20).or(Some(12)), nth, "x"));
        }
        // The others are found before the one that keeps it.
        side.wakes(false);
        for who in ["c", "a"] {
            side.goes(who);
            assert_eq!(side.agreed(23, &[]).have, Some(23));
            side.wakes(false);
        }
        assert_eq!(side.delivers(joins(Some(23), 25, "x")).members, Some(25));
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
        let receipt = side.delivers(joins(Some(10), 20, "x"));
        assert_eq!((receipt.members, receipt.reporting), (Some(10), true));
        assert_eq!(side.heard("a").len(), 0);
        let list = Some(vec![member("a"), member("b"), member("x")]);
        let changes = Changes { count: 3, list, revision: 21, ..joins(Some(10), 20, "x") };
        side.answered(Ok(changes));
        assert_eq!(side.heard("a"), [joined("x").replace('9', "3")]);
        assert_eq!(side.heard("b"), [members(&["a", "b", "x"])]);
        let receipt = side.delivers(joins(Some(10), 20, "x"));
        assert_eq!((receipt.members, receipt.reporting), (Some(21), false));
        assert_eq!(side.heard("a").len() + side.heard("b").len(), 0);
    });
}

#[test]
fn what_an_answer_does_not_bring_though_it_came_meanwhile_is_asked_for_once() {
    both(|side| {
        side.comes("a", "a");
        side.agreed(10, &["a"]);
        side.comes("b", "b");
        side.delivers(joins(Some(10), 20, "x"));
        // The answer is older than that, and the Room may have slept since.
        side.agreed(12, &["a", "b"]);
        side.heard("a");
        assert_eq!(
            side.answered(Ok(Changes { count: 3, ..joins(Some(12), 20, "x") })),
            said(&[], &[], Some(12), false)
        );
        assert_eq!(side.heard("a"), [joined("x").replace('9', "3")]);
        assert_eq!(side.report(), None);
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
        let missed =
            Delivery { channel: room(), after: at(5), messages: Vec::new(), gap: None, members: None, count: None };
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
        let connect = HubConnect {
            version: VERSION,
            format,
            user,
            expires_at: None,
            grants,
            info,
            resume: None,
            wants: Vec::new(),
        };
        side.drive(Input::Connect { connect, connection: "a".into(), held: None });
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
        let connect =
            HubConnect { version: VERSION, format: Format::Many, user, expires_at, grants, info, resume: None, wants };
        side.drive(Input::Connect { connect, connection: "c".into(), held: None });
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

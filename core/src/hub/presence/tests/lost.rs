//! What fails, sleeps and is lost.

use super::side::{NOW, Said, Side, both, joins, member, members, overloaded, room, said, whole};
use crate::channel::ChannelName;
use crate::hub::{Input, Output};
use crate::limits;
use crate::link::Delivery;
use crate::position::Epoch;
use crate::presence::Changes;
use crate::session::Format;

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
        let delivery = Delivery { channel, after: new(0), messages: Vec::new(), gap: None, members, count: None };
        side.drive(Input::Deliver { ticket: 1, delivery });
        assert_eq!(side.report(), None, "first it has to be a follower");
        side.followed_at(new(0));
        assert_eq!(side.agreed(30, &["a"]), whole(&["a", "b"], None, true), "what it has is of another epoch");
        // The same, when it is found out while following again.
        side.calls.clear();
        if !side.sleepy {
            side.now += limits::HUB_REVIEW_MS;
            side.drive(Input::Alarm { kept: Vec::new() });
            assert_eq!(side.report(), None, "as well");
            side.followed_at(Epoch::new(9).at(0));
            assert_eq!(side.agreed(31, &["a"]), whole(&["a", "b"], None, true));
        }
    });
}

#[test]
fn what_a_room_says_of_another_epoch_is_not_taken() {
    let (old, new) = (Some(Epoch::new(7)), Some(Epoch::new(8)));
    both(|side| {
        side.comes("a", "a");
        side.agreed(10, &["a"]);
        side.heard("a");
        side.comes("b", "b");
        // The Room has lost everything since it said where it is, and nobody is there.
        side.answered(Ok(Changes {
            epoch: new,
            after: Some(10),
            revision: 10,
            list: Some(Vec::new()),
            ..Changes::default()
        }));
        assert_eq!((side.heard("a").len(), side.heard("b").len()), (0, 0));
        assert_eq!(side.report(), None, "first it has to be a follower");
        side.followed_at(Epoch::new(8).at(0));
        let list = Some(vec![member("a"), member("b"), member("c")]);
        let anew = Changes { epoch: new, revision: 20, count: 3, list, ..Changes::default() };
        assert_eq!(side.answered(Ok(anew)), whole(&["a", "b"], None, true));
        for who in ["a", "b"] {
            assert_eq!(side.heard(who), [members(&["a", "b", "c"])]);
        }
        assert_eq!(side.report(), None);
        // What it said before comes late.
        side.delivers(Changes { epoch: old, ..joins(Some(5), 40, "x") });
        assert_eq!((side.heard("a").len(), side.heard("b").len()), (0, 0));
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
                assert!(matches!(side.calls.as_slice(), [Output::Follow { .. }]), "{:?}", side.calls);
                side.followed();
                assert_eq!(side.agreed(13 + follows, &[]).joined, ["b"]);
            }
        }
        assert_eq!((alarms > 3000, follows), (true, 3));
    });
}

#[test]
fn who_finds_no_place_loses_that_channel_and_the_others_hear_who_is_there() {
    both(|side| {
        side.comes("a", "a");
        side.agreed(10, &["a"]);
        side.comes("b", "b");
        side.comes("a2", "a");
        side.comes_alone("raw", "c", Format::Raw);
        side.heard("b");
        assert_eq!(side.agreed(11, &["a"]), said(&["b"], &[], Some(10), true));
        let list = Some(vec![member("a")]);
        let answer = Changes { after: Some(11), revision: 11, count: 3, list, ..Changes::default() };
        let refused = |users: &[&str]| users.iter().map(|user| (*user).to_owned()).collect();
        // The one that is told nothing, and one that has been told.
        assert_eq!(side.report().unwrap().joined.len(), 1);
        side.answered(Ok(Changes { refused: refused(&["c", "b"]), ..answer }));
        assert_eq!(side.heard("a2"), [members(&["a"])]);
        let told = side.heard.remove("b").unwrap();
        assert!(
            told.last().unwrap().contains(r#""unsubscribed","channel":"presence-a","code":"overloaded""#),
            "{told:?}"
        );
        assert_eq!((side.closed.as_slice(), side.report()), (["raw".to_owned()].as_slice(), None));
        side.goes("raw");
        let left = side.report().map(|_| side.agreed(12, &[]).left);
        assert!(left.is_none_or(|left| left == ["c"]));
        assert_eq!((side.rows[&room()], side.report()), (false, None));
        for _ in 0..3 {
            side.rings();
            assert_eq!(side.report(), None, "it is not said again");
        }
        // It may ask again.
        side.says("b", r#"{"type":"subscribe","channel":"presence-a"}"#);
        assert_eq!(side.agreed(20, &["a", "b"]).joined, ["b"]);
        assert_eq!(side.heard("b").len(), 1);
    });
}

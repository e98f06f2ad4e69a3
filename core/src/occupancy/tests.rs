use super::{Occupancy, Reporter, Tell};
use crate::limits::{REPORT_PAUSE_MS, REPORT_RETRY_MAX_MS, REPORT_RETRY_MS, REPORT_TRIES_MAX};
use Occupancy::{Followed, Held, Vacant};

const T: u64 = 1_763_760_000_000;

/// One that has told this, a minute ago.
fn knows(state: Occupancy) -> Reporter {
    let mut reporter = Reporter::new(true);
    let tell = reporter.look(state, T - 60_000, false, &mut Vec::new()).unwrap();
    assert_eq!(reporter.told((tell.at, tell.state), Some(tell.at), T - 60_000), (None, None));
    reporter
}

#[test]
fn who_comes_is_told_at_once_and_who_goes_after_a_pause() {
    let mut reporter = Reporter::new(true);
    let tell = reporter.rise(Held, T).unwrap();
    assert_eq!(tell, Tell { state: Held, at: T * 1000 });
    assert_eq!(reporter.told((tell.at, tell.state), Some(tell.at), T), (None, None));
    assert_eq!((reporter.rise(Held, T + 1), reporter.is_told_held()), (None, true));
    assert_eq!(reporter.fall(Held, T + 10), Some(T + 10 + REPORT_PAUSE_MS));
    let mut due = Vec::new();
    // The alarm rings for something else.
    assert_eq!(reporter.look(Vacant, T + 20, false, &mut due), None);
    assert_eq!(due, [T + 10 + REPORT_PAUSE_MS]);
    assert!(!reporter.may_forget());
    let tell = reporter.look(Vacant, T + 10 + REPORT_PAUSE_MS, false, &mut due).unwrap();
    assert_eq!(tell.state, Vacant);
    assert!(!reporter.may_forget());
    assert_eq!(reporter.told((tell.at, tell.state), Some(tell.at), T + 4000), (None, None));
    assert!(reporter.may_forget());
}

#[test]
fn a_page_that_is_loaded_again_is_no_change() {
    let mut reporter = knows(Held);
    let at = reporter.fall(Held, T).unwrap();
    assert_eq!(reporter.rise(Held, T + 500), None);
    let mut due = Vec::new();
    assert_eq!((reporter.look(Held, at, false, &mut due), due.len()), (None, 0));
    // Neither is it after a sleep: what was told before is repeated, and no more.
    let mut reporter = Reporter::new(true);
    let at = reporter.fall(Held, T).unwrap();
    assert_eq!(reporter.rise(Held, T + 500), None);
    let tell = reporter.look(Held, at, false, &mut due).unwrap();
    assert_eq!(tell.state, Held);
    // But somebody else was told that nobody is there.
    let mut reporter = Reporter::new(true);
    reporter.fall(Held, T);
    reporter.doubt();
    assert!(reporter.rise(Held, T + 500).is_some());
    // A socket is more than Hubs that follow.
    let mut reporter = Reporter::new(true);
    reporter.fall(Followed, T);
    assert!(reporter.rise(Held, T + 500).is_some());
}

#[test]
fn who_slept_tells_it_again_by_alarm_and_not_by_anything_else() {
    let mut reporter = Reporter::new(true);
    assert!(reporter.look(Held, T, false, &mut Vec::new()).is_some());
    let mut reporter = knows(Held);
    assert_eq!(reporter.look(Held, T, false, &mut Vec::new()), None);
    // Less than that is told by alarm, more at once.
    let tell = reporter.look(Followed, T, false, &mut Vec::new()).unwrap();
    reporter.told((tell.at, tell.state), Some(tell.at), T);
    assert_eq!(reporter.rise(Followed, T), None);
    assert_eq!(reporter.rise(Held, T).map(|tell| tell.state), Some(Held));
}

#[test]
fn one_report_is_on_its_way_and_what_came_meanwhile_goes_next() {
    let mut reporter = knows(Held);
    let at = reporter.fall(Held, T).unwrap();
    let vacant = reporter.look(Vacant, at, false, &mut Vec::new()).unwrap();
    assert_eq!(reporter.rise(Held, at), None);
    let (held, look_at) = reporter.told((vacant.at, vacant.state), Some(vacant.at), at);
    let held = held.unwrap();
    assert_eq!((held.state, look_at), (Held, None));
    // The clock stands still, and the numbers do not.
    assert!(held.at > vacant.at);
    // An answer that comes twice says nothing.
    assert_eq!(reporter.told((vacant.at, vacant.state), Some(vacant.at), at), (None, None));
    assert_eq!(reporter.told((held.at, held.state), Some(held.at), at), (None, None));
    assert!(reporter.is_told_held());
}

#[test]
fn what_fails_is_tried_again_after_longer_and_longer_pauses_and_not_for_ever() {
    let mut reporter = Reporter::new(true);
    let mut now = T;
    let mut tell = reporter.rise(Held, now).unwrap();
    let mut pauses = Vec::new();
    while let (None, Some(at)) = reporter.told((tell.at, tell.state), None, now) {
        pauses.push(at - now);
        now = at;
        tell = reporter.look(Held, now, false, &mut Vec::new()).unwrap();
    }
    assert_eq!(pauses.len(), REPORT_TRIES_MAX as usize - 1);
    assert!(pauses.starts_with(&[REPORT_RETRY_MS, 2 * REPORT_RETRY_MS, 4 * REPORT_RETRY_MS]));
    assert_eq!(pauses.last(), Some(&REPORT_RETRY_MAX_MS));
    assert_eq!(reporter.look(Held, now + 1, false, &mut Vec::new()), None);
    assert!(reporter.may_forget());
    // A change is a new beginning.
    assert!(reporter.rise(Held, now + 2).is_some());
}

#[test]
fn a_clock_that_is_behind_is_set_by_the_answer() {
    let mut reporter = Reporter::new(true);
    let tell = reporter.rise(Held, T).unwrap();
    let (none, look_at) = reporter.told((tell.at, tell.state), Some(tell.at + 5_000_000), T);
    assert_eq!((none, look_at), (None, Some(T + REPORT_RETRY_MS)));
    let again = reporter.look(Held, T + REPORT_RETRY_MS, false, &mut Vec::new()).unwrap();
    assert!(again.at > tell.at + 5_000_000);
}

#[test]
fn who_was_answered_nobody_while_a_report_was_on_its_way_tells_it_again() {
    // A listing found nobody, and may strike the row out; then somebody comes.
    let mut reporter = knows(Held);
    reporter.fall(Held, T);
    reporter.doubt();
    let tell = reporter.rise(Held, T + 100).unwrap();
    // The report had arrived, its answer had not, when a listing found nobody.
    reporter.fall(Held, T + 200);
    reporter.doubt();
    assert_eq!(reporter.told((tell.at, tell.state), Some(tell.at), T + 300), (None, None));
    assert_eq!(reporter.rise(Held, T + 400).map(|tell| tell.state), Some(Held));
}

#[test]
fn without_a_directory_nothing_is_told() {
    let mut reporter = Reporter::new(false);
    assert_eq!((reporter.rise(Held, T), reporter.fall(Held, T)), (None, None));
    let mut due = Vec::new();
    assert_eq!((reporter.look(Held, T, false, &mut due), due.len()), (None, 0));
    assert!(reporter.may_forget() && reporter.is_told_held());
}

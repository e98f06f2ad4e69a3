//! Who does not read, and who asks for too much.

use super::*;

/// How often slow readers are looked for.
fn looks(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::CloseSlow { .. })).count()
}

#[test]
fn whatever_is_said_slow_readers_are_looked_for() {
    let mut hub = hub();
    let slot = live(&mut hub, "a", 7);
    let later = |hub: &mut Hub, second: u64, input| {
        let mut out = Vec::new();
        hub.handle(input, Turn { now: TURN.now + second * 1000, ..TURN }, &mut out);
        out
    };
    // Frames that are refused: one look for as many as make up the bound.
    let frame = || Input::Frame { slot, frame: Frame::Text("{".into()) };
    let answers = limits::UNSENT_LOOK_BYTES / limits::FRAME_COST_BYTES;
    let outputs: Vec<Output> = (0..answers).flat_map(|nth| later(&mut hub, nth as u64, frame())).collect();
    assert_eq!((sent(&outputs, slot).len(), looks(&outputs)), (answers, 1));
    // History.
    let data = "x".repeat(limits::MESSAGE_BYTES_DEFAULT);
    let message = Message::new(None, Payload::Json(format!("\"{data}\"")), None);
    let page = Delivery { messages: vec![message], ..delivery("a", 6, 0) };
    let pages: usize = (0..8)
        .map(|nth| {
            later(&mut hub, 1000 + nth, Input::Frame { slot, frame: Frame::Text(LAST.into()) });
            let missed = Input::Missed { channel: name("a"), from: Begin::Last(1), result: Ok(page.clone()) };
            looks(&later(&mut hub, 1000 + nth, missed))
        })
        .sum();
    assert_eq!(pages, 8 * limits::MESSAGE_BYTES_DEFAULT / limits::UNSENT_LOOK_BYTES);
}

const LAST: &str = r#"{"type":"history","channel":"a","last":1}"#;

#[test]
fn what_goes_to_many_counts_once() {
    let mut hub = hub();
    let slots = [live(&mut hub, "a", 7), connect(&mut hub)];
    says(&mut hub, slots[1], r#"{"type":"subscribe","channel":"a"}"#);
    let want = Want { channel: name("a"), from: None, may_publish: false, data: None };
    connect_as(&mut hub, Format::ManyStream, vec![want]);
    let before = hub.unlooked_bytes;
    let (_, out) = deliver(&mut hub, delivery("a", 7, 2));
    assert_eq!(out.iter().filter(|output| matches!(output, Output::Send { .. })).count(), 2, "{out:?}");
    let grown = hub.unlooked_bytes - before;
    assert!((2 * limits::FRAME_COST_BYTES..3 * limits::FRAME_COST_BYTES).contains(&grown), "{grown}");
}

#[test]
fn a_page_of_history_is_made_once_for_all_and_few_are_waited_for() {
    let mut hub = hub();
    let slots = [live(&mut hub, "a", 7), connect(&mut hub)];
    says(&mut hub, slots[1], r#"{"type":"subscribe","channel":"a"}"#);
    let asked = says(&mut hub, slots[0], LAST);
    assert!(matches!(asked.as_slice(), [Output::Missed { .. }]), "{asked:?}");
    for slot in [slots[0], slots[1], slots[0]] {
        assert_eq!(says(&mut hub, slot, LAST), []);
    }
    let from = Begin::Last(1);
    let out = handle(&mut hub, Input::Missed { channel: name("a"), from, result: Ok(delivery("a", 6, 1)) });
    let [Output::Send { slots: told, frames }] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!((told.as_slice(), frames.len()), (slots.as_slice(), 1));
    assert!(sent(&out, slots[1])[0].starts_with(r#"{"type":"history","channel":"a","position":"9f2c41d07ab3:7""#));
    let ask = |hub: &mut Hub, slot, last: usize| {
        says(hub, slot, &format!(r#"{{"type":"history","channel":"a","last":{last}}}"#))
    };
    for last in 0..limits::HISTORY_ASKED_MAX {
        let out = ask(&mut hub, slots[0], last);
        assert!(matches!(out.as_slice(), [Output::Missed { .. }]), "{out:?}");
    }
    let out = ask(&mut hub, slots[0], 100);
    assert!(sent(&out, slots[0])[0].contains(r#""channel":"a","code":"rate_limited""#), "{out:?}");
    assert!(matches!(ask(&mut hub, slots[1], 100).as_slice(), [Output::Missed { .. }]));
    handle(&mut hub, Input::Missed { channel: name("a"), from, result: Ok(delivery("a", 6, 1)) });
    assert!(matches!(ask(&mut hub, slots[0], 101).as_slice(), [Output::Missed { .. }]));
}

#[test]
fn of_frames_that_come_too_soon_the_first_in_a_row_is_answered() {
    let mut hub = hub();
    let slot = connect(&mut hub);
    let burst = 2 * limits::HUB_FRAME_RATE;
    let told =
        |hub: &mut Hub, count: u32| -> usize { (0..count).map(|_| sent(&says(hub, slot, "{"), slot).len()).sum() };
    assert_eq!(told(&mut hub, burst), burst as usize);
    assert_eq!(told(&mut hub, limits::RATE_STRIKES_MAX), 1);
    let out = says(&mut hub, slot, "{");
    assert!(matches!(out.last(), Some(Output::Close { code: 4429, .. })), "{out:?}");
}

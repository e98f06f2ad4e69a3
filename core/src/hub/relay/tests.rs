use crate::hub::tests::{at, delivery, handle, hub, live, positions};
use crate::hub::{Hub, Input, Output};
use crate::limits;
use crate::link::{Receipt, Relay, decode, decode_receipts, encode_relay, hub_name};
use crate::refusal::{Code, Refusal};

const RECEIPT: &str = r#"{"wanted":true,"later":[1, 2]}"#;

fn name(nth: usize) -> String {
    hub_name("1", "weur", u32::try_from(nth).unwrap())
}

fn relay(others: usize) -> Relay {
    let others: Vec<String> = (1..=others).map(name).collect();
    Relay::decode(&encode_relay(&others, &delivery("a", 7, 1).encode()), &name(0)).unwrap()
}

/// The Hubs that are called, and what for.
fn forwarded(out: &[Output]) -> Vec<(u64, String)> {
    let forward = |output: &Output| match output {
        Output::Forward { ticket, hub, delivery } => {
            assert_eq!(&**delivery, super::super::tests::delivery("a", 7, 1).encode());
            Some((*ticket, hub.clone()))
        }
        _ => None,
    };
    out.iter().filter_map(forward).collect()
}

fn answers(out: &[Output]) -> Vec<(u64, String)> {
    let answer = |output: &Output| match output {
        Output::Relayed { ticket, answer } => Some((*ticket, answer.clone())),
        _ => None,
    };
    out.iter().filter_map(answer).collect()
}

fn outcome(hub: &mut Hub, (ticket, name): (u64, String), result: Result<&str, Code>) -> Vec<Output> {
    let result = result.map(str::to_owned).map_err(|code| Refusal::new(code, "no"));
    handle(hub, Input::Forwarded { ticket, hub: name, result })
}

#[test]
fn its_own_sockets_are_first_and_the_answer_has_the_receipts_of_all() {
    let mut hub = hub();
    let slot = live(&mut hub, "a", 7);
    let out = handle(&mut hub, Input::Relay { ticket: 5, relay: relay(3) });
    assert_eq!(positions(&out, slot), [8]);
    let first = out.iter().position(|output| matches!(output, Output::Forward { .. }));
    assert!(out.iter().position(|output| matches!(output, Output::Send { .. })) < first, "{out:?}");
    let calls = forwarded(&out);
    assert_eq!(calls, [(5, name(1)), (5, name(2)), (5, name(3))]);
    let [one, two, three]: [_; 3] = calls.try_into().unwrap();
    assert!(answers(&outcome(&mut hub, two, Ok(RECEIPT))).is_empty());
    assert!(answers(&outcome(&mut hub, three, Err(Code::Overloaded))).is_empty());
    let out = outcome(&mut hub, one.clone(), Ok(RECEIPT));
    let (5, answer) = answers(&out).remove(0) else { panic!("{out:?}") };
    let receipts = decode_receipts(&answer).unwrap();
    let own: Receipt = decode(receipts[0].1.as_ref().unwrap()).unwrap();
    assert_eq!(
        (receipts[0].0.clone(), own),
        (name(0), Receipt { wanted: true, have: Some(at(8)), members: None, reporting: false, tally: None })
    );
    assert_eq!((&receipts[1], &receipts[3]), (&(name(2), Ok(RECEIPT.into())), &(name(1), Ok(RECEIPT.into()))));
    assert!(receipts[2].1.as_ref().is_err_and(|refusal| refusal.code == Code::Overloaded) && receipts.len() == 4);
    assert_eq!(outcome(&mut hub, one, Ok(RECEIPT)), [], "nothing is left of it");
}

#[test]
fn who_has_nobody_to_hand_it_to_answers_at_once_and_one_without_the_channel_says_so() {
    let out = handle(&mut hub(), Input::Relay { ticket: 5, relay: relay(0) });
    let receipts = decode_receipts(&answers(&out)[0].1).unwrap();
    assert_eq!(receipts, [(name(0), Ok(r#"{"wanted":false}"#.to_owned()))]);
}

#[test]
fn so_many_calls_are_made_at_once_and_the_others_in_turn() {
    let mut hub = hub();
    let mut calls = forwarded(&handle(&mut hub, Input::Relay { ticket: 1, relay: relay(20) }));
    calls.extend(forwarded(&handle(&mut hub, Input::Relay { ticket: 2, relay: relay(20) })));
    assert_eq!(calls.len(), limits::RELAY_CALLS_AT_ONCE);
    let (mut made, mut answered) = (0, Vec::new());
    while let Some(call) = calls.pop() {
        made += 1;
        let out = outcome(&mut hub, call, Ok(RECEIPT));
        calls.extend(forwarded(&out));
        answered.extend(answers(&out).into_iter().map(|(ticket, answer)| (ticket, decode_receipts(&answer).unwrap())));
    }
    answered.sort_by_key(|(ticket, _)| *ticket);
    assert_eq!(made, 40);
    assert!(
        answered
            .iter()
            .all(|(_, receipts)| receipts.len() == 21 && receipts.iter().all(|(_, receipt)| receipt.is_ok()))
    );
    assert_eq!(answered.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_hub_that_hands_on_too_much_takes_its_own_and_refuses_the_others() {
    let mut hub = hub();
    let slot = live(&mut hub, "a", 7);
    let most = limits::RELAYS_MAX as u64;
    for ticket in 0..most {
        assert!(answers(&handle(&mut hub, Input::Relay { ticket, relay: relay(1) })).is_empty());
    }
    let out = handle(&mut hub, Input::Relay { ticket: most, relay: relay(2) });
    let receipts = decode_receipts(&answers(&out)[0].1).unwrap();
    assert!(receipts[0].1.is_ok() && receipts[1..].iter().all(|(_, result)| result.is_err()) && receipts.len() == 3);
    assert!(forwarded(&out).is_empty());
    assert_eq!(positions(&out, slot), [0; 0], "it had it from the first");
    outcome(&mut hub, (0, name(1)), Ok(RECEIPT));
    assert!(answers(&handle(&mut hub, Input::Relay { ticket: most, relay: relay(1) })).is_empty());
}

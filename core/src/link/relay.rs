//! A delivery that one Hub hands on to others: what a Room with many followers says to it, and what it answers.
//!
//! The delivery goes through as the text that it is, and so do the receipts: whoever hands something on need not know all that is in it.

use super::{Delivery, decode};
use crate::call::VERSION;
use crate::limits;
use crate::refusal::{Code, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::rc::Rc;

/// Brings a Hub messages for itself and for others: `POST`, body a [`Relay`], answer what [`encode_receipts`] writes.
pub const RELAY_PATH: &str = "/relay";

/// A delivery for the Hub that is called and for others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relay {
    /// The name of the Hub that is called.
    pub hub: String,
    /// The names of the others: Hubs of the same app, each once.
    pub others: Vec<String>,
    /// What is brought.
    pub delivery: Delivery,
    /// The same as it came.
    pub text: Rc<str>,
}

/// What became of a relayed delivery at each Hub: its receipt as text, or why there is none.
pub type Receipts = Vec<(String, Result<String, Refusal>)>;

/// The body of the call. `delivery` is a [`Delivery`] as text.
#[must_use]
pub fn encode_relay(others: &[String], delivery: &str) -> String {
    let others = serde_json::to_string(others).unwrap_or_default();
    format!("{{\"version\":{VERSION},\"others\":{others},\"delivery\":{delivery}}}")
}

impl Relay {
    /// Reads a call to `hub`. Refused when the list is too long, or names anything but other Hubs of its app, each once.
    pub fn decode(call: &str, hub: &str) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct In<'a> {
            others: Vec<String>,
            #[serde(borrow)]
            delivery: &'a RawValue,
        }
        let read: In<'_> = decode(call)?;
        check_others(&read.others, hub)?;
        let text = read.delivery.get();
        Ok(Self { hub: hub.to_owned(), others: read.others, delivery: Delivery::decode(text)?, text: text.into() })
    }
}

fn check_others(others: &[String], hub: &str) -> Result<(), Refusal> {
    let wrong = |message: &'static str| Err(Refusal::new(Code::InvalidField, message));
    if others.len() > limits::RELAY_OTHERS_MAX {
        return wrong("call: others: too many");
    }
    let app = super::parse_hub_name(hub);
    for (nth, other) in others.iter().enumerate() {
        let is_hub = other.len() <= limits::HUB_NAME_MAX && app.is_some() && super::parse_hub_name(other) == app;
        if !is_hub || other == hub || others.iter().take(nth).any(|earlier| earlier == other) {
            return wrong("call: others: each another hub of this app");
        }
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    hub: std::borrow::Cow<'a, str>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    receipt: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Refusal>,
}

#[derive(Serialize, Deserialize)]
struct Entries<'a> {
    version: u32,
    #[serde(borrow)]
    receipts: Vec<Entry<'a>>,
}

/// The answer to the call. A receipt that is no JSON becomes a refusal.
#[must_use]
pub fn encode_receipts(receipts: &Receipts) -> String {
    let entry = |(hub, result): &'_ (String, Result<String, Refusal>)| -> String {
        let hub = hub.as_str().into();
        let entry = match result.as_ref().map(|text| serde_json::from_str::<&RawValue>(text)) {
            Ok(Ok(receipt)) => Entry { hub, receipt: Some(receipt), error: None },
            Ok(Err(_)) => Entry { hub, receipt: None, error: Some(no_receipt()) },
            Err(refusal) => Entry { hub, receipt: None, error: Some(refusal.clone()) },
        };
        serde_json::to_string(&entry).unwrap_or_default()
    };
    let receipts: Vec<String> = receipts.iter().map(entry).collect();
    format!("{{\"version\":{VERSION},\"receipts\":[{}]}}", receipts.join(","))
}

/// Reads the answer. The names are as they came: they are compared with those of the call by whoever made it.
pub fn decode_receipts(answer: &str) -> Result<Receipts, Refusal> {
    let read: Entries<'_> = decode(answer)?;
    let result = |entry: Entry<'_>| {
        let refused = entry.error.unwrap_or_else(no_receipt);
        let receipt = entry.receipt.map(|receipt| receipt.get().to_owned());
        (entry.hub.into_owned(), receipt.ok_or(refused))
    };
    Ok(read.receipts.into_iter().map(result).collect())
}

fn no_receipt() -> Refusal {
    Refusal::new(Code::Internal, "call: no receipt")
}

#[cfg(test)]
mod tests {
    use super::{Receipts, Relay, decode_receipts, encode_receipts, encode_relay};
    use crate::limits;
    use crate::link::hub_name;
    use crate::refusal::{Code, Refusal};

    const TEXT: &str =
        r#"{"version":1, "channel":"a","after":"000000000007:1","later":{"x":1.50},"messages":[{"json":[ 1.0e5 ]}]}"#;

    fn hub(nth: u32) -> String {
        hub_name("1", "weur", nth)
    }

    #[test]
    fn a_delivery_goes_through_as_the_text_that_it_is() {
        let others = vec![hub(1), hub_name("1", "enam", 0)];
        let call = encode_relay(&others, TEXT);
        let relay = Relay::decode(&call, &hub(0)).unwrap();
        assert_eq!((&*relay.text, relay.hub, relay.others), (TEXT, hub(0), others));
        assert_eq!(relay.delivery.messages.len(), 1);
        let later = call.replacen('{', r#"{"later":[],"#, 1);
        assert!(Relay::decode(&later, &hub(0)).is_ok());
    }

    #[test]
    fn only_other_hubs_of_the_same_app_are_named_each_once_and_not_too_many() {
        let refused = |others: &[String]| {
            Relay::decode(&encode_relay(others, TEXT), &hub(0)).map_err(|refusal| refusal.code).err()
        };
        let many = |count: usize| (1..=count).map(|nth| hub(u32::try_from(nth).unwrap())).collect::<Vec<_>>();
        assert_eq!((refused(&[]), refused(&many(limits::RELAY_OTHERS_MAX))), (None, None));
        let long = format!("v1:1:{}:1", "x".repeat(limits::HUB_NAME_MAX));
        let bad = [vec![hub(0)], vec![hub(1), hub(1)], vec![hub_name("2", "weur", 1)], vec!["v1:1:lobby".into()]];
        for others in bad.into_iter().chain([vec![String::new()], vec![long], many(limits::RELAY_OTHERS_MAX + 1)]) {
            assert_eq!(refused(&others), Some(Code::InvalidField), "{others:?}");
        }
        assert!(Relay::decode(&encode_relay(&[hub(1)], TEXT), "v1:1:lobby").is_err(), "not called by a hub's name");
        for bad in ["", "{}", r#"{"others":[]}"#, r#"{"others":[],"delivery":{}}"#] {
            assert!(Relay::decode(bad, &hub(0)).is_err(), "{bad}");
        }
    }

    #[test]
    fn receipts_come_back_as_they_were_written() {
        let refusal = Refusal::new(Code::Overloaded, "no");
        let receipts: Receipts = vec![
            (hub(0), Ok(r#"{"wanted":true,"later":[ 1 ]}"#.into())),
            (hub(1), Err(refusal)),
            (hub(2), Ok("<html>".into())),
        ];
        let mut back = decode_receipts(&encode_receipts(&receipts)).unwrap();
        assert!(back[2].1.as_ref().is_err_and(|refusal| refusal.code == Code::Internal), "{back:?}");
        back[2] = receipts[2].clone();
        assert_eq!(back, receipts);
        let later = r#"{"version":9,"later":1,"receipts":[{"hub":"h","later":2}]}"#;
        assert!(decode_receipts(later).is_ok_and(|receipts| receipts[0].1.is_err()));
        assert!(decode_receipts("{}").is_err());
    }
}

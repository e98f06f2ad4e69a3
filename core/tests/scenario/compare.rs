//! Compares what came with what the transcript says.

use crate::scenario::values::{Payload, Values, payload, short};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A frame: JSON by its meaning, except for `data`, whose text counts; raw frames and plain words to the letter.
pub(crate) fn frame(expected: &str, actual: &Payload, raw: bool, values: &mut Values) -> Result<(), String> {
    match actual {
        Payload::Text(text) if expected.starts_with('{') && !raw => json(expected, text, values),
        Payload::Text(text) => match payload(expected)? {
            Payload::Text(expected) => values.check(&expected, text),
            Payload::Bytes(_) => Err(format!("a text frame: {}", short(text))),
        },
        Payload::Bytes(_) if payload(expected)? == *actual => Ok(()),
        Payload::Bytes(bytes) => Err(format!("hex:{}", short(&hex::encode(bytes)))),
    }
}

/// The body of an answer.
pub(crate) fn body(expected: &str, actual: &str, values: &mut Values) -> Result<(), String> {
    if expected.starts_with('{') { json(expected, actual, values) } else { values.check(expected, actual) }
}

/// An event of a stream, its lines joined by ` / `. Dormouse's own events are JSON, messages have to be there to the letter.
pub(crate) fn event(expected: &str, actual: &str, values: &mut Values) -> Result<(), String> {
    let own = ["event: welcome / ", "event: subscribed / ", "event: gap / ", "event: close / "];
    let parts = expected.split_once("data: ").zip(actual.split_once("data: "));
    match parts {
        Some(((head, data), (actual_head, actual_data))) if own.iter().any(|name| head.ends_with(name)) => {
            values.check(head, actual_head)?;
            json(data, actual_data, values)
        }
        _ => values.check(expected, actual),
    }
}

fn json(expected: &str, actual: &str, values: &mut Values) -> Result<(), String> {
    let read = |text| serde_json::from_str::<&RawValue>(text).map_err(|error| format!("{error}: {}", short(text)));
    value("", read(expected)?, read(actual)?, values)
}

fn value(path: &str, expected: &RawValue, actual: &RawValue, values: &mut Values) -> Result<(), String> {
    let (text, came) = (expected.get(), actual.get());
    let differs = |why: String| format!("{path}: {why}");
    let unlike = || format!("{path}: {} is not {}", short(came), short(text));
    if text == "\"…\"" {
        return Ok(());
    }
    if path.rsplit('.').next() == Some("data") {
        return values.check(text, came).map_err(differs);
    }
    match text.chars().next() {
        Some('{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|_| unlike())?;
            let others: BTreeMap<String, &RawValue> = serde_json::from_str(came).map_err(|_| unlike())?;
            if !members.keys().eq(others.keys()) {
                return Err(unlike());
            }
            let mut both = members.iter().zip(others.values());
            both.try_for_each(|((key, own), other)| value(&format!("{path}.{key}"), own, other, values))
        }
        Some('[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| unlike())?;
            let others: Vec<&RawValue> = serde_json::from_str(came).map_err(|_| unlike())?;
            if elements.len() != others.len() {
                return Err(unlike());
            }
            let mut both = elements.iter().zip(others).enumerate();
            both.try_for_each(|(at, (own, other))| value(&format!("{path}[{at}]"), own, other, values))
        }
        Some('"') => {
            let own: String = serde_json::from_str(text).map_err(|_| unlike())?;
            let other: String = serde_json::from_str(came).map_err(|_| unlike())?;
            values.check(&own, &other).map_err(differs)
        }
        _ if text == came => Ok(()),
        _ => Err(unlike()),
    }
}

//! A row's contents: messages and fingerprints of ids, encoded and decoded.

use crate::message::{Message, MessageId, Payload};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The encoding's version, the first byte of a row's body. Postcard is not self-describing, so another shape needs another number.
const VERSION: u8 = 2;
/// The one before it, whose rows may be there.
const VERSION_1: u8 = 1;

/// A message of [`VERSION_1`].
#[derive(Serialize, Deserialize)]
struct Message1 {
    event: Option<String>,
    payload: Payload,
    id: Option<MessageId>,
}

impl From<Message1> for Message {
    fn from(Message1 { event, payload, id }: Message1) -> Self {
        Self { event, payload, id, except: None, user: None }
    }
}

/// 64 bits of a SHA-256 over an id. Two ids may share it; the row has the whole id, and is looked at on every hit.
pub(crate) type Fingerprint = u64;

/// Where an id stands: how far from the row's first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct IdMark {
    pub(crate) offset: u32,
    pub(crate) fingerprint: Fingerprint,
}

pub(crate) fn fingerprint(id: &str) -> Fingerprint {
    let hash = Sha256::digest(id);
    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

pub(crate) fn encode(messages: &[Message]) -> Vec<u8> {
    let mut out = vec![VERSION];
    // Into memory, and every type has an encoding: it cannot fail.
    out.extend(postcard::to_allocvec(messages).unwrap_or_default());
    out
}

pub(crate) fn decode(body: &[u8]) -> Option<Vec<Message>> {
    match body.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
        Some((&VERSION_1, rest)) => {
            let messages: Vec<Message1> = postcard::from_bytes(rest).ok()?;
            Some(messages.into_iter().map(Message::from).collect())
        }
        _ => None,
    }
}

pub(crate) fn encode_ids(ids: &[IdMark]) -> Vec<u8> {
    postcard::to_allocvec(ids).unwrap_or_default()
}

pub(crate) fn decode_ids(ids: &[u8]) -> Option<Vec<IdMark>> {
    postcard::from_bytes(ids).ok()
}

#[cfg(test)]
mod tests {
    use super::{IdMark, Message1, VERSION_1, decode, decode_ids, encode, encode_ids};
    use crate::message::{Message, Payload};

    #[test]
    fn rows_of_the_version_before_are_read() {
        let payload = || Payload::Text("ä".into());
        let new = Message::new(Some("e".into()), payload(), Some("id".into()));
        let old = [Message1 { event: new.event.clone(), payload: payload(), id: new.id.clone() }];
        let mut body = vec![VERSION_1];
        body.extend(postcard::to_allocvec(old.as_slice()).unwrap());
        assert_eq!(decode(&body), Some(vec![new]));
    }

    #[test]
    fn reads_what_it_writes_and_refuses_what_it_does_not() {
        let mut first = Message::new(Some("e".into()), Payload::Json("{}".into()), Some("id".into()));
        (first.except, first.user) = (Some("c".into()), Some("ü".into()));
        let messages = [
            first,
            Message::new(None, Payload::Text("ä".into()), None),
            Message::new(None, Payload::Binary(vec![0; 300]), None),
        ];
        let body = encode(&messages);
        assert_eq!(decode(&body).unwrap(), messages);
        let ids = [IdMark { offset: 3, fingerprint: u64::MAX }];
        assert_eq!(decode_ids(&encode_ids(&ids)).unwrap(), ids);
        for bad in [&[][..], &[3], &[2, 255, 255], &[1, 255, 255], &body[..body.len() - 1]] {
            assert_eq!(decode(bad), None);
        }
    }
}

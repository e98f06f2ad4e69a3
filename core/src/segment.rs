//! A row's contents: messages and fingerprints of ids, encoded and decoded.

use crate::message::Message;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The encoding's version, the first byte of a row's body. Postcard is not self-describing, so another shape needs another number.
const VERSION: u8 = 1;

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
    use super::{IdMark, decode, decode_ids, encode, encode_ids};
    use crate::message::{Message, Payload};

    #[test]
    fn reads_what_it_writes_and_refuses_what_it_does_not() {
        let messages = [
            Message::new(Some("e".into()), Payload::Json("{}".into()), Some("id".into())),
            Message::new(None, Payload::Text("ä".into()), None),
            Message::new(None, Payload::Binary(vec![0; 300]), None),
        ];
        let body = encode(&messages);
        assert_eq!(decode(&body).unwrap(), messages);
        let ids = [IdMark { offset: 3, fingerprint: u64::MAX }];
        assert_eq!(decode_ids(&encode_ids(&ids)).unwrap(), ids);
        for bad in [&[][..], &[2], &[1, 255, 255], &body[..body.len() - 1]] {
            assert_eq!(decode(bad), None);
        }
    }
}

//! Reading JSON that strangers write.

use serde::Deserialize;
use serde::de::Error;

/// Reads a JSON object. A list of the values alone, in the order of the fields, would do for serde, and is none.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    if text.trim_start().starts_with('[') {
        return Err(serde_json::Error::custom("it is a list, and has to be an object"));
    }
    serde_json::from_str(text)
}

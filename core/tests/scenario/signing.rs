//! What an origin server signs: tokens, and requests in Pusher's way.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

fn mac(secret: &str, text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

/// A JWT. In the claims `:+60` and `:-60` are so many seconds from now.
pub(crate) fn token(secret: &str, claims: &str, now_ms: u64) -> String {
    let second = now_ms.div_ceil(1000);
    let mut out = String::new();
    let mut rest = claims;
    while let Some(at) = rest.find(':') {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        rest = after;
        if let Some(sign) = after.chars().next().filter(|c| "+-".contains(*c)) {
            let digits: String = after.chars().skip(1).take_while(char::is_ascii_digit).collect();
            let seconds: u64 = digits.parse().unwrap_or_default();
            let time = if sign == '+' { second + seconds } else { second - seconds };
            out.push_str(&time.to_string());
            rest = after.get(1 + digits.len()..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#), URL_SAFE_NO_PAD.encode(out));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac(secret, &text)))
}

/// `key:signature` of a text.
pub(crate) fn signature((key, secret): (&str, &str), text: &str) -> String {
    format!("{key}:{}", hex::encode(mac(secret, text)))
}

/// The value of `Authorization`.
pub(crate) fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

/// The path of a request, with the parameters that sign it.
pub(crate) fn signed(method: &str, path: &str, body: &[u8], (key, secret): (&str, &str), time_s: u64) -> String {
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    let mut parameters: Vec<String> = query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
    parameters.extend([format!("auth_key={key}"), format!("auth_timestamp={time_s}"), "auth_version=1.0".to_owned()]);
    if !body.is_empty() {
        parameters.push(format!("body_md5={}", hex::encode(Md5::digest(body))));
    }
    parameters.sort();
    let query = parameters.join("&");
    let signature = hex::encode(mac(secret, &format!("{method}\n{bare}\n{query}")));
    format!("{bare}?{query}&auth_signature={signature}")
}

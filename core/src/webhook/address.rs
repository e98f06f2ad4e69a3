//! Where a webhook may go: an address on the public internet, by a parser that refuses whatever it does not understand. What is refused would be read in more than one way, or
//! is inside of somebody's network: loopback, private and link-local addresses, those of cloud metadata, and names that only resolve there.
//!
//! What a name resolves to is not known here. On Cloudflare a Worker reaches nobody's private network, and workerd connects to public addresses only unless its own
//! configuration says otherwise.

use crate::limits;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Names, or ends of names, that are not on the public internet (RFC 6761, 6762, 8375 and 9476, and what is in use).
const INSIDE: [&str; 15] = [
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "arpa",
    "test",
    "invalid",
    "example",
    "onion",
    "alt",
];

/// Blocks of IPv4 that are not public: the address and the length of the prefix (IANA's registry of special-purpose addresses). The last one is Azure's wire server.
const NOT_PUBLIC: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([168, 63, 129, 16], 32),
];

/// Checks a URL. In `development` one on this machine is good as well, without TLS too. What is wrong with it never quotes it: it may have a secret in it.
pub(super) fn check(url: &str, development: bool) -> Result<(), &'static str> {
    let visible = |byte: u8| byte.is_ascii_graphic() && !b"\\#\"<>`{|}^".contains(&byte);
    if url.len() > limits::WEBHOOK_URL_BYTES_MAX || !url.bytes().all(visible) {
        return Err("a URL of printable ASCII characters without a fragment, 1,024 bytes at most");
    }
    let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) if development => (false, rest),
        _ => return Err("it has to begin with https://"),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = host(authority).ok_or("the host is not understood: a name with a dot, or an address, and a port")?;
    match host {
        Host::This if development => Ok(()),
        Host::Public if secure => Ok(()),
        Host::Public => Err("http is for this machine only"),
        Host::This | Host::Inside => Err("the host is not on the public internet"),
    }
}

/// Where a host is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Host {
    /// This machine.
    This,
    /// In a network that is not public.
    Inside,
    Public,
}

/// The host of an authority; `None` if it is not understood.
fn host(authority: &str) -> Option<Host> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        check_port(port)?;
        // An address with a zone is not parsed.
        return address.parse().ok().map(v6);
    }
    let (name, port) = authority.find(':').map_or((authority, ""), |at| authority.split_at(at));
    check_port(port)?;
    let name = name.to_ascii_lowercase();
    let last = name.rsplit('.').next()?;
    // What ends in a number is an address to a browser, in decimal, octal or hexadecimal, of one to four parts. Only the usual spelling is one here.
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()) || part.starts_with("0x");
    if is_number(last) {
        return name.parse().ok().map(v4);
    }
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return None;
    }
    if name == "localhost" {
        return Some(Host::This);
    }
    let inside = INSIDE.contains(&last) || !name.contains('.');
    Some(if inside { Host::Inside } else { Host::Public })
}

/// Nothing, or a colon and a port.
fn check_port(port: &str) -> Option<()> {
    let Some(digits) = port.strip_prefix(':') else { return port.is_empty().then_some(()) };
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    (plain && digits.parse::<u16>().is_ok()).then_some(())
}

fn v4(address: Ipv4Addr) -> Host {
    let bits = u32::from(address);
    let is_in = |(block, length): &([u8; 4], u32)| (bits ^ u32::from_be_bytes(*block)) >> (32 - length) == 0;
    if address == Ipv4Addr::LOCALHOST {
        Host::This
    } else if NOT_PUBLIC.iter().any(is_in) {
        Host::Inside
    } else {
        Host::Public
    }
}

/// Only `2000::/3` is given out, and in it some blocks stand for other addresses or for none: `2001::/23` (Teredo and others), `2001:db8::/32`, `2002::/16` (6to4), `3fff::/20`.
/// Outside of it are loopback, link-local, private and mapped addresses, and `64:ff9b::/96`.
fn v6(address: Ipv6Addr) -> Host {
    let [first, second, ..] = address.segments();
    let given_out = first & 0xe000 == 0x2000;
    let special = match first {
        0x2001 => second < 0x200 || second == 0xdb8,
        0x2002 => true,
        0x3fff => second < 0x1000,
        _ => false,
    };
    if address == Ipv6Addr::LOCALHOST {
        Host::This
    } else if given_out && !special {
        Host::Public
    } else {
        Host::Inside
    }
}

#[cfg(test)]
mod tests;

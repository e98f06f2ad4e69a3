//! Placeholders: `$name` is bound on first sight and equal ever after, `…` is any text, `$(3*ab)` is `ababab`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

/// What the placeholders of one run stand for.
#[derive(Default)]
pub(crate) struct Values(BTreeMap<String, String>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
    Any,
}

impl Values {
    pub(crate) fn bind(&mut self, name: &str, value: String) -> Result<(), String> {
        if let Some((twin, _)) = self.0.iter().find(|(_, known)| **known == value) {
            return Err(format!("${name} would be the same as ${twin}: {value}"));
        }
        match self.0.insert(name.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(format!("${name} is bound already")),
        }
    }

    /// What is sent: every placeholder has to be bound.
    pub(crate) fn fill(&self, text: &str) -> Result<String, String> {
        let filled = pieces(text)?.into_iter().map(|piece| match piece {
            Piece::Text(text) => Ok(text),
            Piece::Any => Ok("…".to_owned()),
            Piece::Name(name) => self.0.get(&name).cloned().ok_or_else(|| format!("${name} is not bound yet")),
        });
        filled.collect()
    }

    /// Compares, and binds what is seen for the first time.
    pub(crate) fn check(&mut self, template: &str, actual: &str) -> Result<(), String> {
        let differs = || format!("{} is not {}", short(actual), short(template));
        let mut seen = Vec::new();
        if !self.fits(&pieces(template)?, actual, &mut seen) {
            return Err(differs());
        }
        seen.into_iter().try_for_each(|(name, value)| self.bind(&name, value))
    }

    fn fits(&self, pieces: &[Piece], text: &str, seen: &mut Vec<(String, String)>) -> bool {
        let Some((piece, rest)) = pieces.split_first() else { return text.is_empty() };
        match piece {
            Piece::Text(own) => text.strip_prefix(own.as_str()).is_some_and(|text| self.fits(rest, text, seen)),
            Piece::Any => {
                let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
                ends.any(|at| text.get(at..).is_some_and(|text| self.fits(rest, text, seen)))
            }
            Piece::Name(name) => {
                let earlier = seen.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
                if let Some(value) = earlier.or_else(|| self.0.get(name).cloned()) {
                    return text.strip_prefix(value.as_str()).is_some_and(|text| self.fits(rest, text, seen));
                }
                let longest =
                    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"_-:#=@,.;".contains(b)).count();
                (1..=longest).rev().any(|length| {
                    let (value, after) = text.split_at(length);
                    let known = seen.len();
                    seen.push((name.clone(), value.to_owned()));
                    let fits = self.fits(rest, after, seen);
                    if !fits {
                        seen.truncate(known);
                    }
                    fits
                })
            }
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        let name: String = after.chars().take_while(char::is_ascii_alphanumeric).collect();
        rest = after;
        if c == '…' {
            pieces.extend([Piece::Text(core::mem::take(&mut plain)), Piece::Any]);
        } else if let Some(inside) = after.strip_prefix('(').filter(|_| c == '$') {
            let repeated = inside.split_once(')').and_then(|(inside, after)| {
                let (count, text) = inside.split_once('*')?;
                Some((text.repeat(count.parse().ok()?), after))
            });
            let (text, after) = repeated.ok_or_else(|| format!("$(3*text) is meant? {text}"))?;
            plain.push_str(&text);
            rest = after;
        } else if c == '$' && name.starts_with(|c: char| c.is_ascii_lowercase()) {
            rest = after.get(name.len()..).unwrap_or_default();
            pieces.extend([Piece::Text(core::mem::take(&mut plain)), Piece::Name(name)]);
        } else {
            plain.push(c);
        }
    }
    pieces.push(Piece::Text(plain));
    Ok(pieces)
}

/// A payload as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    Text(String),
    Bytes(Vec<u8>),
}

/// Reads `hex:…`, `base64:…`, `"text"`; anything else is text as it is.
pub(crate) fn payload(text: &str) -> Result<Payload, String> {
    let wrong = |what: &str| format!("not {what}: {text}");
    if let Some(digits) = text.strip_prefix("hex:") {
        return hex::decode(digits).map(Payload::Bytes).map_err(|_| wrong("hexadecimal"));
    }
    if let Some(encoded) = text.strip_prefix("base64:") {
        return STANDARD.decode(encoded).map(Payload::Bytes).map_err(|_| wrong("base64"));
    }
    if text.starts_with('"') {
        return serde_json::from_str(text).map(Payload::Text).map_err(|_| wrong("a JSON string"));
    }
    Ok(Payload::Text(text.to_owned()))
}

/// As much of a text as a message can take.
pub(crate) fn short(text: &str) -> String {
    if text.chars().count() <= 400 {
        return text.to_owned();
    }
    format!("{}… ({} bytes)", text.chars().take(400).collect::<String>(), text.len())
}

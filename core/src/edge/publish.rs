//! Taking a publish in, and putting its answers together.

use super::Route;
use crate::call::Outcome;
use crate::channel::ChannelName;
use crate::config::App;
use crate::head::Head;
use crate::limits;
use crate::message::{Message, NewMessage, Payload, check_event, check_id, check_size, present};
use crate::position::Position;
use crate::refusal::{Code, Refusal};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One message for one or more channels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Where it goes; none twice.
    pub channels: Vec<ChannelName>,
    /// The message.
    pub new: NewMessage,
}

/// A whole publish request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    items: Vec<Item>,
    batch: bool,
}

/// What one room gets, in one call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The channel.
    pub channel: ChannelName,
    /// Its messages, in the order of the request.
    pub messages: Vec<NewMessage>,
    /// For each message: which item of the request it is.
    items: Vec<usize>,
}

/// The answer to a publish request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The HTTP status: 200, or the worst of the refusals'.
    pub status: u16,
    /// JSON.
    pub body: String,
    /// Whether to ask for patience.
    pub retry_after_s: Option<u32>,
}

/// Reads a publish request. The app's credentials have been proved.
pub fn order(app: &App, route: &Route, head: &Head<'_>, body: Vec<u8>) -> Result<Order, Refusal> {
    if body.is_empty() {
        return Err(Refusal::new(Code::EmptyBody, "there is nothing to publish: the body is empty"));
    }
    let order = match route {
        Route::PublishRaw(channel) => raw(channel.clone(), head, body)?,
        _ => json(&body)?,
    };
    for item in &order.items {
        for channel in &item.channels {
            check_size(&item.new.message.payload, app.rule(channel).message_bytes)?;
        }
    }
    Ok(order)
}

fn raw(channel: ChannelName, head: &Head<'_>, body: Vec<u8>) -> Result<Order, Refusal> {
    let id = head.header("idempotency-key");
    check_id(id.as_deref())?;
    let payload = Payload::from_raw(body, &head.header("content-type").unwrap_or_default());
    let new = NewMessage::from(Message::new(None, payload, id));
    Ok(Order { items: vec![Item { channels: vec![channel], new }], batch: false })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    channel: Option<String>,
    channels: Option<Vec<String>>,
    event: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    id: Option<String>,
    except: Option<String>,
    if_position: Option<String>,
    #[serde(borrow)]
    batch: Option<Vec<&'a RawValue>>,
}

fn json(body: &[u8]) -> Result<Order, Refusal> {
    let text = core::str::from_utf8(body).map_err(|_| Refusal::new(Code::InvalidJson, "the body is not UTF-8"))?;
    let body: Body<'_> = read(text)?;
    let Some(batch) = body.batch else { return Ok(Order { items: vec![item(body)?], batch: false }) };
    let alone = body.channel.is_none()
        && body.channels.is_none()
        && body.data.is_none()
        && body.event.is_none()
        && body.id.is_none();
    if !alone || body.except.is_some() || body.if_position.is_some() {
        return Err(field("batch: nothing may stand beside it"));
    }
    if batch.is_empty() || batch.len() > limits::BATCH_MAX {
        return Err(field(format!("batch: 1 to {} messages", limits::BATCH_MAX)));
    }
    let items: Result<Vec<Item>, Refusal> = batch
        .iter()
        .enumerate()
        .map(|(nth, message)| {
            let body: Body<'_> = read(message.get()).map_err(|refusal| within(nth, &refusal))?;
            if body.channels.is_some() || body.batch.is_some() {
                return Err(within(nth, &field("each message of a batch has one `channel`")));
            }
            item(body).map_err(|refusal| within(nth, &refusal))
        })
        .collect();
    Ok(Order { items: items?, batch: true })
}

fn item(body: Body<'_>) -> Result<Item, Refusal> {
    let channels = match (body.channel, body.channels) {
        (Some(channel), None) => vec![ChannelName::parse(&channel)?],
        (None, Some(channels)) if (1..=limits::CHANNELS_PER_PUBLISH_MAX).contains(&channels.len()) => {
            let mut names = Vec::with_capacity(channels.len());
            for channel in channels {
                let name = ChannelName::parse(&channel)?;
                if names.contains(&name) {
                    return Err(field(format!("channels: {name} is there twice")));
                }
                names.push(name);
            }
            names
        }
        (None, Some(_)) => return Err(field(format!("channels: 1 to {}", limits::CHANNELS_PER_PUBLISH_MAX))),
        (None, None) => return Err(field("channel or channels: where to publish")),
        (Some(_), Some(_)) => return Err(field("channel or channels, not both")),
    };
    let data = body.data.ok_or_else(|| field("data: what to publish, any JSON"))?;
    check_event(body.event.as_deref())?;
    check_id(body.id.as_deref())?;
    if body.except.as_ref().is_some_and(|except| except.len() > limits::CONNECTION_ID_MAX) {
        return Err(field(format!("except: a connection id, {} bytes at most", limits::CONNECTION_ID_MAX)));
    }
    let if_position = match body.if_position {
        None => None,
        Some(_) if channels.len() > 1 => return Err(field("if_position: with one channel only")),
        Some(text) => Some(Position::parse(&text).ok_or_else(|| {
            Refusal::new(Code::InvalidPosition, "if_position: a position looks like 9f2c41d07ab3:42")
        })?),
    };
    let mut message = Message::new(body.event, Payload::Json(data.get().to_owned()), body.id);
    message.except = body.except;
    Ok(Item { channels, new: NewMessage { message, from: None, if_position } })
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    crate::json::object(text).map_err(|error| Refusal::new(Code::InvalidJson, error.to_string()))
}

fn within(nth: usize, refusal: &Refusal) -> Refusal {
    Refusal::new(refusal.code, format!("batch[{nth}]: {}", refusal.message))
}

fn field(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidField, message)
}

impl Order {
    /// Items that came by Pusher's HTTP API, which has a reply of its own.
    pub(super) fn new(items: Vec<Item>) -> Self {
        Self { items, batch: false }
    }

    /// One target per channel: a request between objects each.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        for (nth, item) in self.items.iter().enumerate() {
            for channel in &item.channels {
                let known = targets.iter().position(|target| target.channel == *channel);
                let at = known.unwrap_or(targets.len());
                if known.is_none() {
                    targets.push(Target { channel: channel.clone(), messages: Vec::new(), items: Vec::new() });
                }
                if let Some(target) = targets.get_mut(at) {
                    target.messages.push(item.new.clone());
                    target.items.push(nth);
                }
            }
        }
        targets
    }

    /// The worst of the refusals, and the channel that it is about.
    pub(super) fn worst(answers: &[(Target, Vec<Outcome>)]) -> Option<(&ChannelName, &Refusal)> {
        let refused = answers.iter().flat_map(|(target, outcomes)| {
            outcomes.iter().filter_map(|outcome| match outcome {
                Outcome::Refused { error } => Some((&target.channel, error)),
                Outcome::Stored { .. } => None,
            })
        });
        // The first of them, where several are as bad.
        refused.rev().max_by_key(|(_, refusal)| refusal.code.status())
    }

    /// Puts the answers of the targets together. A call that failed as a whole is an outcome for each of its messages.
    #[must_use]
    pub fn reply(&self, answers: &[(Target, Vec<Outcome>)]) -> Reply {
        let mut parts: Vec<(usize, String)> = Vec::new();
        for (target, outcomes) in answers {
            for (nth, outcome) in target.items.iter().zip(outcomes) {
                let outcome = serde_json::to_string(outcome).unwrap_or_default();
                let part = if self.batch {
                    // A channel's name needs no escaping.
                    outcome.replacen('{', &format!("{{\"channel\":\"{}\",", target.channel), 1)
                } else {
                    format!("\"{}\":{outcome}", target.channel)
                };
                parts.push((*nth, part));
            }
        }
        parts.sort_by_key(|(nth, _)| *nth);
        let parts: Vec<String> = parts.into_iter().map(|(_, part)| part).collect();
        let parts = parts.join(",");
        let results = if self.batch { format!("\"batch\":[{parts}]") } else { format!("\"channels\":{{{parts}}}") };
        let Some((_, worst)) = Self::worst(answers) else {
            return Reply { status: 200, body: format!("{{{results}}}"), retry_after_s: None };
        };
        let error = serde_json::to_string(worst).unwrap_or_default();
        let retry_after_s = (worst.code == Code::Overloaded).then_some(limits::RETRY_AFTER_S);
        Reply { status: worst.code.status(), body: format!("{{\"error\":{error},{results}}}"), retry_after_s }
    }
}

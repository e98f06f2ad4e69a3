//! `events` and `batch_events`: publishing in Pusher's way.

use super::field;
use super::info::{Attributes, Info};
use super::{Action, Call};
use crate::call::Outcome;
use crate::channel::ChannelName;
use crate::config::App;
use crate::connection::ConnectionId;
use crate::edge::channels::Tally;
use crate::edge::publish::{Item, Order, Target};
use crate::json;
use crate::limits;
use crate::message::{Message, NewMessage, check_event, check_id};
use crate::pusher::payload;
use crate::refusal::{Code, Refusal};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What is to be published, and what shall be told of the channels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trigger {
    order: Order,
    batch: bool,
    /// For each event: its channels, and what it asks of each of them; `None`: it asks nothing.
    asked: Vec<Option<Vec<(ChannelName, Info)>>>,
}

/// An event as it comes. What is not known is ignored: libraries send fields of their own.
#[derive(Deserialize)]
struct Event<'a> {
    name: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    channel: Option<String>,
    channels: Option<Vec<String>>,
    socket_id: Option<String>,
    info: Option<String>,
    id: Option<String>,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    batch: Option<Vec<&'a RawValue>>,
}

/// Reads what is to be published. The app's credentials have been proved.
pub fn trigger(app: &App, call: &Call, body: &[u8]) -> Result<Trigger, Refusal> {
    let text = core::str::from_utf8(body).map_err(|_| Refusal::new(Code::InvalidJson, "the body is not UTF-8"))?;
    let batch = call.action == Action::BatchEvents;
    let events: Vec<(Item, Option<String>)> = if batch {
        let Batch { batch } = read(text)?;
        let batch = batch.ok_or_else(|| field("batch: the events to publish"))?;
        if batch.len() > limits::BATCH_MAX {
            return Err(field(format!("Batch too large (> {})", limits::BATCH_MAX)));
        }
        let item = |(nth, text): (usize, &&RawValue)| {
            let within = |refusal: Refusal| Refusal::new(refusal.code, format!("batch[{nth}]: {}", refusal.message));
            let event: Event<'_> = read(text.get()).map_err(within)?;
            if event.channels.is_some() {
                return Err(within(field("each event of a batch has one `channel`")));
            }
            item(app, event).map_err(within)
        };
        batch.iter().enumerate().map(item).collect::<Result<_, _>>()?
    } else {
        vec![item(app, read(text)?)?]
    };
    let asked = events.iter().map(|(item, info)| {
        let of = |text: &str| item.channels.iter().map(|name| (name.clone(), Info::of_event(text, name))).collect();
        info.as_deref().filter(|text| !text.is_empty()).map(of)
    });
    let asked = asked.collect();
    Ok(Trigger { asked, batch, order: Order::new(events.into_iter().map(|(item, _)| item).collect()) })
}

fn item(app: &App, event: Event<'_>) -> Result<(Item, Option<String>), Refusal> {
    let name = event.name.ok_or_else(|| field("name: what the event is called"))?;
    check_event(Some(&name)).map_err(|refusal| field(refusal.message.replacen("event:", "name:", 1)))?;
    check_id(event.id.as_deref())?;
    let data = event.data.ok_or_else(|| field("data: what the event carries"))?;
    let data: String = serde_json::from_str(data.get())
        .map_err(|_| field("data: a string; anything else has to be encoded as JSON first, and sent as its text"))?;
    let channels = channels(event.channel, event.channels)?;
    for channel in &channels {
        let most = app.rule(channel).message_bytes;
        if data.len() > most {
            let message = format!(
                "The data content of this event exceeds the allowed maximum ({most} bytes, the channel's rule in APPS)"
            );
            return Err(Refusal::new(Code::TooLarge, message));
        }
    }
    let except = event.socket_id.map(socket_id).transpose()?;
    let mut message = Message::new(Some(name), payload(data), event.id);
    message.except = except;
    Ok((Item { channels, new: NewMessage::from(message) }, event.info))
}

/// Both together, and each once.
fn channels(one: Option<String>, many: Option<Vec<String>>) -> Result<Vec<ChannelName>, Refusal> {
    let given: Vec<String> = many.into_iter().flatten().chain(one).collect();
    if given.is_empty() {
        return Err(field("channel or channels: where to publish"));
    }
    let mut names = Vec::with_capacity(given.len().min(limits::CHANNELS_PER_PUBLISH_MAX));
    for name in given {
        let name = ChannelName::parse(&name)?;
        if names.contains(&name) {
            continue;
        }
        if names.len() == limits::CHANNELS_PER_PUBLISH_MAX {
            return Err(field(format!("channels: 1 to {}", limits::CHANNELS_PER_PUBLISH_MAX)));
        }
        names.push(name);
    }
    Ok(names)
}

/// What Pusher's libraries take for a `socket_id`, or a connection's id of another dialect.
fn socket_id(id: String) -> Result<String, Refusal> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_pushers = id.split_once('.').is_some_and(|(place, random)| is_number(place) && is_number(random));
    if (is_pushers && id.len() <= limits::CONNECTION_ID_MAX) || ConnectionId::parse(&id).is_ok() {
        return Ok(id);
    }
    Err(field(format!("Invalid socket id {id}")))
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    json::object(text).map_err(|error| Refusal::new(Code::InvalidJson, error.to_string()))
}

impl Trigger {
    /// One target per channel: a request between objects each.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        self.order.targets()
    }

    /// Whether everything was published. If not, the worst of the refusals: the others may have been, and repeating it with an `id` is safe.
    pub fn published(&self, answers: &[(Target, Vec<Outcome>)]) -> Result<(), Refusal> {
        let Some((channel, refusal)) = Order::worst(answers) else { return Ok(()) };
        Err(Refusal::new(refusal.code, format!("{channel}: {}", refusal.message)))
    }

    /// The channels whose numbers are asked for, in order of name, and whether connections have to be counted: a request to each Room, and to each Hub for those.
    #[must_use]
    pub fn asked(&self) -> (Vec<ChannelName>, bool) {
        let all = self.asked.iter().flatten().flatten().filter(|(_, info)| info.any());
        let all: BTreeMap<&ChannelName, bool> = all.fold(BTreeMap::new(), |mut all, (name, info)| {
            *all.entry(name).or_default() |= info.subscription_count;
            all
        });
        (all.keys().copied().cloned().collect(), all.values().any(|counted| *counted))
    }

    /// The answer. Numbers that could not be had are left out: what is published is not to be published again for their sake.
    #[must_use]
    pub fn body(&self, tally: Option<&Tally>) -> String {
        if self.asked.iter().all(Option::is_none) {
            return "{}".to_owned();
        }
        let attributes = |name: &ChannelName, info: Info| {
            let numbers = tally.and_then(|tally| tally.numbers(name));
            let attributes = numbers.map(|numbers| Attributes::new(info, numbers)).unwrap_or_default();
            serde_json::to_string(&attributes).unwrap_or_default()
        };
        if self.batch {
            let of = |asked: &Option<Vec<(ChannelName, Info)>>| match asked.as_deref() {
                Some([(name, info), ..]) => attributes(name, *info),
                _ => "{}".to_owned(),
            };
            let parts: Vec<String> = self.asked.iter().map(of).collect();
            return format!("{{\"batch\":[{}]}}", parts.join(","));
        }
        let asked = self.asked.iter().flatten().flatten();
        // A channel's name needs no escaping.
        let parts: Vec<String> = asked.map(|(name, info)| format!("\"{name}\":{}", attributes(name, *info))).collect();
        format!("{{\"channels\":{{{}}}}}", parts.join(","))
    }
}

//! Plays a transcript: clients, requests and time against the Worker and its objects.

use crate::scenario::Sleep;
use crate::scenario::compare;
use crate::scenario::lane::Lane;
use crate::scenario::objects::{Item, Objects};
use crate::scenario::script::{Ask, Auth, Expected, Head, Headers, Script, Step};
use crate::scenario::signing;
use crate::scenario::values::{Payload, Values, payload, short};
use crate::scenario::worker::{Apps, Request, Response, fetch};
use dormouse_core::config::Config;
use dormouse_core::frame::{Frame, PING, PONG};
use dormouse_core::link::{parse_hub_name, speaks_pusher};
use dormouse_core::pusher::words;
use std::collections::{BTreeMap, VecDeque};

struct Stage {
    apps: Apps,
    objects: Objects,
    values: Values,
    clients: BTreeMap<String, Client>,
    answer: Option<Response>,
    /// Id, key and secret of the first app.
    first: Option<(String, String, String)>,
}

/// In which order a client is told what comes.
#[derive(PartialEq, Eq)]
enum Order {
    Whole,
    /// A Hub speaks to it: only what is of one [`Lane`] comes in order.
    ByLane,
}

struct Client {
    response: Response,
    raw: bool,
    order: Order,
    /// How much it has looked at: what comes first comes first.
    seen: usize,
    /// Whether its answer has to be looked at: it did not get in.
    refused: bool,
    gone: bool,
    queue: VecDeque<Item>,
}

/// Plays it; the error has the line's number.
pub(crate) fn play(script: &Script, sleep: Sleep) -> Result<(), (usize, String)> {
    let apps = (!script.apps.is_empty()).then(|| Config::parse(&script.apps));
    let config = apps.clone().and_then(Result::ok);
    let mut stage = Stage {
        apps,
        objects: Objects::new(sleep, config),
        values: Values::default(),
        clients: BTreeMap::new(),
        answer: None,
        first: first_app(&script.apps),
    };
    let mut last = 0;
    for (line, step) in &script.steps {
        if sleep == Sleep::BetweenLines {
            stage.objects.doze();
        }
        stage.step(step).map_err(|error| (*line, error))?;
        stage.deliver();
        last = *line;
    }
    stage.finish().map_err(|error| (last, error))
}

impl Stage {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Token { name, secret, claims } => {
                let secret = secret.clone().or_else(|| self.first.clone().map(|(_, _, secret)| secret));
                let token = signing::token(&secret.ok_or("no app has a secret")?, claims, self.objects.now);
                self.values.bind(name, token)
            }
            Step::Sign { name, credentials, text } => {
                let known = self.first.as_ref().map(|(_, key, secret)| format!("{key}:{secret}"));
                let credentials = credentials.clone().or(known).ok_or("no app has a secret")?;
                let pair = credentials.split_once(':').ok_or("key:secret is meant")?;
                let text = self.values.fill(text)?;
                self.values.bind(name, signing::signature(pair, &text))
            }
            Step::Connect { who, stream, path, headers } => self.connect(who, *stream, path, headers),
            Step::Leave { who } => self.leave(who),
            Step::Say { who, times, payload } => {
                (1..=*times).try_for_each(|nth| self.say(who, &numbered(payload, nth)))
            }
            Step::Hear { who, times, expected } => {
                (1..=*times).try_for_each(|nth| self.hear(who, &expected.numbered(nth)))
            }
            Step::Ask(ask) => self.ask(ask),
            Step::Answer(head) => {
                let answer = self.answer.take().ok_or("nothing was asked")?;
                check_head(head, &answer, &mut self.values)
            }
            Step::Wait { ms } => {
                self.objects.wait(*ms);
                Ok(())
            }
            Step::Rows { channel, count } => {
                let rows = self.objects.rows(&self.room(channel)?);
                if rows == *count { Ok(()) } else { Err(format!("{rows} rows")) }
            }
            Step::Followers { channel, count } => {
                let followers = self.objects.followers(&self.room(channel)?);
                if followers == *count { Ok(()) } else { Err(format!("{followers} followers")) }
            }
            Step::InHub { who } => {
                let client = self.client(who)?;
                client.order = Order::ByLane;
                let hub = client.response.object.as_deref().and_then(parse_hub_name);
                hub.map(|_| ()).ok_or_else(|| format!("{who} is in {:?}", client.response.object))
            }
        }
    }

    /// The object of the first app's channel.
    fn room(&self, channel: &str) -> Result<String, String> {
        let (id, ..) = self.first.as_ref().ok_or("there is no app")?;
        Ok(format!("v1:{id}:{channel}"))
    }

    fn connect(&mut self, who: &str, stream: bool, path: &str, headers: &Headers) -> Result<(), String> {
        let mut headers = self.fill_headers(headers)?;
        let own = if stream { ("accept", "text/event-stream") } else { ("upgrade", "websocket") };
        headers.push((own.0.to_owned(), own.1.to_owned()));
        let path = self.values.fill(path)?;
        let raw = path.contains("raw=1");
        let many = ["/connect", "/events"].iter().any(|route| path.starts_with(route)) || path.contains("/app/");
        let order = if many { Order::ByLane } else { Order::Whole };
        let request = Request { method: "GET".to_owned(), path, headers, body: Vec::new() };
        let response = fetch(&mut self.objects, &self.apps, &request, who);
        let mut queue = VecDeque::new();
        if let Some(code) = response.refused {
            if !response.body.is_empty() {
                queue.push_back(Item::Frame(Payload::Text(response.body.clone())));
            }
            queue.push_back(Item::Closed(Some(code)));
        }
        let refused = response.status >= 400;
        let client = Client { response, raw, order, seen: 0, refused, gone: false, queue };
        match self.clients.insert(who.to_owned(), client) {
            Some(former) if !former.gone => Err(format!("{who} is here already")),
            _ => Ok(()),
        }
    }

    fn client(&mut self, who: &str) -> Result<&mut Client, String> {
        self.clients.get_mut(who).ok_or_else(|| format!("{who} has never connected"))
    }

    fn leave(&mut self, who: &str) -> Result<(), String> {
        let client = self.client(who)?;
        client.gone = true;
        let object = client.response.object.take().ok_or("it is not connected")?;
        self.objects.hear(&object, who, None);
        Ok(())
    }

    fn say(&mut self, who: &str, text: &str) -> Result<(), String> {
        let payload = payload(&self.values.fill(text)?)?;
        let client = self.client(who)?;
        let object = client.response.object.clone().filter(|_| !client.gone).ok_or("it is not connected")?;
        let (ping, answer) = if speaks_pusher(&object) { (words::PING, words::PONG) } else { (PING, PONG) };
        let frame = match payload {
            // The runtime answers, and the object sleeps on.
            Payload::Text(text) if text == ping => {
                client.queue.push_back(Item::Frame(Payload::Text(answer.to_owned())));
                return Ok(());
            }
            Payload::Text(text) => Frame::Text(text),
            Payload::Bytes(bytes) => Frame::Binary(bytes),
        };
        self.objects.hear(&object, who, Some(frame));
        self.deliver();
        Ok(())
    }

    fn hear(&mut self, who: &str, expected: &Expected) -> Result<(), String> {
        let client = self.clients.get_mut(who).ok_or_else(|| format!("{who} has never connected"))?;
        if let Expected::Head(head) = expected {
            client.refused = false;
            return check_head(head, &client.response, &mut self.values);
        }
        let item = client.next(expected);
        match (expected, &item) {
            (Expected::Nothing, None) => Ok(()),
            (Expected::Closed(code), Some(Item::Closed(actual))) if code == actual => {
                client.gone = true;
                Ok(())
            }
            (Expected::Payload(text), Some(Item::Frame(actual))) => {
                compare::frame(text, actual, client.raw, &mut self.values)
            }
            (Expected::Payload(text), Some(Item::Event(actual))) => compare::event(text, actual, &mut self.values),
            _ => Err(describe(item.as_ref())),
        }
        .map_err(|error| format!("{error}\n      in  {}{}", describe(item.as_ref()), client.others()))
    }

    fn ask(&mut self, ask: &Ask) -> Result<(), String> {
        let body = match payload(&self.values.fill(&ask.body)?)? {
            Payload::Text(text) => text.into_bytes(),
            Payload::Bytes(bytes) => bytes,
        };
        let mut headers = self.fill_headers(&ask.headers)?;
        let mut path = self.values.fill(&ask.path)?;
        let known = match &ask.auth {
            Auth::Nobody => None,
            Auth::Default => self.first.as_ref().map(|(_, key, secret)| format!("{key}:{secret}")),
            Auth::As(credentials) => Some(credentials.clone()),
            Auth::Signed(credentials, seconds) => {
                let pair = credentials.split_once(':').ok_or("key:secret is meant")?;
                let time_s = (self.objects.now / 1000).saturating_add_signed(*seconds);
                path = signing::signed(&ask.method, &path, &body, pair, time_s);
                None
            }
        };
        headers.extend(known.map(|credentials| ("authorization".to_owned(), signing::basic(&credentials))));
        let request = Request { method: ask.method.clone(), path, headers, body };
        self.answer = Some(fetch(&mut self.objects, &self.apps, &request, ""));
        Ok(())
    }

    fn fill_headers(&self, headers: &Headers) -> Result<Headers, String> {
        headers.iter().map(|(name, value)| Ok((name.clone(), self.values.fill(value)?))).collect()
    }

    fn deliver(&mut self) {
        for (who, item) in self.objects.delivered.drain(..) {
            if let Some(client) = self.clients.get_mut(&who).filter(|client| !client.gone) {
                client.queue.push_back(item);
            }
        }
    }

    /// Nothing may have come that the transcript does not tell.
    fn finish(&mut self) -> Result<(), String> {
        for (who, client) in &self.clients {
            if let Some(item) = client.queue.front() {
                return Err(format!("afterwards, {who} still has {}", describe(Some(item))));
            }
            if client.refused {
                return Err(format!("{who} was refused, and nobody said so: {}", client.response.body));
            }
        }
        Ok(())
    }
}

impl Client {
    /// The next thing to look at: for a Hub's clients the next of the lane of what is expected. Nothing comes before the first, or after the close.
    fn next(&mut self, expected: &Expected) -> Option<Item> {
        self.seen += 1;
        let at = match expected {
            Expected::Payload(text) if self.order == Order::ByLane && self.seen > 1 => {
                let lane = Lane::of_text(text);
                self.queue.iter().position(|item| Lane::of(item) == lane)?
            }
            _ => 0,
        };
        self.queue.remove(at)
    }

    /// What it has not looked at yet, if anything.
    fn others(&self) -> String {
        let others: Vec<String> = self.queue.iter().take(3).map(|item| describe(Some(item))).collect();
        if others.is_empty() { String::new() } else { format!("\n      and {}", others.join("\n          ")) }
    }
}

/// `$#` is how manyeth it is.
fn numbered(text: &str, nth: usize) -> String {
    text.replace("$#", &nth.to_string())
}

impl Expected {
    fn numbered(&self, nth: usize) -> Self {
        match self {
            Self::Payload(text) => Self::Payload(numbered(text, nth)),
            other => other.clone(),
        }
    }
}

fn first_app(apps: &str) -> Option<(String, String, String)> {
    let apps: serde_json::Value = serde_json::from_str(apps).ok()?;
    let text = |pointer: &str| apps.pointer(pointer)?.as_str().map(str::to_owned);
    Some((text("/0/id")?, text("/0/key")?, text("/0/secrets/0")?))
}

fn check_head(expected: &Head, actual: &Response, values: &mut Values) -> Result<(), String> {
    let got = format!("{} {}", actual.status, short(&actual.body));
    if expected.status != actual.status {
        return Err(got);
    }
    for (name, value) in &expected.headers {
        let found = actual.headers.iter().find(|(other, _)| other == name);
        let found = found.map_or("(no such header)", |(_, value)| value.as_str());
        values.check(value, found).map_err(|error| format!("{name}: {error}"))?;
    }
    if actual.status == 101 {
        // What a refused socket is told comes as a frame.
        return if expected.body.is_empty() { Ok(()) } else { Err("an upgrade has no body".to_owned()) };
    }
    compare::body(&expected.body, &actual.body, values).map_err(|error| format!("{error}\n      in  {got}"))
}

fn describe(item: Option<&Item>) -> String {
    match item {
        None => "nothing".to_owned(),
        Some(Item::Frame(Payload::Text(text)) | Item::Event(text)) => short(text),
        Some(Item::Frame(Payload::Bytes(bytes))) => format!("hex:{}", hex::encode(bytes)),
        Some(Item::Closed(None)) => "closed".to_owned(),
        Some(Item::Closed(Some(code))) => format!("closed {code}"),
    }
}
